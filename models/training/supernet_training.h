// Training of a supernet of linear branches: a model whose layers each keep their softmax attention
// or run their branch, along a path that is drawn anew for every step, so that branches learn to
// serve any set of kept layers (PostNAS, arXiv 2508.15884, whose search this prepares). The model's
// own weights stay as they are.
//
// Loss (the paper says "feature distillation" alone; this form is inferred): over the L layers,
//   (1/L) Σ_l ‖X_l − Y_l‖² / ‖Y_l‖²,  X_l and Y_l what leaves layer l along the path and with
// full attention everywhere, norms over positions and width. Layers' inputs are kept, all else of a
// layer is computed a second time on the way back. Deterministic on the CPU for a seed and a number
// of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/plan.h"
#include "models/model.h"
#include "models/training/text_training.h"

namespace strata {

struct SupernetTraining {
  std::int64_t steps = 0;
  double full = 0.5;  // probability with which a layer of a path keeps its attention
  double rate = 1e-4, last_rate = 1e-5;  // by a cosine
  double clip = 1;
  std::uint64_t seed = 0;
};

class SupernetTrainer final : public TextLearner {
 public:
  // Copies the branches of `model`, which outlives it: one of the kind `cheap` in every layer
  // (checked by Model::check_mixers before; else a programmer error).
  SupernetTrainer(const Model& model, const LinearAttention& cheap, SupernetTraining training);
  ~SupernetTrainer() override;

  // The path of a step, a mask of layers: at least one layer of it is linear.
  Mask path(std::int64_t step) const;
  // The loss of texts of one length along a path, without a step.
  Result<double> loss(const Mask& path, std::span<const std::span<const TokenId>> texts,
                      MeteredModel& meter) const;
  // The same, and its gradients with respect to the branches' weights, layer by layer in the order
  // of LayerBranch::parts: zeros for layers that the path keeps. Flat.
  Result<std::vector<std::vector<double>>> gradients(
      const Mask& path, std::span<const std::span<const TokenId>> texts, MeteredModel& meter);

  // Errors: texts of different lengths; a gradient that is not finite; those of
  // MeteredModel::check; out of memory.
  Result<nlohmann::json> step(std::span<const std::span<const TokenId>> texts,
                              MeteredModel& meter) override;
  Status save(const std::filesystem::path& file) const override;
  Status restore(const std::filesystem::path& file) override;
  std::int64_t steps() const override;

  // The model with the branches as they are now, which shares this trainer's tensors.
  const Model& supernet() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace strata
