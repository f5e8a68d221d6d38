// Training of linear branches and of hybrids takes the same steps on every device.
#include <gtest/gtest.h>

#include "models/training/branch_training.h"
#include "models/training/hybrid_training.h"
#include "tests/unit/models/hybrid_fixture.h"

namespace strata {
namespace {

using testing::TinyHybrid;

constexpr int kSteps = 6;

class TrainingDevicesTest : public testing::DeviceTest {
 protected:
  TrainingDevicesTest() {
    Rng rng(1, "texts");
    for (int text = 0; text < 4; ++text) texts_.push_back(testing::random_tokens(70, rng));
  }

  static TinyHybrid hybrid(LinearKind kind, at::Device device) {
    return testing::tiny_hybrid({.kind = kind, .gate_rank = 2}, at::kDouble, 2, device);
  }
  // Layer 0: linear; 1: its KV heads full and linear; 2: windowed; 3: linear.
  static AttentionPlan mixed(const TinyHybrid& of) {
    return of.plan(Granularity::kKvHead, {{FullAttention{}}, {SlidingWindow{5, 2}}, {of.linear()}},
                   {2, 2, 0, 2, 1, 1, 2, 2});
  }

  // Before each step; a loss behind a step depends on the weights that the step made.
  std::vector<double> aligned(LinearKind kind, at::Device device) const {
    const TinyHybrid tiny = hybrid(kind, device);
    std::vector<LayerBranch> branches(tiny.model->decoder().branches().begin(),
                                      tiny.model->decoder().branches().end());
    MeteredModel metered(*tiny.model);
    SilentProgress progress;
    const auto curve = train_branches(metered, texts_, {.steps = kSteps, .batch = 2, .rate = 1e-2},
                                      branches, progress);
    EXPECT_TRUE(curve) << curve.error().text();
    std::vector<double> losses;
    for (const nlohmann::json& point : *curve)
      for (const double loss : point["loss"]) losses.push_back(loss);
    return losses;
  }
  std::vector<double> distilled(LinearKind kind, HybridLoss loss, at::Device device) const {
    const TinyHybrid tiny = hybrid(kind, device);
    MeteredModel metered(*tiny.model);
    SilentProgress progress;
    const auto student =
        distil(metered, *tiny.model, mixed(tiny), texts_,
               {.steps = kSteps, .batch = 2, .rate = 1e-2, .loss = loss}, progress);
    EXPECT_TRUE(student) << student.error().text();
    return student->losses;
  }

  std::vector<Tokens> texts_;
};

TEST_P(TrainingDevicesTest, AlignmentTakesTheStepsOfTheCpu) {
  for (const auto& [kind, name] : kLinearKinds) {
    const std::vector<double> expected = aligned(kind, at::kCPU);
    ASSERT_EQ(expected.size(), std::size_t{4} * kSteps);
    EXPECT_NE(expected.front(), expected.back());
    testing::expect_close(aligned(kind, device()), expected, 1e-8,
                          "alignment, " + std::string(name));
  }
}

TEST_P(TrainingDevicesTest, DistillationAndLikelihoodTakeTheStepsOfTheCpu) {
  for (const auto& [kind, name] : kLinearKinds)
    for (const HybridLoss loss : {HybridLoss::kDivergence, HybridLoss::kNll}) {
      const std::vector<double> expected = distilled(kind, loss, at::kCPU);
      ASSERT_EQ(expected.size(), std::size_t{kSteps});
      EXPECT_NE(expected.front(), expected.back());
      testing::expect_close(distilled(kind, loss, device()), expected, 1e-8,
                            "training, " + std::string(name));
    }
}

STRATA_ON_EVERY_DEVICE(TrainingDevicesTest);

}  // namespace
}  // namespace strata
