// The selectors that learn gates or differentiate them, on a tiny model.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "strategies/hard_concrete.h"
#include "tests/unit/strategies/tiny_selection.h"

namespace strata::testing {
namespace {

config::Value training(std::int64_t steps, std::int64_t batch) {
  config::Map keys;
  keys.set("steps", steps);
  keys.set("batch", batch);
  return config::Value(keys);
}

class LearnedTest : public TinySelectionTest {};

TEST_F(LearnedTest, ConsaPerLayerRefusesWhatItCannotChoose) {
  const auto layers = select("consa", {{"scope", "per_layer"}});
  ASSERT_FALSE(layers);
  EXPECT_EQ(layers.error().message,
            "strategy.scope=per_layer with granularity=layer: a layer has one unit, so there is "
            "nothing to choose");
  EXPECT_EQ(layers.error().hint, "use granularity=kv_head, or scope=global");
  request_.granularity = Granularity::kKvHead;
  request_.budget.units = 7;
  const auto seven = select("consa", {{"scope", "per_layer"}});
  ASSERT_FALSE(seven);
  EXPECT_EQ(seven.error().message,
            "strategy.scope=per_layer cannot keep 7 of 10 units equally in 5 layers");
  EXPECT_EQ(seven.error().hint,
            "choose budget.units as a multiple of the layers, or strategy.remainder=largest");
}

TEST_F(LearnedTest, ConsaPerLayerKeepsItsShareOfEveryLayer) {
  request_.granularity = Granularity::kKvHead;
  for (const int k : {5, 7, 3}) {
    request_.budget.units = k;
    const auto selection = select(
        "consa", {{"scope", "per_layer"}, {"remainder", "largest"}, {"training", training(4, 1)}});
    ASSERT_TRUE(selection) << selection.error().message;
    EXPECT_EQ(selection->mask.kept(), static_cast<std::size_t>(k));
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      const int kept = static_cast<int>(selection->mask.at(2 * layer)) +
                       static_cast<int>(selection->mask.at(2 * layer + 1));
      EXPECT_GE(kept, k / kLayers);  // what is left over goes to the highest scores anywhere
    }
  }
}

TEST_F(LearnedTest, ConsaMeetsItsConstraintAndShowsTheWay) {
  const auto selection = select(
      "consa", {{"mask_rate", 0.05}, {"multiplier_rate", 0.5}, {"training", training(400, 1)}});
  ASSERT_TRUE(selection) << selection.error().message;
  EXPECT_EQ(selection->mask.kept(), 2u);
  EXPECT_LE(selection->diagnostics["constraint_gap"].get<double>(), 0.01);
  EXPECT_FALSE(selection->diagnostics.contains("signs_of_a_bug")) << selection->diagnostics.dump();
  const nlohmann::json& curve = selection->training;
  for (const nlohmann::json& point : curve)
    for (const char* key : {"step", "loss", "expected_sparsity", "realised_sparsity", "target"})
      EXPECT_TRUE(point.contains(key) && point[key].is_number()) << key;
  const double target = HardConcrete{}.reachable_sparsity(2, kLayers);
  EXPECT_LT(curve[0]["target"].get<double>(), target / 10);
  EXPECT_NEAR(curve.back()["target"].get<double>(), target, 1e-12);
  EXPECT_NEAR(curve.back()["expected_sparsity"].get<double>(), target, 0.02);
  EXPECT_LT(curve[0]["expected_sparsity"].get<double>(), 0.1);
  // The gap is that of the written log alphas.
  double open = 0;
  for (const double log_alpha : selection->diagnostics["log_alpha"])
    open += HardConcrete{}.open_probability(log_alpha) / kLayers;
  EXPECT_NEAR(std::abs(1 - open - target), selection->diagnostics["constraint_gap"].get<double>(),
              1e-12);
}

TEST_F(LearnedTest, EverySelectionIsThatOfItsSeed) {
  const std::vector<std::pair<const char*, Keys>> methods = {
      {"consa", {{"training", training(6, 2)}}},
      {"duo_attention", {{"training", training(6, 2)}}},
      {"loza", {{"training", training(6, 2)}}},
      {"gate_path", {{"prompts", 0.4}}},
      {"quadratic_surrogate", {}},
      {"gradient_attribution", {}}};
  for (const auto& [name, keys] : methods) {
    SCOPED_TRACE(name);
    request_.seed = 1;
    const auto first = select(name, keys), again = select(name, keys);
    ASSERT_TRUE(first && again);
    EXPECT_EQ(first->mask, again->mask);
    EXPECT_EQ(first->scores->score, again->scores->score);
    EXPECT_EQ(first->training, again->training);
    EXPECT_EQ(first->diagnostics, again->diagnostics);
    if (std::string_view(name) == "gradient_attribution") continue;  // draws nothing
    request_.seed = 2;
    EXPECT_NE(select(name, keys)->scores->score, first->scores->score);
  }
}

// In a window as long as prompt and answer, gates would do nothing.
TEST_F(LearnedTest, DuoAttentionTrainsAtItsOwnWindowAndSelectsForTheEvaluatedOne) {
  const auto trained_at = [&](const Keys& own) {
    Keys keys = {{"training", training(20, 1)}};
    keys.insert(keys.end(), own.begin(), own.end());
    auto selection = select("duo_attention", keys);
    EXPECT_TRUE(selection);
    EXPECT_FALSE(selection->plan.has_value());  // the mask under the request's mixers
    return *std::move(selection);
  };
  const Selection evaluated = trained_at({});
  EXPECT_FALSE(evaluated.diagnostics.contains("signs_of_a_bug"));
  EXPECT_EQ(trained_at({{"window", kWindow}, {"sinks", kSinks}}).diagnostics["gates"],
            evaluated.diagnostics["gates"]);
  EXPECT_NE(trained_at({{"sinks", 0}}).diagnostics["gates"], evaluated.diagnostics["gates"]);
  const auto wide = select("duo_attention", {{"window", kPrompt + kAnswer - kSinks}});
  ASSERT_FALSE(wide);
  EXPECT_EQ(
      wide.error().message,
      "strategy.window + strategy.sinks: expected less than the longest calibration text of 44 "
      "tokens, got 42 + 2, so that gates change nothing");
  EXPECT_TRUE(select("duo_attention",
                     {{"window", kPrompt + kAnswer - kSinks - 1}, {"training", training(1, 1)}}));
}

TEST_F(LearnedTest, DuoAttentionSaysWhenMoreGatesEndOpenThanAreKept) {
  const auto selection = select("duo_attention", {{"lambda", 0.0}, {"training", training(3, 1)}});
  ASSERT_TRUE(selection);
  EXPECT_EQ(selection->diagnostics["warning"],
            "5 gates ended at 1 and 2 are kept: their order is noise; raise strategy.lambda");
}

// As a sweep does: the second budget costs nothing but what the first had cost.
TEST_F(LearnedTest, GatesAreTrainedOnceForAllBudgets) {
  MapScoreCache cache;
  cache_ = &cache;
  Meter first, second;
  const Keys keys = {{"training", training(4, 1)}};
  const auto two = select("duo_attention", keys, &first);
  request_.budget.units = 3;
  const auto three = select("duo_attention", keys, &second);
  ASSERT_TRUE(two && three);
  EXPECT_GT(first.flops, 0);
  EXPECT_EQ(second.flops, 0);
  EXPECT_EQ(three->reused_cost.flops, first.flops);
  EXPECT_EQ(three->training, two->training);
  EXPECT_EQ(three->mask.kept(), 3u);
}

TEST_F(LearnedTest, ATrainingIsIdentifiedByItsWholeConfiguration) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "strata_learned";
  std::filesystem::remove_all(folder);
  SilentProgress progress;
  MeteredModel metered(*model_);
  SelectionContext context{.model = &metered,
                           .calibration = &calibration_,
                           .checkpoint = folder / "consa.json",
                           .progress = &progress};
  const auto at_rate = [&](double rate) {
    return made("consa", {{"mask_rate", rate}, {"training", training(2, 1)}})
        ->select(request_, context);
  };
  ASSERT_TRUE(at_rate(0.1));
  EXPECT_TRUE(at_rate(0.1));
  const auto other = at_rate(0.2);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().where, std::vector<std::string>{context.checkpoint.string()});
  EXPECT_EQ(other.error().hint, "delete it to train from the first step");
  request_.budget.units = 3;  // the constraint is another
  EXPECT_FALSE(at_rate(0.1));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace strata::testing
