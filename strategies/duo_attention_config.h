// `duo_attention` (arXiv 2410.10819; gates as in its released code) and `loza` (arXiv 2512.23966):
// scalar gates, frozen weights.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "strategies/learning_config.h"

namespace strata {

enum class FullStream { kTeacher, kMixed };
enum class GateReduction { kMean, kSum };

namespace config {
template <>
struct EnumTable<FullStream> {
  static constexpr std::array<std::pair<FullStream, std::string_view>, 2> kNames{
      {{FullStream::kTeacher, "teacher"}, {FullStream::kMixed, "mixed"}}};
};
template <>
struct EnumTable<GateReduction> {
  static constexpr std::array<std::pair<GateReduction, std::string_view>, 2> kNames{
      {{GateReduction::kMean, "mean"}, {GateReduction::kSum, "sum"}}};
};
}  // namespace config

struct DuoAttentionConfig {
  static constexpr std::string_view kName = "duo_attention";
  static constexpr std::string_view kHelp =
      "gates trained so that the last hidden state stays what it was, few of them open (arXiv "
      "2410.10819)";
  FullStream fa_stream = FullStream::kTeacher;
  LossTokens loss_on = LossTokens::kAnswer;
  double lambda = 0.05;
  GateReduction reg_reduction = GateReduction::kMean;
  double rate = 0.02;
  std::optional<std::int64_t> window;
  std::optional<std::int64_t> sinks;
  LearningConfig training{.steps = 2000};
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("fa_stream", self.fa_stream,
          "where full attention reads: teacher (released code: never sees damage below) or the "
          "mixed stream");
    visit("loss_on", self.loss_on,
          "tokens whose hidden states are compared: the answer's, or every one (the paper's are "
          "question and answer)");
    visit("lambda", self.lambda, "weight of the gates' size in the loss", config::at_least(0));
    visit("reg_reduction", self.reg_reduction,
          "of |gate| over units: mean (DuoAttention) or sum (FlashMorph)");
    visit("rate", self.rate,
          "AdamW's rate; up over the first fifth of the steps, down over the last",
          config::above(0));
    visit("window", self.window,
          "trained at this window (256 in the paper); null = the evaluated one",
          config::at_least(1));
    visit("sinks", self.sinks,
          "trained at these sinks (128 in the paper); null = the evaluated ones",
          config::at_least(0));
    visit("training", self.training, "the paper: 2,000 steps of one prompt");
  }
};

struct LozaConfig {
  static constexpr std::string_view kName = "loza";
  static constexpr std::string_view kHelp =
      "scalar gates trained on the task's loss alone, the highest kept (arXiv 2512.23966)";
  LossTokens loss = LossTokens::kText;
  double start = 0.5;
  double rate = 0.01;
  LearningConfig training{.steps = 500};
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("loss", self.loss,
          "next-token NLL of every token of the prompts, or of the answers (inferred: text)");
    visit("start", self.start, "of every gate (inferred)", config::between(0, 1));
    visit("rate", self.rate, "AdamW's rate, constant (inferred)", config::above(0));
    visit("training", self.training, "steps and prompts a step (inferred)");
  }
};

}  // namespace strata
