// Training of a hybrid under a plan: distillation of the unmodified model's next-token distribution
// (stage 2 of HALO, arXiv 2601.22156; RADLADS, 2505.03005; FlashMorph, 2606.30562) and next-token
// likelihood (stage 3). The student is the branches that the plan needs, with or without all other
// weights. Plans without a linear layer are trained alike: equally trained controls.
//
//   kDivergence  τ² · KL(softmax(teacher / τ) ‖ softmax(student / τ)), nats, mean over positions
//   kNll         −log p of the next token, nats, mean over positions that have one
//
// Layers' inputs are kept, everything else of a layer is computed a second time on the way back
// (activation checkpointing); logits exist for a chunk of positions at a time. Deterministic on the
// CPU for a seed and a number of threads. Values in, values out: nothing given is written to.
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
#include "core/plan.h"
#include "core/progress.h"
#include "core/tokens.h"
#include "models/model.h"
#include "models/training/text_training.h"
#include "models/training/weight_options.h"

namespace strata {

enum class HybridLoss { kDivergence, kNll };
enum class TrainedWeights { kBranches, kAll };

namespace config {
template <>
struct EnumTable<HybridLoss> {
  static constexpr std::array kNames = {
      std::pair{HybridLoss::kDivergence, std::string_view("divergence")},
      std::pair{HybridLoss::kNll, std::string_view("nll")}};
};
template <>
struct EnumTable<TrainedWeights> {
  static constexpr std::array kNames = {
      std::pair{TrainedWeights::kBranches, std::string_view("branches")},
      std::pair{TrainedWeights::kAll, std::string_view("all")}};
};
}  // namespace config

struct HybridTraining {
  std::int64_t steps = 0;
  std::int64_t batch = 1;
  std::int64_t rows_at_once = 16384;
  double rate = 1e-4;
  double last_rate = 1e-5;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double clip = 1;
  HybridLoss loss = HybridLoss::kDivergence;
  double temperature = 1;
  TrainedWeights train = TrainedWeights::kAll;
  std::uint64_t seed = 0;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("steps", self.steps, "steps of AdamW; 0 = none", config::at_least(0));
    visit("batch", self.batch, "texts a step, of one length", config::at_least(1));
    visit("rows_at_once", self.rows_at_once,
          "tokens of a step's texts that are run at once, at least one text: what memory there is "
          "for",
          config::at_least(1));
    visit("rate", self.rate,
          "of the first step; falls by a cosine (FlashMorph: 1e-4; long texts: 1e-5)",
          config::above(0));
    visit("last_rate", self.last_rate, "of the last step (FlashMorph: 1e-5)", config::at_least(0));
    visit_adamw(self, visit);
    visit("clip", self.clip,
          "largest norm of a step's gradient over all weights; 0 = any "
          "(inferred)",
          config::at_least(0));
    visit("loss", self.loss,
          "divergence: KL(teacher || student) of the next token; nll: of the text itself");
    visit("temperature", self.temperature,
          "divergence: both distributions' (inferred: 1; other than 1, the loss is times its "
          "square)",
          config::between(1e-3, 1e3));
    visit("train", self.train,
          "all: every weight (HALO, RADLADS, FlashMorph; inferred that all of them train all); "
          "branches: the plan's linear branches alone, the model's own weights stay");
    visit("seed", self.seed, "of the texts' order");
  }
};

struct StudentMasters;  // models/training/save_student.h

struct DistilledStudent {
  // The plan's branches as trained (others as `start` has them) on trained weights, or on those of
  // `start` where branches alone were trained: whose file they are views of must then outlive it.
  std::unique_ptr<Model> model;
  std::vector<double> losses;  // of each step, before it
  nlohmann::json curve;        // up to about 200 objects {"step", "loss", "rate", "gradient_norm"}
};

// `teacher` is the unmodified model (run under its own plan; metered, the training counts there
// too), `start` what the student begins as: the model whose branches the plan needs; it may be the
// teacher's own. Texts have at least 2 tokens. `seed` and order as in text_training.h. Errors:
// those of Model::check_mixers for `plan`; nothing to train (branches alone, and a plan without
// linear cells); texts of different lengths in a step; a gradient that is not finite; out of
// memory; kInterrupted.
Result<DistilledStudent> distil(MeteredModel& teacher, const Model& start,
                                const AttentionPlan& plan, std::span<const Tokens> texts,
                                const HybridTraining& training, Progress& progress);

// The same as a learner: with a checkpoint, and step by step.
class HybridTrainer final : public TextLearner {
 public:
  // Copies what it trains; teacher and start outlive it. The plan is one that check() takes.
  // `before`: what the weights of `start` were rounded from, where another training made them.
  HybridTrainer(const Model& teacher, const Model& start, const AttentionPlan& plan,
                const HybridTraining& training,
                std::shared_ptr<const StudentMasters> before = nullptr);
  ~HybridTrainer() override;
  static Status check(const Model& start, const AttentionPlan& plan,
                      const HybridTraining& training);
  // Bytes that one needs beside the teacher and `start`: an estimate that is meant to lie above
  // what is measured.
  static std::uint64_t bytes(const Model& start, const AttentionPlan& plan,
                             const HybridTraining& training, std::int64_t length);

  Result<nlohmann::json> step(std::span<const std::span<const TokenId>> texts,
                              MeteredModel& meter) override;
  Status save(const std::filesystem::path& file) const override;
  Status restore(const std::filesystem::path& file) override;
  std::int64_t steps() const override;

  // The loss of texts as step() has it, without a step.
  Result<double> loss(std::span<const std::span<const TokenId>> texts, MeteredModel& meter) const;
  // The student as it is now, which shares this trainer's tensors.
  const Model& model() const;
  std::unique_ptr<Model> release() &&;
  // The weights of the model (not the branches) as they are now, in full width, shared with the
  // trainer; null where branches alone are trained: then `before`.
  std::shared_ptr<const StudentMasters> masters() const;
  const std::vector<double>& losses() const;  // of each step since this was made, before it

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace strata
