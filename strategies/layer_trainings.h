// The trainings of kl_ls: one for each layer, of the hybrid that restores that layer alone, all
// from the same student on the same texts in the same order. They advance by rounds, every layer by
// so many steps in each, so that the layers can be compared behind every round. One trainer is in
// memory at a time; between rounds a layer's state lies in its checkpoint.
//
// In the folder of the selection's checkpoint, CHECKPOINT: that file, what every layer has come to;
// CHECKPOINT.shared and CHECKPOINT.layer7, with weights beside them, where those trainings are. A
// selection that was killed goes on from there, on a CPU to the same bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/training/hybrid_training.h"
#include "strategies/strategy.h"
#include "strategies/text_pieces.h"

namespace strata {

// What one layer's training has come to.
struct LayerOutcome {
  std::vector<double> losses;    // of each step
  std::vector<double> held_out;  // [round][text set apart], where there are any
  Meter trained;                 // what the steps cost
};

class LayerTrainings {
 public:
  struct Options {
    HybridTraining layer;              // of every layer, all its rounds
    std::int64_t shared_steps = 0;     // of the same training before, with no layer restored
    std::int64_t round = 0;            // steps of a layer a round, the last round aside; 0: all
    std::filesystem::path checkpoint;  // empty: none, and then one round
    std::string identity;              // whose checkpoint it is
    double seconds_between_checkpoints = 300;
  };
  // All that is given must outlive this. Runs the shared training, or finds it, and what the layers
  // have come to, in the checkpoint. Errors: those of train_on_texts and HybridTrainer::check.
  static Result<LayerTrainings> start(const SelectionRequest& request, SelectionContext& context,
                                      const TextPieces& texts, const Options& options);

  std::int64_t rounds() const { return rounds_; }
  // Of `steps` steps, `round` ≥ 1 of them in each; the last may have fewer.
  static std::int64_t rounds_of(std::int64_t steps, std::int64_t round) {
    return steps / round + (steps % round > 0 ? 1 : 0);
  }
  // Steps of a layer at the end of a round, counted from 0.
  std::int64_t steps_after(std::int64_t round) const;
  // Each layer's part of a round, and the loss of the texts set apart behind it; the rounds in
  // order. What was done before is not done again. Errors: as start; kInterrupted.
  Status run(std::int64_t round);
  // One a layer; those of the rounds that were run, or found.
  const std::vector<LayerOutcome>& outcomes() const { return outcomes_; }

 private:
  LayerTrainings(const SelectionRequest& request, SelectionContext& context,
                 const TextPieces& texts, const Options& options);
  Status train_shared();
  Status find();
  Status advance(std::size_t layer, std::int64_t round);
  Status save() const;
  // The steps up to `steps` of a training that lies in CHECKPOINT.part.
  Status train(const std::string& part, const std::string& title, std::int64_t steps,
               MeteredModel& metered, HybridTrainer& trainer, std::vector<double>& losses) const;
  std::filesystem::path file_of(const std::string& part) const;  // empty: no checkpoints

  const SelectionRequest& request_;
  SelectionContext& context_;
  const TextPieces& texts_;
  Options options_;
  std::int64_t rounds_ = 1;
  Mask none_;
  std::unique_ptr<Model> shared_;
  std::vector<LayerOutcome> outcomes_;
  std::int64_t done_ = 0;  // rounds of single layers, in their order
  Meter before_;           // the context's meter before them
};

}  // namespace strata
