// Sessions, traces and meters of a small random model in memory.
#include <gtest/gtest.h>

#include <cmath>

#include "models/cost.h"
#include "models/decoder/weights.h"
#include "models/model.h"
#include "models/row_plan.h"
#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/device_test.h"

namespace strata {
namespace {

constexpr int kLayers = 6;

constexpr std::uint64_t kEnough = 1 << 30;  // bytes
constexpr std::int64_t kWindow = 8, kSinks = 2;

class MeteredModelTest : public testing::DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) return;
    Rng rng(11, "metered model");
    architecture_ = testing::tiny_architecture(kLayers, 4, 2);
    weights_ = testing::random_weights(architecture_, rng, at::kDouble);
    model_ = Model::in_memory("tiny", architecture_, testing::to_device(weights_, device()));
    for (int i = 0; i < 60; ++i) prompt_.push_back(static_cast<TokenId>(rng.below(11)));
    for (int i = 0; i < 5; ++i) answer_.push_back(static_cast<TokenId>(rng.below(11)));
  }

  AttentionPlan plan(const Mask& mask, DecodeRule rule = DecodeRule::kSame) const {
    return *AttentionPlan::from_mask(mask, FullAttention{}, SlidingWindow{kWindow, kSinks}, rule);
  }
  AttentionPlan layers(const std::vector<int>& kept, DecodeRule rule = DecodeRule::kSame) const {
    return plan(Mask::of_layers(model_->layout(), kept), rule);
  }

  std::vector<double> oracle_nll(const AttentionPlan& under) const {
    Tokens tokens = prompt_;
    tokens.insert(tokens.end(), answer_.begin(), answer_.end());
    const testing::Matrix logits = testing::oracle_logits(
        architecture_, weights_, tokens, under, static_cast<std::int64_t>(prompt_.size()));
    std::vector<double> nll;
    for (std::size_t k = 0; k < answer_.size(); ++k) {
      const auto& row = logits[prompt_.size() + k - 1];
      double total = 0;
      for (const double value : row) total += std::exp(value);
      nll.push_back(std::log(total) - row[static_cast<std::size_t>(answer_[k])]);
    }
    return nll;
  }

  static void expect_close(const std::vector<double>& a, const std::vector<double>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-8) << "position " << i;
  }

  Architecture architecture_;
  Weights weights_;
  std::unique_ptr<Model> model_;
  Tokens prompt_, answer_;
};

TEST_P(MeteredModelTest, EveryRoadToAnAnswersNllAgreesWithTheOracle) {
  MeteredModel model(*model_);
  const SharedPrefix prefix = *model.share(prompt_, 10);
  for (const DecodeRule rule : {DecodeRule::kSame, DecodeRule::kFull})
    for (const AttentionPlan& under :
         {layers({}, rule), layers({0, 3}, rule), layers({5}, rule),
          plan(Mask(Granularity::kKvHead, model_->layout(), false).with(3, true), rule),
          plan(Mask(Granularity::kQueryHead, model_->layout(), false).with(9, true), rule)}) {
      const std::vector<double> expected = oracle_nll(under);
      const ForcedRequest forced{prompt_, answer_, &under};
      expect_close((*model.score(std::span(&forced, 1)))[0].nll, expected);
      const std::vector<Tokens> answers = {answer_, answer_};
      const std::vector<Request> requests = {{prompt_, &under, 5}, {prompt_, &under, 5, &prefix}};
      const Session session = *model.prefill(requests);
      for (int time = 0; time < 2; ++time) {  // scoring leaves the session as it was
        const std::vector<AnswerScore> scores = *session.score(answers);
        for (const AnswerScore& score : scores) expect_close(score.nll, expected);
      }
      expect_close(model.trace(forced, 10, kEnough)->score().nll, expected);
    }
}

