// Comparisons as pages.
#include <cmath>
#include "results/reports/block_render.h"
#include "results/reports/compare.h"

#include "results/reports/format.h"
#include "results/reports/row_source.h"

namespace strata {
namespace {

constexpr double kLargest = 1e6;  // that is written out; a database may hold any number

TextTable::Cell value_text(const std::optional<double>& value, int decimals = 4,
                           bool sign = false) {
  if (value && !(std::abs(*value) < kLargest))
    return shown(*value, sign ? fmt::format("{:+.4g}", *value) : fmt::format("{:.4g}", *value));
  return with_interval(value ? std::optional(Estimate{*value, {}}) : std::nullopt, 1, decimals,
                       sign);
}

TextTable::Cell difference_text(const Estimate& difference) {
  std::string out = value_text(difference.value, 4, true).text;
  if (const auto& interval = difference.interval)
    out += fmt::format(" [{}, {}]", value_text(interval->low, 4, true).text,
                       value_text(interval->high, 4, true).text);
  return {std::move(out), difference};
}

std::string equivalence_text(const MetricComparison& metric) {
  if (!metric.equivalence) return kNoValue;
  const EquivalenceTest& test = *metric.equivalence;
  const std::string needed = test.n_needed ? fmt::format(", n {}", *test.n_needed) : "";
  return fmt::format("{} (±{:g}{})", to_string(test.answer), *metric.margin, needed);
}

std::string about(const char* place, const ComparedRun& run) {
  return fmt::format("{}: {} · run {} · {} · plan {} · {}", place, run.label,
                     short_id(run.source.run_id), run.model_name, short_id(run.plan_id),
                     joined(run.environments, "; "));
}

std::string right_text(const std::optional<double>& right) {
  if (!right) return kNoValue;
  return *right == 1 ? "right" : *right == 0 ? "wrong" : value_text(right, 2).text;
}

TextTable metric_table(const RunComparison& comparison) {
  TextTable table{{{"metric", false},
                   {"samples"},
                   {"A"},
                   {"B"},
                   {"B − A"},
                   {"test", false},
                   {"p"},
                   {"Holm p"},
                   {"t p"},
                   {"detectable"},
                   {"equivalence", false}},
                  {}};
  for (const MetricComparison& metric : comparison.metrics)
    table.rows.push_back({metric.metric, fmt::format("{}", metric.samples),
                          value_text(metric.first), value_text(metric.second),
                          difference_text(metric.difference), metric.test, p_text(metric.p),
                          p_text(metric.holm_p), p_text(metric.paired_t_p),
                          value_text(metric.detectable), equivalence_text(metric)});
  return table;
}

TextTable changed_table(const RunComparison& comparison) {
  TextTable table{{{"sample", false},
                   {"A", false},
                   {"B", false},
                   {"ΔNLL"},
                   {"answer", false},
                   {"A said", false},
                   {"B said", false},
                   {"prompt ends", false}},
                  {}};
  for (const ChangedSample& sample : comparison.changed)
    table.rows.push_back({short_id(sample.sample_id), right_text(sample.first_right),
                          right_text(sample.second_right), value_text(sample.nll_change, 3, true),
                          sample.answer, sample.first_text, sample.second_text, sample.prompt_end});
  return table;
}

std::string changed_heading(const RunComparison& comparison) {
  std::vector<std::string> parts;
  if (!comparison.answer_metric.empty())
    parts.push_back(
        fmt::format("{} became right or wrong by {}",
                    plural(static_cast<std::int64_t>(comparison.changed_answers), "answer"),
                    comparison.answer_metric));
  if (comparison.texts > 0)
    parts.push_back(
        fmt::format("{} of {} texts differ", comparison.different_texts, comparison.texts));
  return fmt::format("{}; shown: {}", joined(parts, ", "), comparison.changed.size());
}

std::vector<std::string> footer() {
  return {
      fmt::format(
          "B − A over the samples that both answered, 95 %: t over independent samples, bootstrap "
          "over clusters else. McNemar (exact) where answers are 0/1 and samples independent; else "
          "sign flips of whole clusters (exact up to {} clusters, then 9,999 drawn with a fixed "
          "seed), from {} clusters on. t p: paired t test of independent samples.",
          kClustersForAllFlips, kClustersForInference),
      fmt::format(
          "detectable: the true difference that a test of this many samples finds with a power of "
          "80 %. equivalence: two one-sided t tests against the margin at 5 % (n: samples or "
          "clusters that a power of 80 % takes where there is no difference). Where samples share "
          "clusters both are of the unweighted means of clusters, while B − A is of samples. "
          "Inconclusive below {} clusters, and where all differences but those of 0/1 answers are "
          "the same; 0/1 answers that never changed are taken to vary as the margin would make "
          "them.",
          kClustersForInference),
      "A difference of two masks is no claim about the selectors that chose them: that takes "
      "calibration "
      "seeds (strata report claims)."};
}

}  // namespace

ReportPage compare_page(const RunComparison& comparison) {
  ReportPage page;
  std::string samples = fmt::format(
      "{} in common, {}", plural(static_cast<std::int64_t>(comparison.shared), "sample"),
      plural(static_cast<std::int64_t>(comparison.clusters), "cluster"));
  if (comparison.only_first + comparison.only_second > 0)
    samples += fmt::format(" · {} answered by A alone, {} by B alone", comparison.only_first,
                           comparison.only_second);
  PageSection metrics{"metrics",
                      {about("A", comparison.first), about("B", comparison.second), samples},
                      metric_table(comparison),
                      {}};
  if (comparison.first.plan_id == comparison.second.plan_id)
    metrics.notes.emplace_back("both runs have the same plan");
  page.sections.push_back(std::move(metrics));
  if (comparison.texts > 0 || !comparison.answer_metric.empty())
    page.sections.push_back(
        {"changed", {changed_heading(comparison)}, changed_table(comparison), {}});
  page.footer = footer();
  return page;
}

ReportPage compare_trace(const RunComparison& comparison) {
  const RowSource &first = comparison.first.source, &second = comparison.second.source;
  PageSection rows{
      "rows",
      {},
      {{{"side", false}, {"run", false}, {"experiment", false}, {"executions", false}}, {}},
      {}};
  for (const RowSource* source : {&first, &second}) {
    std::vector<std::string> executions;
    for (const auto& [execution, samples] : source->executions) executions.push_back(execution);
    rows.table.rows.push_back({source == &first ? "A" : "B", source->run_id, source->experiment_id,
                               joined(executions, " ")});
  }
  PageSection queries{"queries", {}, {{{"metric", false}, {"B − A"}, {"query", false}}, {}}, {}};
  for (const MetricComparison& metric : comparison.metrics) {
    const auto value = [&](const char* of) {
      return metric.metric == "answer_nll"
                 ? fmt::format("(SELECT avg(value) FROM json_each({}.answer_nll_json))", of)
                 : fmt::format("{}.metrics_json ->> '{}'", of, metric.metric);
    };
    queries.table.rows.push_back(
        {metric.metric, value_text(metric.difference.value, 6),
         fmt::format("SELECT avg({} - {}) FROM (SELECT * FROM responses {}) AS a JOIN (SELECT * "
                     "FROM responses {}) AS b USING (sample_id);",
                     value("b"), value("a"), where(first), where(second))});
  }
  return {{std::move(rows), std::move(queries)}, {}};
}

ReportPage compare_page(const DatabaseComparison& comparison) {
  PageSection section{
      "pairs",
      {fmt::format("{} of the same question in both databases; Holm over all of them",
                   plural(static_cast<std::int64_t>(comparison.pairs.size()), "run"))},
      {{{"run", false},
        {"A", false},
        {"B", false},
        {"samples"},
        {"plan", false},
        {"texts differ"},
        {"right ↔ wrong"},
        {"NLL A"},
        {"NLL B"},
        {"B − A"},
        {"p"},
        {"Holm p"}},
       {}},
      comparison.notes};
  const auto counted = [](std::size_t n, bool compared) {
    return compared ? fmt::format("{}", n) : std::string(kNoValue);
  };
  for (std::size_t i = 0; i < comparison.pairs.size(); ++i) {
    const RunComparison& pair = comparison.pairs[i];
    const bool same = pair.first.plan_id == pair.second.plan_id;
    TextTable::Row cells = {pair.first.label,
                            short_id(pair.first.source.run_id),
                            short_id(pair.second.source.run_id),
                            fmt::format("{}", pair.shared),
                            same ? "same" : "other",
                            counted(pair.different_texts, pair.texts > 0),
                            counted(pair.changed_answers, !pair.answer_metric.empty())};
    TextTable::Row scored(5, kNoValue);
    if (const MetricComparison* nll = pair.nll())
      scored = {value_text(nll->first), value_text(nll->second), difference_text(nll->difference),
                p_text(nll->p), p_text(comparison.nll_holm[i])};
    cells.insert(cells.end(), scored.begin(), scored.end());
    section.table.rows.push_back(std::move(cells));
  }
  ReportPage page{{std::move(section)}, footer()};
  page.footer.insert(
      page.footer.begin(),
      "'strata report compare A B db=FILE' with two runs of one database shows every "
      "metric and the samples that changed.");
  return page;
}

}  // namespace strata
