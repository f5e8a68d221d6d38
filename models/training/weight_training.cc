#include "models/training/weight_training.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include "models/checkpoint/safetensors_writer.h"
#include "models/convert/save_model.h"
#include "models/convert/tensor_bytes.h"
#include "models/forward.h"
#include "models/training/adamw.h"
#include "models/training/weight_gradients.h"

namespace strata {

struct WeightTrainer::Impl {
  Impl(const Model& parent_model, WeightOptions chosen)
      : parent(parent_model),
        weights(trainable_copy(parent.decoder().architecture(), parent.decoder().weights())),
        parts(weight_parts(parent.decoder().architecture(), weights)),
        model(Model::in_memory(parent.id() + " in training", parent.decoder().architecture(),
                               weights)),
        gradients(model->decoder()),
        adam(masters_of(parts), chosen) {}

  static Tensors masters_of(std::span<const WeightPart> parts) {
    const at::NoGradGuard no_grad;
    Tensors masters;
    for (const WeightPart& part : parts) {
      const at::Tensor tensor = part.tensor->detach();
      const bool half = tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16;
      // Where the model computes with the master weight itself, there is one copy of it.
      masters.push_back(part.shift == 0 && part.scale == 1 && !half
                            ? tensor
                            : tensor.to(half ? at::kFloat : tensor.scalar_type()) / part.scale -
                                  part.shift);
    }
    return masters;
  }

  // The model's tensor from its master weight.
  void refresh(std::size_t i) const {
    const at::Tensor& master = adam.weights()[i];
    if (master.is_alias_of(*parts[i].tensor)) return;
    parts[i].tensor->detach().copy_((master + parts[i].shift) * parts[i].scale);
  }

  const Model& parent;
  Weights weights;
  std::vector<WeightPart> parts;  // of weights
  std::unique_ptr<Model> model;   // shares their tensors
  WeightGradients gradients;
  AdamW adam;  // of the master weights
};

namespace {

constexpr const char* kSteps = "steps";

}  // namespace

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
    sums[i].mul_(s.parts[i].scale / static_cast<double>(passes));
  ASSIGN_OR_RETURN(const double norm, s.adam.step(sums, s.adam.options().rate));
  for (std::size_t i = 0; i < sums.size(); ++i) s.refresh(i);
  s.gradients.clear();
  return norm;
}

Status WeightTrainer::save(const std::filesystem::path& file) const {
  WrittenTensors written;
  for (std::size_t i = 0; i < impl_->parts.size(); ++i) {
    written.add("weight." + impl_->parts[i].name, impl_->adam.weights()[i]);
    written.add("mean." + impl_->parts[i].name, impl_->adam.means()[i]);
    written.add("square." + impl_->parts[i].name, impl_->adam.squares()[i]);
  }
  return write_safetensors(file, written.views, {{kSteps, std::to_string(impl_->adam.steps())}});
}

Status WeightTrainer::restore(const std::filesystem::path& path) {
  const at::NoGradGuard no_grad;
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::open(path));
  const auto steps = file.metadata().find(kSteps);
  if (steps == file.metadata().end() || steps->second.empty() || steps->second.size() > 18 ||
      steps->second.find_first_not_of("0123456789") != std::string::npos)
    return fail(
        make_error(ErrorKind::kInvalidFile, "expected a count of steps in the file's metadata")
            .at(path.string()));
  const auto read = [&](const std::string& name, const at::Tensor& tensor) {
    return read_tensor(file.find(name), name, tensor, path);
  };
  for (std::size_t i = 0; i < impl_->parts.size(); ++i) {
    RETURN_IF_ERROR(read("weight." + impl_->parts[i].name, impl_->adam.weights()[i]));
    RETURN_IF_ERROR(read("mean." + impl_->parts[i].name, impl_->adam.means()[i]));
    RETURN_IF_ERROR(read("square." + impl_->parts[i].name, impl_->adam.squares()[i]));
    impl_->refresh(i);
  }
  impl_->adam.set_steps(std::stoll(steps->second));
  return {};
}

Result<std::string> WeightTrainer::save_model(const nlohmann::json& transform,
                                              const std::filesystem::path& directory) const {
  const Checkpoint* parent = impl_->parent.checkpoint();
  STRATA_CHECK(parent != nullptr, "the parent was not loaded from a directory");
  WrittenTensors written;
  for (std::size_t i = 0; i < impl_->parts.size(); ++i)
    written.add(impl_->parts[i].name, impl_->adam.weights()[i]);
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