TEST_P(MeteredModelTest, DivergencesFromKeptLogitsAgreeWithTheOracleOnEveryRoad) {
  MeteredModel model(*model_);
  Tokens tokens = prompt_;
  tokens.insert(tokens.end(), answer_.begin(), answer_.end());
  const AttentionPlan full = AttentionPlan::full(model_->layout());
  constexpr std::size_t kBegin = 20;  // scored from inside the prompt on
  const std::span<const TokenId> all = tokens;
  for (const DecodeRule rule : {DecodeRule::kSame, DecodeRule::kFull}) {
    const AttentionPlan under = layers({1, 3}, rule), toggled = layers({1, 3, 4}, rule);
    const auto divergence = [&](const AttentionPlan& plan) {
      const auto length = static_cast<std::int64_t>(prompt_.size());
      const auto p = testing::oracle_logits(architecture_, weights_, tokens, full, length);
      const auto q = testing::oracle_logits(architecture_, weights_, tokens, plan, length);
      std::vector<double> out;
      for (std::size_t row = kBegin - 1; row + 1 < tokens.size(); ++row) {
        double p_total = 0, q_total = 0, sum = 0;
        for (const double value : p[row]) p_total += std::exp(value);
        for (const double value : q[row]) q_total += std::exp(value);
        for (std::size_t v = 0; v < p[row].size(); ++v)
          sum += std::exp(p[row][v]) / p_total *
                 (p[row][v] - std::log(p_total) - q[row][v] + std::log(q_total));
        out.push_back(sum);
      }
      return out;
    };
    ForcedRequest forced{.prompt = all.first(kBegin),
                         .answer = all.subspan(kBegin),
                         .plan = &full,
                         .prompt_length = static_cast<std::int64_t>(prompt_.size()),
                         .keep_logits = true};
    const AnswerScore teacher = (*model.score(std::span(&forced, 1)))[0];
    EXPECT_TRUE(teacher.divergence.empty());
    forced.keep_logits = false;
    forced.reference = teacher.logits;
    forced.plan = &under;
    const std::vector<double> expected = divergence(under);
    const AnswerScore here = (*model.score(std::span(&forced, 1)))[0];
    expect_close(here.divergence, expected);
    EXPECT_EQ(here.logits, nullptr);
    Trace trace = *model.trace(forced, 10, kEnough);
    expect_close(trace.score().divergence, expected);
    const Toggle toggle{4, &toggled};
    expect_close((*model.resume(trace, std::span(&toggle, 1)))[0].divergence, divergence(toggled));
  }
}

TEST_P(MeteredModelTest, GenerationEqualsTeacherForcingOnItself) {
  MeteredModel model(*model_);
  const AttentionPlan a = layers({1}), b = layers({0, 4}, DecodeRule::kFull),
                      c = AttentionPlan::full(model_->layout());
  const Tokens shorter(prompt_.begin(), prompt_.begin() + 23);
  const std::vector<Request> requests = {{prompt_, &a, 12}, {shorter, &b, 12}, {shorter, &c, 12}};
  Session session = *model.prefill(requests);
  const Session fork = session.fork();
  const std::vector<Tokens> generated = *session.generate({.max_new_tokens = 12, .stop = {}});
  const std::vector<AnswerScore> scores = *fork.score(generated);
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(generated[i].size(), 12u);
    EXPECT_EQ(scores[i].argmax, generated[i]) << "sequence " << i;
  }
  // A stop token ends a sequence and is not returned.
  Session again = *model.prefill(requests);
  const TokenId stop = generated[0][4];
  const std::vector<Tokens> stopped = *again.generate({.max_new_tokens = 12, .stop = {stop}});
  EXPECT_LE(stopped[0].size(), 4u);
  for (const Tokens& tokens : stopped) EXPECT_EQ(std::count(tokens.begin(), tokens.end(), stop), 0);
}

TEST_P(MeteredModelTest, SequencesOfABatchDoNotDependOnEachOther) {
  MeteredModel model(*model_, {.prefill_chunk = 16, .batch_rows = 40});
  const AttentionPlan under = layers({1, 4});
  std::vector<Tokens> prompts, answers;
  Rng rng(5, "batch");
  for (int i = 0; i < 7; ++i) {  // two lengths, mixed
    Tokens prompt(prompt_.begin(), prompt_.end() - (i % 3 == 0 ? 4 : 0));
    for (TokenId& token : prompt) token = static_cast<TokenId>(rng.below(11));
    prompts.push_back(prompt);
    Tokens answer(answer_.begin(), answer_.begin() + (i == 5 ? 1 : 4));
    for (TokenId& token : answer) token = static_cast<TokenId>(rng.below(11));
    answers.push_back(answer);
  }
  std::vector<Request> requests;
  requests.reserve(prompts.size());
  for (const Tokens& prompt : prompts) requests.push_back({prompt, &under, 6});
  Session together = *model.prefill(requests);
  const std::vector<AnswerScore> scores = *together.score(answers);
  const std::vector<Tokens> generated = *together.generate({.max_new_tokens = 6, .stop = {3}});
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    Session alone = *model.prefill(std::span(&requests[i], 1));
    expect_close((*alone.score(std::span(&answers[i], 1)))[0].nll, scores[i].nll);
    EXPECT_EQ((*alone.generate({.max_new_tokens = 6, .stop = {3}}))[0], generated[i]);
    EXPECT_EQ(alone.kv_bytes(0), together.kv_bytes(i));
  }
}

