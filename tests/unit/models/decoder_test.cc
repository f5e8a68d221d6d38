// The decoder against the dense oracle: random shapes, plans, chunk sizes.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "models/cost.h"
#include "models/decoder/decoder.h"
#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/device_test.h"

namespace strata {
namespace {

using testing::Matrix;

class DecoderTest : public testing::DeviceTest {};

// Runs tokens in chunks of the given sizes (the last repeats) and returns logits of the rows from
// first_read on.
Matrix run_in_chunks(const Decoder& decoder, const std::vector<TokenId>& tokens,
                     const AttentionPlan& plan, std::int64_t prompt_length,
                     const std::vector<std::int64_t>& chunk_sizes, std::int64_t first_read,
                     BatchState* keep_state = nullptr) {
  const c10::InferenceMode inference;
  const at::TensorOptions on_device = at::TensorOptions().device(decoder.options().device());
  const auto bound = std::make_shared<const BoundPlan>(plan, on_device);
  const auto length = static_cast<std::int64_t>(tokens.size());
  BatchState state = decoder.make_state(*bound, length);
  Matrix out;
  std::size_t turn = 0;
  for (std::int64_t begin = 0; begin < length;) {
    const std::int64_t end =
        std::min(length, begin + chunk_sizes[std::min(turn++, chunk_sizes.size() - 1)]);
    std::vector<Segment> segments{
        {{begin, end, prompt_length, std::clamp(first_read, begin, end), true}, bound, &state, {}}};
    segments[0].rows = plan_rows(plan, segments[0].chunk);
    std::vector<std::int64_t> ids(tokens.begin() + segments[0].rows[0].in_begin,
                                  tokens.begin() + end);
    const at::Tensor x =
        decoder.run_layers(decoder.embed(at::tensor(ids, at::kLong).to(decoder.options().device())),
                           0, decoder.architecture().layers, segments);
    if (x.size(0) > 0) {
      const at::Tensor logits = decoder.logits(x).to(at::kCPU, at::kDouble).contiguous();
      for (std::int64_t r = 0; r < logits.size(0); ++r)
        out.emplace_back(logits.const_data_ptr<double>() + r * logits.size(1),
                         logits.const_data_ptr<double>() + (r + 1) * logits.size(1));
    }
    begin = end;
  }
  if (keep_state != nullptr) *keep_state = std::move(state);
  return out;
}

double worst_difference(const Matrix& got, const Matrix& oracle, std::int64_t first) {
  double worst = 0;
  EXPECT_EQ(got.size(), oracle.size() - static_cast<std::size_t>(first));
  for (std::size_t i = 0; i < got.size(); ++i)
    for (std::size_t c = 0; c < got[i].size(); ++c) {
      const double difference =
          std::abs(got[i][c] - oracle[i + static_cast<std::size_t>(first)][c]);
      worst = std::isnan(difference) ? 1e9 : std::max(worst, difference);
    }
  return worst;
}

struct Case {
  Architecture architecture;
  Weights weights;
  AttentionPlan plan;
  std::vector<TokenId> tokens;
  std::int64_t prompt_length;
  std::int64_t chunk;
  bool beyond_window;
};

Case random_case(Rng& rng, at::ScalarType dtype) {
  const int kv_heads = static_cast<int>(1 + rng.below(2));
  const int query_heads = kv_heads * static_cast<int>(1 + rng.below(3));
  Architecture a = testing::tiny_architecture(static_cast<int>(1 + rng.below(3)), query_heads,
                                              kv_heads, rng.below(2) == 0 ? 4 : 8);
  a.sink_logits = rng.below(2) == 0;
  if (rng.below(3) == 0) {
    const std::int64_t experts = rng.between(1, 5);
    // Half of the limits cut something off.
    a.experts = {experts, rng.between(1, experts), 1.5, rng.below(2) == 0 ? 0.7 : 7.0};
    a.intermediate = 4;
  }
  const std::int64_t max_window = rng.between(1, 40), max_sinks = rng.between(0, 4);
  const std::int64_t chunk = rng.between(1, 24);
  const bool beyond = rng.below(4) != 0;
  const std::int64_t length = beyond ? max_window + max_sinks + chunk + rng.between(1, 40)
                                     : rng.between(1, max_window + max_sinks);
  std::vector<TokenId> tokens;
  for (std::int64_t i = 0; i < length; ++i) tokens.push_back(static_cast<TokenId>(rng.below(11)));
  Weights weights = testing::random_weights(a, rng, dtype);
  AttentionPlan plan = testing::random_plan(a.layout(), rng, max_window, max_sinks);
  return {
      a,     std::move(weights), std::move(plan), std::move(tokens), rng.between(1, length), chunk,
      beyond};
}

TEST_P(DecoderTest, EqualsTheDenseOracleOverRandomShapesPlansAndChunks) {
  at::set_num_threads(1);
  const int kCases = device().is_cpu() ? 1200 : 200;  // launches are slow for tiny shapes
  int beyond = 0, with_sinks = 0, grouped = 0, mixed = 0, boundary_inside = 0;
  int sink_logits = 0, experts = 0;
  for (int seed = 0; seed < kCases; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed), "decoder oracle");
    const Case c = random_case(rng, at::kDouble);
    const Decoder decoder(c.architecture, testing::to_device(c.weights, device()));
    const auto length = static_cast<std::int64_t>(c.tokens.size());
    const Matrix oracle =
        testing::oracle_logits(c.architecture, c.weights, c.tokens, c.plan, c.prompt_length);
    const std::int64_t first_read = rng.between(0, length - 1);
    const double worst = worst_difference(
        run_in_chunks(decoder, c.tokens, c.plan, c.prompt_length, {c.chunk}, first_read), oracle,
        first_read);
    ASSERT_LT(worst, 1e-9) << "seed " << seed << " plan " << c.plan.to_json().dump() << " length "
                           << length << " chunk " << c.chunk << " prompt " << c.prompt_length
                           << " read " << first_read;
    beyond += c.beyond_window;
    for (const PaletteEntry& entry : c.plan.palette())
      if (const auto* sliding = std::get_if<SlidingWindow>(&entry.mixer))
        if (sliding->sinks > 0) {
          ++with_sinks;
          break;
        }
    sink_logits += c.architecture.sink_logits;
    experts += c.architecture.experts.has_value();
    grouped += c.architecture.query_heads > c.architecture.kv_heads;
    mixed += c.plan.granularity() != Granularity::kLayer;
    boundary_inside += c.prompt_length % c.chunk != 0;
  }
  EXPECT_GE(beyond, kCases / 2);
  EXPECT_GE(with_sinks, kCases / 4);
  EXPECT_GE(grouped, kCases / 4);
  EXPECT_GE(sink_logits, kCases / 4);
  EXPECT_GE(experts, kCases / 4);
  EXPECT_GE(mixed, kCases / 4);
  EXPECT_GE(boundary_inside, kCases / 4);
}

