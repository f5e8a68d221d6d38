// Models under plans with linear heads: every road to an answer against loops over doubles, and
// what sessions, traces, meters and costs promise for them.
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "models/cost.h"
#include "models/row_plan.h"
#include "tests/unit/models/hybrid_fixture.h"

namespace strata {
namespace {

using testing::expect_close;
using testing::random_config;
using testing::random_tokens;
using testing::tiny_hybrid;
using testing::TinyHybrid;

constexpr std::uint64_t kEnough = 1 << 30;  // bytes
constexpr double kTolerance = 1e-8;

class HybridModelTest : public testing::DeviceTest {
 protected:
  TinyHybrid hybrid(const LinearBranchConfig& config, std::uint64_t seed,
                    at::ScalarType dtype = at::kDouble) const {
    return tiny_hybrid(config, dtype, seed, device());
  }
};

AnswerScore forced(MeteredModel& model, const Tokens& prompt, const Tokens& answer,
                   const AttentionPlan& plan) {
  const ForcedRequest request{prompt, answer, &plan};
  return (*model.score(std::span(&request, 1)))[0];
}

TEST_P(HybridModelTest, EveryRoadToAnAnswersNllIsWhatLoopsOverDoublesSay) {
  for (const auto& [kind, name] : kLinearKinds)
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      Rng rng(seed, name);
      const TinyHybrid h = hybrid(random_config(kind, rng), seed);
      const AttentionPlan plan = seed == 0 ? h.keeping({}) : h.random_plan(rng);
      const Tokens prompt = random_tokens(rng.between(66, 80), rng), answer = random_tokens(4, rng);
      const std::vector<double> expected = h.oracle_nll(prompt, answer, plan);
      const std::string what = fmt::format("{} seed {}", name, seed);
      MeteredModel model(*h.model);
      expect_close(forced(model, prompt, answer, plan).nll, expected, kTolerance, what);
      expect_close(model.trace({prompt, answer, &plan}, shared_prefix(plan), kEnough)->score().nll,
                   expected, kTolerance, what);
      const Request request{prompt, &plan, 4};
      const Session session = *model.prefill(std::span(&request, 1));
      for (int time = 0; time < 2; ++time)  // scoring leaves the session as it was
        expect_close((*session.score(std::span(&answer, 1)))[0].nll, expected, kTolerance, what);
    }
}

TEST_P(HybridModelTest, InFloat32AndHalfPrecisionItIsThatWithinTheirRounding) {
  for (const auto& [kind, name] : kLinearKinds)
    for (const auto& [dtype, tolerance] :
         {std::pair(at::kFloat, 1e-5), std::pair(at::kBFloat16, 0.15)}) {
      double difference = 0, nll = 0, count = 0;
      for (std::uint64_t seed = 0; seed < 4; ++seed) {
        Rng rng(seed, name);
        const TinyHybrid h = hybrid({.kind = kind, .fusion = HeadFusion::kNorm}, seed, dtype);
        const AttentionPlan plan = h.random_plan(rng);
        const Tokens prompt = random_tokens(30, rng), answer = random_tokens(8, rng);
        const std::vector<double> expected = h.oracle_nll(prompt, answer, plan);
        MeteredModel model(*h.model);
        const std::vector<double> got = forced(model, prompt, answer, plan).nll;
        for (std::size_t i = 0; i < got.size(); ++i) {
          difference += std::abs(got[i] - expected[i]);
          nll += expected[i];
          ++count;
        }
      }
      std::printf("%s %s: mean difference %.1e nat of %.1f\n", std::string(name).c_str(),
                  at::toString(dtype), difference / count, nll / count);
      EXPECT_LT(difference / count, tolerance) << name;
    }
}

TEST_P(HybridModelTest, APrefixIsNeverSharedWithLinearHeads) {
  const TinyHybrid h = hybrid({}, 0);
  Rng rng(1, "prefix");
  const Tokens prompt = random_tokens(20, rng), answer = random_tokens(2, rng);
  const AttentionPlan plan = h.keeping({3});
  MeteredModel model(*h.model);
  const SharedPrefix prefix = *model.share(prompt, 5);
  const Request request{prompt, &plan, 1, &prefix};
  EXPECT_DEATH(static_cast<void>(model.prefill(std::span(&request, 1))), "shared_prefix");
  EXPECT_DEATH(static_cast<void>(model.trace({prompt, answer, &plan}, 5, kEnough)),
               "shared_prefix");
}

TEST_P(HybridModelTest, WhereAPromptIsCutChangesNothing) {
  for (const auto& [kind, name] : kLinearKinds) {
    const TinyHybrid h = hybrid({.kind = kind}, 1);
    Rng rng(2, name);
    const Tokens prompt = random_tokens(150, rng), answer = random_tokens(3, rng);
    for (const AttentionPlan& plan : {h.keeping({}), h.random_plan(rng)}) {
      MeteredModel whole(*h.model);
      const std::vector<double> expected = forced(whole, prompt, answer, plan).nll;
      for (const std::int64_t chunk : {7, 64, 100}) {
        MeteredModel model(*h.model, {.prefill_chunk = chunk, .batch_rows = 1});
        const Request request{prompt, &plan, 1};
        const Session session = *model.prefill(std::span(&request, 1));
        expect_close((*session.score(std::span(&answer, 1)))[0].nll, expected, 1e-9, name.data());
      }
    }
  }
}

TEST_P(HybridModelTest, TokenByTokenIsTeacherForcingOnItself) {
  for (const auto& [kind, name] : kLinearKinds) {
    const TinyHybrid h = hybrid({.kind = kind, .fusion = HeadFusion::kNorm}, 3);
    Rng rng(4, name);
    const AttentionPlan a = h.keeping({1}), b = h.random_plan(rng), c = h.full();
    const Tokens longer = random_tokens(70, rng), shorter = random_tokens(23, rng);
    const std::vector<Request> requests = {{longer, &a, 8}, {shorter, &b, 8}, {shorter, &c, 8}};
    MeteredModel model(*h.model);
    Session session = *model.prefill(requests);
    const Session fork = session.fork();
    const std::vector<Tokens> generated = *session.generate({.max_new_tokens = 8, .stop = {}});
    // The fork is a snapshot of before, and scores what the other went on to.
    const std::vector<AnswerScore> scores = *fork.score(generated);
    for (std::size_t i = 0; i < requests.size(); ++i)
      EXPECT_EQ(scores[i].argmax, generated[i]) << name << " sequence " << i;
    Session again = fork.fork();
    EXPECT_EQ(*again.generate({.max_new_tokens = 8, .stop = {}}), generated) << name;
    // The NLL after 8 single steps is that of one pass.
    const std::vector<Tokens> more(3, random_tokens(2, rng));
    const std::vector<AnswerScore> behind = *session.score(more);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      Tokens whole(requests[i].prompt.begin(), requests[i].prompt.end());
      // The last generated token has not been fed back.
      whole.insert(whole.end(), generated[i].begin(), generated[i].end() - 1);
      const ForcedRequest request{
          .prompt = whole,
          .answer = more[i],
          .plan = requests[i].plan,
          .prompt_length = static_cast<std::int64_t>(requests[i].prompt.size())};
      expect_close(behind[i].nll, (*model.score(std::span(&request, 1)))[0].nll, kTolerance,
                   name.data());
    }
  }
}

