// `kl_ls`: layers by the KL from the teacher that is left when one of them is softmax attention
// among cheap ones and the hybrid is distilled for a while (KL-LS, GA-S2; arXiv 2512.20569).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/config/fields.h"

namespace strata {

enum class KlLsProxy { kTrainingLoss, kHeldOut };
enum class KlLsWeights { kBranches, kAll };

namespace config {
template <>
struct EnumTable<KlLsProxy> {
  static constexpr std::array<std::pair<KlLsProxy, std::string_view>, 2> kNames{
      {{KlLsProxy::kTrainingLoss, "training_loss"}, {KlLsProxy::kHeldOut, "held_out"}}};
};
template <>
struct EnumTable<KlLsWeights> {
  static constexpr std::array<std::pair<KlLsWeights, std::string_view>, 2> kNames{
      {{KlLsWeights::kBranches, "branches"}, {KlLsWeights::kAll, "all"}}};
};
}  // namespace config

struct KlLsConfig {
  static constexpr std::string_view kName = "kl_ls";
  static constexpr std::string_view kHelp =
      "KL from the teacher after a short distillation with one layer restored (KL-LS, arXiv "
      "2512.20569); steps=0 and shared_steps=0: kl_guided's restore, by that name";
  std::int64_t shared_steps = 0;
  std::int64_t steps = 100;
  std::int64_t batch = 4;
  std::int64_t length = 512;
  double rate = 1e-4;
  double temperature = 1;
  KlLsWeights train = KlLsWeights::kBranches;
  KlLsProxy proxy = KlLsProxy::kTrainingLoss;
  double tail = 0.2;
  double held_out = 0.25;
  std::int64_t stop_round = 0;
  std::int64_t stop_window = 3;
  double stop_threshold = 0.9;
  double checkpoint_seconds = 300;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("shared_steps", self.shared_steps,
          "steps that distil the student with no layer restored, once, from which every layer's "
          "begins (the paper: 600M tokens behind model.branches' own 100M)",
          config::at_least(0));
    visit("steps", self.steps,
          "steps with one layer restored, for each layer (the paper: some 200M tokens suffice); 0: "
          "no distillation of its own, KL on held-out text",
          config::at_least(0));
    visit("batch", self.batch, "texts a step (the paper: 32)", config::at_least(1));
    visit("length", self.length,
          "tokens of a text: calibration prompts are cut into such pieces (the paper: 4096)",
          config::at_least(2));
    visit("rate", self.rate, "AdamW's, constant (the paper: 1e-4 for attention, 7e-6 for the rest)",
          config::above(0));
    visit("temperature", self.temperature,
          "of both distributions (the paper has one, its value is inferred)",
          config::between(1e-3, 1e3));
    visit("train", self.train,
          "branches: the linear branches alone (inferred: the cheaper half of the paper's stage "
          "2); all: every weight, at one rate, with a copy of the model; a sliding window has no "
          "branches and needs it");
    visit("proxy", self.proxy,
          "training_loss: mean over the last steps (the released code reads it at a logged step); "
          "held_out: of calibration text that was set apart, which has standard errors");
    visit("tail", self.tail, "training_loss: the share of steps it is a mean of (inferred)",
          config::between(1e-6, 1));
    visit("held_out", self.held_out,
          "held_out: the share of calibration samples that is set apart, the last ones (inferred)",
          config::between(1e-6, 1 - 1e-6));
    visit(
        "stop_round", self.stop_round,
        "early stop: steps that every layer takes before the K best layers are looked at again "
        "(the paper stops by the sets' rolling Jaccard overlap; a round's length is inferred); 0: "
        "never stop",
        config::at_least(0));
    visit("stop_window", self.stop_window,
          "early stop: the last so many overlaps of consecutive sets must average stop_threshold "
          "(inferred)",
          config::at_least(1));
    visit("stop_threshold", self.stop_threshold,
          "early stop: that average, 1 = the same set throughout (inferred)",
          config::between(1e-6, 1));
    visit("checkpoint_seconds", self.checkpoint_seconds,
          "how often a training's weights are written, so that a killed selection goes on from "
          "there",
          config::at_least(0));
  }
};

}  // namespace strata
