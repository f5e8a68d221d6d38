#include "models/training/supernet_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <limits>
#include <optional>
#include <string>

#include "core/rng.h"
#include "models/cost.h"
#include "models/decoder/linear_heads.h"
#include "models/forward.h"
#include "models/training/adamw_file.h"
#include "models/training/student_layers.h"

namespace strata {
namespace {

// Legend: N rows of all texts (text by text), C hidden size.

using Texts = std::span<const std::span<const TokenId>>;

bool is_linear(const AttentionPlan& plan, int layer) {
  return !linear_heads_of(plan, layer).empty();
}

// Of one text, as HybridTrainer counts: the path and the unmodified model forward, and of the
// layers from the path's lowest branch on a second time forward and back.
Meter cost_of(const Model& model, const AttentionPlan& plan, const AttentionPlan& full, int lowest,
              std::int64_t length, bool gradient) {
  const ModelShape& shape = model.shape();
  const Chunk chunk{
      .begin = 0, .end = length, .prompt_length = length, .first_read = 0, .retain = false};
  Meter meter;
  for (const AttentionPlan* each : {&plan, &full}) {
    const RunCost cost = run_cost(*each, shape, chunk, all_rows(*each, chunk), 0);
    meter.flops += cost.flops.linear + cost.flops.attention;
    meter.layer_tokens += cost.layer_tokens;
    meter.forward_tokens += static_cast<double>(length);
  }
  if (!gradient) return meter;
  for (int layer = lowest; layer < plan.layout().layers; ++layer) {
    const RunCost one = run_cost(plan, shape, chunk, {{0, 0}}, layer);
    meter.layer_tokens += one.layer_tokens;
    meter.flops += 2 * one.flops.linear + one.flops.attention;
    if (!is_linear(plan, layer))
      meter.flops += 2.5 * one.flops.attention;
    else  // its weights' gradients too
      meter.flops += one.flops.attention + model.decoder().branch(layer)->flops(length).total();
  }
  meter.backward_tokens += static_cast<double>(length);
  return meter;
}

}  // namespace

struct SupernetTrainer::Impl {
  Impl(const Model& model, const LinearAttention& of, SupernetTraining how)
      : base(model), cheap(of), training(how) {
    const Decoder& from = base.decoder();
    std::vector<LayerBranch> branches(from.branches().begin(), from.branches().end());
    STRATA_CHECK(std::ssize(branches) == model.layout().layers);
    Tensors weights;
    const AttentionPlan linear = plan(Mask::of_layers(model.layout(), {}));
    for (LayerBranch& branch : branches)
      for (const BranchPart& part : trained_parts(linear, branch)) {
        *part.tensor = part.tensor->detach().clone().requires_grad_(true);
        weights.push_back(part.tensor->detach());
        names.push_back(part.name);
      }
    supernet = Model::in_memory(base.id() + " as a supernet", from.architecture(), from.weights(),
                                std::move(branches));
    gradients.emplace(supernet->decoder(), linear, /*all=*/false);
    adam.emplace(std::move(weights), WeightOptions{.rate = how.rate, .clip = how.clip});
  }

  AttentionPlan plan(const Mask& path) const {
    Result<AttentionPlan> made =
        AttentionPlan::from_mask(path, FullAttention{}, cheap, DecodeRule::kSame);
    STRATA_CHECK(made.has_value());
    return *std::move(made);
  }

  // Loss of texts of one length; adds share · its gradient where `sums` is given.
  at::Tensor pass(const AttentionPlan& plan, int lowest, Texts texts,
                  StudentGradients* sums) const {
    const Decoder& decoder = supernet->decoder();
    Tokens tokens;
    for (const std::span<const TokenId> text : texts)
      tokens.insert(tokens.end(), text.begin(), text.end());
    const auto length = static_cast<std::int64_t>(texts[0].size());
    const StudentLayers along(decoder, plan, length, std::ssize(texts));
    const StudentLayers unmodified(decoder, AttentionPlan::full(plan.layout()), length,
                                   std::ssize(texts));
    const at::NoGradGuard no_grad;
    at::Tensor teacher = decoder.embed(token_tensor(tokens, decoder.options().device()));
    for (int layer = 0; layer < lowest; ++layer) teacher = unmodified.forward(teacher, layer);
    at::Tensor x = teacher;
    const int layers = plan.layout().layers;
    at::Tensor loss = at::zeros({}, x.options().dtype(at::kDouble));
    Tensors inputs, d_outputs;  // [layer − lowest]
    for (int layer = lowest; layer < layers; ++layer) {
      inputs.push_back(x);
      x = along.forward(x, layer);
      teacher = unmodified.forward(teacher, layer);
      const at::Tensor off_NC = x.to(at::kDouble) - teacher.to(at::kDouble);
      const at::Tensor size =
          teacher.to(at::kDouble).square().sum().clamp_min(std::numeric_limits<float>::min());
      loss = loss + off_NC.square().sum() / size / layers;
      if (sums != nullptr)
        d_outputs.push_back((off_NC * (2.0 / layers / size)).to(x.scalar_type()));
    }
    if (sums == nullptr) return loss;
    at::Tensor d_x = at::zeros_like(x);
    for (int layer = layers - 1; layer >= lowest; --layer) {
      const auto i = static_cast<std::size_t>(layer - lowest);
      d_x = along.backward(inputs[i], layer, d_x + d_outputs[i], *sums);
      inputs[i] = d_outputs[i] = at::Tensor();
    }
    return loss;
  }