TEST_P(HybridModelTest, SequencesOfABatchDoNotDependOnEachOther) {
  for (const auto& [kind, name] : kLinearKinds) {
    const TinyHybrid h = hybrid({.kind = kind}, 5);
    Rng rng(6, name);
    const AttentionPlan plan = h.keeping({2}), other = h.random_plan(rng);
    std::vector<Tokens> prompts, answers;
    for (int i = 0; i < 6; ++i) {  // two lengths, two plans, mixed
      prompts.push_back(random_tokens(i % 3 == 0 ? 30 : 41, rng));
      answers.push_back(random_tokens(i == 5 ? 1 : 3, rng));
    }
    std::vector<Request> requests;
    for (std::size_t i = 0; i < prompts.size(); ++i)
      requests.push_back({prompts[i], i == 4 ? &other : &plan, 5});
    MeteredModel model(*h.model, {.prefill_chunk = 16, .batch_rows = 40});
    Session together = *model.prefill(requests);
    const std::vector<AnswerScore> scores = *together.score(answers);
    const std::vector<Tokens> generated = *together.generate({.max_new_tokens = 5, .stop = {3}});
    std::vector<ForcedRequest> forced_requests;
    for (std::size_t i = 0; i < prompts.size(); ++i)
      forced_requests.push_back({prompts[i], answers[i], requests[i].plan});
    const std::vector<AnswerScore> packed = *model.score(forced_requests);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      Session alone = *model.prefill(std::span(&requests[i], 1));
      const std::vector<double> expected = (*alone.score(std::span(&answers[i], 1)))[0].nll;
      expect_close(scores[i].nll, expected, kTolerance, name.data());
      expect_close(packed[i].nll, expected, kTolerance, name.data());
      EXPECT_EQ((*alone.generate({.max_new_tokens = 5, .stop = {3}}))[0], generated[i]);
      EXPECT_EQ(alone.kv_bytes(0), together.kv_bytes(i));
    }
  }
}

