#include "models/training/branch_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "models/decoder/decoder.h"
#include "models/forward.h"
#include "models/training/adamw_file.h"
#include "models/training/gated_pass.h"

namespace strata {

struct BranchTrainer::Impl {
  Impl(const Model& model, std::span<LayerBranch> all, BranchTraining how)
      : teacher(model), decoder(model.decoder()), branches(all), training(how) {
    const WeightOptions options = adamw_options(how);
    for (LayerBranch& branch : branches) {
      STRATA_CHECK(&branch == &branches[0] || branch.layer() > (&branch - 1)->layer());
      std::vector<at::Tensor>& of_branch = weights.emplace_back();
      std::vector<std::string>& called = names.emplace_back();
      std::vector<at::Tensor> masters;
      for (const BranchPart& part : branch.parts()) {
        if (part.fusion) continue;  // no part of a layer that is linear alone
        part.tensor->requires_grad_(true);
        of_branch.push_back(*part.tensor);
        called.push_back(part.name);
        masters.push_back(part.tensor->detach());
      }
      optimizers.emplace_back(std::move(masters), options);
    }
  }

  // The teacher's layer, and what its mixer makes of its input.
  struct Taught {
    at::Tensor out_NC, target_NC;
  };
  Taught teach(const at::Tensor& x_NC, int layer, Segment& segment, bool wanted) const {
    const at::NoGradGuard no_grad;
    const LayerWeights& w = decoder.weights().layers[static_cast<std::size_t>(layer)];
    const bool before_norm = training.target == BranchTarget::kMixer && w.mixer_out_norm.defined();
    ForwardHooks hooks;
    if (wanted)
      hooks.captures.push_back(
          {.site = before_norm ? Site::kHeadOut : Site::kMixerOut, .layer = layer});
    Taught taught;
    taught.out_NC = decoder.run_layers(x_NC, layer, layer + 1, std::span(&segment, 1),
                                       wanted ? &hooks : nullptr);
    if (!wanted) return taught;
    taught.target_NC = hooks.captures[0].value;
    if (before_norm) taught.target_NC = decoder.through_o(taught.target_NC, layer);
    return taught;
  }

  // The loss and its share of the target's mean square, [2], on the device: reading them waits.
  Result<at::Tensor> learn(std::size_t index, const at::Tensor& x_NC, const at::Tensor& target_NC,
                           std::int64_t batch) {
    LayerBranch& branch = branches[index];
    at::Tensor input_NC;
    {
      const at::NoGradGuard no_grad;
      input_NC = decoder.mixer_input(x_NC, branch.layer());
    }
    const at::AutoGradMode mode(true);
    // In the branch's own type: what it makes is not rounded to the teacher's before it is
    // compared.
    const auto wide = branch.weights().q.scalar_type();
    at::Tensor out_NC =
        branch.forward(input_NC.to(wide).unflatten(0, {batch, -1}), branch.make_state(batch))
            .out_BNC.flatten(0, 1);
    if (training.target == BranchTarget::kResidual)
      out_NC = decoder.added_to_stream(out_NC, branch.layer());
    const at::Tensor target = target_NC.to(wide);
    const at::Tensor loss = (out_NC - target).square().mean();
    const std::vector<at::Tensor> gradients = torch::autograd::grad({loss}, weights[index]);
    const at::NoGradGuard no_grad;
    at::Tensor result = at::stack({loss, loss / target.square().mean()});
    Result<double> norm = optimizers[index].step(gradients, cosine_rate(training, steps));
    if (!norm) return fail(std::move(norm).error().at(fmt::format("layer {}", branch.layer())));
    return result;
  }

  const Model& teacher;
  const Decoder& decoder;
  std::span<LayerBranch> branches;
  BranchTraining training;
  std::vector<NamedAdamW> named() {
    std::vector<NamedAdamW> all;
    for (std::size_t i = 0; i < optimizers.size(); ++i) all.push_back({&optimizers[i], names[i]});
    return all;
  }

