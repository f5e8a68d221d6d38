// Layer-wise alignment: linear branches learn to do what the attention of their layers does, each
// fed the unmodified model's input to its layer (stage 1 of HALO, arXiv 2601.22156; FlashMorph,
// 2606.30562; RADLADS, 2505.03005). All branches learn in one pass over the text; none sees what
// another one makes.
//
// Deterministic on the CPU for a seed and a number of threads.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config/fields.h"
#include "core/progress.h"
#include "core/tokens.h"
#include "models/mixers/linear_branch.h"
#include "models/model.h"
#include "models/training/text_training.h"

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
    visit("beta1", self.beta1, "AdamW's (inferred)", config::between(0, 1 - 1e-6));
    visit("beta2", self.beta2, "AdamW's (inferred)", config::between(0, 1 - 1e-9));
    visit("epsilon", self.epsilon, "AdamW's (inferred)", config::above(0));
    visit("weight_decay", self.weight_decay, "AdamW's (inferred)", config::at_least(0));
    visit("clip", self.clip, "largest norm of a layer's gradient; 0 = any (inferred)",
          config::at_least(0));
    visit("target", self.target,
          "mixer: what the mixer makes; residual: the stream behind it (FlashMorph's H; inferred "
          "that both leave MLPs out)");
    visit("seed", self.seed, "of the texts' order");
  }
};

// Of step `step` of `steps`, counted from 0.
double cosine_rate(const BranchTraining& training, std::int64_t step);

// Mean squared error over tokens and channels, before the step.
struct BranchLoss {
  double loss = 0;
  double relative = 0;  // to the mean square of what the attention makes
};

class BranchTrainer final : public TextLearner {
 public:
  // Trains the branches in place: they (by rising layer, at least one) and the teacher outlive it.
  BranchTrainer(const Model& teacher, std::span<LayerBranch> branches, BranchTraining training);
  ~BranchTrainer() override;

  // One step on texts of one length, which run as a batch. What it costs is added to the meter: the
  // teacher's layers up to the last branch, and each branch forward and backward (no gradient
  // leaves a branch downwards). Returns {"rate", "loss": [a branch], "relative_loss": [a branch]}.
  // Errors: texts of different lengths; a gradient that is not finite (names the layer); those of
  // MeteredModel::check; out of memory.
  Result<nlohmann::json> step(std::span<const std::span<const TokenId>> texts,
                              MeteredModel& meter) override;
  // The same with one loss a branch.
  Result<std::vector<BranchLoss>> train_step(
      std::span<const std::span<const TokenId>> texts, MeteredModel& meter);
  std::int64_t steps() const override;  // taken so far
  Status save(const std::filesystem::path& file) const override;
  Status restore(const std::filesystem::path& file) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// All steps, as train_on_texts (models/training/text_training.h) has it, without a checkpoint.
// `model` is the teacher.
Result<nlohmann::json> train_branches(MeteredModel& model, std::span<const Tokens> texts,
                                      const BranchTraining& training,
                                      std::span<LayerBranch> branches, Progress& progress);

}  // namespace strata