TEST_P(DecoderTest, ChunkedPrefillEqualsOneChunkEqualsTokenByToken) {
  for (int seed = 0; seed < 60; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed), "chunks");
    const Case c = random_case(rng, at::kDouble);
    const Decoder decoder(c.architecture, testing::to_device(c.weights, device()));
    const auto length = static_cast<std::int64_t>(c.tokens.size());
    const Matrix at_once = run_in_chunks(decoder, c.tokens, c.plan, c.prompt_length, {length}, 0);
    const Matrix chunked = run_in_chunks(decoder, c.tokens, c.plan, c.prompt_length, {c.chunk}, 0);
    const Matrix one_by_one = run_in_chunks(decoder, c.tokens, c.plan, c.prompt_length, {1}, 0);
    const Matrix prefill_then_decode =
        run_in_chunks(decoder, c.tokens, c.plan, c.prompt_length, {c.prompt_length, 1}, 0);
    EXPECT_LT(worst_difference(chunked, at_once, 0), 1e-10) << "seed " << seed;
    EXPECT_LT(worst_difference(one_by_one, at_once, 0), 1e-10) << "seed " << seed;
    EXPECT_LT(worst_difference(prefill_then_decode, at_once, 0), 1e-10) << "seed " << seed;
  }
}

TEST_P(DecoderTest, Float32StaysCloseToTheOracle) {
  for (int seed = 0; seed < 60; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed), "float32");
    const Case c = random_case(rng, at::kFloat);
    const Decoder decoder(c.architecture, testing::to_device(c.weights, device()));
    const Matrix oracle =
        testing::oracle_logits(c.architecture, c.weights, c.tokens, c.plan, c.prompt_length);
    EXPECT_LT(
        worst_difference(run_in_chunks(decoder, c.tokens, c.plan, c.prompt_length, {c.chunk}, 0),
                         oracle, 0),
        2e-3)
        << "seed " << seed;
  }
}

