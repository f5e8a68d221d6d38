// Keys that every selector which trains has.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "core/config/fields.h"

namespace strata {

struct LearningConfig {
  std::int64_t steps = 0;
  std::int64_t batch = 1;
  std::optional<std::int64_t> activation_mib;
  double checkpoint_seconds = 10;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("steps", self.steps, "training steps", config::at_least(1));
    visit("batch", self.batch, "calibration prompts a step", config::at_least(1));
    visit("activation_mib", self.activation_mib,
          "memory for activations, MiB; null = 4096 on a CPU, half of what weights leave of a GPU. "
          "What does not fit is computed a second time",
          config::at_least(0));
    visit("checkpoint_seconds", self.checkpoint_seconds,
          "how often the state is written, so that a killed run goes on from there",
          config::at_least(0));
  }
};

// Which tokens of a calibration prompt a loss is of.
enum class LossTokens { kAnswer, kText };

// How a rate goes over the steps. Trapezoid: up over the first fifth, down to a tenth over the last
// (DuoAttention's released code). Cosine: down to a tenth over all of them.
enum class RateShape { kConstant, kTrapezoid, kCosine };

namespace config {
template <>
struct EnumTable<LossTokens> {
  static constexpr std::array<std::pair<LossTokens, std::string_view>, 2> kNames{
      {{LossTokens::kAnswer, "answer"}, {LossTokens::kText, "text"}}};
};
template <>
struct EnumTable<RateShape> {
  static constexpr std::array<std::pair<RateShape, std::string_view>, 3> kNames{
      {{RateShape::kConstant, "constant"},
       {RateShape::kTrapezoid, "trapezoid"},
       {RateShape::kCosine, "cosine"}}};
};
}  // namespace config

}  // namespace strata
