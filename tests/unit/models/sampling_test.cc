// Tokens drawn at random, and texts made of them.
#include "models/sampling.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "models/sampled_text.h"
#include "tests/unit/models/branch_fixture.h"

namespace strata {
namespace {

at::Tensor rows(std::vector<double>& values, std::int64_t columns) {
  return at::from_blob(values.data(), {std::ssize(values) / columns, columns}, at::kDouble);
}

// The first token whose cumulative probability is above u.
TokenId twin(std::span<const double> logits, double temperature, double u) {
  double all = 0, sum = 0;
  for (const double logit : logits) all += std::exp(logit / temperature);
  for (std::size_t token = 0; token < logits.size(); ++token) {
    sum += std::exp(logits[token] / temperature);
    if (sum / all > u) return static_cast<TokenId>(token);
  }
  return static_cast<TokenId>(logits.size()) - 1;
}

TEST(SamplingTest, ATokenIsWhereItsNumberFallsInTheCumulativeDistribution) {
  Rng rng(1, "sampling");
  constexpr std::int64_t kRows = 400, kColumns = 37;
  std::vector<double> logits, uniforms;
  for (std::int64_t i = 0; i < kRows * kColumns; ++i) logits.push_back(3 * rng.normal());
  for (std::int64_t i = 0; i < kRows; ++i) uniforms.push_back(rng.uniform());
  uniforms[0] = 0;
  uniforms[1] = std::nextafter(1.0, 0.0);
  for (const double temperature : {0.3, 1.0, 4.0}) {
    const at::Tensor drawn = sample_rows(rows(logits, kColumns), temperature, uniforms);
    for (std::size_t i = 0; i < kRows; ++i)
      ASSERT_EQ(drawn.const_data_ptr<TokenId>()[i],
                twin(std::span(logits).subspan(i * kColumns, kColumns), temperature, uniforms[i]))
          << "row " << i << " at " << temperature;
  }
}

TEST(SamplingTest, TokensComeAsOftenAsTheirProbabilitySays) {
  constexpr std::int64_t kDraws = 40000;
  const std::vector<double> p = {0.5, 0.0, 0.2, 0.05, 0.25};
  std::vector<double> logits, uniforms;
  Rng rng(2, "frequencies");
  for (std::int64_t i = 0; i < kDraws; ++i) {
    for (const double one : p) logits.push_back(std::log(one));
    uniforms.push_back(rng.uniform());
  }
  const at::Tensor drawn = sample_rows(rows(logits, std::ssize(p)), 1, uniforms);
  std::vector<double> counts(p.size(), 0);
  for (std::int64_t i = 0; i < kDraws; ++i)
    ++counts[static_cast<std::size_t>(drawn.const_data_ptr<TokenId>()[i])];
  EXPECT_EQ(counts[1], 0);
  for (std::size_t token = 0; token < p.size(); ++token) {
    const double deviation = std::sqrt(kDraws * p[token] * (1 - p[token]));
    EXPECT_NEAR(counts[token], kDraws * p[token], 4 * deviation) << "token " << token;
  }
}

class SampledTextTest : public ::testing::Test {
 protected:
  SampledTextTest() {
    Rng rng(3, "sampled text");
    model_ = testing::branch_parent(rng, at::kDouble, /*rich=*/false);
  }
  std::vector<Tokens> sample(const SampledText& how, std::int64_t first, std::int64_t count) {
    MeteredModel metered(*model_);
    Result<std::vector<Tokens>> texts = sample_texts(metered, how, first, count);
    EXPECT_TRUE(texts) << texts.error().text();
    forward_tokens_ = metered.meter().forward_tokens;
    return *std::move(texts);
  }

  std::unique_ptr<Model> model_;
  double forward_tokens_ = 0;
};

TEST_F(SampledTextTest, ATextDependsOnTheSeedAndItsNumberAlone) {
  const SampledText how{.start = {3, 5}, .length = 30, .temperature = 1.2, .seed = 7};
  const std::vector<Tokens> all = sample(how, 0, 6);
  EXPECT_EQ(forward_tokens_, 6 * 29);
  for (const Tokens& text : all) {
    EXPECT_EQ(text.size(), 30);
    EXPECT_EQ(Tokens(text.begin(), text.begin() + 2), how.start);
  }
  EXPECT_EQ(sample(how, 4, 2), std::vector<Tokens>(all.begin() + 4, all.end()));
  EXPECT_EQ(sample(how, 2, 1)[0], all[2]);
  EXPECT_NE(all[0], all[1]);
  SampledText other = how;
  other.seed = 8;
  EXPECT_NE(sample(other, 0, 1)[0], all[0]);
}

TEST_F(SampledTextTest, AColdTextIsTheLikeliestOne) {
  const SampledText how{.start = {3}, .length = 20, .temperature = 1e-3, .seed = 1};
  MeteredModel metered(*model_);
  const AttentionPlan plan = model_->native_plan();
  const std::vector<Request> request = {{.prompt = how.start, .plan = &plan, .max_new_tokens = 19}};
  Result<Session> session = metered.prefill(request);
  ASSERT_TRUE(session);
  Tokens greedy = (*session->generate({.max_new_tokens = 19, .stop = {}}))[0];
  greedy.insert(greedy.begin(), 3);
  EXPECT_EQ(sample(how, 0, 1)[0], greedy);
}

}  // namespace
}  // namespace strata
