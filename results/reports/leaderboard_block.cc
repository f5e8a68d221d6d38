#include "results/reports/leaderboard_block.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/check.h"
#include "core/json_reader.h"
#include "results/inference.h"
#include "results/reports/format.h"
#include "results/reports/leaderboard_draws.h"
#include "results/reports/reference_claims.h"
#include "results/reports/selector_claims.h"

namespace strata {
namespace {

// The bounds of a setting that separates selections, and of rows that may be compared.
constexpr double kFloorAccuracy = 0.90;    // full attention should reach it
constexpr double kCeilingAccuracy = 0.20;  // `none` should stay below
constexpr double kTooEasyAccuracy = 0.70;  // the median random plan should stay below
constexpr double kPercent = 100;
constexpr double kRankAlpha = 0.05;
constexpr std::size_t kMostKeptDraws = 50'000'000;  // clusters; beyond, each number draws anew

using Members = std::vector<const Evaluation*>;

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

class BlockBuilder {
 public:
  BlockBuilder(const LeaderboardData& data, const BlockKey& key, const BlockMembers& members,
               const BlockTools& tools)
      : facts_(data.data.at(key.data_id)),
        clusters_(facts_.clusters),
        key_(key),
        all_(members),
        members_(members.budgeted),
        full_(members.full),
        none_(members.none),
        harm_(tools.harm) {
    bootstrap_ = {.seed = tools.bootstrap_seed, .clusters = clusters_};
    const std::size_t clusters = 1 + *std::max_element(clusters_.begin(), clusters_.end());
    if (clusters * static_cast<std::size_t>(bootstrap_.draws) <= kMostKeptDraws)
      bootstrap_.drawn =
          &tools.draws.try_emplace(clusters, clusters, bootstrap_.draws, bootstrap_.seed)
               .first->second;
    for (const SampleRow& sample : facts_.samples) {
      const std::optional<bool> beyond = is_beyond_window(sample, key.window);
      beyond_.push_back(beyond.value_or(false));
      block_.needles |= beyond.has_value();
    }
    for (const Evaluation* member : members_) {
      if (member->run.group == "random") random_.push_back(member);
      if (member->run.group == "periodic") periodic_.push_back(member);
    }
    // An offset's answers are the same whatever chose among them; the setting's own calibration
    // does where there is one.
    const auto transferred = [](const Evaluation* offset) { return !offset->transfer.empty(); };
    if (!std::all_of(periodic_.begin(), periodic_.end(), transferred))
      std::erase_if(periodic_, transferred);
    for (const Evaluation* offset : periodic_) {
      if (!offset->run.calibration_nll) continue;
      if (best_ == nullptr || *offset->run.calibration_nll < *best_->run.calibration_nll)
        best_ = offset;
    }
    describe(data.models.at(key.model_id));
  }

  LeaderboardBlock build() && {
    if (!key_.match) find_unmatched();
    add_ranked();
    for (const Granularity unit :
         {Granularity::kLayer, Granularity::kKvHead, Granularity::kQueryHead}) {
      add_group(of_unit(random_, unit), "random", "draws");
      add_group(of_unit(periodic_, unit), "periodic", "offsets");
    }
    for (const Evaluation* member : members_)
      if (member->run.group == "inverted")
        block_.rows.push_back(single(*member, RowKind::kControl, name_of(*member)));
    for (const Evaluation* reference : {full_, none_})
      if (reference != nullptr)
        block_.rows.push_back(single(*reference, RowKind::kReference, reference->name()));
    tell_apart();
    block_.generated = std::any_of(block_.rows.begin(), block_.rows.end(),
                                   [](const auto& row) { return row.gen_contains.has_value(); });
    if (!key_.match) {  // which are of one granularity and budget
      block_.claims = selector_claims(all_, clusters_, bootstrap_.seed);
      block_.comparisons = reference_comparisons(all_, clusters_, bootstrap_.seed, block_.notes);
    }
    mark_task();
    collect_signs();
    note_oracle();
    note_unmatched();
    if (std::any_of(members_.begin(), members_.end(),
                    [](const Evaluation* member) { return !member->transfer.empty(); }))
      block_.notes.emplace_back(
          "←: transfer, calibrated on another setting than the evaluated one");
    if (std::string note = single_seed_note(block_.claims); !note.empty())
      block_.notes.push_back(std::move(note));
    return std::move(block_);
  }