TEST_P(DecoderTest, AWindowOneTokenWiderIsAnotherFunction) {
  // If `<` in the rule became `≤`, window w would compute what w + 1 computes now.
  Rng rng(7, "off by one");
  const Architecture a = testing::tiny_architecture(2, 4, 2);
  const Weights weights = testing::random_weights(a, rng, at::kDouble);
  const Decoder decoder(a, testing::to_device(weights, device()));
  std::vector<TokenId> tokens;
  tokens.reserve(50);
  for (int i = 0; i < 50; ++i) tokens.push_back(static_cast<TokenId>(rng.below(11)));
  const auto plan = [&](std::int64_t window) {
    return *AttentionPlan::from_mask(Mask(Granularity::kLayer, a.layout(), false), FullAttention{},
                                     SlidingWindow{window, 2}, DecodeRule::kSame);
  };
  const Matrix oracle = testing::oracle_logits(a, weights, tokens, plan(9), 50);
  EXPECT_LT(worst_difference(run_in_chunks(decoder, tokens, plan(9), 50, {50}, 0), oracle, 0),
            1e-9);
  EXPECT_GT(worst_difference(run_in_chunks(decoder, tokens, plan(10), 50, {50}, 0), oracle, 0),
            1e-3);
  EXPECT_GT(worst_difference(run_in_chunks(decoder, tokens, plan(8), 50, {50}, 0), oracle, 0),
            1e-3);
}

TEST_P(DecoderTest, ALearnedSinkIsNoSinkTokenOfThePlan) {
  // Both may be there at once; each changes what is computed.
  Rng rng(5, "learned sinks");
  Architecture a = testing::tiny_architecture(2, 4, 2);
  a.sink_logits = true;
  const Weights weights = testing::random_weights(a, rng, at::kDouble);
  const auto run = [&](bool learned, std::int64_t sinks) {
    Architecture here = a;
    Weights used = testing::to_device(weights, device());
    here.sink_logits = learned;
    if (!learned)
      for (LayerWeights& layer : used.layers) layer.sink_logits = at::Tensor();
    const AttentionPlan plan =
        *AttentionPlan::from_mask(Mask(Granularity::kLayer, a.layout(), false), FullAttention{},
                                  SlidingWindow{5, sinks}, DecodeRule::kSame);
    const std::vector<TokenId> tokens{1, 5, 3, 9, 2, 2, 7, 4, 8, 10, 0, 6};
    return run_in_chunks(Decoder(here, std::move(used)), tokens, plan, 12, {12}, 0);
  };
  EXPECT_GT(worst_difference(run(true, 0), run(false, 0), 0), 1e-3);
  EXPECT_GT(worst_difference(run(true, 2), run(true, 0), 0), 1e-3);
}

TEST_P(DecoderTest, WindowedLayersFreeTheirOldKeysToTheByte) {
  for (int seed = 0; seed < 40; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed), "bytes");
    const Case c = random_case(rng, at::kDouble);
    const Decoder decoder(c.architecture, testing::to_device(c.weights, device()));
    const auto length = static_cast<std::int64_t>(c.tokens.size());
    BatchState state;
    run_in_chunks(decoder, c.tokens, c.plan, c.prompt_length, {c.chunk}, length - 1, &state);
    const ModelShape shape{.heads = c.architecture.layout(),
                           .hidden = 12,
                           .head_dim = c.architecture.head_dim,
                           .intermediate = 10,
                           .vocabulary = 11,
                           .max_positions = 512,
                           .bytes_per_value = 8};
    EXPECT_EQ(state.bytes(), kv_bytes(c.plan, shape, length)) << "seed " << seed;
  }
}