TEST_P(HybridModelTest, AHybridThatKeepsEveryLayerIsItsTeacherToTheBit) {
  for (const auto& [kind, name] : kLinearKinds)
    for (const HeadFusion fusion : {HeadFusion::kNone, HeadFusion::kNorm}) {
      const TinyHybrid h = hybrid({.kind = kind, .fusion = fusion}, 7, at::kFloat);
      const auto teacher =
          Model::in_memory("teacher", h.architecture, testing::to_device(h.weights, device()));
      Rng rng(8, name);
      const Tokens prompt = random_tokens(70, rng), answer = random_tokens(5, rng);
      const AttentionPlan plan = h.keeping({0, 1, 2, 3});
      MeteredModel mine(*h.model), theirs(*teacher);
      EXPECT_EQ(forced(mine, prompt, answer, plan).nll, forced(theirs, prompt, answer, plan).nll);
      const Request request{prompt, &plan, 5};
      Session a = *mine.prefill(std::span(&request, 1)),
              b = *theirs.prefill(std::span(&request, 1));
      EXPECT_EQ((*a.score(std::span(&answer, 1)))[0].nll, (*b.score(std::span(&answer, 1)))[0].nll);
      EXPECT_EQ(a.kv_bytes(0), b.kv_bytes(0));
    }
}

TEST_P(HybridModelTest, ResumedTogglesEqualRunsFromTheFirstLayer) {
  for (const auto& [kind, name] : kLinearKinds)
    for (const Granularity granularity : {Granularity::kLayer, Granularity::kQueryHead}) {
      const TinyHybrid h = hybrid({.kind = kind}, 9);
      Rng rng(10, name);
      const Tokens prompt = random_tokens(24, rng), answer = random_tokens(3, rng);
      for (const bool keep : {false, true}) {
        const Mask base(granularity, h.architecture.layout(), keep);
        const auto plan_of = [&](const Mask& mask) {
          return *AttentionPlan::from_mask(mask, FullAttention{}, h.linear(), DecodeRule::kSame);
        };
        const AttentionPlan base_plan = plan_of(base);
        std::vector<AttentionPlan> plans;
        for (std::size_t unit = 0; unit < base.size(); ++unit)
          plans.push_back(plan_of(base.with(unit, !keep)));
        std::vector<Toggle> toggles;
        for (std::size_t unit = 0; unit < base.size(); ++unit)
          toggles.push_back({static_cast<int>(unit) / base.units(), &plans[unit]});
        for (const std::int64_t batch_rows : {1, 100'000}) {
          MeteredModel model(*h.model, {.batch_rows = batch_rows});
          Trace trace = *model.trace({prompt, answer, &base_plan}, 0, kEnough);
          const std::vector<AnswerScore> resumed = *model.resume(trace, toggles);
          for (std::size_t unit = 0; unit < base.size(); ++unit)
            expect_close(resumed[unit].nll, forced(model, prompt, answer, plans[unit]).nll,
                         kTolerance, fmt::format("{} unit {}", name, unit));
        }
      }
    }
}

TEST_P(HybridModelTest, KeptBytesAndCountedWorkAreThoseOfTheCost) {
  for (const auto& [kind, name] : kLinearKinds)
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16})
      for (std::uint64_t seed = 0; seed < 4; ++seed) {
        Rng rng(seed, name);
        const TinyHybrid h = hybrid(random_config(kind, rng), seed, dtype);
        const AttentionPlan plan = seed == 0 ? h.keeping({}) : h.random_plan(rng);
        const Tokens prompt = random_tokens(70, rng), answer = random_tokens(4, rng);
        MeteredModel model(*h.model);
        const Request request{prompt, &plan, 3};
        const Session session = *model.prefill(std::span(&request, 1));
        EXPECT_EQ(session.kv_bytes(0), kv_bytes(plan, h.model->shape(), 73)) << name << seed;
        EXPECT_EQ(session.fork().kv_bytes(0), session.kv_bytes(0));
        EXPECT_EQ(model.meter().peak_bytes, session.kv_bytes(0));
        model.take_meter();
        forced(model, prompt, answer, plan);
        EXPECT_EQ(model.meter().flops, forced_flops(plan, h.model->shape(), 70, 4));
      }
}

