// The selectors that learn gates or differentiate them, on a tiny model.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "strategies/hard_concrete.h"
#include "tests/unit/models/mixer_outputs.h"
#include "tests/unit/strategies/tiny_selection.h"
#include "tests/unit/strategies/training_keys.h"

namespace strata::testing {
namespace {

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
      {"flashmorph", {{"training", training(6, 2)}}},
      {"flashmorph", {{"stream", "single"}, {"training", training(6, 2)}}},
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

// D of each layer, by plans that window it alone: a mean over prompts and answer positions of the
// squared distance of what it adds, or of that by the square of what it is compared with.
class FlashMorphTest : public TinySelectionTest {
 protected:
  std::vector<double> distances(bool normalised, bool residual) const {
    std::vector<double> sums(kLayers, 0.0);
    for (const Sample& sample : calibration_.samples) {
      Tokens text = sample.prompt;
      text.insert(text.end(), sample.answer.begin(), sample.answer.end());
      const auto outputs = [&](const Mask& mask) {
        return mixer_outputs(*model_, text, kPrompt, *request_.plan(mask), kAnswer);
      };
      const auto square = [](const at::Tensor& x) { return x.square().sum().item<double>(); };
      const Mask all(Granularity::kLayer, request_.layout, true);
      const MixerOutputs teacher = outputs(all);
      for (std::size_t layer = 0; layer < kLayers; ++layer) {
        const at::Tensor windowed = outputs(all.with(layer, false)).out_NC[layer];
        const at::Tensor& out = teacher.out_NC[layer];
        const double scale =
            normalised ? square(residual ? teacher.stream_NC[layer] + out : out) : kAnswer;
        sums[layer] += square(windowed - out) / scale / kSamples;
      }
    }
    return sums;
  }
};

// α = clip(1 − λL/(2D), 0, 1), whatever the shape of the rate and whichever half is aligned; λ so
// that some gates shut.
TEST_F(FlashMorphTest, ASingleStreamConvergesToItsClosedForm) {
  struct Case {
    const char *normalise, *aligned, *schedule;
  };
  for (const auto& [normalise, aligned, schedule] :
       {Case{"none", "mixer_output", "cosine"}, Case{"per_layer", "mixer_output", "cosine"},
        Case{"per_layer", "residual", "trapezoid"}}) {
    const std::vector<double> d = distances(std::string_view(normalise) == "per_layer",
                                            std::string_view(aligned) == "residual");
    const auto [lambda, expected] = closed_form(d);
    EXPECT_EQ(std::count(expected.begin(), expected.end(), 0.0), 1);
    const auto selection = select("flashmorph", {{"stream", "single"},
                                                 {"normalise", normalise},
                                                 {"aligned", aligned},
                                                 {"schedule", schedule},
                                                 {"lambda", lambda},
                                                 {"training", training(250, kSamples)}});
    ASSERT_TRUE(selection) << selection.error().message;
    EXPECT_FALSE(selection->diagnostics.contains("signs_of_a_bug"));
    EXPECT_FALSE(selection->diagnostics.contains("warning"));
    for (std::size_t layer = 0; layer < kLayers; ++layer)
      EXPECT_NEAR(selection->scores->score[layer], expected[layer], 2e-3) << layer;
    EXPECT_EQ(highest(selection->scores->score, 4), highest(d, 4));
    std::vector<std::size_t> kept = highest(d, 2);
    std::sort(kept.begin(), kept.end());
    EXPECT_EQ(selection->mask.kept_units(), kept);
    // The curve ends at the loss of the closed form.
    double loss = 0;
    for (std::size_t layer = 0; layer < kLayers; ++layer)
      loss += (1 - expected[layer]) * (1 - expected[layer]) * d[layer] / kLayers;
    EXPECT_NEAR(selection->training.back()["loss"].get<double>(), loss, 0.01 * loss);
  }
}

// Where damage reaches the layers above, gates end elsewhere.
TEST_F(FlashMorphTest, StreamsAndComparisonsAreDifferentTrainings) {
  std::vector<std::vector<double>> all;
  const Keys variants = {{"stream", "single"},       {"kept", "mixed"},     {"aligned", "residual"},
                         {"normalise", "per_layer"}, {"positions", "text"}, {"kept", "teacher"}};
  const std::vector<std::string> labels = {"flashmorph[single]",   "flashmorph[mixed]",
                                           "flashmorph[residual]", "flashmorph[per_layer]",
                                           "flashmorph[text]",     "flashmorph"};
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const Keys keys = {variants[i], {"training", training(20, 1)}};
    EXPECT_EQ(made("flashmorph", keys)->label(), labels[i]);
    const auto selection = select("flashmorph", keys);
    ASSERT_TRUE(selection);
    for (const std::vector<double>& other : all) EXPECT_NE(selection->scores->score, other);
    all.push_back(selection->scores->score);
  }
}

TEST_F(FlashMorphTest, SaysWhereTheClampsLeaveNoOrder) {
  const auto at = [&](double lambda, int units) {
    request_.budget.units = units;
    return *select("flashmorph",
                   {{"lambda", lambda}, {"rate", 0.1}, {"training", training(30, 1)}});
  };
  const Selection open = at(0, 2), shut = at(1e3, 2);
  EXPECT_EQ(open.diagnostics["warning"],
            "5 gates ended at 1 and 2 of them are kept: their order is noise; raise "
            "strategy.lambda");
  EXPECT_EQ(shut.diagnostics["warning"],
            "5 gates ended at 0 and 2 of them are kept: their order is noise; lower "
            "strategy.lambda");
  for (const Selection* selection : {&open, &shut})
    EXPECT_EQ(selection->diagnostics["signs_of_a_bug"].size(), 2u) << selection->diagnostics.dump();
  EXPECT_EQ(shut.mask.kept(), 2u);
  request_.budget.mode = BudgetMode::kAtMost;
  EXPECT_EQ(at(1e3, 2).mask.kept(), 1u);  // what is shut is not worth keeping, but never nothing
}

TEST_F(FlashMorphTest, ASingleStreamHasNoMixedBranch) {
  const auto selection = select("flashmorph", {{"stream", "single"}, {"kept", "mixed"}});
  ASSERT_FALSE(selection);
  EXPECT_EQ(selection.error().message,
            "strategy.kept=mixed with strategy.stream=single: expected teacher, since a single "
            "stream is the teacher's");
  EXPECT_EQ(selection.error().hint, "leave strategy.kept out, or strategy.stream=two");
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