 private:
  static Members of_unit(const Members& members, Granularity unit) {
    Members out;
    std::copy_if(members.begin(), members.end(), std::back_inserter(out),
                 [&](const Evaluation* member) { return member->run.granularity == unit; });
    return out;
  }

  // Where a table holds several budgets and granularities, with the row's own.
  std::string name_of(const Evaluation& evaluation) const {
    if (!key_.match || is_reference(evaluation)) return evaluation.name();
    const Granularity unit = evaluation.run.granularity;
    return fmt::format("{} · {}", evaluation.name(),
                       plural(kept_units(evaluation.plan, unit), unit_name(unit)));
  }
  bool is_reference(const Evaluation& evaluation) const {
    return &evaluation == full_ || &evaluation == none_;
  }

  void describe(const ModelRow& model) {
    const Evaluation& any = members_.empty() ? (full_ != nullptr ? *full_ : *none_) : *members_[0];
    block_.model_name = model.name;
    block_.model_id = model.id;
    block_.benchmark = any.run.benchmark;
    block_.benchmark_config_json = any.run.benchmark_config_json;
    block_.split = key_.split;
    block_.by = key_.by;
    block_.data_id = key_.data_id;
    block_.samples = facts_.samples.size();
    block_.clusters = 1 + *std::max_element(clusters_.begin(), clusters_.end());
    block_.beyond_window =
        static_cast<std::size_t>(std::count(beyond_.begin(), beyond_.end(), true));
    const auto [shortest, longest] = std::minmax_element(
        facts_.samples.begin(), facts_.samples.end(),
        [](const SampleRow& a, const SampleRow& b) { return a.prompt_tokens < b.prompt_tokens; });
    block_.prompt_tokens_min = shortest->prompt_tokens;
    block_.prompt_tokens_max = longest->prompt_tokens;
    block_.window = key_.window;
    block_.sinks = key_.sinks;
    block_.linear = key_.linear;
    block_.decode_rule = key_.decode_rule;
    block_.granularity = key_.granularity;
    block_.budget_units = key_.budget;
    block_.units =
        std::int64_t{model.layout.layers} * model.layout.units_per_layer(key_.granularity);
    block_.match = key_.match;
    if (key_.match) {
      std::vector<double> values;
      for (const Evaluation* member : members_)
        values.push_back(
            mean(*key_.match == MatchOn::kKvBytes ? member->kv_bytes : member->prefill_flops));
      if (!values.empty()) block_.matched = quantile(values, 0.5);
    }
    Members everyone = members_;
    if (full_ != nullptr) everyone.push_back(full_);
    if (none_ != nullptr) everyone.push_back(none_);
    for (const Evaluation* member : everyone)
      for (const std::string& environment : member->environments)
        if (std::find(block_.devices.begin(), block_.devices.end(), environment) ==
            block_.devices.end())
          block_.devices.push_back(environment);
  }

  std::optional<Estimate> gap(const Evaluation& plan) const {
    if (full_ == nullptr || none_ == nullptr) return std::nullopt;
    if (full_->nll.empty() || none_->nll.empty() || plan.nll.empty()) return std::nullopt;
    return gap_closed(none_->nll, plan.nll, full_->nll, bootstrap_);
  }

  std::optional<Estimate> difference(const Evaluation& plan, const Evaluation* reference) const {
    if (reference == nullptr || reference == &plan || reference->nll.empty() || plan.nll.empty())
      return std::nullopt;
    return paired_estimate(plan.nll, reference->nll, bootstrap_);
  }

  std::optional<Estimate> share(const std::vector<double>& values) const {
    if (values.empty()) return std::nullopt;
    return share_estimate(values, bootstrap_);
  }

  // Clusters without a needle beyond the window are not among those that are drawn.
  std::optional<Estimate> share_beyond(const std::vector<double>& values) const {
    std::vector<double> kept;
    std::vector<std::size_t> clusters;
    std::map<std::size_t, std::size_t> numbers;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!beyond_[i]) continue;
      kept.push_back(values[i]);
      clusters.push_back(numbers.try_emplace(clusters_[i], numbers.size()).first->second);
    }
    if (kept.empty()) return std::nullopt;
    return share_estimate(kept, {.seed = bootstrap_.seed, .clusters = clusters});
  }

