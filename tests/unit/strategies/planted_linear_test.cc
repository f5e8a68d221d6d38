// The planted crowd (docs/planted_problem.md) where the cheap mixer is a linear branch as a
// conversion starts it: its sum over keys cannot tell the asked one from its family, so that the
// planted layers must keep softmax, and selectors must find them.
#include <gtest/gtest.h>

#include "models/decoder/decoder.h"
#include "models/mixers/linear_branch.h"
#include "strategies/registry.h"
#include "tests/unit/strategies/planted_problem.h"
#include "tests/unit/strategies/training_keys.h"

namespace strata::testing {
namespace {

using Keys = std::vector<std::pair<std::string, config::Value>>;

class PlantedLinearTest : public ::testing::TestWithParam<LinearKind> {
 protected:
  static constexpr std::size_t kQuestions = 6;  // three of each planted head

  PlantedLinearTest() : planted_(load_planted("crowd", "float32")) {
    const Decoder& decoder = planted_.model->decoder();
    const int layers = decoder.architecture().layers;
    std::vector<LayerBranch> branches;
    branches.reserve(static_cast<std::size_t>(layers));
    for (int layer = 0; layer < layers; ++layer)
      branches.push_back(LayerBranch::initial(decoder.architecture(), decoder.weights(), layer,
                                              {.kind = GetParam()}));
    model_ = Model::in_memory("crowd with branches", decoder.architecture(), decoder.weights(),
                              std::move(branches));
    calibration_.samples = planted_.calibration.samples;
    calibration_.samples.resize(kQuestions);
    calibration_.id = content_id(calibration_.samples);
    request_.layout = model_->layout();
    request_.cheap = LinearAttention{GetParam()};
    request_.budget.units = 2;
  }

  Selection select(const Keys& keys) {
    config::Map map;
    for (const auto& [key, value] : keys) map.set(key, value);
    MeteredModel metered(*model_);
    SelectionContext context{
        .model = &metered, .calibration = &calibration_, .progress = &progress_};
    auto selection = (*make_strategy(config::Value(map)))->select(request_, context);
    STRATA_CHECK(selection.has_value(), "{}", selection.error().text());
    return *std::move(selection);
  }
  double mean_nll(const std::vector<int>& kept) {
    const AttentionPlan plan = *request_.plan(Mask::of_layers(request_.layout, kept));
    MeteredModel metered(*model_);
    double sum = 0;
    for (const Sample& sample : calibration_.samples) {
      const ForcedRequest forced{sample.prompt, sample.answer, &plan};
      sum += (*metered.score({&forced, 1}))[0].mean_nll();
    }
    return sum / static_cast<double>(calibration_.samples.size());
  }

  PlantedProblem planted_;  // holds the weights
  std::unique_ptr<Model> model_;
  CalibrationSet calibration_;
  SelectionRequest request_;
  SilentProgress progress_;
};

// The planted layers answer; without one of them a question in two is as good as lost.
TEST_P(PlantedLinearTest, OnlyThePlantedLayersTellOneKeyFromItsCrowd) {
  const PlantedSelection& truth = planted_.at(Granularity::kLayer);
  ASSERT_EQ(truth.best, (std::vector<std::vector<std::size_t>>{{2, 5}}));
  EXPECT_NEAR(mean_nll({0, 1, 2, 3, 4, 5, 6, 7}), truth.nll, 1e-3);
  EXPECT_NEAR(mean_nll({2, 5}), truth.nll, 1e-3);
  EXPECT_GT(mean_nll({2}), 1);
  EXPECT_GT(mean_nll({5}), 1);
  EXPECT_GT(mean_nll({}), 2);
}

TEST_P(PlantedLinearTest, SelectorsFindThem) {
  const Keys morph = {
      {"name", "flashmorph"}, {"lambda", 0.02}, {"rate", 0.2}, {"training", training(18, 1)}};
  std::vector<Keys> methods = {{{"name", "nll_guided"}, {"mode", "restore"}}, morph};
  if (GetParam() == LinearKind::kLightning) {  // the quickest
    Keys single = morph;
    single.emplace_back("stream", "single");
    methods.insert(methods.end(),
                   {single,
                    {{"name", "nll_guided"}, {"mode", "ablate"}},
                    {{"name", "nll_guided"}, {"mode", "restore"}, {"searcher", "greedy"}},
                    {{"name", "kl_guided"}, {"mode", "restore"}},
                    {{"name", "gradient_attribution"}},
                    {{"name", "gate_path"}, {"prompts", 1.0}},
                    {{"name", "duo_attention"}, {"rate", 0.2}, {"training", training(18, 1)}}});
  }
  for (const Keys& keys : methods) {
    const Selection selection = select(keys);
    std::string scores;
    for (const double score : selection.scores->score) scores += fmt::format(" {:.4f}", score);
    EXPECT_EQ(selection.mask.kept_units(), (std::vector<std::size_t>{2, 5}))
        << config::Value(keys[0].second).to_json() << scores;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, PlantedLinearTest,
                         ::testing::Values(LinearKind::kLightning, LinearKind::kGla,
                                           LinearKind::kGatedDeltaNet),
                         [](const auto& kind) { return std::string(to_string(kind.param)); });

}  // namespace
}  // namespace strata::testing
