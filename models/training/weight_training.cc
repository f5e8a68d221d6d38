#include "models/training/weight_training.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "models/checkpoint/safetensors_writer.h"
#include "models/convert/save_model.h"
#include "models/forward.h"
#include "models/training/weight_gradients.h"

namespace strata {

struct WeightTrainer::Impl {
  Impl(const Model& parent_model, WeightOptions chosen)
      : parent(parent_model),
        options(chosen),
        weights(trainable_copy(parent.decoder().architecture(), parent.decoder().weights())),
        parts(weight_parts(parent.decoder().architecture(), weights)),
        model(Model::in_memory(parent.id() + " in training", parent.decoder().architecture(),
                               weights)),
        gradients(model->decoder()) {
    const at::NoGradGuard no_grad;
    for (const WeightPart& part : parts) {
      const at::Tensor tensor = part.tensor->detach();
      const bool half = tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16;
      // Where the model computes with the master weight itself, there is one copy of it.
      masters.push_back(part.shift == 0 && part.scale == 1 && !half
                            ? tensor
                            : tensor.to(half ? at::kFloat : tensor.scalar_type()) / part.scale -
                                  part.shift);
      means.push_back(at::zeros_like(masters.back()));
      squares.push_back(at::zeros_like(masters.back()));
    }
  }

  // The model's tensor from its master weight.
  void refresh(std::size_t i) const {
    if (masters[i].is_alias_of(*parts[i].tensor)) return;
    parts[i].tensor->detach().copy_((masters[i] + parts[i].shift) * parts[i].scale);
  }

  const Model& parent;
  WeightOptions options;
  Weights weights;
  std::vector<WeightPart> parts;  // of weights
  std::unique_ptr<Model> model;   // shares their tensors
  WeightGradients gradients;
  Tensors masters, means, squares;
  std::int64_t steps = 0;
};

namespace {

DType dtype_of(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? DType::kF64 : DType::kF32;
}

// Tensors where they can be written from: views and what keeps their bytes.
struct Written {
  std::vector<TensorView> views;
  Tensors on_cpu;

  void add(const std::string& name, const at::Tensor& tensor) {
    on_cpu.push_back(tensor.to(at::kCPU).contiguous());
    const at::Tensor& here = on_cpu.back();
    views.push_back(
        {.name = name,
         .dtype = dtype_of(here),
         .shape = here.sizes().vec(),
         .bytes = {static_cast<const std::byte*>(here.const_data_ptr()), here.nbytes()}});
  }
};

Status read_into(const SafetensorsFile& file, const std::string& name, const at::Tensor& tensor) {
  const TensorView* view = file.find(name);
  if (view == nullptr || view->shape != tensor.sizes().vec() || view->dtype != dtype_of(tensor))
    return fail(make_error(ErrorKind::kInvalidFile, "expected tensor '{}' of shape {} in {}", name,
                           shape_text(tensor.sizes().vec()), to_string(dtype_of(tensor)))
                    .at(file.path().string()));
  auto* data = const_cast<std::byte*>(view->bytes.data());  // read only; from_blob takes no const
  tensor.copy_(at::from_blob(data, view->shape, tensor.options().device(at::kCPU)));
  return {};
}

constexpr const char* kSteps = "steps";

}  // namespace

nlohmann::json to_json(const WeightOptions& options) {
  return {{"rate", options.rate},   {"beta1", options.beta1},
          {"beta2", options.beta2}, {"epsilon", options.epsilon},
          {"clip", options.clip},   {"weight_decay", options.weight_decay}};
}

WeightTrainer::WeightTrainer(const Model& parent, WeightOptions options)
    : impl_(std::make_unique<Impl>(parent, options)) {}
WeightTrainer::~WeightTrainer() = default;

const Model& WeightTrainer::model() const { return *impl_->model; }
WeightGradients& WeightTrainer::gradients() { return impl_->gradients; }
const WeightOptions& WeightTrainer::options() const { return impl_->options; }
std::int64_t WeightTrainer::steps() const { return impl_->steps; }

Result<double> WeightTrainer::step(std::int64_t passes) {
  Impl& s = *impl_;
  const WeightOptions& o = s.options;
  const at::NoGradGuard no_grad;
  const std::span<const at::Tensor> sums = s.gradients.sums();
  double squared = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sums[i].mul_(s.parts[i].scale / static_cast<double>(passes));
    const double norm =
        at::linalg_vector_norm(sums[i], 2, std::nullopt, false, at::kDouble).item<double>();
    squared += norm * norm;
  }
  const double norm = std::sqrt(squared);
  if (!std::isfinite(norm))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "the gradient is not finite after {} steps of training weights", s.steps)
                    .with_hint("use a lower rate"));
  const double shrink = o.clip > 0 ? std::min(1.0, o.clip / (norm + 1e-6)) : 1.0;
  ++s.steps;
  const double correction1 = 1 - std::pow(o.beta1, static_cast<double>(s.steps));
  const double correction2 = 1 - std::pow(o.beta2, static_cast<double>(s.steps));
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const at::Tensor& gradient = sums[i].mul_(shrink);
    s.means[i].mul_(o.beta1).add_(gradient, 1 - o.beta1);
    s.squares[i].mul_(o.beta2).addcmul_(gradient, gradient, 1 - o.beta2);
    const at::Tensor scale = (s.squares[i] / correction2).sqrt_().add_(o.epsilon);
    s.masters[i]
        .mul_(1 - o.rate * o.weight_decay)
        .addcdiv_(s.means[i], scale, -o.rate / correction1);
    s.refresh(i);
  }
  s.gradients.clear();
  return norm;
}

Status WeightTrainer::save(const std::filesystem::path& file) const {
  Written written;
  for (std::size_t i = 0; i < impl_->parts.size(); ++i) {
    written.add("weight." + impl_->parts[i].name, impl_->masters[i]);
    written.add("mean." + impl_->parts[i].name, impl_->means[i]);
    written.add("square." + impl_->parts[i].name, impl_->squares[i]);
  }
  return write_safetensors(file, written.views, {{kSteps, std::to_string(impl_->steps)}});
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
  for (std::size_t i = 0; i < impl_->parts.size(); ++i) {
    RETURN_IF_ERROR(read_into(file, "weight." + impl_->parts[i].name, impl_->masters[i]));
    RETURN_IF_ERROR(read_into(file, "mean." + impl_->parts[i].name, impl_->means[i]));
    RETURN_IF_ERROR(read_into(file, "square." + impl_->parts[i].name, impl_->squares[i]));
    impl_->refresh(i);
  }
  impl_->steps = std::stoll(steps->second);
  return {};
}

Result<std::string> WeightTrainer::save_model(const nlohmann::json& transform,
                                              const std::filesystem::path& directory) const {
  const Checkpoint* parent = impl_->parent.checkpoint();
  STRATA_CHECK(parent != nullptr, "the parent was not loaded from a directory");
  Written written;
  for (std::size_t i = 0; i < impl_->parts.size(); ++i)
    written.add(impl_->parts[i].name, impl_->masters[i]);
  return strata::save_model(*parent, written.views, transform, directory);
}

FixedGates::FixedGates(const Mask& mask) {
  for (std::size_t u = 0; u < mask.size(); ++u) gates_.push_back(mask.at(u) ? 1.0 : 0.0);
}

Result<nlohmann::json> train_weights(MeteredModel& model, std::span<const TrainingSample> samples,
                                     GateTraining training, WeightTrainer& trainer,
                                     GateLearner& learner, Progress& progress) {
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
