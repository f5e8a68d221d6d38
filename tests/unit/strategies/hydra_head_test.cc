// hydra_head: its scores by hand, its heads on the planted problems, where every effect is known,
// and what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/decoder/decoder.h"
#include "models/mixers/linear_branch.h"
#include "strategies/hydra_scores.h"
#include "strategies/registry.h"
#include "tests/unit/strategies/planted_problem.h"

namespace strata {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Keys = std::vector<std::pair<std::string, config::Value>>;

constexpr double kOrder = 1e-9;        // by which equal scores may differ
constexpr double kRandomHeads = 0.01;  // effects of heads that nothing was planted in
constexpr double kExact = 1e-12;

// Head 0 receives in every pair, head 1 sends in one of two, head 2 harms, head 3 does nothing.
TEST(HydraScores, AreEffectsTimesConsistencyScaledAndFused) {
  const std::vector<ProbeEffects> probes = {
      {"a",
       {{{0.5, 0.0, -0.2, 0.0}, {0.1, 0.8, 0.0, 0.0}},
        {{0.3, 0.0, -0.2, 0.0}, {0.1, 0.0, 0.0, 0.0}}}},
      {"b", {{{0.2, 0.0, 0.0, 0.005}, {0.0, 0.0, 0.0, 0.0}}}}};
  // a: products 0.4·1, 0.4·½, 0·0 and 0·0; b: 0.2·1, the others 0.
  const HydraScores pairs = hydra_scores(probes, 0.01, HydraConsistency::kPairs);
  EXPECT_NEAR(pairs.score[0], 1, kExact);
  EXPECT_NEAR(pairs.score[1], 0.25, kOrder);
  EXPECT_NEAR(pairs.score[2], 0, kOrder);
  EXPECT_LT(pairs.score[2], pairs.score[3]);  // equal but for their effects
  EXPECT_LE(pairs.score[3], 0);               // at most nothing: `at_most` drops them
  EXPECT_NEAR(pairs.receiver[0], 0.3, kExact);
  EXPECT_NEAR(pairs.sender[1], 0.2, kExact);
  EXPECT_NEAR(pairs.consistency[1], 0.25, kExact);
  // One capability of two sub-probes: 0.3·1 and 0.2·½.
  const HydraScores of_probes = hydra_scores(probes, 0.01, HydraConsistency::kProbes);
  EXPECT_NEAR(of_probes.score[0], 1, kExact);
  EXPECT_NEAR(of_probes.score[1], 1.0 / 3, kOrder);
}

class HydraHeadTest : public ::testing::Test {
 protected:
  void load(const std::string& name) {
    planted_ = testing::load_planted(name, "float32");
    calibration_ = planted_.calibration;
    request_ = {.layout = planted_.model->layout(),
                .granularity = Granularity::kQueryHead,
                .cheap = planted_.cheap};
    request_.budget.units = 8;
  }
  Result<Selection> try_select(Keys keys, int workers = 1, Meter* meter = nullptr) {
    keys.emplace_back("name", "hydra_head");
    config::Map map;
    for (const auto& [key, value] : keys) map.set(key, value);
    MeteredModel metered(*planted_.model, {}, workers);
    SelectionContext context{
        .model = &metered, .calibration = &calibration_, .progress = &progress_};
    Result<Selection> selection = (*make_strategy(config::Value(map)))->select(request_, context);
    if (meter != nullptr) *meter = metered.meter();
    return selection;
  }
  Selection select(const Keys& keys = {}, int workers = 1, Meter* meter = nullptr) {
    Result<Selection> selection = try_select(keys, workers, meter);
    STRATA_CHECK(selection.has_value(), "{}", selection.error().text());
    return *std::move(selection);
  }
  // What diagnostics=full adds to the selection.
  nlohmann::json checks_of(Keys keys, const Selection& selection) {
    keys.emplace_back("name", "hydra_head");
    config::Map map;
    for (const auto& [key, value] : keys) map.set(key, value);
    MeteredModel metered(*planted_.model);
    SelectionContext context{
        .model = &metered, .calibration = &calibration_, .progress = &progress_};
    return *(*make_strategy(config::Value(map)))->full_checks(request_, context, selection);
  }
  std::string error_of(const Keys& keys = {}) { return try_select(keys).error().text(); }