  Result<double> run(const Mask& path, Texts texts, MeteredModel& metered,
                     StudentGradients* sums) const {
    const AttentionPlan here = plan(path);
    for (const std::span<const TokenId> text : texts) {
      RETURN_IF_ERROR(metered.check(text, std::ssize(text), AttentionPlan::full(here.layout())));
      if (text.size() != texts[0].size())
        return fail(ErrorKind::kInvalidArgument,
                    "expected texts of one length in a step, got {} and {} tokens", texts[0].size(),
                    text.size());
    }
    int lowest = 0;
    while (lowest < here.layout().layers && !is_linear(here, lowest)) ++lowest;
    return translated([&]() -> Result<double> {
      const Stopwatch watch;
      const double loss = pass(here, lowest, texts, sums).item<double>();
      const Meter of_one = cost_of(*supernet, here, AttentionPlan::full(here.layout()), lowest,
                                   std::ssize(texts[0]), sums != nullptr);
      Meter meter;
      for (std::size_t i = 0; i < texts.size(); ++i) meter += of_one;
      meter.seconds = watch.seconds();
      metered.absorb(meter);
      return loss;
    });
  }

  const Model& base;
  LinearAttention cheap;
  SupernetTraining training;
  std::vector<std::string> names;   // of what adam writes to
  std::unique_ptr<Model> supernet;  // shares the tensors
  std::optional<StudentGradients> gradients;
  std::optional<AdamW> adam;
};

SupernetTrainer::SupernetTrainer(const Model& model, const LinearAttention& cheap,
                                 SupernetTraining training)
    : impl_(std::make_unique<Impl>(model, cheap, training)) {}
SupernetTrainer::~SupernetTrainer() = default;

const Model& SupernetTrainer::supernet() const { return *impl_->supernet; }
std::int64_t SupernetTrainer::steps() const { return impl_->adam->steps(); }

Mask SupernetTrainer::path(std::int64_t step) const {
  Rng rng(derive_seed(impl_->training.seed, fmt::format("supernet path of step {}", step)),
          "layers");
  for (;;) {
    std::vector<int> kept;
    for (int layer = 0; layer < impl_->base.layout().layers; ++layer)
      if (rng.uniform() < impl_->training.full) kept.push_back(layer);
    if (std::ssize(kept) < impl_->base.layout().layers)
      return Mask::of_layers(impl_->base.layout(), kept);
  }
}

Result<double> SupernetTrainer::loss(const Mask& path, Texts texts, MeteredModel& meter) const {
  return impl_->run(path, texts, meter, nullptr);
}

Result<std::vector<std::vector<double>>> SupernetTrainer::gradients(const Mask& path, Texts texts,
                                                                    MeteredModel& meter) {
  impl_->gradients->clear();
  RETURN_IF_ERROR(impl_->run(path, texts, meter, &*impl_->gradients));
  std::vector<std::vector<double>> out;
  for (const at::Tensor& sum : impl_->gradients->sums()) {
    const at::Tensor here = sum.to(at::kCPU, at::kDouble).contiguous();
    out.emplace_back(here.const_data_ptr<double>(), here.const_data_ptr<double>() + here.numel());
  }
  return out;
}

Result<nlohmann::json> SupernetTrainer::step(Texts texts, MeteredModel& meter) {
  Impl& here = *impl_;
  const Mask path = this->path(steps());
  here.gradients->clear();
  ASSIGN_OR_RETURN(const double loss, here.run(path, texts, meter, &*here.gradients));
  const double rate =
      cosine_between(here.training.rate, here.training.last_rate, steps(), here.training.steps);
  ASSIGN_OR_RETURN(const double norm, here.adam->step(here.gradients->sums(), rate));
  return nlohmann::json{
      {"loss", loss}, {"rate", rate}, {"gradient_norm", norm}, {"kept", path.kept()}};
}

Status SupernetTrainer::save(const std::filesystem::path& file) const {
  const std::vector<NamedAdamW> named = {{&*impl_->adam, impl_->names}};
  return save_adamw(file, named);
}

Status SupernetTrainer::restore(const std::filesystem::path& file) {
  const std::vector<NamedAdamW> named = {{&*impl_->adam, impl_->names}};
  return restore_adamw(file, named);
}

}  // namespace strata