  std::vector<double> beyond_only(const std::vector<double>& values) const {
    std::vector<double> out;
    for (std::size_t i = 0; i < values.size(); ++i)
      if (beyond_[i]) out.push_back(values[i]);
    return out;
  }

  LeaderboardRow single(const Evaluation& evaluation, RowKind kind, std::string name) const {
    LeaderboardRow row;
    row.kind = kind;
    row.name = std::move(name);
    row.gap_closed = gap(evaluation);
    row.gen_contains = share(evaluation.gen_contains);
    row.gen_exact = share(evaluation.gen_exact);
    row.tf_exact = share(evaluation.tf_exact);
    row.gen_contains_beyond = share_beyond(evaluation.gen_contains);
    if (!evaluation.nll.empty()) row.answer_nll = mean_estimate(evaluation.nll, bootstrap_);
    row.text_nll_minus_full = harm_.of(evaluation);
    row.nll_minus_full = difference(evaluation, full_);
    row.nll_minus_periodic_best = difference(evaluation, best_);
    // (Full attention and none have no units: theirs are the table's.)
    const Members draws = key_.match ? of_unit(random_, evaluation.run.granularity) : random_;
    row.random_draws = draws.size();
    if (!draws.empty() && row.answer_nll) {
      row.beats_random = static_cast<std::size_t>(
          std::count_if(draws.begin(), draws.end(), [&](const Evaluation* draw) {
            return !draw->nll.empty() && mean(draw->nll) > row.answer_nll->value;
          }));
    }
    row.kv_share = kv_share(evaluation.plan);
    row.kv_bytes = mean(evaluation.kv_bytes);
    row.prefill_flops = mean(evaluation.prefill_flops);
    row.decode_flops = mean(evaluation.decode_flops);
    // Under `full` every cell keeps the whole cache, whatever the plan.
    if (key_.decode_rule == DecodeRule::kFull) row.kv_saved = 0;
    if (full_ != nullptr) {
      row.prefill_flops_share = mean(evaluation.prefill_flops) / mean(full_->prefill_flops);
      if (key_.decode_rule == DecodeRule::kSame)
        row.kv_saved = 1 - row.kv_bytes / mean(full_->kv_bytes);
    }
    if (!evaluation.prefill_ms.empty()) row.prefill_ms = quantile(evaluation.prefill_ms, 0.5);
    if (!evaluation.decode_ms.empty()) row.decode_ms = quantile(evaluation.decode_ms, 0.5);
    row.timed_samples = evaluation.prefill_ms.size();
    row.devices = {evaluation.environments.begin(), evaluation.environments.end()};
    if (!evaluation.peak_bytes.empty() &&
        evaluation.peak_bytes.size() == evaluation.kv_bytes.size())
      row.peak_bytes = std::ranges::max(evaluation.peak_bytes);
    row.supervision = "none";
    if (evaluation.selection) {
      row.selection_cost = evaluation.selection->cost;
      row.supervision = evaluation.selection->supervision;
    }
    row.strip = strip_of(evaluation.plan);
    row.run_ids = {evaluation.run.id};
    row.sources = {evaluation.source()};
    return row;
  }

  void add_group(const Members& group, std::string_view name, std::string_view noun) {
    std::vector<LeaderboardRow> draws;
    for (const Evaluation* member : group)
      draws.push_back(single(*member, RowKind::kControl, name_of(*member)));
    if (draws.size() == 1) draws[0].beats_random.reset();
    if (draws.size() == 1) block_.rows.push_back(draws[0]);
    if (draws.size() > 1) {
      const std::string of =
          key_.match ? fmt::format(" {}s", unit_name(group[0]->run.granularity)) : "";
      block_.rows.push_back(
          row_of_draws(draws, fmt::format("{}{} ({} {})", name, of, draws.size(), noun)));
    }
    // One of the offsets is periodic-best itself.
    if (name == "periodic" && !draws.empty()) block_.rows.back().nll_minus_periodic_best.reset();
    if (name == "random" && !draws.empty() && !random_median_) random_median_ = block_.rows.back();
  }

