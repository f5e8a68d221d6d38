#include "models/training/weight_training.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include "models/convert/save_model.h"
#include "models/convert/tensor_bytes.h"
#include "models/forward.h"
#include "models/training/adamw_file.h"
#include "models/training/master_weights.h"
#include "models/training/weight_gradients.h"

namespace strata {

struct WeightTrainer::Impl {
  Impl(const Model& parent_model, WeightOptions chosen)
      : parent(parent_model),
        weights(trainable_copy(parent.decoder().architecture(), parent.decoder().weights())),
        master(weight_parts(parent.decoder().architecture(), weights)),
        model(Model::in_memory(parent.id() + " in training", parent.decoder().architecture(),
                               weights)),
        gradients(model->decoder()),
        adam(master.tensors(), chosen) {}

  std::vector<NamedAdamW> named() { return {{&adam, master.names()}}; }

  const Model& parent;
  Weights weights;
  MasterWeights master;          // of weights
  std::unique_ptr<Model> model;  // shares their tensors
  WeightGradients gradients;
  AdamW adam;
};

WeightTrainer::WeightTrainer(const Model& parent, WeightOptions options)
    : impl_(std::make_unique<Impl>(parent, options)) {}
WeightTrainer::~WeightTrainer() = default;

const Model& WeightTrainer::model() const { return *impl_->model; }
WeightGradients& WeightTrainer::gradients() { return impl_->gradients; }
const WeightOptions& WeightTrainer::options() const { return impl_->adam.options(); }
std::int64_t WeightTrainer::steps() const { return impl_->adam.steps(); }

Result<double> WeightTrainer::step(std::int64_t passes) {
  Impl& s = *impl_;
  const at::NoGradGuard no_grad;
  const std::span<const at::Tensor> sums = s.gradients.sums();
  for (std::size_t i = 0; i < sums.size(); ++i)
    sums[i].mul_(s.master.scale(i) / static_cast<double>(passes));
  ASSIGN_OR_RETURN(const double norm, s.adam.step(sums, s.adam.options().rate));
  s.master.refresh();
  s.gradients.clear();
  return norm;
}

Status WeightTrainer::save(const std::filesystem::path& file) const {
  return save_adamw(file, impl_->named());
}

Status WeightTrainer::restore(const std::filesystem::path& file) {
  const at::NoGradGuard no_grad;
  RETURN_IF_ERROR(restore_adamw(file, impl_->named()));
  impl_->master.refresh();
  return {};
}

Result<std::string> WeightTrainer::save_model(const nlohmann::json& transform,
                                              const std::filesystem::path& directory) const {
  const Checkpoint* parent = impl_->parent.checkpoint();
  STRATA_CHECK(parent != nullptr, "the parent was not loaded from a directory");
  WrittenTensors written;
  impl_->master.write(written);
  return strata::save_model(*parent, written.views, transform, directory);
}

FixedGates::FixedGates(const Mask& mask) {
  for (std::size_t u = 0; u < mask.size(); ++u) gates_.push_back(mask.at(u) ? 1.0 : 0.0);
}

Result<nlohmann::json> train_weights(MeteredModel& model, std::span<const TrainingSample> samples,
                                     GateTraining training, WeightTrainer& trainer,
                                     GateLearner& learner, Progress& progress) {
  RETURN_IF_ERROR(check_weight_training(training.attention.cheap));
  MeteredModel own(trainer.model());
  training.weights = &trainer;
  const int threads = at::get_num_threads();
  set_operation_threads(model.workers());
  Result<nlohmann::json> curve = train_gates(own, samples, training, learner, progress);
  set_operation_threads(threads);
  model.absorb(own.meter());
  return curve;
}

}  // namespace strata
