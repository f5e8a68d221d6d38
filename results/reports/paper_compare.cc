#include "results/reports/paper_compare.h"

#include <set>

#include "results/inference.h"
#include "results/reports/format.h"
#include "results/reports/paper_match.h"

namespace strata {
namespace {

bool is_share(const PaperSetting& setting) {
  return setting.unit == "percent" || setting.unit == "share";
}

std::size_t cluster_count(const std::vector<std::size_t>& clusters) {
  return std::set<std::size_t>(clusters.begin(), clusters.end()).size();
}

PaperLine compare_value(const PaperRow& row, const PublishedValue& value,
                        const PaperSetting& setting, const OurRuns* ours) {
  PaperLine line;
  std::size_t clusters = 0;
  std::optional<OurNumber> number;
  if (row.strategy && ours != nullptr) number = closest_run(*ours, *row.strategy, setting);
  if (number) {
    // Beside seconds or FLOPs a share would only mislead, beside another question's too.
    if (is_share(setting) && number->same_question) {
      line.ours = number->estimate;
      line.metric = number->metric;
      line.run_id = number->evaluation->run.id;
      line.sql = query_of(*number);
    }
    line.label = number->evaluation->name();
    const DataFacts& data = ours->data.data.at(number->evaluation->experiment.data_id);
    line.samples = data.samples.size();
    clusters = cluster_count(data.clusters);
  }
  if (value.values.size() > 1) {
    line.verdict = PaperVerdict::kConflicting;
  } else if (!row.strategy) {
    line.verdict = PaperVerdict::kNoMethod;
  } else if (!number) {
    line.verdict = PaperVerdict::kNotRun;
  } else {
    line.verdict = PaperVerdict::kNotComparable;
    line.reasons = std::move(number->reasons);
    if (line.reasons.empty() && clusters < kClustersForInference)
      line.reasons.push_back(fmt::format("{}: fewer than {}",
                                         plural(static_cast<std::int64_t>(clusters), "cluster"),
                                         kClustersForInference));
    if (line.reasons.empty() && !line.ours->interval)
      line.reasons.emplace_back("ours has no interval");
    if (line.reasons.empty()) {
      const double published = value.values[0] / (setting.unit == "percent" ? 100 : 1);
      const bool inside =
          line.ours->interval->low <= published && published <= line.ours->interval->high;
      line.verdict = inside ? PaperVerdict::kReproduced : PaperVerdict::kDiffers;
      line.reasons.push_back(fmt::format("the published value is {} our 95 % interval",
                                         inside ? "inside" : "outside"));
    }
  }
  return line;
}

// Whether the published rows differ in the method alone. Full attention has no budget and no
// window, none has no budget.
bool same_published(const PaperRow& a, const PaperRow& b) {
  PaperSetting x = a.setting, y = b.setting;
  if (a.strategy == "full" || b.strategy == "full") {
    for (PaperSetting* setting : {&x, &y}) {
      setting->window = setting->sinks = std::nullopt;
      setting->linear = setting->decode_rule = std::nullopt;
    }
  }
  for (const PaperRow* row : {&a, &b})
    if (row->strategy == "full" || row->strategy == "none") x.fraction = y.fraction = std::nullopt;
  return x == y;
}

bool same_setting(const Evaluation& a, const Evaluation& b) {
  if (a.experiment.model_id != b.experiment.model_id ||
      a.experiment.data_id != b.experiment.data_id ||
      a.experiment.generation_json != b.experiment.generation_json || a.training != b.training)
    return false;
  const bool full = is_reference(a, "full") || is_reference(b, "full");
  if (!full && (a.run.window != b.run.window || a.run.sinks != b.run.sinks ||
                a.run.decode_rule != b.run.decode_rule ||
                linear_of(a.run, &a.plan) != linear_of(b.run, &b.plan)))
    return false;
  return full || is_reference(a, "none") || is_reference(b, "none") ||
         (a.run.budget_fraction == b.run.budget_fraction &&
          a.run.budget_units == b.run.budget_units && a.run.granularity == b.run.granularity);
}

std::string setting_text(const OurRuns& ours, const Evaluation& evaluation) {
  const RunRow& run = evaluation.run;
  std::string text = fmt::format(
      "{} · {} {} · {} · rule {}", ours.data.models.at(evaluation.experiment.model_id).name,
      run.benchmark, config_text(run.benchmark_config_json),
      mixer_text(run.window, run.sinks, linear_of(run, &evaluation.plan)),
      to_string(run.decode_rule));
  if (run.budget_fraction) text += fmt::format(" · budget {:g}", *run.budget_fraction);
  if (run.budget_units) text += " · " + plural(*run.budget_units, "unit");
  if (!evaluation.training.empty()) text += " · tuned weights";
  return text;
}

// Where no budget is published, any may stand beside it.
bool fits(const Evaluation& evaluation, const PaperSetting& published) {
  return !published.fraction || is_at_budget(evaluation, published.fraction);
}

struct PublishedOrder {
  PaperOrder order;
  PaperSetting setting;  // of a column that counts
};

// In how many columns of our budget the first row is published above and below the second.
PublishedOrder published_order(const PaperTable& table, std::size_t first, std::size_t second,
                               const Evaluation& our_first, const Evaluation& our_second) {
  PublishedOrder out{.order = {.first = first, .second = second}, .setting = {}};
  PaperOrder& order = out.order;
  for (std::size_t column = 0; column < table.columns.size(); ++column) {
    const std::vector<double>& a = table.rows[first].values[column].values;
    const std::vector<double>& b = table.rows[second].values[column].values;
    const PaperSetting setting = table.setting_of(table.rows[first], column);
    if (a.size() != 1 || b.size() != 1 || !is_share(setting) || !fits(our_first, setting) ||
        !fits(our_second, table.setting_of(table.rows[second], column)))
      continue;
    if (a[0] > b[0]) ++order.above;
    if (a[0] < b[0]) ++order.below;
    if (a[0] == b[0]) continue;
    if (order.columns++ == 0) out.setting = setting;
  }
  return out;
}

void add_orders(const OurRuns& ours, const PaperTable& table, std::size_t table_index,
                std::vector<PaperOrder>& out) {
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    for (std::size_t j = i + 1; j < table.rows.size(); ++j) {
      const PaperRow &a = table.rows[i], &b = table.rows[j];
      // One random mask is no method.
      if (!a.strategy || !b.strategy || a.strategy == b.strategy || a.strategy == "random" ||
          b.strategy == "random" || !same_published(a, b))
        continue;
      std::set<std::string> seen;  // of several masks under one setting, the first
      for (const Evaluation* first : runs_of_method(ours, *a.strategy)) {
        for (const Evaluation* second : runs_of_method(ours, *b.strategy)) {
          if (first == second || !same_setting(*first, *second)) continue;
          auto [order, published] = published_order(table, i, j, *first, *second);
          if (order.columns == 0) continue;
          order.table = table_index;
          const Evaluation& budgeted =
              is_reference(*first, "full") || is_reference(*first, "none") ? *second : *first;
          order.setting = setting_text(ours, budgeted);
          if (!seen.insert(order.setting).second) continue;
          const auto answers = paired_answers(ours, *first, *second, published);
          if (!answers) continue;
          order.metric = answers->metric;
          order.run_ids = first->run.id + " " + second->run.id;
          order.sql = answers->sql;
          order.clusters = cluster_count(answers->clusters);
          order.difference =
              paired_estimate(answers->first, answers->second, {.clusters = answers->clusters});
          out.push_back(std::move(order));
        }
      }
    }
  }
}

}  // namespace

