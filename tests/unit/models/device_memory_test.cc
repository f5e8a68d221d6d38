// The peak of memory against tensors whose sizes are known, and of a pass against what it has to
// hold.
#include "models/device_memory.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/device_test.h"

namespace strata {
namespace {

constexpr std::uint64_t kMebi = 1 << 20;

class DeviceMemoryTest : public testing::DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) return;
    Rng rng(5, "device memory");
    const Architecture architecture = testing::tiny_architecture(4, 4, 2);
    model_ = Model::in_memory(
        "tiny", architecture,
        testing::to_device(testing::random_weights(architecture, rng, at::kFloat), device()));
  }

  at::Tensor mebibytes(std::uint64_t count) const {
    return at::empty({static_cast<std::int64_t>(count * kMebi)},
                     at::TensorOptions(device()).dtype(at::kByte));
  }

  std::unique_ptr<Model> model_;
};

TEST_P(DeviceMemoryTest, ThePeakIsOfWhatIsHeldAtOnce) {
  const at::Tensor before = mebibytes(64);
  const PeakMemory peak(*model_);
  EXPECT_EQ(peak.bytes(), 0U);
  for (int i = 0; i < 3; ++i) {
    const at::Tensor a = mebibytes(4);
    const at::Tensor b = mebibytes(2);
  }
  EXPECT_EQ(peak.bytes(), 6 * kMebi);
  const at::Tensor kept = mebibytes(5);
  EXPECT_EQ(peak.bytes(), 6 * kMebi);
  const at::Tensor more = mebibytes(5);
  EXPECT_EQ(peak.bytes(), 10 * kMebi);
}

TEST_P(DeviceMemoryTest, OneAfterTheOtherBeginsAnew) {
  { const at::Tensor unseen = mebibytes(32); }
  {
    const PeakMemory first(*model_);
    const at::Tensor a = mebibytes(8);
    EXPECT_EQ(first.bytes(), 8 * kMebi);
  }
  const PeakMemory second(*model_);
  const at::Tensor a = mebibytes(2);
  EXPECT_EQ(second.bytes(), 2 * kMebi);
}

TEST(CpuMemory, OtherThreadsCountForThemselves) {
  Rng rng(5, "device memory");
  const Architecture architecture = testing::tiny_architecture(4, 4, 2);
  const auto model = Model::in_memory("tiny", architecture,
                                      testing::random_weights(architecture, rng, at::kFloat));
  const PeakMemory mine(*model);
  std::uint64_t theirs = 0;
  std::jthread([&] {
    const PeakMemory peak(*model);
    const at::Tensor a = at::zeros({static_cast<std::int64_t>(3 * kMebi)}, at::kByte);
    theirs = peak.bytes();
  }).join();
  EXPECT_EQ(theirs, 3 * kMebi);
  EXPECT_EQ(mine.bytes(), 0U);
}

// Under full attention every layer's keys and values are there at once; a window holds less.
TEST_P(DeviceMemoryTest, APassHoldsItsCachesAndAWindowLess) {
  const Tokens prompt(200, 3);
  const auto measured = [&](const AttentionPlan& plan) {
    MeteredModel model(*model_);
    const PeakMemory peak(*model_);
    const Request request{prompt, &plan, 0};
    const Result<Session> session = model.prefill(std::span(&request, 1));
    EXPECT_TRUE(session) << (session ? "" : session.error().message);
    EXPECT_GE(peak.bytes(), session ? session->kv_bytes(0) : 0);
    return peak.bytes();
  };
  const HeadLayout& layout = model_->layout();
  const std::uint64_t full = measured(AttentionPlan::full(layout));
  const std::uint64_t windows =
      measured(*AttentionPlan::from_mask(Mask(Granularity::kLayer, layout, false), FullAttention{},
                                         SlidingWindow{16, 2}, DecodeRule::kSame));
  EXPECT_LT(windows, full);
}

STRATA_ON_EVERY_DEVICE(DeviceMemoryTest);

}  // namespace
}  // namespace strata
