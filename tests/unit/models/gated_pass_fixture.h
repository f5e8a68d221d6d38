// A tiny random model in float64 and gated passes over it.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "models/training/gated_pass.h"
#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/device_test.h"
#include "tests/unit/models/one_pass.h"

namespace strata::testing {

inline constexpr int kLayers = 4;
inline constexpr std::int64_t kWindow = 8, kSinks = 2;
inline constexpr std::uint64_t kEnough = std::uint64_t{1} << 40;

class GatedPassFixture : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) return;
    Rng rng(7, "gated pass");
    const Architecture architecture = tiny_architecture(kLayers, 4, 2);
    weights_ = random_weights(architecture, rng, at::kDouble);
    model_ = Model::in_memory("tiny", architecture, to_device(weights_, device()));
    for (int i = 0; i < 50; ++i) prompt_.push_back(static_cast<TokenId>(rng.below(11)));
    for (int i = 0; i < 4; ++i) answer_.push_back(static_cast<TokenId>(rng.below(11)));
  }

  static GatedAttention attention(Granularity granularity, DecodeRule rule) {
    return {.granularity = granularity,
            .kept = FullAttention{},
            .cheap = SlidingWindow{kWindow, kSinks},
            .rule = rule};
  }
  std::size_t units(Granularity granularity) const {
    return Mask(granularity, model_->layout(), false).size();
  }
  GatedGradient run(const GatedAttention& attention, const GatedRequest& request,
                    std::uint64_t memory = kEnough) const {
    MeteredModel model(*model_);
    Result<GatedGradient> result = gate_gradient(model, attention, request, memory);
    EXPECT_TRUE(result) << result.error().message;
    return *std::move(result);
  }
  GatedRequest request(const std::vector<double>& gates) const {
    return {.prompt = prompt_, .answer = answer_, .gates = gates};
  }
  // (f(g + ε) − f(g − ε)) / 2ε of every gate against the gradient.
  void expect_finite_differences(const GatedAttention& attention, GatedRequest request,
                                 std::vector<double> gates, std::uint64_t memory = kEnough) const {
    request.gates = gates;
    const GatedGradient at_gates = run(attention, request, memory);
    ASSERT_EQ(at_gates.gradient.size(), gates.size());
    const double epsilon = 1e-5;
    for (std::size_t u = 0; u < gates.size(); ++u) {
      std::vector<double> moved = gates;
      request.gates = moved;
      moved[u] = gates[u] + epsilon;
      const double above = run(attention, request).loss;
      moved[u] = gates[u] - epsilon;
      const double below = run(attention, request).loss;
      const double expected = (above - below) / (2 * epsilon);
      EXPECT_NEAR(at_gates.gradient[u], expected, 1e-6 + 1e-4 * std::abs(expected)) << "unit " << u;
    }
  }
  std::vector<double> random_gates(Granularity granularity, std::uint64_t seed) const {
    Rng rng(seed, "gates");
    std::vector<double> gates;
    for (std::size_t u = 0; u < units(granularity); ++u)
      gates.push_back(0.1 + 0.8 * static_cast<double>(rng.below(1000)) / 1000.0);
    return gates;
  }

  Weights weights_;
  std::unique_ptr<Model> model_;
  Tokens prompt_, answer_;
  SilentProgress silent_;
};

// Both streams of FlashMorph: its kept branch mixed or the teacher's, and layers apart.
inline std::vector<GatedAttention> streams(const GatedAttention& mixed) {
  std::vector<GatedAttention> all(3, mixed);
  all[1].kept_from_teacher = true;
  all[2].kept_from_teacher = all[2].separate_layers = true;
  return all;
}

}  // namespace strata::testing