  testing::PlantedProblem planted_;
  CalibrationSet calibration_;
  SelectionRequest request_;
  SilentProgress progress_;
};

// Layer 2 turns A's value into B's query with query head 2, head 0 of layer 5 reads B: all of the
// answer goes through either.
TEST_F(HydraHeadTest, SendersAreFoundThroughTheReceiverThatTheyFeed) {
  load("and");
  const Selection selection = select();
  const auto& d = selection.diagnostics;
  EXPECT_EQ(d["receivers"], nlohmann::json({5 * 4}));
  EXPECT_EQ(d["found"], nlohmann::json({2 * 4 + 2, 5 * 4}));
  EXPECT_EQ(d["stable"], true);
  for (std::size_t layer = 0; layer < 8; ++layer)
    for (std::size_t head = 0; head < 4; ++head) {
      EXPECT_NEAR(d["receiver_effects"][layer][head].get<double>(), layer == 5 && head == 0,
                  kRandomHeads);
      EXPECT_NEAR(d["sender_effects"][layer][head].get<double>(), layer == 2 && head == 2,
                  kRandomHeads);
    }
  EXPECT_TRUE(selection.mask(2, 2) && selection.mask(5, 0));
  EXPECT_EQ(selection.mask.kept(), 8U);
  // Directly, the sender does nothing.
  const Selection direct = select({{"rounds", 0}});
  EXPECT_LT(direct.scores->score[2 * 4 + 2], kOrder);
  EXPECT_EQ(direct.diagnostics["rounds"], 0);
}

TEST_F(HydraHeadTest, AChainOfThreeTakesTwoRounds) {
  load("and3");
  EXPECT_EQ(select({{"rounds", 1}}).diagnostics["found"], nlohmann::json({4 * 4 + 2, 6 * 4}));
  EXPECT_EQ(select({{"rounds", 1}}).diagnostics["stable"], false);
  const Selection two = select({{"rounds", 2}});
  EXPECT_EQ(two.diagnostics["found"], nlohmann::json({1 * 4, 4 * 4 + 2, 6 * 4}));
  EXPECT_NEAR(two.diagnostics["sender_effects"][1][0].get<double>(), 1, kRandomHeads);
  EXPECT_EQ(select({{"rounds", 8}}).diagnostics["rounds"], 3);  // the third finds no more
  // The rows that carry a planted signal are the last token's alone.
  const Selection few = select({{"sender_rows", "changed"}});
  EXPECT_EQ(few.diagnostics["found"], two.diagnostics["found"]);
}

// A head that writes a wrong value: taking it away helps.
TEST_F(HydraHeadTest, TheCheapBranchScoresWhatWindowingDoes) {
  load("harm");
  const Selection selection = select({{"corruption", "cheap_branch"}});
  const auto& effects = selection.diagnostics["receiver_effects"];
  EXPECT_GT(effects[2][2].get<double>(), 0.5);
  EXPECT_GT(effects[5][0].get<double>(), 0.4);  // half of the questions ask B
  EXPECT_LT(effects[1][0].get<double>(), kRandomHeads);
  EXPECT_TRUE(selection.mask(2, 2) && selection.mask(5, 0));
  // Where the window holds everything, windowing does nothing.
  request_.cheap = SlidingWindow{200, 0};
  EXPECT_THAT(error_of({{"corruption", "cheap_branch"}}),
              HasSubstr("all 12 pairs were dropped: the corruption moves the readout by at most"));
}

TEST_F(HydraHeadTest, LinearBranchesAreCheapOnes) {
  load("add");
  const Decoder& decoder = planted_.model->decoder();
  std::vector<LayerBranch> branches;
  for (int layer = 0; layer < 8; ++layer) {
    branches.push_back(LayerBranch::initial(decoder.architecture(), decoder.weights(), layer, {}));
    branches.back().weights().o.zero_();  // they say nothing
  }
  const auto parent = std::move(planted_.model);
  planted_.model = Model::in_memory("with branches", decoder.architecture(), decoder.weights(),
                                    std::move(branches));
  request_.cheap = LinearAttention{LinearKind::kLightning};
  for (const char* patching : {"exact", "attribution"}) {
    const Selection selection =
        select({{"corruption", "cheap_branch"}, {"rounds", 0}, {"patching", patching}});
    EXPECT_TRUE(selection.mask(2, 2) && selection.mask(5, 0)) << patching;
    // Half of the questions ask each.
    EXPECT_GT(selection.diagnostics["receiver_effects"][2][2].get<double>(), 0.3) << patching;
    EXPECT_GT(selection.diagnostics["receiver_effects"][5][0].get<double>(), 0.3) << patching;
  }
}

TEST_F(HydraHeadTest, SubProbesAreFused) {
  load("add");
  for (std::size_t i = 0; i < calibration_.samples.size(); ++i)
    calibration_.samples[i].metadata["task"] = i % 2 == 0 ? "asks A" : "asks B";
  const Selection selection = select({{"pairs", 3}});
  EXPECT_EQ(selection.diagnostics["pairs"], nlohmann::json({{"asks A", 3}, {"asks B", 3}}));
  // Each head is all of one capability and nothing of the other.
  EXPECT_NEAR(selection.scores->score[2 * 4 + 2], 0.5, kRandomHeads);
  EXPECT_NEAR(selection.scores->score[20], 0.5, kRandomHeads);
}

TEST_F(HydraHeadTest, GroupsAreWorthTheirBestHead) {
  load("add");
  const std::vector<double> heads = select().scores->score;
  request_.granularity = Granularity::kKvHead;
  request_.budget.units = 2;
  const Selection groups = select();
  for (std::size_t unit = 0; unit < 16; ++unit) {
    EXPECT_EQ(groups.scores->score[unit], std::max(heads[2 * unit], heads[2 * unit + 1]));
    EXPECT_NEAR(groups.diagnostics["mean_over_heads"][unit].get<double>(),
                (heads[2 * unit] + heads[2 * unit + 1]) / 2, kExact);
  }
  EXPECT_THAT(groups.mask.kept_units(), ElementsAre(2 * 2 + 1, 5 * 2));
}

TEST_F(HydraHeadTest, ConstrainedScreeningKeepsAHeadInEveryLayer) {
  load("add");
  request_.budget.units = 9;
  const Selection selection = select({{"per_layer", 1}});
  EXPECT_EQ(selection.mask.kept(), 9U);
  const std::vector<double>& scores = selection.scores->score;
  int layers_with_two = 0;
  for (int layer = 0; layer < 8; ++layer) {
    const std::ptrdiff_t first = std::ptrdiff_t{layer} * 4;
    int kept = 0;
    for (int head = 0; head < 4; ++head) kept += selection.mask(layer, head) ? 1 : 0;
    EXPECT_GE(kept, 1) << layer;
    layers_with_two += kept == 2 ? 1 : 0;
    const auto best = std::max_element(scores.begin() + first, scores.begin() + first + 4);
    EXPECT_TRUE(selection.mask.at(static_cast<std::size_t>(best - scores.begin())));
  }
  EXPECT_EQ(layers_with_two, 1);
  request_.budget.units = 7;
  EXPECT_THAT(
      error_of({{"per_layer", 1}}),
      HasSubstr("per_layer=1 of 8 layers of 4 query_heads are 8 units, but the budget is 7"));
}

TEST_F(HydraHeadTest, AttributionFindsReceiversInOneBackwardPassAPair) {
  load("add");
  Meter exact_cost, cost;
  const Selection exact = select({{"rounds", 0}}, 1, &exact_cost);
  const Keys keys = {{"patching", "attribution"}, {"rounds", 0}};
  const Selection selection = select(keys, 1, &cost);
  EXPECT_TRUE(selection.mask(2, 2) && selection.mask(5, 0));
  EXPECT_EQ(selection.diagnostics["receivers"], exact.diagnostics["receivers"]);
  EXPECT_EQ(selection.diagnostics["patching"], "attribution");
  EXPECT_EQ(exact_cost.backward_tokens, 0);
  EXPECT_EQ(cost.backward_tokens, 12);  // an answer's token a pair
  EXPECT_LT(cost.flops, exact_cost.flops);
  const nlohmann::json checks = checks_of(keys, selection);
  EXPECT_EQ(checks["attribution"]["pairs"], 4);
  EXPECT_EQ(checks["attribution"]["receivers"]["heads"], 32);
  EXPECT_GT(checks["attribution"]["receivers"]["pearson"].get<double>(), 0.9);
  EXPECT_EQ(checks["attribution"]["senders"],
            nlohmann::json({{"heads", 0}, {"pearson", nullptr}, {"spearman", nullptr}}));
  EXPECT_THAT(checks["checks"][1]["found"].get<std::string>(), HasSubstr("over 32 heads"));
  const nlohmann::json of_exact = checks_of({}, exact);
  ASSERT_EQ(of_exact["checks"].size(), 1U);
  EXPECT_EQ(of_exact["checks"][0]["outcome"], "clear");
  EXPECT_THAT(of_exact["checks"][0]["found"].get<std::string>(), HasSubstr("0 of a readout of "));
}

// A softmax that is sure of its key has no slope.
TEST_F(HydraHeadTest, AttributionDoesNotSeeSendersOfASaturatedHead) {
  load("and");
  const Keys keys = {{"patching", "attribution"}};
  const Selection selection = select(keys);
  EXPECT_EQ(selection.diagnostics["receivers"], nlohmann::json({5 * 4}));
  EXPECT_LT(selection.diagnostics["sender_effects"][2][2].get<double>(), kRandomHeads);
  const nlohmann::json checks = checks_of(keys, selection);
  EXPECT_EQ(checks["attribution"]["senders"]["heads"], 32);
  EXPECT_LT(checks["attribution"]["senders"]["pearson"].get<double>(), 0.5);
}

TEST_F(HydraHeadTest, TheSameSelectionOnAnyNumberOfThreads) {
  load("or");
  const Selection one = select(), again = select(), two = select({}, 2);
  EXPECT_EQ(one.scores->score, again.scores->score);
  EXPECT_EQ(one.scores->score, two.scores->score);
  EXPECT_EQ(one.diagnostics, two.diagnostics);
}

TEST_F(HydraHeadTest, SaysWhatIsWrongWithPairs) {
  load("add");
  config::Map named;
  named.set("name", "hydra_head");
  EXPECT_EQ((*make_strategy(config::Value(named)))->needs().supervision(), "pairs");
  EXPECT_THAT(error_of({{"min_margin", 1000}}),
              HasSubstr("all 12 pairs were dropped: the corruption moves the readout by at most "));
  // A pair whose corruption hardly matters is dropped and counted.
  nlohmann::json& other = calibration_.samples[3].metadata["counterfactual"];
  other["tokens"] = {{90, 65}};  // a filler that nobody reads
  EXPECT_EQ(select().diagnostics["pairs_dropped"], 1);
  other["answer"] = {1, 2};
  EXPECT_THAT(error_of(),
              HasSubstr("expected 1 tokens in \"answer\", as the clean one has, got 2"));
  other["answer"] = calibration_.samples[3].answer;
  EXPECT_THAT(error_of(), HasSubstr("expected another value than the sample's own"));
  other["tokens"] = {{96, 1}};
  EXPECT_THAT(error_of(), HasSubstr("expected [position, token] within the 96 tokens"));
  other["tokens"] = "no";
  EXPECT_THAT(error_of(), HasSubstr("calibration sample"));
  for (Sample& sample : calibration_.samples) sample.metadata.erase("counterfactual");
  EXPECT_THAT(error_of(), HasSubstr("none of the 12 calibration samples has a counterfactual"));
  EXPECT_THAT(error_of(), HasSubstr("hint: calibrate on a benchmark that knows"));
}

}  // namespace
}  // namespace strata
