// Every selector with linear branches as the cheap mixer, on a tiny model: it selects, or says why
// it does not. FlashMorph in its paper's setting: single stream against its closed form, two
// streams.
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "models/training/weight_training.h"
#include "strategies/config_registry.h"
#include "strategies/model_checks.h"
#include "tests/unit/models/branch_fixture.h"
#include "tests/unit/models/mixer_outputs.h"
#include "tests/unit/strategies/tiny_selection.h"
#include "tests/unit/strategies/training_keys.h"

namespace strata::testing {
namespace {

using ::testing::HasSubstr;

class LinearMixerTest : public TinySelectionTest {
 protected:
  LinearMixerTest() {
    attach(LinearKind::kGatedDeltaNet);
    request_.native = model_->native_plan();
    for (Sample& sample : calibration_.samples) {
      sample.metadata["needle"] = {10, 12};
      sample.metadata["haystack_tokens"] = {2, 36};
      const TokenId other = (sample.prompt[11] + 1) % 11;
      sample.metadata["counterfactual"] = {
          {"tokens", {{11, other}}},
          {"answer", Tokens(sample.answer.rbegin(), sample.answer.rend())}};
    }
  }

  // As a conversion starts them, moved so that no two layers are alike.
  void attach(LinearKind kind) {
    Rng rng(17, "branches");
    std::vector<LayerBranch> branches;
    for (int layer = 0; layer < kLayers; ++layer) {
      branches.push_back(LayerBranch::initial(architecture_, weights_, layer, {.kind = kind}));
      for (const BranchPart& part : branches.back().parts())
        part.tensor->add_(normal_tensor(part.tensor->sizes(), rng, 0.08 * layer));
    }
    model_ = Model::in_memory("branched", architecture_, weights_, std::move(branches));
    request_.cheap = LinearAttention{kind};
  }

