#include "models/model.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <numeric>

#include "models/checkpoint/checkpoint.h"
#include "models/convert/branch_checkpoint.h"
#include "models/convert/hybrid_checkpoint.h"
#include "models/decoder/decoder.h"
#include "models/forward.h"

namespace strata {

struct Model::Impl {
  LoadOptions options;
  std::optional<Checkpoint> checkpoint;  // the weights are views of its mapping
  std::string id;
  std::int64_t parameters = 0;
  ModelShape shape;
  std::optional<AttentionPlan> plan;  // of its own
  std::unique_ptr<Decoder> decoder;

  void attach(std::vector<LayerBranch> branches) {
    shape.branches.resize(branches.empty() ? 0 : static_cast<std::size_t>(shape.heads.layers));
    for (LayerBranch& branch : branches) {
      shape.branches[static_cast<std::size_t>(branch.layer())] = linear_parts(branch.config());
      for (const BranchPart& part : branch.parts()) parameters += part.tensor->numel();
    }
    decoder =
        std::make_unique<Decoder>(decoder->architecture(), decoder->weights(), std::move(branches));
  }
};

void set_operation_threads(int threads) { at::set_num_threads(threads); }

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

namespace {

Result<at::ScalarType> compute_dtype(const std::string& text) {
  if (text == "float32") return at::kFloat;
  if (text == "bfloat16") return at::kBFloat16;
  if (text == "float64") return at::kDouble;
  return fail(ErrorKind::kInvalidArgument,
              "dtype is '{}'; expected one of float32, bfloat16, float64", text);
}

Result<at::Device> compute_device(const std::string& text) {
  if (text == "cpu") return at::Device(at::kCPU);
  if (text != "cuda")
    return fail(ErrorKind::kInvalidArgument, "device is '{}'; expected one of cpu, cuda", text);
  if (!at::hasCUDA())
    return fail(
        make_error(ErrorKind::kUnsupported, "device=cuda: this machine shows no CUDA device")
            .with_hint("use device=cpu, or check the driver with nvidia-smi"));
  return at::Device(at::kCUDA, 0);
}

ModelShape shape_of(const Architecture& a, at::ScalarType dtype) {
  return {.heads = a.layout(),
          .hidden = a.hidden,
          .head_dim = a.head_dim,
          .intermediate = a.intermediate,
          .experts = a.experts ? a.experts->count : 0,
          .experts_per_token = a.experts ? a.experts->per_token : 0,
          .vocabulary = a.vocabulary,
          .max_positions = a.max_positions,
          .bytes_per_value = static_cast<std::int64_t>(at::elementSize(dtype)),
          .branches = {}};
}

}  // namespace

Result<std::unique_ptr<Model>> Model::load(const std::filesystem::path& directory,
                                           const LoadOptions& options) {
  ASSIGN_OR_RETURN(const at::ScalarType dtype, compute_dtype(options.dtype));
  if (options.threads < 1)
    return fail(ErrorKind::kInvalidArgument, "threads is {}; expected at least 1", options.threads);
  set_operation_threads(options.threads);
  // Float32 means float32: no TF32 on the GPU.
  at::globalContext().setAllowTF32CuBLAS(false);
  ASSIGN_OR_RETURN(const at::Device device, compute_device(options.device));
  ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::open(directory));
  RETURN_IF_ERROR(validate_tensors(checkpoint));
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->checkpoint = std::move(checkpoint);
  impl->id = impl->checkpoint->model_id();
  for (const TensorView* tensor : impl->checkpoint->tensors())
    impl->parameters += std::accumulate(tensor->shape.begin(), tensor->shape.end(), std::int64_t{1},
                                        std::multiplies<>());
  const Architecture& architecture = impl->checkpoint->architecture();
  impl->shape = shape_of(architecture, dtype);
  try {  // outside InferenceMode: see weights.h
    ASSIGN_OR_RETURN(Weights weights, load_weights(*impl->checkpoint, device, dtype));
    impl->decoder = std::make_unique<Decoder>(architecture, std::move(weights));
  } catch (const c10::Error& error) {
    return fail(make_error(ErrorKind::kInternal, "LibTorch: {}", error.what_without_backtrace())
                    .at(directory.string()));
  }
  auto model = std::unique_ptr<Model>(new Model(std::move(impl)));
  ASSIGN_OR_RETURN(const auto hybrid, read_hybrid(directory, model->layout()));
  const bool has_branches = hybrid && hybrid->has_branches;
  if (has_branches && !options.branches.empty())
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "the model has branches of its own; expected no others, got {}",
                           options.branches.string())
                    .at(directory.string()));
  if (has_branches) RETURN_IF_ERROR(model->attach_from(directory));
  if (hybrid) {
    if (Status runs = model->check_mixers(hybrid->plan); !runs)
      return fail(std::move(runs).error().at((directory / "plan.json").string()));
    model->impl_->id = hybrid_id(model->impl_->id, hybrid->plan);
    model->impl_->plan = hybrid->plan;
  }
  if (!options.branches.empty()) RETURN_IF_ERROR(model->attach_from(options.branches));
  return model;
}

Status Model::attach_from(const std::filesystem::path& directory) {
  ASSIGN_OR_RETURN(std::vector<LayerBranch> branches, load_branches(*this, directory));
  ASSIGN_OR_RETURN(impl_->id, branches_id(*this, directory));
  impl_->attach(std::move(branches));
  return {};
}