  void add_ranked() {
    struct Entry {
      LeaderboardRow row;
      const Evaluation* evaluation;
    };
    std::vector<Entry> entries;
    const auto add = [&](const Evaluation& evaluation, const std::string& name) {
      const RowKind kind =
          unmatched_.contains(&evaluation) ? RowKind::kUnmatched : RowKind::kRanked;
      entries.push_back({single(evaluation, kind, name), &evaluation});
    };
    for (const Evaluation* member : members_) {
      if (!is_control(*member)) add(*member, name_of(*member));
    }
    if (best_ != nullptr) add(*best_, kPeriodicBest + name_of(*best_));
    const auto order = [](const Entry& entry) {
      const double worst = -std::numeric_limits<double>::infinity();
      return std::pair(entry.row.kind == RowKind::kRanked,
                       entry.row.gap_closed ? entry.row.gap_closed->value : worst);
    };
    std::stable_sort(entries.begin(), entries.end(),
                     [&](const Entry& a, const Entry& b) { return order(a) > order(b); });
    std::vector<const Evaluation*> ranked;
    for (const Entry& entry : entries)
      if (entry.row.kind == RowKind::kRanked && entry.row.gap_closed)
        ranked.push_back(entry.evaluation);
    for (Entry& entry : entries) block_.rows.push_back(std::move(entry.row));
    rank(ranked);
  }

  // block_.rows begins with the rows of `ranked`, the largest gap first.
  void rank(const std::vector<const Evaluation*>& ranked) {
    const std::size_t n = ranked.size();
    const auto gap = [&](std::size_t i) { return block_.rows[i].gap_closed->value; };
    for (std::size_t i = 0; i < n; ++i)  // equal gaps share a place
      block_.rows[i].rank =
          i > 0 && gap(i) == gap(i - 1) ? *block_.rows[i - 1].rank : static_cast<int>(i) + 1;
    if (block_.clusters < kClustersForInference || n < 2) return;
    block_.rank_tests = n * (n - 1) / 2;
    std::vector<std::vector<double>> sums(n, std::vector<double>(block_.clusters, 0.0));
    for (std::size_t r = 0; r < n; ++r)
      for (std::size_t i = 0; i < clusters_.size(); ++i) sums[r][clusters_[i]] += ranked[r]->nll[i];
    const auto p = all_pairs_sign_flip(sums, {.seed = bootstrap_.seed});
    for (std::size_t r = 0; r < n; ++r) {
      int better = 0, worse = 0;
      for (std::size_t other = 0; other < n; ++other) {
        if (p[r][other] >= kRankAlpha) continue;
        (other < r ? better : worse) += 1;
      }
      block_.rows[r].rank = 1 + better;
      block_.rows[r].rank_last = static_cast<int>(n) - worse;
    }
  }

  // Rows of one label (say, other calibration seeds) get the beginning of their run's id.
  void tell_apart() {
    std::vector<std::string> names;
    for (const LeaderboardRow& row : block_.rows) names.push_back(row.name);
    for (LeaderboardRow& row : block_.rows)
      if (std::count(names.begin(), names.end(), row.name) > 1)
        row.name += " #" + row.run_ids[0].substr(0, 6);
  }

  void mark_task() {
    const auto value = [](const std::vector<double>& v) { return v.empty() ? NAN : mean(v); };
    const double full = full_ == nullptr ? NAN : value(full_->gen_contains);
    const double none = none_ == nullptr ? NAN : value(none_->gen_contains);
    const auto mark = [&]<typename... Args>(fmt::format_string<Args...> format, Args&&... args) {
      block_.marks.push_back(fmt::format(format, std::forward<Args>(args)...));
    };
    if (full < kFloorAccuracy)
      mark("floor: full attention answers {:.1f} % (below {:.0f} %)", full * kPercent,
           kFloorAccuracy * kPercent);
    if (none > kCeilingAccuracy)
      mark("ceiling: none answers {:.1f} % (above {:.0f} %)", none * kPercent,
           kCeilingAccuracy * kPercent);
    if (random_median_ && random_median_->gen_contains &&
        random_median_->gen_contains->value > kTooEasyAccuracy)
      mark("too easy: the median random plan answers {:.1f} % (above {:.0f} %)",
           random_median_->gen_contains->value * kPercent, kTooEasyAccuracy * kPercent);
    if (none_ != nullptr && key_.decode_rule == DecodeRule::kSame) {
      const std::vector<double> beyond = beyond_only(none_->gen_contains);
      if (!beyond.empty() && mean(beyond) > kCeilingAccuracy)
        mark("check: none answers {:.1f} % of the {} samples whose needle lies beyond the window",
             mean(beyond) * kPercent, beyond.size());
    }
    if (full_ == nullptr || none_ == nullptr)
      mark("no finished run of {}: the gap closed, and so the ranking, needs it",
           full_ != nullptr   ? "none"
           : none_ != nullptr ? "full"
                              : "full and none");
    if (block_.clusters < kClustersForInference)
      mark("{} clusters: fewer than {} do not support inference; read the intervals as spread only",
           block_.clusters, kClustersForInference);
    if (random_.empty() && !members_.empty())
      mark("no random draws: nothing here says what chance does");
    if (!random_.empty() && random_.size() < kDrawsForQuantiles)
      mark("random: {} draw{}, a distribution needs {}", random_.size(),
           random_.size() == 1 ? "" : "s", kDrawsForQuantiles);
    if (!periodic_.empty() && best_ == nullptr)
      mark("periodic-best: no offset has a calibration NLL, so there is no difference to it");
  }

