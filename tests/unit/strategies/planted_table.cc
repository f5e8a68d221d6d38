#include "tests/unit/strategies/planted_table.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "strategies/registry.h"

namespace strata::testing {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Ge;
using ::testing::Le;
using ::testing::Not;

std::vector<Problem> problems() {
  constexpr Granularity kLayer = Granularity::kLayer, kKvHead = Granularity::kKvHead;
  return {{"add", kLayer, {{2, 5}}, 1.0 / 28, 6},        {"and", kLayer, {{2, 5}}, 1.0 / 28, 6},
          {"or", kLayer, {{2, 5}, {4, 5}}, 1.0 / 14, 6}, {"harm", kLayer, {{2, 5}}, 1.0 / 28, 6},
          {"and3", kLayer, {{1, 4, 6}}, 1.0 / 56, 6},    {"kv_twin", kLayer, {{4}}, 1.0 / 8, 5},
          {"kv_twin", kKvHead, {{5, 8}}, 1.0 / 120, 5}};
}

std::string name_of(const Problem& problem) {
  return fmt::format("{}_{}", problem.name, to_string(problem.granularity));
}

std::vector<Cell> cells_of(const std::vector<Method>& methods) {
  std::vector<Cell> cells;
  for (const Method& method : methods) {
    STRATA_CHECK(method.outcomes.size() == problems().size());
    for (std::size_t i = 0; i < method.outcomes.size(); ++i)
      if (method.outcomes[i].verdict != Verdict::kUntried)
        cells.push_back({i, method, method.outcomes[i]});
  }
  return cells;
}

std::string name_of(const Cell& cell) {
  std::string name = cell.method.name + "_on_" + name_of(problems()[cell.problem]);
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

PlantedBench::PlantedBench(std::size_t problem, const std::string& dtype)
    : problem_(problems()[problem]),
      loaded_(loaded(problem_.name, dtype)),
      planted_(loaded_.planted),
      truth_(planted_.at(problem_.granularity)),
      request_({.layout = planted_.model->layout(),
                .granularity = problem_.granularity,
                .cheap = planted_.cheap}) {
  calibration_.samples = planted_.calibration.samples;
  calibration_.samples.resize(problem_.samples);
  calibration_.id = content_id(calibration_.samples);
  request_.budget.units = static_cast<std::int64_t>(truth_.units);
}

PlantedBench::Loaded& PlantedBench::loaded(const std::string& name, const std::string& dtype) {
  static std::map<std::pair<std::string, std::string>, Loaded> all;
  const auto [it, is_new] = all.try_emplace({name, dtype});
  if (is_new) it->second.planted = load_planted(name, dtype);
  return it->second;
}

Selection PlantedBench::select(const PlantedKeys& keys) {
  config::Map map;
  for (const auto& [key, value] : keys) map.set(key, value);
  MeteredModel metered(*planted_.model);
  SelectionContext context{.model = &metered,
                           .calibration = &calibration_,
                           .cache = &loaded_.cache,
                           .progress = &progress_};
  auto selection = (*make_strategy(config::Value(map)))->select(request_, context);
  STRATA_CHECK(selection.has_value(), "{}", selection.error().text());
  return *std::move(selection);
}

void PlantedBench::expect_outcome(const Outcome& outcome, const Selection& selection) const {
  const Units kept = selection.mask.kept_units();
  switch (outcome.verdict) {
    case Verdict::kSolves: EXPECT_THAT(problem_.best, Contains(kept)); break;
    case Verdict::kBlind:
      ASSERT_TRUE(selection.scores.has_value());
      EXPECT_THAT(selection.scores->score, Each(AllOf(Ge(-kPlantedNoise), Le(kPlantedNoise))));
      EXPECT_THAT(problem_.best, Not(Contains(kept)));
      break;
    case Verdict::kAvoids:
      for (const Units& set : problem_.best)
        for (const std::size_t unit : outcome.units.empty() ? set : outcome.units)
          EXPECT_THAT(kept, Not(Contains(unit)));
      EXPECT_THAT(problem_.best, Not(Contains(kept)));
      break;
    case Verdict::kPicks:
      EXPECT_EQ(kept, outcome.units);
      EXPECT_THAT(problem_.best, Not(Contains(kept)));
      break;
    case Verdict::kDrifts: expect_drift(selection); break;
    case Verdict::kUntried: FAIL() << "a cell that is not tried";
  }
}

void PlantedBench::expect_drift(const Selection& selection) const {
  constexpr double kStart = 0.5;  // of every gate
  double idle = 0, planted = 0;
  for (std::size_t u = 0; u < selection.mask.size(); ++u) {
    const bool is_idle = truth_.restore[u] == 0 && truth_.ablate[u] == 0;
    double& furthest = is_idle ? idle : planted;
    furthest = std::max(furthest, std::abs(selection.scores->score[u] - kStart));
  }
  EXPECT_GT(idle, planted / 3);
}

}  // namespace strata::testing
