// Keys that every selector which trains has.
#pragma once

#include <cstdint>

#include "core/config/fields.h"

namespace strata {

struct LearningConfig {
  std::int64_t steps = 0;
  std::int64_t batch = 1;
  std::int64_t activation_mib = 4096;
  double checkpoint_seconds = 10;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("steps", self.steps, "training steps", config::at_least(1));
    visit("batch", self.batch, "calibration prompts a step", config::at_least(1));
    visit("activation_mib", self.activation_mib,
          "memory for activations, MiB; what does not fit is computed a second time",
          config::at_least(0));
    visit("checkpoint_seconds", self.checkpoint_seconds,
          "how often the state is written, so that a killed run goes on from there",
          config::at_least(0));
  }
};

// How a rate goes over the steps. Trapezoid: up over the first fifth, down to a tenth over the last
// (DuoAttention's released code).
enum class RateShape { kConstant, kTrapezoid };
double rate_factor(RateShape shape, std::int64_t step, std::int64_t steps);

namespace config {
template <>
struct EnumTable<RateShape> {
  static constexpr std::array<std::pair<RateShape, std::string_view>, 2> kNames{
      {{RateShape::kConstant, "constant"}, {RateShape::kTrapezoid, "trapezoid"}}};
};
}  // namespace config

}  // namespace strata
