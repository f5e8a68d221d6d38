#include "results/reports/leaderboard.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "core/json_reader.h"
#include "results/reports/leaderboard_block.h"
#include "results/reports/matching_runs.h"

namespace strata {
namespace {

// What was asked and how the answers were generated, whichever samples were drawn.
nlohmann::json question_of(const Evaluation& evaluation) {
  auto benchmark = parse_json(evaluation.run.benchmark_config_json).value_or(nlohmann::json());
  if (benchmark.is_object())
    for (const char* key : {"samples", "seed", "split"}) benchmark.erase(key);
  auto generation = parse_json(evaluation.experiment.generation_json).value_or(nlohmann::json());
  if (generation.is_object()) generation.erase("limit");  // follows from the samples' answers
  return {evaluation.run.benchmark, benchmark, generation};
}

using Blocks = std::map<BlockKey, BlockMembers>;

// Runs on development samples of a test block's setting.
std::vector<const Evaluation*> development_of(const BlockKey& key, const BlockMembers& members,
                                              const Blocks& blocks) {
  std::vector<const Evaluation*> out;
  if (key.split != kTestSplit || members.budgeted.empty()) return out;
  const nlohmann::json question = question_of(*members.budgeted[0]);
  for (const auto& [other, development] : blocks)
    if (other.split == kDevelopmentSplit && key.same_setting(other))
      std::copy_if(
          development.budgeted.begin(), development.budgeted.end(), std::back_inserter(out),
          [&](const Evaluation* evaluation) { return question_of(*evaluation) == question; });
  return out;
}

// The same evaluations in tables of all budgets and granularities: sorted by the measure, each
// takes what is at most 1 % above its first.
Blocks banded(const Blocks& blocks, MatchOn measure) {
  const auto value = [&](const Evaluation* evaluation) {
    return mean_of(measure == MatchOn::kKvBytes ? evaluation->kv_bytes : evaluation->prefill_flops)
        .value;
  };
  Blocks pooled;
  for (const auto& [key, members] : blocks) {
    BlockKey any = key;
    any.granularity = Granularity::kLayer;
    any.budget = 0;
    any.match = measure;
    auto& all = pooled[any].budgeted;
    all.insert(all.end(), members.budgeted.begin(), members.budgeted.end());
  }
  Blocks out;
  for (auto& [key, members] : pooled) {
    std::stable_sort(members.budgeted.begin(), members.budgeted.end(),
                     [&](const Evaluation* a, const Evaluation* b) { return value(a) < value(b); });
    BlockKey band = key;
    double first = 0;
    for (const Evaluation* evaluation : members.budgeted) {
      if (band.budget == 0 || value(evaluation) > first * (1 + kMatchTolerance)) {
        ++band.budget;
        first = value(evaluation);
      }
      out[band].budgeted.push_back(evaluation);
    }
  }
  return out;
}

}  // namespace

BlockKey key_of(const Evaluation& evaluation) {
  const RunRow& run = evaluation.run;
  const ExperimentRow& experiment = evaluation.experiment;
  return {.model_id = evaluation.training.empty() ? experiment.model_id : evaluation.training,
          .tokenizer_id = experiment.tokenizer_id,
          .generation = experiment.generation_json,
          .data_id = experiment.data_id,
          .split = evaluation.split,
          .numerics_version = experiment.numerics_version,
          .window = run.window,
          .sinks = run.sinks,
          .linear = linear_of(run, &evaluation.plan),
          .decode_rule = run.decode_rule,
          .granularity = run.granularity,
          .budget = run.budget_units.value_or(kept_units(evaluation.plan, run.granularity)),
          .by = evaluation.by,
          .match = {}};
}

std::string_view to_string(MatchOn measure) {
  return measure == MatchOn::kKvBytes ? "kv_bytes" : "prefill_flops";
}

Result<MatchOn> parse_match_on(std::string_view text) {
  for (const MatchOn measure : {MatchOn::kKvBytes, MatchOn::kPrefillFlops})
    if (text == to_string(measure)) return measure;
  return fail(ErrorKind::kInvalidArgument, "expected kv_bytes or prefill_flops, got '{}'", text);
}

Result<LeaderboardTable> leaderboard_of(const LeaderboardData& data,
                                        const LeaderboardRequest& request) {
  Blocks blocks;
  std::map<BlockKey, const Evaluation*> fulls, nones;  // runs come by start: the latest stays
  for (const Evaluation& evaluation : data.evaluations) {
    if (!evaluation.shown) continue;
    const BlockKey key = key_of(evaluation);
    if (evaluation.run.group == "full")
      fulls[key] = &evaluation;
    else if (evaluation.run.group == "none")
      nones[key] = &evaluation;
    else if (!request.budget_units || key.budget == *request.budget_units)
      blocks[key].budgeted.push_back(&evaluation);
  }
  if (request.match) blocks = banded(blocks, *request.match);
  const auto any_block = [&](auto&& matches) {
    return std::any_of(blocks.begin(), blocks.end(),
                       [&](const auto& block) { return matches(block.first); });
  };
  // References that nothing is compared with still make a block of their own, unless a filter asks
  // for less.
  const bool filtered = request.window || request.decode_rule || request.budget_units ||
                        !request.where.empty() || !request.by.empty();
  const auto reference_block = [&](BlockKey key) {
    key.granularity = Granularity::kLayer;
    key.budget = 0;
    blocks[key];
  };
  for (const auto& none : nones)
    if (!filtered &&
        !any_block([&](const BlockKey& other) { return none.first.same_mixer(other); }))
      reference_block(none.first);
  for (const auto& full : fulls)
    if (!filtered && !any_block([&](const BlockKey& other) { return full.first.same_task(other); }))
      reference_block(full.first);
  if (blocks.empty())
    return fail(make_error(ErrorKind::kNotFound, "no finished run to show")
                    .with_hint(data.notes.empty() ? "'strata run' records runs; check the filters"
                                                  : data.notes[0]));
  LeaderboardTable table;
  const HarmToText harm(data, request.bootstrap_seed);
  std::map<std::size_t, ClusterDraws> draws;
  const BlockTools tools{harm, draws, request.bootstrap_seed};
  for (auto& [key, members] : blocks) {
    for (const auto& [other, evaluation] : fulls)
      if (key.same_task(other)) members.full = evaluation;
    for (const auto& [other, evaluation] : nones)
      if (key.same_mixer(other)) members.none = evaluation;
    if (!key.match) members.development = development_of(key, members, blocks);
    table.blocks.push_back(build_block(data, key, members, tools));
  }
  // Keys order data sets by their ids, which say nothing to a reader: test before development,
  // shorter prompts first.
  std::stable_sort(table.blocks.begin(), table.blocks.end(),
                   [](const LeaderboardBlock& a, const LeaderboardBlock& b) {
                     const auto order = [](const LeaderboardBlock& block) {
                       return std::tuple(block.model_id, block.benchmark, block.split != kTestSplit,
                                         block.prompt_tokens_min);
                     };
                     if (order(a) != order(b)) return order(a) < order(b);
                     // One key's values as numbers.
                     const std::size_t value = a.by.rfind('=') + 1;
                     if (a.by.substr(0, value) != b.by.substr(0, value)) return a.by < b.by;
                     return NaturalLess()(a.by.substr(value), b.by.substr(value));
                   });
  table.notes = data.notes;
  return table;
}

Result<LeaderboardTable> leaderboard(const Store& store, const LeaderboardRequest& request) {
  ASSIGN_OR_RETURN(const LeaderboardData data, load_leaderboard_data(store, request));
  auto table = leaderboard_of(data, request);
  if (!table) return fail(std::move(table).error().at(store.path()));
  return table;
}

}  // namespace strata