  // D of each layer: what its branch makes of the unmodified model's input to the layer, against
  // what its attention makes of it.
  std::vector<double> distances(bool normalised, bool residual) const {
    std::vector<double> sums(kLayers, 0.0);
    const AttentionPlan full = AttentionPlan::full(request_.layout);
    for (const Sample& sample : calibration_.samples) {
      Tokens text = sample.prompt;
      text.insert(text.end(), sample.answer.begin(), sample.answer.end());
      const MixerOutputs teacher = mixer_outputs(*model_, text, kPrompt, full, 0);
      const auto square = [](const at::Tensor& x_NC) {
        return x_NC.narrow(0, x_NC.size(0) - kAnswer, kAnswer).square().sum().item<double>();
      };
      for (int layer = 0; layer < kLayers; ++layer) {
        const auto i = static_cast<std::size_t>(layer);
        const Decoder& decoder = model_->decoder();
        const LayerBranch& branch = *decoder.branch(layer);
        const at::Tensor linear_NC =
            branch
                .forward(decoder.mixer_input(teacher.stream_NC[i], layer).unsqueeze(0),
                         branch.make_state(1))
                .out_BNC.squeeze(0);
        const at::Tensor compared =
            residual ? teacher.stream_NC[i] + teacher.out_NC[i] : teacher.out_NC[i];
        sums[i] += square(linear_NC - teacher.out_NC[i]) /
                   (normalised ? square(compared) : double{kAnswer}) /
                   static_cast<double>(calibration_.samples.size());
      }
    }
    return sums;
  }
};

TEST_F(LinearMixerTest, ASingleStreamOfFlashMorphConvergesToItsClosedForm) {
  struct Case {
    LinearKind kind;
    const char *normalise, *aligned, *schedule;
  };
  for (const auto& [kind, normalise, aligned, schedule] :
       {Case{LinearKind::kLightning, "none", "mixer_output", "cosine"},
        Case{LinearKind::kLightning, "per_layer", "mixer_output", "cosine"},
        Case{LinearKind::kGatedDeltaNet, "per_layer", "residual", "trapezoid"}}) {
    attach(kind);
    calibration_.samples.resize(1);
    const std::vector<double> d = distances(std::string_view(normalise) == "per_layer",
                                            std::string_view(aligned) == "residual");
    const auto [lambda, expected] = closed_form(d);
    EXPECT_EQ(std::count(expected.begin(), expected.end(), 0.0), 1);
    const auto selection = select("flashmorph", {{"stream", "single"},
                                                 {"normalise", normalise},
                                                 {"aligned", aligned},
                                                 {"schedule", schedule},
                                                 {"lambda", lambda},
                                                 {"rate", 0.03},
                                                 {"training", training(160, 1)}});
    ASSERT_TRUE(selection) << selection.error().message;
    EXPECT_FALSE(selection->diagnostics.contains("signs_of_a_bug"));
    for (std::size_t layer = 0; layer < kLayers; ++layer)
      EXPECT_NEAR(selection->scores->score[layer], expected[layer], 2e-3) << layer;
    const std::vector<std::size_t> kept = highest(d, 2);
    EXPECT_EQ(selection->mask.kept_units(), kept);
  }
}

// Damage from below changes what a layer is worth.
TEST_F(LinearMixerTest, TwoStreamsOfFlashMorphSelectAndDifferFromOne) {
  for (const LinearKind kind : {LinearKind::kLightning, LinearKind::kGla}) {
    attach(kind);
    const std::vector<double> d = distances(false, false);
    const double lambda = *std::min_element(d.begin(), d.end()) / kLayers;
    std::vector<std::vector<double>> all;
    for (const Keys& keys : std::vector<Keys>{{{"stream", "single"}}, {}, {{"kept", "mixed"}}}) {
      Keys whole = {{"lambda", lambda}, {"rate", 0.05}, {"training", training(4, 2)}};
      whole.insert(whole.end(), keys.begin(), keys.end());
      const auto selection = select("flashmorph", whole);
      ASSERT_TRUE(selection) << selection.error().message;
      EXPECT_EQ(selection->mask.kept(), 2u);
      if (keys.empty()) {
        EXPECT_EQ(selection->scores->score, select("flashmorph", whole)->scores->score);
      }
      EXPECT_TRUE(model_->check_mixers(*request_.plan(selection->mask)));
      for (const std::vector<double>& other : all) EXPECT_NE(selection->scores->score, other);
      all.push_back(selection->scores->score);
    }
  }
}

TEST_F(LinearMixerTest, EverySearcherOfNllGuidedRuns) {
  std::vector<double> restored;
  for (const char* mode : {"restore", "ablate"})
    for (const char* searcher : {"top_k", "greedy", "beam", "racing", "swap", "bidirectional"}) {
      const auto selection = select("nll_guided", {{"mode", mode}, {"searcher", searcher}});
      if (!selection) {  // some searchers know one direction alone
        EXPECT_EQ(selection.error().kind, ErrorKind::kInvalidArgument) << selection.error().text();
        continue;
      }
      EXPECT_EQ(selection->mask.kept(), 2u);
      if (std::string_view(mode) == "restore" && std::string_view(searcher) == "top_k")
        restored = selection->scores->score;
    }
  // Toggles that resume at their layer say what whole passes say.
  const auto whole = select("nll_guided", {{"mode", "restore"}, {"reuse", false}});
  ASSERT_TRUE(whole);
  for (std::size_t layer = 0; layer < kLayers; ++layer)
    EXPECT_NEAR(whole->scores->score[layer], restored[layer], 1e-6);
}

TEST_F(LinearMixerTest, SingleHeadsAreSelectedToo) {
  request_.granularity = Granularity::kQueryHead;
  request_.budget.units = 5;
  for (const char* name : {"nll_guided", "hydra_head", "gradient_attribution", "flashmorph"}) {
    Keys keys;
    if (std::string_view(name) == "hydra_head") keys = {{"min_margin", 1e-9}};
    if (std::string_view(name) == "flashmorph") keys = {{"training", training(2, 1)}};
    const auto selection = select(name, keys);
    ASSERT_TRUE(selection) << selection.error().text();
    EXPECT_EQ(selection->mask.kept(), 5u);
    EXPECT_TRUE(model_->check_mixers(*request_.plan(selection->mask)));
  }
}

// Open gates, a resumed hybrid that keeps all, patching, gradients and their integral.
TEST_F(LinearMixerTest, ASoundModelWithBranchesShowsNoSignOfABug) {
  attach(LinearKind::kLightning);
  MeteredModel metered(*model_);
  SilentProgress progress;
  SelectionContext context{.model = &metered, .calibration = &calibration_, .progress = &progress};
  Sample sample = calibration_.samples[0];
  sample.prompt.resize(12);
  const ModelProbe probe = probe_of(request_, context);
  const auto model = model_checks(probe, request_, sample);
  const auto gradient = gradient_checks(probe, request_, sample);
  ASSERT_TRUE(model && gradient);
  EXPECT_EQ(model->size(), 3u);  // those of windows have nothing to look at
  for (const std::vector<Check>* checks : {&*model, &*gradient})
    for (const Check& check : *checks)
      EXPECT_NE(check.outcome, Check::Outcome::kSign)
          << check.name << ": expected " << check.expected << ", found " << check.found;
}

// HALO's setting: one layer at a time is its stage-1 branch, all others are as they were.
TEST_F(LinearMixerTest, HaloLooksAtTheBranchOfOneLayerAlone) {
  for (Sample& sample : calibration_.samples)  // of one text, so that its NLL has no noise
    sample.prompt = calibration_.samples[0].prompt;
  const auto selection = select("halo_ratio", {{"text_tokens", 10}});
  ASSERT_TRUE(selection) << selection.error().text();
  MeteredModel model(*model_);
  for (int layer = 0; layer < kLayers; ++layer) {
    const auto unit = static_cast<std::size_t>(layer);
    const AttentionPlan plan =
        *request_.plan(Mask(Granularity::kLayer, request_.layout, true).with(unit, false));
    double recall = 0;
    for (const Sample& sample : calibration_.samples) {
      const ForcedRequest forced{sample.prompt, sample.answer, &plan};
      recall -= (*model.score({&forced, 1}))[0].mean_nll() / kSamples;
    }
    EXPECT_NEAR(selection->diagnostics["recall"][unit].get<double>(), recall, 1e-9);
  }
  const auto outside = select("halo_ratio", {{"text_tokens", 36}});
  ASSERT_FALSE(outside);
  EXPECT_THAT(outside.error().message,
              HasSubstr("the last 36 tokens of the haystack, 0 to 36: expected them in the 40 "
                        "tokens of the prompt, behind the first"));
}

TEST_F(LinearMixerTest, WeightsAreNotTrainedBesideLinearBranches) {
  const auto refused = check_weight_training(request_.cheap);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text(),
            "training the model's weights with linear_attention as the cheap mixer: expected a "
            "mixer without weights of its own\n  hint: mixer=sliding_window; or strata convert, "
            "which trains branches");
  EXPECT_TRUE(check_weight_training(SlidingWindow{4, 0}));
  const auto consa = select("consa", {{"train_weights", true}, {"loss", "lm"}});
  ASSERT_FALSE(consa);
  EXPECT_EQ(consa.error().message, refused.error().message);
  WeightTrainer trainer(*model_, {});
  GateTraining training;
  training.attention.cheap = request_.cheap;
  FixedGates gates(Mask(Granularity::kLayer, request_.layout, false));
  MeteredModel metered(*model_);
  SilentProgress progress;
  const auto trained = train_weights(metered, {}, training, trainer, gates, progress);
  ASSERT_FALSE(trained);
  EXPECT_EQ(trained.error().message, refused.error().message);
}

// What a strategy needs beside its defaults, so that a test is quick, and what it says where it
// cannot do with linear attention.
struct Expected {
  Keys keys;
  std::string refusal = {};
};
Expected expected_of(const std::string& name, const std::string& file) {
  const Keys short_training = {{"training", training(3, 1)}};
  if (name == "consa" || name == "duo_attention" || name == "flashmorph" || name == "loza")
    return {short_training};
  if (name == "file") return {{{"path", file}}};
  if (name == "halo_ratio") return {{{"text_tokens", 20}}};
  if (name == "hydra_head") return {{{"min_margin", 1e-9}}};
  if (name == "kl_ls" || name == "postnas") return {{{"steps", 2}, {"batch", 1}, {"length", 8}}};
  if (name == "light_transfer") return {{}, "linear_attention has no window to take the keys from"};
  if (name == "mask_regression") return {{{"masks", 12}}};
  if (name == "periodic") return {{{"offset", 1}}};
  if (name == "random") return {{{"draw", 0}}};
  return {};
}

class EverySelectorTest : public LinearMixerTest,
                          public ::testing::WithParamInterface<std::string> {};

TEST_P(EverySelectorTest, SelectsOverLinearBranchesOrSaysWhyNot) {
  const std::string file = ::testing::TempDir() + "/linear_mixer_plan.json";
  std::ofstream(file)
      << request_.plan(Mask::of_layers(request_.layout, std::vector<int>{0, 3}))->to_json().dump();
  const Expected expected = expected_of(GetParam(), file);
  if (GetParam() == "halo_ratio")  // refuses text whose NLL is noise
    for (Sample& sample : calibration_.samples) sample.prompt = calibration_.samples[0].prompt;
  Meter meter;
  const auto selection = select(GetParam().c_str(), expected.keys, &meter);
  if (!expected.refusal.empty()) {
    ASSERT_FALSE(selection);
    EXPECT_THAT(selection.error().message, HasSubstr(expected.refusal));
    return;
  }
  ASSERT_TRUE(selection) << selection.error().text();
  const auto strategy = made(GetParam().c_str(), expected.keys);
  EXPECT_EQ(selection->mask.kept(), !strategy->uses_budget() ? selection->mask.kept() : 2u);
  const AttentionPlan plan = selection->plan ? *selection->plan : *request_.plan(selection->mask);
  EXPECT_TRUE(model_->check_mixers(plan));
  EXPECT_EQ(meter.flops > 0, strategy->needs().model);
  if (!selection->scores) return;
  ASSERT_EQ(selection->scores->score.size(), static_cast<std::size_t>(kLayers));
  for (const double score : selection->scores->score) EXPECT_FALSE(std::isnan(score));
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const StrategyInfo& info : strategy_infos()) all.emplace_back(info.name);
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, EverySelectorTest, ::testing::ValuesIn(names()),
                         [](const auto& name) { return name.param; });

}  // namespace
}  // namespace strata::testing