std::string_view to_string(PaperVerdict verdict) {
  switch (verdict) {
    case PaperVerdict::kReproduced: return "reproduced";
    case PaperVerdict::kDiffers: return "differs";
    case PaperVerdict::kNotComparable: return "not comparable";
    case PaperVerdict::kNotRun: return "not run";
    case PaperVerdict::kNoMethod: return "not run: method not in strata";
    case PaperVerdict::kConflicting: return "conflicting sources";
  }
  return "?";
}

std::string PaperOrder::verdict() const {
  const std::optional<Interval>& interval = difference.interval;
  if (clusters < kClustersForInference || !interval || (interval->low <= 0 && interval->high >= 0))
    return "not resolved";
  const std::size_t agreeing = difference.value > 0 ? above : below;
  if (agreeing == columns) return "holds";
  if (agreeing == 0) return "reversed";
  return fmt::format("holds in {} of {}", agreeing, columns);
}

Result<PaperComparison> compare_paper(const Paper& paper, const Store* store,
                                      const LeaderboardRequest& request) {
  std::optional<OurRuns> ours;
  if (store != nullptr) {
    ASSIGN_OR_RETURN(ours, our_runs(*store, request));
  }
  PaperComparison out;
  for (std::size_t t = 0; t < paper.tables.size(); ++t) {
    const PaperTable& table = paper.tables[t];
    for (std::size_t r = 0; r < table.rows.size(); ++r) {
      const PaperRow& row = table.rows[r];
      for (std::size_t c = 0; c < table.columns.size(); ++c) {
        if (row.values[c].values.empty()) continue;
        PaperLine line =
            compare_value(row, row.values[c], table.setting_of(row, c), ours ? &*ours : nullptr);
        line.table = t;
        line.row = r;
        line.column = c;
        out.lines.push_back(std::move(line));
      }
    }
    if (ours) add_orders(*ours, table, t, out.orders);
  }
  return out;
}

}  // namespace strata
