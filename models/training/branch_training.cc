#include "models/training/branch_training.h"

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "models/decoder/decoder.h"
#include "models/forward.h"
#include "models/training/adamw.h"
#include "models/training/gate_training.h"

namespace strata {

struct BranchTrainer::Impl {
  Impl(const Model& model, std::span<LayerBranch> all, BranchTraining how)
      : teacher(model), decoder(model.decoder()), branches(all), training(how) {
    const WeightOptions options{.rate = how.rate,
                                .beta1 = how.beta1,
                                .beta2 = how.beta2,
                                .epsilon = how.epsilon,
                                .weight_decay = how.weight_decay,
                                .clip = how.clip};
    for (LayerBranch& branch : branches) {
      STRATA_CHECK(&branch == &branches[0] || branch.layer() > (&branch - 1)->layer());
      std::vector<at::Tensor>& of_branch = weights.emplace_back();
      std::vector<at::Tensor> masters;
      for (const BranchPart& part : branch.parts()) {
        if (part.fusion) continue;  // no part of a layer that is linear alone
        part.tensor->requires_grad_(true);
        of_branch.push_back(*part.tensor);
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

  Result<BranchLoss> learn(std::size_t index, const at::Tensor& x_NC, const at::Tensor& target_NC,
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
    const BranchLoss result{loss.item<double>(), (loss / target.square().mean()).item<double>()};
    Result<double> norm = optimizers[index].step(gradients, cosine_rate(training, steps));
    if (!norm) return fail(std::move(norm).error().at(fmt::format("layer {}", branch.layer())));
    return result;
  }

  const Model& teacher;
  const Decoder& decoder;
  std::span<LayerBranch> branches;
  BranchTraining training;
  std::vector<std::vector<at::Tensor>> weights;  // a branch, as leaves
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

Result<std::vector<BranchLoss>> BranchTrainer::step(std::span<const std::span<const TokenId>> texts,
                                                    MeteredModel& metered) {
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
    std::vector<BranchLoss> losses;
    Meter meter;
    for (int layer = 0; layer < end_layer; ++layer) {
      const std::size_t next = losses.size();
      const bool wanted = s.branches[next].layer() == layer;
      Impl::Taught taught = s.teach(x_NC, layer, segment, wanted);
      if (wanted) {
        ASSIGN_OR_RETURN(const BranchLoss loss, s.learn(next, x_NC, taught.target_NC, batch));
        losses.push_back(loss);
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
    return losses;
  });
}

double cosine_rate(const BranchTraining& t, std::int64_t step) {
  if (t.steps <= 1) return t.rate;
  const double part =
      static_cast<double>(std::min(step, t.steps - 1)) / static_cast<double>(t.steps - 1);
  return t.last_rate + 0.5 * (t.rate - t.last_rate) * (1 + std::cos(std::numbers::pi * part));
}

Result<nlohmann::json> train_branches(MeteredModel& model, std::span<const Tokens> texts,
                                      const BranchTraining& training,
                                      std::span<LayerBranch> branches, Progress& progress) {
  if (texts.empty())
    return fail(ErrorKind::kInvalidArgument, "expected texts to train on, got none");
  BranchTrainer trainer(model.model(), branches, training);
  nlohmann::json curve = nlohmann::json::array();
  progress.begin("training linear branches", training.steps);
  for (std::int64_t step = 0; step < training.steps; ++step) {
    if (progress.stop_requested())
      return fail(ErrorKind::kInterrupted, "interrupted after {} of {} steps of training branches",
                  step, training.steps);
    std::vector<std::span<const TokenId>> batch;
    for (const std::size_t i : samples_of_step(training.seed, texts.size(), training.batch, step))
      batch.emplace_back(texts[i]);
    ASSIGN_OR_RETURN(const std::vector<BranchLoss> losses, trainer.step(batch, model));
    if (is_on_curve(step, training.steps)) {
      nlohmann::json point = {{"step", step}, {"rate", cosine_rate(training, step)}};
      for (const BranchLoss& loss : losses) {
        point["loss"].push_back(loss.loss);
        point["relative_loss"].push_back(loss.relative);
      }
      curve.push_back(std::move(point));
    }
    progress.advance(1);
  }
  progress.end();
  return curve;
}

}  // namespace strata