std::unique_ptr<Model> Model::in_memory(std::string id, Architecture architecture,
                                        Weights weights) {
  return in_memory(std::move(id), std::move(architecture), std::move(weights), {});
}

std::unique_ptr<Model> Model::in_memory(std::string id, Architecture architecture, Weights weights,
                                        std::vector<LayerBranch> branches) {
  auto impl = std::make_unique<Impl>();
  impl->id = std::move(id);
  impl->shape = shape_of(architecture, weights.embedding.scalar_type());
  impl->decoder = std::make_unique<Decoder>(std::move(architecture), std::move(weights));
  impl->attach(std::move(branches));
  return std::unique_ptr<Model>(new Model(std::move(impl)));
}

const std::string& Model::id() const { return impl_->id; }
const ModelShape& Model::shape() const { return impl_->shape; }
Status Model::check_mixers(const AttentionPlan& plan) const {
  STRATA_CHECK(plan.layout() == layout());
  for (int layer = 0; layer < layout().layers; ++layer)
    for (int head = 0; head < layout().query_heads; ++head) {
      const auto* linear = std::get_if<LinearAttention>(&plan.entry(layer, head).mixer);
      if (linear == nullptr) continue;
      const LayerBranch* branch = decoder().branch(layer);
      if (branch == nullptr)
        return fail(make_error(ErrorKind::kUnsupported,
                               "layer {} has no trained {} branch; expected a model made by strata "
                               "convert",
                               layer, to_string(linear->kind))
                        .with_hint("name its branches by model.branches=DIR; "
                                   "mixer=sliding_window needs no weights of its own"));
      if (branch->config().kind != linear->kind)
        return fail(make_error(ErrorKind::kUnsupported,
                               "layer {} has no trained {} branch; expected mixer.linear={} as its "
                               "branch is",
                               layer, to_string(linear->kind), to_string(branch->config().kind)));
    }
  return {};
}

AttentionPlan Model::native_plan() const {
  return impl_->plan ? *impl_->plan : impl_->decoder->architecture().native_plan();
}
const LoadOptions& Model::options() const { return impl_->options; }
const Decoder& Model::decoder() const { return *impl_->decoder; }
const Checkpoint* Model::checkpoint() const {
  return impl_->checkpoint ? &*impl_->checkpoint : nullptr;
}
std::int64_t Model::parameters() const { return impl_->parameters; }

std::string Model::device_name() const {
  if (options().device == "cpu") return "cpu";
  // The driver's own list: asking CUDA would need its headers.
  std::error_code code;
  for (const auto& gpu : std::filesystem::directory_iterator("/proc/driver/nvidia/gpus", code)) {
    std::ifstream in(gpu.path() / "information");
    for (std::string line; std::getline(in, line);)
      if (line.starts_with("Model:"))
        return "cuda:" + line.substr(std::min(line.size(), line.find_first_not_of(" \t", 6)));
  }
  return "cuda";
}

double AnswerScore::mean_nll() const {
  return std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size());
}

Meter& Meter::operator+=(const Meter& other) {
  forward_tokens += other.forward_tokens;
  layer_tokens += other.layer_tokens;
  backward_tokens += other.backward_tokens;
  flops += other.flops;
  evaluations += other.evaluations;
  seconds += other.seconds;
  peak_bytes = std::max(peak_bytes, other.peak_bytes);
  return *this;
}

Meter Meter::operator-(const Meter& earlier) const {
  Meter since = *this;
  since.forward_tokens -= earlier.forward_tokens;
  since.layer_tokens -= earlier.layer_tokens;
  since.backward_tokens -= earlier.backward_tokens;
  since.flops -= earlier.flops;
  since.evaluations -= earlier.evaluations;
  since.seconds -= earlier.seconds;
  return since;
}

MeteredModel::MeteredModel(const Model& model, RunLimits limits, int workers)
    : model_(model), limits_(limits), workers_(workers), meter_(std::make_shared<Meter>()) {}

void MeteredModel::absorb(const Meter& meter) { *meter_ += meter; }

Meter MeteredModel::take_meter() { return std::exchange(*meter_, Meter{}); }

Status MeteredModel::check(std::span<const TokenId> tokens, std::int64_t total_length,
                           const AttentionPlan& plan) const {
  const ModelShape& shape = model_.shape();
  if (tokens.empty())
    return fail(ErrorKind::kInvalidArgument, "the prompt is empty; expected at least 1 token");
  if (total_length > shape.max_positions)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "prompt and answer are {} tokens long; the model has {} positions",
                           total_length, shape.max_positions)
                    .with_hint("lower benchmark.length"));
  for (const TokenId token : tokens)
    if (token < 0 || token >= shape.vocabulary)
      return fail(ErrorKind::kInvalidArgument, "token {} is outside the vocabulary of {}", token,
                  shape.vocabulary);
  if (plan.layout() != shape.heads)
    return fail(ErrorKind::kInvalidArgument,
                "the plan is for {} layers, {} query and {} KV heads; the model has {}, {} and {}",
                plan.layout().layers, plan.layout().query_heads, plan.layout().kv_heads,
                shape.heads.layers, shape.heads.query_heads, shape.heads.kv_heads);
  return model_.check_mixers(plan);
}

}  // namespace strata
