// `consa` (arXiv 2606.18056): hard-concrete masks learned under a sparsity constraint. The paper's
// code is not public; what is not in it follows Sheared-LLaMA's released masks and says so.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "strategies/learning_config.h"

namespace strata {

enum class ConsaScope { kGlobal, kPerLayer };
enum class ConsaLoss { kLm, kAnswer, kDistillation };
enum class ConsaRemainder { kError, kLargest };

namespace config {
template <>
struct EnumTable<ConsaScope> {
  static constexpr std::array<std::pair<ConsaScope, std::string_view>, 2> kNames{
      {{ConsaScope::kGlobal, "global"}, {ConsaScope::kPerLayer, "per_layer"}}};
};
template <>
struct EnumTable<ConsaLoss> {
  static constexpr std::array<std::pair<ConsaLoss, std::string_view>, 3> kNames{
      {{ConsaLoss::kLm, "lm"},
       {ConsaLoss::kAnswer, "answer"},
       {ConsaLoss::kDistillation, "distillation"}}};
};
template <>
struct EnumTable<ConsaRemainder> {
  static constexpr std::array<std::pair<ConsaRemainder, std::string_view>, 2> kNames{
      {{ConsaRemainder::kError, "error"}, {ConsaRemainder::kLargest, "largest"}}};
};
}  // namespace config

struct ConsaConfig {
  static constexpr std::string_view kName = "consa";
  static constexpr std::string_view kHelp =
      "L0 masks under a sparsity constraint (arXiv 2606.18056)";
  ConsaLoss loss = ConsaLoss::kAnswer;
  ConsaScope scope = ConsaScope::kGlobal;
  ConsaRemainder remainder = ConsaRemainder::kError;
  double mask_rate = 0.2;
  double multiplier_rate = 0.2;
  double ramp = 0.2;
  double start = 5;
  double beta = 2.0 / 3.0;
  double gamma = -0.1;
  double zeta = 1.1;
  bool train_weights = false;
  LearningConfig training{.steps = 400, .batch = 2};
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("loss", self.loss,
          "lm: next-token NLL of the whole prompts (the paper); answer: of the answers; "
          "distillation: KL from the unmasked model at the answers");
    visit("scope", self.scope,
          "one target for all units, or one inside every layer (finds no layers)");
    visit("remainder", self.remainder,
          "per_layer where K is no multiple of the layers: error, or what is left over goes to the "
          "highest scores anywhere");
    visit("mask_rate", self.mask_rate,
          "Adam's rate of log alpha (Sheared-LLaMA: 1.0 over 3,200 steps; inferred for fewer)",
          config::above(0));
    visit("multiplier_rate", self.multiplier_rate,
          "Adam's rate of the multipliers, which ascend (Sheared-LLaMA: 1.0; inferred for fewer "
          "steps)",
          config::above(0));
    visit("ramp", self.ramp,
          "share of the steps over which the target rises from 0 (inferred: Sheared-LLaMA)",
          config::between(0, 1));
    visit("start", self.start, "mean of log alpha's first values (inferred: Sheared-LLaMA)");
    visit("beta", self.beta, "temperature of the hard-concrete distribution", config::above(0));
    visit("gamma", self.gamma, "its lower end, below 0", config::between(-10, -1e-6));
    visit("zeta", self.zeta, "its upper end, above 1", config::above(1));
    visit("train_weights", self.train_weights,
          "all weights are trained along with the masks (the paper): `strata train`; else frozen");
    visit("training", self.training, "steps and prompts a step; each prompt has its own mask");
  }
};

}  // namespace strata