TEST_P(HybridModelTest, AModelsParametersAreItsBranchesToo) {
  const TinyHybrid h = hybrid({}, 0);
  std::int64_t expected = 0;
  for (LayerBranch branch : h.branches)
    for (const BranchPart& part : branch.parts()) expected += part.tensor->numel();
  const auto teacher = Model::in_memory("teacher", h.architecture, h.weights);
  EXPECT_EQ(h.model->parameters() - teacher->parameters(), expected);
}

TEST_P(HybridModelTest, ABranchThatIsMissingOrOfAnotherKindIsNamed) {
  const TinyHybrid h = hybrid({.kind = LinearKind::kGla}, 0);
  std::vector<LayerBranch> some = {h.branches[0], h.branches[2]};
  const auto model = Model::in_memory("some", h.architecture, h.weights, some);
  const auto error = [&](const AttentionPlan& plan) {
    const Status status = model->check_mixers(plan);
    return status ? std::string("no error") : status.error().text();
  };
  EXPECT_EQ(error(h.keeping({1, 3})), "no error");
  EXPECT_EQ(
      error(h.keeping({3})),
      "layer 1 has no trained gla branch; expected a model made by strata convert\n"
      "  hint: name its branches by model.branches=DIR; mixer=sliding_window needs no weights "
      "of its own");
  EXPECT_EQ(error(h.plan(Granularity::kLayer,
                         {{LinearAttention{LinearKind::kLightning}, DecodeRule::kSame},
                          {FullAttention{}, DecodeRule::kSame}},
                         {1, 1, 0, 1})),
            "layer 2 has no trained lightning branch; expected mixer.linear=gla as its branch is");
}

STRATA_ON_EVERY_DEVICE(HybridModelTest);

TEST(ChunkEndTest, ChunksOfAPlanWithStatesEndAtTheirMultiples) {
  constexpr HeadLayout kLayout{.layers = 2, .query_heads = 2, .kv_heads = 1};
  const auto plan_of = [&](const MixerSpec& a, const MixerSpec& b) {
    return *AttentionPlan::from_cells(Granularity::kLayer, kLayout,
                                      {{a, DecodeRule::kSame}, {b, DecodeRule::kSame}}, {0, 1});
  };
  const AttentionPlan linear = plan_of(LinearAttention{}, FullAttention{});
  EXPECT_EQ(chunk_end(linear, 0, 100, 500), 64);
  EXPECT_EQ(chunk_end(linear, 64, 200, 500), 256);
  EXPECT_EQ(chunk_end(linear, 448, 100, 500), 500);
  EXPECT_EQ(chunk_end(linear, 0, 10, 500), 10);  // too short for one
  EXPECT_EQ(chunk_end(linear, 60, 10, 500), 64);
  const AttentionPlan both = plan_of(LinearAttention{}, SlidingWindow{70, 4});
  EXPECT_EQ(chunk_end(both, 0, 4096, 500), 128);  // 74, rounded up
  EXPECT_EQ(chunk_end(both, 0, 4096, 100), 100);
  const AttentionPlan windows = plan_of(SlidingWindow{70, 4}, FullAttention{});
  EXPECT_EQ(chunk_end(windows, 0, 4096, 500), 74);
  EXPECT_EQ(chunk_end(windows, 74, 100, 500), 174);
}

}  // namespace
}  // namespace strata