  std::vector<std::vector<at::Tensor>> weights;  // a branch, as leaves
  std::vector<std::vector<std::string>> names;   // of them
  std::vector<AdamW> optimizers;
  std::int64_t steps = 0;
};

BranchTrainer::BranchTrainer(const Model& teacher, std::span<LayerBranch> branches,
                             BranchTraining training)
    : impl_(std::make_unique<Impl>(teacher, branches, training)) {
  STRATA_CHECK(!branches.empty());
}
BranchTrainer::~BranchTrainer() {
  for (const std::vector<at::Tensor>& of_branch : impl_->weights)
    for (const at::Tensor& weight : of_branch) weight.requires_grad_(false);
}

std::int64_t BranchTrainer::steps() const { return impl_->steps; }

Status BranchTrainer::save(const std::filesystem::path& file) const {
  return save_adamw(file, impl_->named());
}

Status BranchTrainer::restore(const std::filesystem::path& file) {
  RETURN_IF_ERROR(restore_adamw(file, impl_->named()));
  impl_->steps = impl_->optimizers[0].steps();
  return {};
}

Result<nlohmann::json> BranchTrainer::step(std::span<const std::span<const TokenId>> texts,
                                           MeteredModel& metered) {
  nlohmann::json point = {{"rate", cosine_rate(impl_->training, impl_->steps)}};
  ASSIGN_OR_RETURN(const std::vector<BranchLoss> losses, train_step(texts, metered));
  for (const BranchLoss& loss : losses) {
    point["loss"].push_back(loss.loss);
    point["relative_loss"].push_back(loss.relative);
  }
  return point;
}

Result<std::vector<BranchLoss>> BranchTrainer::train_step(
    std::span<const std::span<const TokenId>> texts, MeteredModel& metered) {
  Impl& s = *impl_;
  STRATA_CHECK(!texts.empty() && &metered.model() == &s.teacher);
  const AttentionPlan plan = s.teacher.native_plan();
  const auto length = static_cast<std::int64_t>(texts[0].size());
  Tokens all;
  for (const std::span<const TokenId> text : texts) {
    RETURN_IF_ERROR(metered.check(text, length, plan));
    if (text.size() != texts[0].size())
      return fail(ErrorKind::kInvalidArgument,
                  "expected texts of one length in a step, got {} and {} tokens", texts[0].size(),
                  text.size());
    all.insert(all.end(), text.begin(), text.end());
  }
  return translated([&]() -> Result<std::vector<BranchLoss>> {
    const Stopwatch watch;
    const at::Device device = s.decoder.options().device();
    const auto batch = static_cast<std::int64_t>(texts.size());
    const int end_layer = s.branches.back().layer() + 1;
    Segment segment{.chunk = {.begin = 0,
                              .end = length,
                              .prompt_length = length,
                              .first_read = length,
                              .retain = false},
                    .plan = s.decoder.bind(plan),
                    .state = nullptr,
                    .rows = {{0, 0}},
                    .batch = batch};
    at::Tensor x_NC;
    {
      const at::NoGradGuard no_grad;
      x_NC = s.decoder.embed(token_tensor(all, device));
    }
    std::vector<at::Tensor> losses;
    Meter meter;
    for (int layer = 0; layer < end_layer; ++layer) {
      const std::size_t next = losses.size();
      const bool wanted = s.branches[next].layer() == layer;
      Impl::Taught taught = s.teach(x_NC, layer, segment, wanted);
      if (wanted) {
        ASSIGN_OR_RETURN(at::Tensor loss, s.learn(next, x_NC, taught.target_NC, batch));
        losses.push_back(std::move(loss));
        // Backward: gradients of weights, and but for the first products of their inputs too.
        const BranchFlops flops = s.branches[next].flops(length);
        meter.flops += static_cast<double>(batch) * (2 * flops.from_input + 3 * flops.behind);
      }
      x_NC = std::move(taught.out_NC);
    }
    ++s.steps;
    segment.rows.assign(static_cast<std::size_t>(end_layer), {0, 0});
    add_cost(meter, s.teacher.shape(), std::span(&segment, 1), 0);
    meter.backward_tokens += static_cast<double>(batch * length);
    meter.peak_bytes = static_cast<std::uint64_t>(x_NC.nbytes());
    synchronize(device);
    meter.seconds += watch.seconds();
    metered.absorb(meter);
    const at::Tensor on_cpu = at::stack(losses).to(at::kCPU, at::kDouble);
    std::vector<BranchLoss> out;
    for (std::size_t i = 0; i < losses.size(); ++i) {
      const double* pair = on_cpu.const_data_ptr<double>() + 2 * i;
      out.push_back({pair[0], pair[1]});
    }
    return out;
  });
}

std::uint64_t branch_training_bytes(const ModelShape& teacher, std::span<LayerBranch> branches,
                                    const BranchTraining& training, std::int64_t length) {
  std::uint64_t moments = 0, gradients = 0;
  for (LayerBranch& branch : branches) {
    std::uint64_t own = 0;
    for (const BranchPart& part : branch.parts()) own += part.tensor->nbytes();
    moments += 2 * own;
    gradients = std::max(gradients, own);
  }
  const MixerSpec linear = LinearAttention{branches[0].config().kind};
  return moments + gradients + gated_pass_bytes(teacher, length, 0, training.batch, linear);
}

double cosine_rate(const BranchTraining& training, std::int64_t step) {
  return cosine_between(training.rate, training.last_rate, step, training.steps);
}

Result<nlohmann::json> train_branches(MeteredModel& model, std::span<const Tokens> texts,
                                      const BranchTraining& training,
                                      std::span<LayerBranch> branches, Progress& progress) {
  BranchTrainer trainer(model.model(), branches, training);
  return train_on_texts(model, texts,
                        {.title = "training linear branches",
                         .steps = training.steps,
                         .batch = training.batch,
                         .seed = training.seed,
                         .checkpoint = {},
                         .identity = {}},
                        trainer, progress);
}

}  // namespace strata
