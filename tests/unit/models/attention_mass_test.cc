// Attention mass of a small random model with grouped heads, against loops over every pair of
// positions.
#include "models/attention_mass.h"

#include <gtest/gtest.h>

#include "models/decoder/weights.h"
#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/device_test.h"

namespace strata {
namespace {

constexpr int kLayers = 4, kTokens = 30;
constexpr double kTolerance = 1e-10;

class AttentionMassTest : public testing::DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) return;
    Rng rng(5, "attention mass");
    architecture_ = testing::tiny_architecture(kLayers, 6, 2);
    weights_ = testing::random_weights(architecture_, rng, at::kDouble);
    model_ = Model::in_memory("tiny", architecture_, testing::to_device(weights_, device()));
    for (int i = 0; i < kTokens; ++i) tokens_.push_back(static_cast<TokenId>(rng.below(11)));
    testing::oracle_logits(architecture_, weights_, tokens_, AttentionPlan::full(model_->layout()),
                           kTokens, &qk_);
  }
  double oracle(int layer, int head, std::size_t row, const std::set<std::size_t>& keys) const {
    return testing::oracle_mass(architecture_, qk_[static_cast<std::size_t>(layer)], head, row,
                                keys);
  }

  Architecture architecture_;
  Weights weights_;
  std::unique_ptr<Model> model_;
  Tokens tokens_;
  std::vector<testing::OracleQk> qk_;
};

TEST_P(AttentionMassTest, EveryHeadAndQueryIsTheOracles) {
  MeteredModel model(*model_);
  // Overlapping ranges, an empty one, and keys behind the row, which are in the numerator alone.
  const std::vector<MassQuery> queries = {
      {7, {{0, 3}, {2, 5}}}, {20, {{4, 4}, {18, 30}}}, {29, {{10, 13}}}};
  const std::vector<std::set<std::size_t>> keys = {
      {0, 1, 2, 3, 4}, {18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29}, {10, 11, 12}};
  const AttentionMass mass = *attention_mass(model, tokens_, queries);
  ASSERT_EQ(mass.mass.size(), 4u * 6u * 3u);
  for (int layer = 0; layer < kLayers; ++layer)
    for (int head = 0; head < 6; ++head)
      for (std::size_t query = 0; query < 3; ++query)
        EXPECT_NEAR(mass.at(layer, head, query),
                    oracle(layer, head, static_cast<std::size_t>(queries[query].row), keys[query]),
                    kTolerance * std::max(1.0, mass.at(layer, head, query)));
}

TEST_P(AttentionMassTest, AllKeysOfARowWeighOne) {
  MeteredModel model(*model_);
  const std::vector<MassQuery> queries = {{12, {{0, 13}}}, {13, {{0, 14}}}};
  const AttentionMass mass = *attention_mass(model, tokens_, queries);
  for (const double value : mass.mass) EXPECT_NEAR(value, 1, kTolerance);
}

TEST_P(AttentionMassTest, UnitsAreMeansOrMaximaOverTheirHeads) {
  MeteredModel model(*model_);
  const std::vector<MassQuery> queries = {{15, {{3, 6}}}, {25, {{3, 6}}}};
  const AttentionMass mass = *attention_mass(model, tokens_, queries);
  const auto of_head = [&](int layer, int head) {
    return (oracle(layer, head, 15, {3, 4, 5}) + oracle(layer, head, 25, {3, 4, 5})) / 2;
  };
  const auto heads = mass.of_units(Granularity::kQueryHead, HeadReduction::kMean);
  const auto groups = mass.of_units(Granularity::kKvHead, HeadReduction::kMax);
  const auto layers = mass.of_units(Granularity::kLayer, HeadReduction::kMean);
  for (int layer = 0; layer < kLayers; ++layer) {
    double sum = 0;
    std::vector<double> most(2, 0.0);
    for (int head = 0; head < 6; ++head) {
      const double value = of_head(layer, head);
      EXPECT_NEAR(heads[static_cast<std::size_t>(layer * 6 + head)], value, kTolerance);
      sum += value;
      double& group = most[static_cast<std::size_t>(head / 3)];
      group = std::max(group, value);
    }
    EXPECT_NEAR(layers[static_cast<std::size_t>(layer)], sum / 6, kTolerance);
    for (int group = 0; group < 2; ++group)
      EXPECT_NEAR(groups[static_cast<std::size_t>(layer * 2 + group)],
                  most[static_cast<std::size_t>(group)], kTolerance);
  }
}

TEST_P(AttentionMassTest, CostsOneForwardRunWithoutItsHeadAndTheProducts) {
  const std::vector<MassQuery> queries = {{26, {{0, 1}}}, {29, {{0, 1}}}};
  MeteredModel model(*model_);
  ASSERT_TRUE(attention_mass(model, tokens_, queries));
  EXPECT_EQ(model.meter().forward_tokens, kTokens);
  EXPECT_EQ(model.meter().layer_tokens,
            (kLayers - 1) * kTokens + 4);  // the top layer from row 26 on
  EXPECT_EQ(model.meter().evaluations, 0);
  // By hand, 2 FLOPs a multiply-add, hidden 12, 6 query and 2 KV heads of 4, MLP 10.
  const double kv = 2.0 * 12 * 16, rest = 2.0 * 2 * 12 * 24 + 3 * 2.0 * 12 * 10;
  const double linear = kLayers * kTokens * kv + (3 * kTokens + 4) * rest;
  const double pairs = 3 * (30.0 * 31 / 2) + (27 + 28 + 29 + 30);
  const double attention = pairs * 6 * 2 * 2 * 4;
  const double products = 2.0 * 4 * kLayers * 6 * 2 * kTokens;
  EXPECT_EQ(model.meter().flops, linear + attention + products);
}

TEST_P(AttentionMassTest, RefusesKeysBeyondTheTokensAndSinkLogits) {
  MeteredModel model(*model_);
  const MassQuery beyond{29, {{0, 31}}};
  EXPECT_EQ(attention_mass(model, tokens_, std::span(&beyond, 1)).error().text(),
            "query 29 or its keys lie outside the 30 tokens of the prompt");
  Tokens wrong = tokens_;
  wrong[3] = 99;
  const MassQuery query{29, {{0, 3}}};
  EXPECT_EQ(attention_mass(model, wrong, std::span(&query, 1)).error().text(),
            "token 99 is outside the vocabulary of 11");
  Architecture with_sinks = architecture_;
  with_sinks.sink_logits = true;
  Rng rng(1, "sink logits");
  const auto other = Model::in_memory(
      "sinks", with_sinks,
      testing::to_device(testing::random_weights(with_sinks, rng, at::kDouble), device()));
  MeteredModel refused(*other);
  EXPECT_EQ(attention_mass(refused, tokens_, std::span(&query, 1)).error().kind,
            ErrorKind::kUnsupported);
}

STRATA_ON_EVERY_DEVICE(AttentionMassTest);

}  // namespace
}  // namespace strata
