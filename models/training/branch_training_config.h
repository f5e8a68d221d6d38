// Keys of the layer-wise alignment of linear branches (branch_training.h). Free of LibTorch.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/config/fields.h"
#include "models/training/weight_options.h"

namespace strata {

// What is compared. kResidual is the stream behind the mixer, which differs by what is added to it:
// another loss than kMixer only where the family has a norm between them (Gemma 3).
enum class BranchTarget { kMixer, kResidual };

namespace config {
template <>
struct EnumTable<BranchTarget> {
  static constexpr std::array kNames = {
      std::pair{BranchTarget::kMixer, std::string_view("mixer")},
      std::pair{BranchTarget::kResidual, std::string_view("residual")}};
};
}  // namespace config

struct BranchTraining {
  std::int64_t steps = 0;
  std::int64_t batch = 1;
  double rate = 1e-3;
  double last_rate = 1e-5;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double clip = 1;
  BranchTarget target = BranchTarget::kMixer;
  std::uint64_t seed = 0;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("steps", self.steps, "steps of AdamW (HALO: 20000); 0 = none", config::at_least(0));
    visit("batch", self.batch, "texts a step", config::at_least(1));
    visit("rate", self.rate, "of the first step; falls by a cosine (HALO: 1e-3)", config::above(0));
    visit("last_rate", self.last_rate, "of the last step (HALO: 1e-5)", config::at_least(0));
    visit_adamw(self, visit);
    visit("clip", self.clip, "largest norm of a layer's gradient; 0 = any (inferred)",
          config::at_least(0));
    visit("target", self.target,
          "mixer: what the mixer makes; residual: the stream behind it (FlashMorph's H; inferred "
          "that both leave MLPs out)");
    visit("seed", self.seed, "of the texts' order");
  }
};

}  // namespace strata