TEST_P(DecoderTest, ABatchEqualsItsSequencesOneByOne) {
  for (int seed = 0; seed < 60; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed), "batches");
    const Case c = random_case(rng, at::kDouble);
    const Decoder decoder(c.architecture, testing::to_device(c.weights, device()));
    const auto length = static_cast<std::int64_t>(c.tokens.size());
    constexpr std::int64_t kBatch = 3;
    std::vector<Matrix> alone;
    std::vector<std::vector<TokenId>> tokens;
    for (std::int64_t b = 0; b < kBatch; ++b) {
      tokens.push_back(c.tokens);
      for (TokenId& token : tokens.back()) token = static_cast<TokenId>(rng.below(11));
      alone.push_back(
          run_in_chunks(decoder, tokens.back(), c.plan, c.prompt_length, {c.chunk}, length - 1));
    }
    const c10::InferenceMode inference;
    const auto bound =
        std::make_shared<const BoundPlan>(c.plan, at::TensorOptions().device(device()));
    BatchState state = decoder.make_state(*bound, length, kBatch);
    at::Tensor top;
    for (std::int64_t begin = 0; begin < length; begin += c.chunk) {
      const Chunk chunk{begin, std::min(length, begin + c.chunk), c.prompt_length,
                        std::clamp(length - 1, begin, std::min(length, begin + c.chunk)), true};
      Segment segment{chunk, bound, &state, plan_rows(c.plan, chunk), kBatch};
      std::vector<std::int64_t> ids;
      for (const std::vector<TokenId>& sequence : tokens)
        ids.insert(ids.end(), sequence.begin() + segment.rows[0].in_begin,
                   sequence.begin() + chunk.end);
      top = decoder.run_layers(decoder.embed(at::tensor(ids, at::kLong).to(device())), 0,
                               c.architecture.layers, std::span(&segment, 1));
    }
    const at::Tensor logits = decoder.logits(top).to(at::kCPU, at::kDouble);
    ASSERT_EQ(logits.size(0), kBatch);
    for (std::int64_t b = 0; b < kBatch; ++b)
      for (std::int64_t v = 0; v < logits.size(1); ++v)
        EXPECT_NEAR(logits[b][v].item<double>(),
                    alone[static_cast<std::size_t>(b)][0][static_cast<std::size_t>(v)], 1e-10)
            << "seed " << seed << " sequence " << b;
  }
}

TEST_P(DecoderTest, InterventionWithTheCapturedValueChangesNothing) {
  Rng rng(3, "hooks");
  const Architecture a = testing::tiny_architecture(3, 4, 2);
  const Decoder decoder(a,
                        testing::to_device(testing::random_weights(a, rng, at::kDouble), device()));
  const AttentionPlan plan = AttentionPlan::full(a.layout());
  const auto bound = std::make_shared<const BoundPlan>(plan, at::TensorOptions().device(device()));
  const std::vector<std::int64_t> ids = {1, 5, 3, 9, 2, 2, 7};
  const auto run = [&](ForwardHooks* hooks) {
    std::vector<Segment> segments{{{0, 7, 7, 0, false}, bound, nullptr, {}}};
    segments[0].rows = plan_rows(plan, segments[0].chunk);
    return decoder.run_layers(decoder.embed(at::tensor(ids, at::kLong).to(device())), 0, 3,
                              segments, hooks);
  };
  const at::Tensor plain = run(nullptr);
  for (const Site site : {Site::kResidIn, Site::kQ, Site::kK, Site::kV, Site::kHeadOut,
                          Site::kMixerOut, Site::kMlpOut}) {
    ForwardHooks capture{{{site, 1, {2, 4}, {}}}, {}};
    EXPECT_TRUE(run(&capture).equal(plain));
    const at::Tensor value = capture.captures[0].value;
    ASSERT_EQ(value.size(0), 2);
    ForwardHooks same{{}, {{site, 1, -1, {2, 4}, value}}};
    EXPECT_TRUE(run(&same).equal(plain));
    ForwardHooks other{{}, {{site, 1, -1, {2, 4}, value * 2.0}}};
    EXPECT_FALSE(run(&other).equal(plain));
  }
}

STRATA_ON_EVERY_DEVICE(DecoderTest);

}  // namespace
}  // namespace strata