  // Signs that the selections recorded, and the one that takes several runs to see.
  void collect_signs() {
    for (const Evaluation* member : members_) {
      std::vector<std::string> signs;
      if (member->selection)
        signs =
            signs_in(parse_json(member->selection->diagnostics_json).value_or(nlohmann::json()));
      if (member->run.group == "inverted" && random_median_ && random_median_->answer_nll &&
          !member->nll.empty() && mean(member->nll) < random_median_->answer_nll->value)
        signs.push_back(sentence({.name = "NLL",
                                  .expected = fmt::format("above the median random plan's {:.3f}",
                                                          random_median_->answer_nll->value),
                                  .found = fmt::format("{:.3f}", mean(member->nll))}));
      if (!signs.empty()) ++block_.suspects;
      for (const std::string& sign : signs) block_.signs.push_back(member->name() + ": " + sign);
    }
  }

  void note_oracle() {
    const Evaluation* oracle = nullptr;
    for (const Evaluation* offset : periodic_)
      if (!offset->nll.empty() && (oracle == nullptr || mean(offset->nll) < mean(oracle->nll)))
        oracle = offset;
    if (oracle != nullptr && periodic_.size() > 1)
      block_.notes.push_back(
          fmt::format("oracle: the best periodic offset on {0} is {1}, NLL {2:.3f} (chosen on "
                      "the {0} samples, so not ranked)",
                      key_.split, oracle->name(), mean(oracle->nll)));
  }

  void find_unmatched() {
    std::vector<double> bytes, flops;
    for (const Evaluation* member : members_) {
      bytes.push_back(mean(member->kv_bytes));
      flops.push_back(mean(member->prefill_flops));
    }
    if (members_.empty()) return;
    const double usual_bytes = quantile(bytes, 0.5);
    const double usual_flops = quantile(flops, 0.5);
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const double more_bytes = usual_bytes > 0 ? bytes[i] / usual_bytes - 1 : 0;
      const double more_flops = usual_flops > 0 ? flops[i] / usual_flops - 1 : 0;
      if (std::abs(more_bytes) <= kMatchTolerance && std::abs(more_flops) <= kMatchTolerance)
        continue;
      unmatched_[members_[i]] = fmt::format(
          "not matched, so not ranked: {} has {:+.1f} % KV bytes and {:+.1f} % prefill "
          "FLOPs of the median row",
          members_[i]->name(), more_bytes * kPercent, more_flops * kPercent);
    }
  }

  void note_unmatched() {
    for (const Evaluation* member : members_)
      if (const auto it = unmatched_.find(member); it != unmatched_.end())
        block_.notes.push_back(it->second);
  }

  const DataFacts& facts_;
  const std::vector<std::size_t>& clusters_;
  const BlockKey& key_;
  const BlockMembers& all_;
  const Members& members_;
  const Evaluation* full_;
  const Evaluation* none_;
  const HarmToText& harm_;
  const Evaluation* best_ = nullptr;                    // periodic-best
  std::map<const Evaluation*, std::string> unmatched_;  // and what to say of it
  Members random_, periodic_;
  std::optional<LeaderboardRow> random_median_;
  std::vector<bool> beyond_;
  BootstrapOptions bootstrap_;
  LeaderboardBlock block_;
};

}  // namespace

LeaderboardBlock build_block(const LeaderboardData& data, const BlockKey& key,
                             const BlockMembers& members, const BlockTools& tools) {
  return BlockBuilder(data, key, members, tools).build();
}

}  // namespace strata
