// Layer-wise alignment: linear branches learn to do what the attention of their layers does, each
// fed the unmodified model's input to its layer (stage 1 of HALO, arXiv 2601.22156; FlashMorph,
// 2606.30562; RADLADS, 2505.03005). All branches learn in one pass over the text; none sees what
// another one makes.
//
// Deterministic on the CPU for a seed and a number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "core/progress.h"
#include "core/tokens.h"
#include "models/mixers/linear_branch.h"
#include "models/model.h"
#include "models/training/branch_training_config.h"
#include "models/training/text_training.h"

namespace strata {

// Of step `step` of `steps`, counted from 0.
double cosine_rate(const BranchTraining& training, std::int64_t step);

// Mean squared error over tokens and channels, before the step.
struct BranchLoss {
  double loss = 0;
  double relative = 0;  // to the mean square of what the attention makes
};

// Bytes that training `branches` on texts of `length` tokens needs beside them and the teacher: an
// estimate that is meant to lie above what is measured.
std::uint64_t branch_training_bytes(const ModelShape& teacher, std::span<LayerBranch> branches,
                                    const BranchTraining& training, std::int64_t length);

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
  Result<std::vector<BranchLoss>> train_step(std::span<const std::span<const TokenId>> texts,
                                             MeteredModel& meter);
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
