// The loss that aligns every layer's mixer output with the unmasked model's: gradients against
// finite differences, values against runs with hooks, the bill by hand.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <map>

#include "models/cost.h"
#include "tests/unit/models/gated_pass_fixture.h"
#include "tests/unit/models/mixer_outputs.h"

namespace strata::testing {
namespace {

class AlignmentTest : public GatedPassFixture {};

constexpr Alignment kAlignments[] = {{false, false}, {true, false}, {false, true}, {true, true}};

TEST_P(AlignmentTest, GradientsOfAlignmentAreFiniteDifferences) {
  MeteredModel model(*model_);
  for (const Granularity granularity : {Granularity::kLayer, Granularity::kKvHead})
    for (const GatedAttention& gated : streams(attention(granularity, DecodeRule::kSame)))
      for (const Alignment& alignment : kAlignments)
        for (const std::int64_t scored : {0, 50}) {
          if (scored > 0 && granularity == Granularity::kKvHead) continue;
          GatedRequest align = request({});
          align.loss = PassLoss::kAlignment;
          align.alignment = alignment;
          align.scored = scored;
          const auto teacher = teacher_rows(model, {&align, 1}, {}, silent_);
          ASSERT_TRUE(teacher);
          align.teacher = &(*teacher)[0];
          expect_finite_differences(gated, align, random_gates(granularity, 6));
          expect_finite_differences(gated, align, random_gates(granularity, 7),
                                    gated_pass_bytes(model_->shape(), 53, 2));  // recomputes two
          const std::vector<double> open(units(granularity), 1.0);
          align.gates = open;
          EXPECT_NEAR(run(gated, align).loss, 0, 1e-20);
        }
}

// With gates that are shut or open, against runs of plans whose open layers get what they would add
// in the teacher.
TEST_P(AlignmentTest, AlignmentIsTheDistanceOfWhatMixersAdd) {
  MeteredModel model(*model_);
  Tokens text = prompt_;
  text.insert(text.end(), answer_.begin(), answer_.end());
  const auto prompt_length = static_cast<std::int64_t>(prompt_.size());
  const auto at_rows = [&](const AttentionPlan& plan,
                           const std::map<int, at::Tensor>& replaced = {}, std::int64_t rows = 4) {
    return mixer_outputs(*model_, text, prompt_length, plan, rows, replaced);
  };
  const AttentionPlan full = AttentionPlan::full(model_->layout());
  const MixerOutputs teacher = at_rows(full), whole_teacher = at_rows(full, {}, 0);
  const std::vector<double> gates = {0, 1, 0, 1};
  for (const DecodeRule rule : {DecodeRule::kSame, DecodeRule::kFull})
    for (const GatedAttention& gated : streams(attention(Granularity::kLayer, rule)))
      for (const Alignment& alignment : kAlignments) {
        double expected = 0;
        for (int layer = 0; layer < kLayers; ++layer) {
          Mask mask(Granularity::kLayer, model_->layout(), gated.separate_layers);
          std::map<int, at::Tensor> replaced;
          for (int other = 0; other < kLayers; ++other) {
            const auto i = static_cast<std::size_t>(other);
            if (!gated.separate_layers || other == layer) mask = mask.with(i, gates[i] == 1);
            if (gated.kept_from_teacher && mask.at(i)) replaced[other] = whole_teacher.out_NC[i];
          }
          const MixerOutputs here =
              at_rows(*AttentionPlan::from_mask(mask, gated.kept, gated.cheap, rule), replaced);
          const auto compared = [&](const MixerOutputs& of) {
            const auto i = static_cast<std::size_t>(layer);
            return alignment.residual ? of.stream_NC[i] + of.out_NC[i] : of.out_NC[i];
          };
          const auto square = [](const at::Tensor& x) { return x.square().sum().item<double>(); };
          expected += square(compared(here) - compared(teacher)) / kLayers /
                      (alignment.normalised ? square(compared(teacher)) : 4.0);
        }
        GatedRequest align = request(gates);
        align.loss = PassLoss::kAlignment;
        align.alignment = alignment;
        const auto rows = teacher_rows(model, {&align, 1}, {}, silent_);
        ASSERT_TRUE(rows);
        align.teacher = &(*rows)[0];
        const GatedGradient got = run(gated, align);
        EXPECT_GT(expected, 1e-4);
        EXPECT_NEAR(got.loss, expected, 1e-10 * expected);
        EXPECT_TRUE(got.nll.empty());
      }
}

// What separate layers leave out: logits, the way back through the network, a second stream.
TEST_P(AlignmentTest, AlignmentCostsWhatItRuns) {
  const auto flops = [&](const GatedAttention& gated) {
    MeteredModel teaching(*model_), model(*model_);
    const std::vector<double> gates(kLayers, 0.5);
    GatedRequest align = request(gates);
    align.loss = PassLoss::kAlignment;
    const auto teacher = teacher_rows(teaching, {&align, 1}, {}, silent_);
    align.teacher = &(*teacher)[0];
    EXPECT_TRUE(gate_gradient(model, gated, align, kEnough));
    return std::pair(teaching.meter().flops, model.meter().flops);
  };
  const Chunk chunk{0, 53, 50, 49, false};
  const auto cost = [&](bool keeps) {
    const AttentionPlan plan = *AttentionPlan::from_mask(
        Mask(Granularity::kLayer, model_->layout(), keeps), FullAttention{},
        SlidingWindow{kWindow, kSinks}, DecodeRule::kSame);
    return run_cost(plan, model_->shape(), chunk, all_rows(plan, chunk), 0).flops;
  };
  const Flops full = cost(true), cheap = cost(false);
  // 4 rows of 16 → 12 numbers in each layer.
  const double outputs = kLayers * 4.0 * 2 * 16 * 12, forward = full.linear + full.attention;
  const auto all = streams(attention(Granularity::kLayer, DecodeRule::kSame));
  for (const GatedAttention& gated : all) EXPECT_DOUBLE_EQ(flops(gated).first, forward + outputs);
  EXPECT_DOUBLE_EQ(flops(all[0]).second,
                   2 * full.linear + 3.5 * (full.attention + cheap.attention) + 2 * outputs);
  EXPECT_DOUBLE_EQ(flops(all[1]).second,
                   3 * full.linear + full.attention + 3.5 * cheap.attention + 2 * outputs);
  EXPECT_DOUBLE_EQ(flops(all[2]).second, forward + cheap.attention + 2 * outputs);
}

STRATA_ON_EVERY_DEVICE(AlignmentTest);

}  // namespace
}  // namespace strata::testing
