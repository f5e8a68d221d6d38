// `flashmorph` (arXiv 2606.30562): the gates of all layers learned together, so that what each
// layer's mixer adds stays what it was. What the paper leaves open is a key, marked (inferred).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "strategies/duo_attention_config.h"
#include "strategies/learning_config.h"

namespace strata {

enum class MorphStream { kTwo, kSingle };
enum class MorphAligned { kMixerOutput, kResidual };
enum class MorphNormalise { kNone, kPerLayer };

namespace config {
template <>
struct EnumTable<MorphStream> {
  static constexpr std::array<std::pair<MorphStream, std::string_view>, 2> kNames{
      {{MorphStream::kTwo, "two"}, {MorphStream::kSingle, "single"}}};
};
template <>
struct EnumTable<MorphAligned> {
  static constexpr std::array<std::pair<MorphAligned, std::string_view>, 2> kNames{
      {{MorphAligned::kMixerOutput, "mixer_output"}, {MorphAligned::kResidual, "residual"}}};
};
template <>
struct EnumTable<MorphNormalise> {
  static constexpr std::array<std::pair<MorphNormalise, std::string_view>, 2> kNames{
      {{MorphNormalise::kNone, "none"}, {MorphNormalise::kPerLayer, "per_layer"}}};
};
}  // namespace config

struct FlashMorphConfig {
  static constexpr std::string_view kName = "flashmorph";
  static constexpr std::string_view kHelp =
      "gates of all units trained together so that each layer's mixer output stays what it was, "
      "few of them open (arXiv 2606.30562)";
  MorphStream stream = MorphStream::kTwo;
  FullStream kept = FullStream::kTeacher;
  MorphAligned aligned = MorphAligned::kMixerOutput;
  MorphNormalise normalise = MorphNormalise::kNone;
  LossTokens positions = LossTokens::kAnswer;
  double lambda = 0.1;
  double rate = 0.02;
  RateShape schedule = RateShape::kCosine;
  LearningConfig training{.steps = 2000};
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("stream", self.stream,
          "two: what layers mix goes on to the next, targets are an unmodified teacher's; single: "
          "every layer reads the teacher's input, so that layers know nothing of each other "
          "(inferred: two)");
    visit("kept", self.kept,
          "of two streams, where full attention reads: teacher (never sees damage below) or mixed "
          "(inferred: teacher)");
    visit("aligned", self.aligned,
          "what is compared in each layer: mixer_output, or residual, the stream that it was added "
          "to (inferred: mixer_output)");
    visit("normalise", self.normalise,
          "none (the paper's), or per_layer: each layer's squared distance by the square of the "
          "teacher's");
    visit("positions", self.positions,
          "where layers are compared: answer, at the tokens that predict it (the paper's), or the "
          "whole text");
    visit("lambda", self.lambda, "weight of the sum of all gates in the loss", config::at_least(0));
    visit("rate", self.rate, "AdamW's highest rate", config::above(0));
    visit("schedule", self.schedule,
          "of the rate (inferred: cosine): cosine falls to a tenth; trapezoid rises over the first "
          "fifth of the steps and falls to a tenth over the last; constant");
    visit("training", self.training,
          "2,000 steps of one prompt (inferred from the paper's tokens)");
  }
};

}  // namespace strata