TEST_P(MeteredModelTest, ResumedTogglesEqualRunsFromTheFirstLayer) {
  for (const DecodeRule rule : {DecodeRule::kSame, DecodeRule::kFull})
    for (const bool keep : {false, true})
      for (const Granularity granularity :
           {Granularity::kLayer, Granularity::kKvHead, Granularity::kQueryHead}) {
        const Mask base(granularity, model_->layout(), keep);
        const AttentionPlan base_plan = plan(base, rule);
        std::vector<AttentionPlan> plans;
        for (std::size_t unit = 0; unit < base.size(); ++unit)
          plans.push_back(plan(base.with(unit, !keep), rule));
        std::vector<Toggle> toggles;
        for (std::size_t unit = 0; unit < base.size(); ++unit)
          toggles.push_back({static_cast<int>(unit) / base.units(), &plans[unit]});
        // One at a time, a few that climb together, all at once.
        for (const std::int64_t batch_rows : {1, 130, 100'000}) {
          MeteredModel model(*model_, {.batch_rows = batch_rows});
          Trace trace = *model.trace({prompt_, answer_, &base_plan}, 10, kEnough);
          EXPECT_EQ(trace.kept_layers(), 6);
          const std::vector<AnswerScore> resumed = *model.resume(trace, toggles);
          ASSERT_EQ(resumed.size(), toggles.size());
          for (std::size_t unit = 0; unit < base.size(); ++unit)
            expect_close(resumed[unit].nll, oracle_nll(plans[unit]));
        }
      }
}

TEST_P(MeteredModelTest, WhatATraceHadNoMemoryForIsRunASecondTime) {
  MeteredModel model(*model_);
  const AttentionPlan base = layers({1, 4});
  std::vector<AttentionPlan> plans;
  plans.reserve(6);
  for (int layer = 0; layer < 6; ++layer)
    plans.push_back(plan(Mask::of_layers(model_->layout(), {1, 4})
                             .with(static_cast<std::size_t>(layer), layer != 1 && layer != 4),
                         DecodeRule::kSame));
  std::vector<Toggle> toggles;
  toggles.reserve(6);
  for (int layer = 0; layer < 6; ++layer)
    toggles.push_back({layer, &plans[static_cast<std::size_t>(layer)]});
  Trace all = *model.trace({prompt_, answer_, &base}, 10, kEnough);
  model.take_meter();
  const std::vector<AnswerScore> expected = *model.resume(all, toggles);
  const Meter with_all = model.take_meter();
  for (const int kept : {1, 3}) {
    Trace few = *model.trace({prompt_, answer_, &base}, 10,
                             all.bytes() / 6 * static_cast<std::uint64_t>(kept));
    EXPECT_EQ(few.kept_layers(), kept);
    EXPECT_EQ(few.bytes(), all.bytes() / 6 * static_cast<std::uint64_t>(kept));
    model.take_meter();
    const std::vector<AnswerScore> scores = *model.resume(few, toggles);
    for (std::size_t i = 0; i < scores.size(); ++i) EXPECT_EQ(scores[i].nll, expected[i].nll);
    // 54 rows (60 + 5 − 1 − 10) of the layers between the last kept input and the top one.
    EXPECT_EQ(model.take_meter().layer_tokens, with_all.layer_tokens + 54 * (6 - kept));
  }
}

// Layers 1 to 5 are windowed: of the 50 rows behind window + sinks, each layer below the top
// computes those that the next one's windows reach, window − 1 more than it; the first layer is
// full.
TEST_P(MeteredModelTest, SinksDoNotMakeAPrefillComputeRowsThatNobodyReads) {
  MeteredModel model(*model_);
  const AttentionPlan under = layers({0});
  const Request request{prompt_, &under};
  ASSERT_TRUE(model.prefill(std::span(&request, 1)));
  const std::int64_t cut = first_cut(under), rows = 60 - cut;
  ASSERT_EQ(cut, kWindow + kSinks);
  double expected = static_cast<double>(cut) * 5;  // before the cut: all, but the top one's output
  std::int64_t out = 1;                            // rows that leave the top layer
  for (int layer = 5; layer >= 0; --layer) {
    expected += static_cast<double>(out);
    // A layer's keys are kept for later tokens, so at least the last window enters it.
    out = std::min(rows, std::max(out + kWindow - 1, kWindow));
  }
  EXPECT_EQ(model.meter().layer_tokens, expected);
  EXPECT_EQ(first_cut(AttentionPlan::full(model_->layout())), 0);
}

TEST_P(MeteredModelTest, TheMeterCountsRowsAndFlopsAsRun) {
  MeteredModel model(*model_);
  const AttentionPlan full = AttentionPlan::full(model_->layout());
  const ForcedRequest forced{prompt_, answer_, &full};
  ASSERT_TRUE(model.score(std::span(&forced, 1)));
  // 64 rows (60 + 5 − 1) in all layers but the last, which outputs the 5 that are read.
  EXPECT_EQ(model.meter().layer_tokens, 5 * 64 + 5);
  EXPECT_EQ(model.meter().forward_tokens, 64);
  EXPECT_EQ(model.meter().evaluations, 1);
  const Chunk chunk{.begin = 0, .end = 64, .prompt_length = 60, .first_read = 59, .retain = false};
  EXPECT_EQ(model.meter().flops,
            run_cost(full, model_->shape(), chunk, plan_rows(full, chunk), 0).flops.total());
  const Meter taken = model.take_meter();
  EXPECT_EQ(taken.evaluations, 1);
  EXPECT_EQ(model.meter().evaluations, 0);
}

TEST_P(MeteredModelTest, WhatCannotRunIsAnErrorWithTheReason) {
  MeteredModel model(*model_);
  const AttentionPlan full = AttentionPlan::full(model_->layout());
  const auto error = [&](const Tokens& tokens, const AttentionPlan& under, std::int64_t room = 0) {
    const Request request{tokens, &under, room};
    const Result<Session> session = model.prefill(std::span(&request, 1));
    return session ? std::string("fine") : session.error().text();
  };
  EXPECT_EQ(error(prompt_, full), "fine");
  EXPECT_EQ(error({}, full), "the prompt is empty; expected at least 1 token");
  EXPECT_EQ(error({1, 99}, full), "token 99 is outside the vocabulary of 11");
  EXPECT_EQ(error(prompt_, full, 1000),
            "prompt and answer are 1060 tokens long; the model has 512 positions\n  hint: lower "
            "benchmark.length");
  EXPECT_EQ(error(prompt_, AttentionPlan::full({.layers = 2, .query_heads = 4, .kv_heads = 2})),
            "the plan is for 2 layers, 4 query and 2 KV heads; the model has 6, 4 and 2");
  const Request request{prompt_, &full, 3};
  Session session = *model.prefill(std::span(&request, 1));
  EXPECT_EQ(session.generate({.max_new_tokens = 9, .stop = {}}).error().text(),
            "max_new_tokens is 9; the session has room for 3 more tokens");
}

TEST_P(MeteredModelTest, LinearAttentionIsRefusedOnEveryRoadWhileThereIsNoBranch) {
  MeteredModel model(*model_);
  const AttentionPlan full = AttentionPlan::full(model_->layout());
  const AttentionPlan linear = *AttentionPlan::from_mask(
      Mask(Granularity::kQueryHead, model_->layout(), true).with(3 * 4 + 1, false), FullAttention{},
      LinearAttention{LinearKind::kGatedDeltaNet}, DecodeRule::kSame);
  const auto expect_refused = [](const auto& result) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, ErrorKind::kUnsupported);
    EXPECT_EQ(
        result.error().text(),
        "layer 3 has no trained gated_deltanet branch; expected a model made by strata "
        "convert\n  hint: name its branches by model.branches=DIR; mixer=sliding_window needs no "
        "weights of its own");
  };
  const Request request{prompt_, &linear};
  expect_refused(model.prefill(std::span(&request, 1)));
  ForcedRequest forced{prompt_, answer_, &linear};
  expect_refused(model.score(std::span(&forced, 1)));
  expect_refused(model.trace(forced, 0, kEnough));
  forced.plan = &full;
  Trace trace = *model.trace(forced, 0, kEnough);
  const Toggle toggle{3, &linear};
  expect_refused(model.resume(trace, std::span(&toggle, 1)));
}

STRATA_ON_EVERY_DEVICE(MeteredModelTest);

}  // namespace
}  // namespace strata
