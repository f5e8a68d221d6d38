#include "models/training/hybrid_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <optional>
#include <string>

#include "models/cost.h"
#include "models/decoder/decoder.h"
#include "models/decoder/linear_heads.h"
#include "models/forward.h"
#include "models/training/adamw_file.h"
#include "models/training/gated_pass.h"
#include "models/training/master_weights.h"
#include "models/training/save_student.h"
#include "models/training/student_layers.h"

namespace strata {
namespace {

using Texts = std::span<const std::span<const TokenId>>;

constexpr std::int64_t kLogitsAtOnce = std::int64_t{1} << 26;  // of a chunk of positions

// The branches of `start`, what the plan trains of them as leaves in memory of its own.
std::vector<LayerBranch> copies_to_train(const Decoder& start, const AttentionPlan& plan) {
  std::vector<LayerBranch> all(start.branches().begin(), start.branches().end());
  for (LayerBranch& branch : all)
    for (const BranchPart& part : trained_parts(plan, branch))
      *part.tensor = part.tensor->detach().clone().requires_grad_(true);
  return all;
}

// The layers that have a linear head.
std::vector<int> linear_layers(const AttentionPlan& plan) {
  std::vector<int> layers;
  for (int layer = 0; layer < plan.layout().layers; ++layer)
    if (!linear_heads_of(plan, layer).empty()) layers.push_back(layer);
  return layers;
}

}  // namespace

struct HybridTrainer::Impl {
  Impl(const Model& teacher_model, const Model& start, const AttentionPlan& of,
       const HybridTraining& how, std::shared_ptr<const StudentMasters> from_before)
      : teacher(teacher_model),
        before(std::move(from_before)),
        plan(of),
        training(how),
        all(how.train == TrainedWeights::kAll),
        weights(start.decoder().weights()) {
    const Decoder& from = start.decoder();
    if (all) {
      weights = trainable_copy(from.architecture(), weights);
      master.emplace(weight_parts(from.architecture(), weights),
                     before == nullptr ? Tensors{} : before->tensors);
    }
    std::vector<LayerBranch> branches = copies_to_train(from, plan);
    Tensors tensors;
    if (master) {
      tensors = master->tensors();
      names = master->names();
    }
    for (LayerBranch& branch : branches)
      for (const BranchPart& part : trained_parts(plan, branch)) {
        tensors.push_back(part.tensor->detach());
        names.push_back(part.name);
      }
    student = Model::in_memory(start.id() + " in training", from.architecture(), weights,
                               std::move(branches));
    gradients.emplace(student->decoder(), plan, all);
    adam.emplace(std::move(tensors), adamw_options(how));
  }

  const Decoder& decoder() const { return student->decoder(); }
  at::Device device() const { return decoder().options().device(); }
  bool distils() const { return training.loss == HybridLoss::kDivergence; }
  // No gradient is needed below it.
  int lowest() const { return all ? 0 : linear_layers(plan).front(); }

  at::Tensor teacher_rows(const at::Tensor& ids, std::int64_t length, std::int64_t batch) const {
    const at::NoGradGuard no_grad;
    const AttentionPlan native = teacher.native_plan();
    const Chunk chunk = whole(length);
    Segment segment{.chunk = chunk,
                    .plan = teacher.decoder().bind(native),
                    .state = nullptr,
                    .rows = all_rows(native, chunk),
                    .batch = batch};
    return teacher.decoder().run_layers(teacher.decoder().embed(ids), 0, native.layout().layers,
                                        std::span(&segment, 1));
  }

  static Chunk whole(std::int64_t length) {
    return {.begin = 0, .end = length, .prompt_length = length, .first_read = 0, .retain = false};
  }

  // Sum over positions of the loss of some top rows; what it makes for the rows and the weights
  // outside the layers, times `share`, where `sums` is given.
  at::Tensor loss_of_rows(const at::Tensor& top_NC, const at::Tensor& teacher_NC,
                          const at::Tensor& target_N1, double share, StudentGradients* sums,
                          Tensors& d_tops) const {
    const at::AutoGradMode mode(sums != nullptr);
    at::Tensor x_NC = top_NC.detach();
    if (sums != nullptr) x_NC.requires_grad_(true);
    at::Tensor loss;
    if (distils()) {
      at::Tensor teacher_NV;
      {
        const at::NoGradGuard no_grad;
        teacher_NV =
            at::log_softmax(teacher.decoder().logits(teacher_NC) / training.temperature, 1);
      }
      const at::Tensor log_p_NV = at::log_softmax(decoder().logits(x_NC) / training.temperature, 1);
      loss = (teacher_NV.exp() * (teacher_NV - log_p_NV)).sum() *
             (training.temperature * training.temperature);
    } else {
      loss = -at::log_softmax(decoder().logits(x_NC), 1).gather(1, target_N1).sum();
    }
    if (sums != nullptr)
      d_tops.push_back(differentiate({loss * share}, {x_NC}, {}, sums->weights(), -1)[0]);
    return loss.detach().to(at::kDouble);
  }

  // The same of all rows, chunk by chunk; d_top_NC where `sums` is given.
  at::Tensor loss(const at::Tensor& ids, const at::Tensor& top_NC, std::int64_t length,
                  std::int64_t batch, double share, StudentGradients* sums,
                  at::Tensor& d_top_NC) const {
    at::Tensor rows_NC = top_NC, teacher_NC, target_N1;
    const auto but_the_last = [&](const at::Tensor& x) {
      return x.unflatten(0, {batch, length}).narrow(1, 0, length - 1).flatten(0, 1);
    };
    if (distils()) {
      teacher_NC = teacher_rows(ids, length, batch);
    } else {
      rows_NC = but_the_last(top_NC);
      target_N1 = ids.unflatten(0, {batch, length})
                      .narrow(1, 1, length - 1)
                      .flatten(0, 1)
                      .to(at::kLong)
                      .unsqueeze(1);
    }
    const std::int64_t step =
        std::max<std::int64_t>(kLogitsAtOnce / decoder().architecture().vocabulary, 1);
    at::Tensor sum = at::zeros({}, top_NC.options().dtype(at::kDouble));
    Tensors d_tops;
    for (std::int64_t begin = 0; begin < rows_NC.size(0); begin += step) {
      const std::int64_t count = std::min(step, rows_NC.size(0) - begin);
      const auto part = [&](const at::Tensor& x) {
        return x.defined() ? x.narrow(0, begin, count) : x;
      };
      sum =
          sum + loss_of_rows(part(rows_NC), part(teacher_NC), part(target_N1), share, sums, d_tops);
    }
    if (sums == nullptr) return sum;
    d_top_NC = at::cat(d_tops);
    if (!distils()) {
      const at::Tensor all_rows_NC = at::zeros_like(top_NC);
      all_rows_NC.unflatten(0, {batch, length})
          .narrow(1, 0, length - 1)
          .copy_(d_top_NC.unflatten(0, {batch, length - 1}));
      d_top_NC = all_rows_NC;
    }
    return sum;
  }

  // Sum of the loss over the positions of texts of one length, on the device.
  at::Tensor pass(Texts texts, double share, StudentGradients* sums) const {
    const auto length = static_cast<std::int64_t>(texts[0].size());
    const auto batch = static_cast<std::int64_t>(texts.size());
    Tokens tokens;
    for (const std::span<const TokenId> text : texts)
      tokens.insert(tokens.end(), text.begin(), text.end());
    const at::Tensor ids = token_tensor(tokens, device());
    const StudentLayers run(decoder(), plan, length, batch);
    at::Tensor x;
    {
      const at::NoGradGuard no_grad;
      x = decoder().embed(ids);
    }
    const int end = plan.layout().layers;
    Tensors inputs(static_cast<std::size_t>(end));
    for (int layer = 0; layer < end; ++layer) {
      if (sums != nullptr && layer >= lowest()) inputs[static_cast<std::size_t>(layer)] = x;
      x = run.forward(x, layer);
    }
    at::Tensor d_x;
    at::Tensor total = loss(ids, x, length, batch, share, sums, d_x);
    if (sums == nullptr) return total;
    for (int layer = end - 1; layer >= lowest(); --layer) {
      at::Tensor& input = inputs[static_cast<std::size_t>(layer)];
      d_x = run.backward(input, layer, d_x, *sums);
      input = at::Tensor();
    }
    if (all) {
      const at::AutoGradMode mode(true);
      differentiate({decoder().embed(ids)}, {}, {d_x}, sums->weights(), -1);
    }
    return total;
  }

  // Mean loss of texts, run rows_at_once at a time.
  Result<double> run(Texts texts, StudentGradients* sums, MeteredModel& metered) const {
    const auto length = static_cast<std::int64_t>(texts[0].size());
    const AttentionPlan native = teacher.native_plan();
    for (const std::span<const TokenId> text : texts) {
      RETURN_IF_ERROR(metered.check(text, length, native));
      if (text.size() != texts[0].size() || length < 2)
        return fail(ErrorKind::kInvalidArgument,
                    "expected texts of one length, at least 2, in a step, got {} and {} tokens",
                    length, text.size());
    }
    return translated([&]() -> Result<double> {
      const Stopwatch watch;
      const std::int64_t scored = distils() ? length : length - 1;
      const double share = 1.0 / (static_cast<double>(scored) * static_cast<double>(texts.size()));
      const auto at_once =
          static_cast<std::size_t>(std::max<std::int64_t>(training.rows_at_once / length, 1));
      at::Tensor sum;
      for (std::size_t first = 0; first < texts.size(); first += at_once) {
        const at::Tensor part =
            pass(texts.subspan(first, std::min(at_once, texts.size() - first)), share, sums);
        sum = sum.defined() ? sum + part : part;
      }
      const double mean = sum.item<double>() * share;
      Meter meter = times(cost(length, sums != nullptr), std::ssize(texts));
      meter.peak_bytes = static_cast<std::uint64_t>(decoder().architecture().hidden *
                                                    decoder().architecture().layers * length) *
                         std::min(at_once, texts.size()) *
                         at::elementSize(decoder().options().dtype().toScalarType());
      meter.seconds = watch.seconds();
      metered.absorb(meter);
      return mean;
    });
  }

  // Of one text. Backward: as much as forward in products with weights for the gradients of their
  // inputs, as much again for those of trained weights; five products of softmax attention where
  // forward has two.
  Meter cost(std::int64_t length, bool gradient) const {
    const ModelShape& shape = student->shape();
    const Chunk chunk = whole(length);
    Meter meter;
    const auto count = [&](const RunCost& cost) {
      meter.forward_tokens += static_cast<double>(length);
      meter.layer_tokens += cost.layer_tokens;
      meter.flops += cost.flops.linear + cost.flops.attention;
    };
    const AttentionPlan native = teacher.native_plan();
    const RunCost forward = run_cost(plan, shape, chunk, all_rows(plan, chunk), 0);
    const double lm_head = forward.flops.lm_head;
    count(forward);
    meter.flops += lm_head;
    if (distils()) {
      count(run_cost(native, shape, chunk, all_rows(native, chunk), 0));
      meter.flops += lm_head;
    }
    if (!gradient) return meter;
    const double products = all ? 2 : 1;
    meter.flops += products * lm_head;
    for (int layer = lowest(); layer < plan.layout().layers; ++layer) {
      const RunCost one = run_cost(plan, shape, chunk, {{0, 0}}, layer);
      const double both = one.flops.linear + one.flops.attention;
      meter.flops += both;  // computed a second time
      meter.layer_tokens += one.layer_tokens;
      if (linear_heads_of(plan, layer).empty()) {
        meter.flops += products * one.flops.linear + 2.5 * one.flops.attention;
      } else {  // a mixer whose weights are all trained
        const double mlp = static_cast<double>(length) * mlp_flops(shape);
        meter.flops += products * mlp + 2 * (both - mlp);
      }
    }
    meter.backward_tokens += static_cast<double>(length);
    return meter;
  }

  std::vector<NamedAdamW> named() { return {{&*adam, names}}; }

  const Model& teacher;
  std::shared_ptr<const StudentMasters> before;
  AttentionPlan plan;
  HybridTraining training;
  bool all;
  Weights weights;
  std::optional<MasterWeights> master;  // of weights, where all are trained
  std::vector<std::string> names;       // of what adam writes to
  std::unique_ptr<Model> student;       // shares the tensors
  std::optional<StudentGradients> gradients;
  std::optional<AdamW> adam;
  std::vector<double> losses;
};

Status HybridTrainer::check(const Model& start, const AttentionPlan& plan,
                            const HybridTraining& training) {
  if (plan.layout() != start.layout())
    return fail(ErrorKind::kInvalidArgument,
                "the plan is for {} layers, {} query and {} KV heads; the model has {}, {} and {}",
                plan.layout().layers, plan.layout().query_heads, plan.layout().kv_heads,
                start.layout().layers, start.layout().query_heads, start.layout().kv_heads);
  RETURN_IF_ERROR(start.check_mixers(plan));
  if (training.train == TrainedWeights::kBranches && linear_layers(plan).empty())
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "the plan has no layer of linear attention, whose branch alone "
                           "train=branches trains")
                    .with_hint("train=all"));
  return {};
}

std::uint64_t HybridTrainer::bytes(const Model& start, const AttentionPlan& plan,
                                   const HybridTraining& training, std::int64_t length) {
  // A copy, its gradients and two moments; a master where the copy is narrower.
  std::uint64_t weights = 0;
  const auto add = [&](const at::Tensor& tensor) {
    const auto narrow = static_cast<std::uint64_t>(tensor.element_size());
    const std::uint64_t wide = std::max<std::uint64_t>(narrow, sizeof(float));
    weights += static_cast<std::uint64_t>(tensor.numel()) *
               (narrow + 3 * wide + (wide > narrow ? wide : 0));
  };
  Weights model = start.decoder().weights();
  if (training.train == TrainedWeights::kAll)
    for (const WeightPart& part : weight_parts(start.decoder().architecture(), model))
      add(*part.tensor);
  MixerSpec mixer = FullAttention{};
  for (LayerBranch branch : start.decoder().branches())
    for (const BranchPart& part : trained_parts(plan, branch)) {
      add(*part.tensor);
      mixer = LinearAttention{branch.config().kind};
    }
  // Student and teacher: the logits and their logarithms of both, and what comes back of them.
  constexpr std::uint64_t kLogitTensors = 5;
  const std::int64_t texts =
      std::clamp<std::int64_t>(training.rows_at_once / length, 1, training.batch);
  return weights + kLogitTensors * static_cast<std::uint64_t>(kLogitsAtOnce) * sizeof(float) +
         gated_pass_bytes(start.shape(), length, 0, texts, mixer);
}

HybridTrainer::HybridTrainer(const Model& teacher, const Model& start, const AttentionPlan& plan,
                             const HybridTraining& training,
                             std::shared_ptr<const StudentMasters> before) {
  const Status fits = check(start, plan, training);
  STRATA_CHECK(fits.has_value(), "{}", fits.has_value() ? "" : fits.error().text());
  impl_ = std::make_unique<Impl>(teacher, start, plan, training, std::move(before));
}
HybridTrainer::~HybridTrainer() = default;

std::int64_t HybridTrainer::steps() const { return impl_->adam->steps(); }
const Model& HybridTrainer::model() const { return *impl_->student; }
const std::vector<double>& HybridTrainer::losses() const { return impl_->losses; }

std::unique_ptr<Model> HybridTrainer::release() && {
  for (LayerBranch branch : impl_->student->decoder().branches())
    for (const BranchPart& part : branch.parts()) part.tensor->requires_grad_(false);
  if (impl_->all)
    for (const WeightPart& part :
         weight_parts(impl_->student->decoder().architecture(), impl_->weights))
      part.tensor->requires_grad_(false);
  return std::move(impl_->student);
}

std::shared_ptr<const StudentMasters> HybridTrainer::masters() const {
  if (!impl_->master) return impl_->before;
  return std::make_shared<const StudentMasters>(
      StudentMasters{impl_->master->names(), impl_->master->tensors()});
}

Result<double> HybridTrainer::loss(Texts texts, MeteredModel& meter) const {
  STRATA_CHECK(!texts.empty() && &meter.model() == &impl_->teacher);
  return impl_->run(texts, nullptr, meter);
}

Result<nlohmann::json> HybridTrainer::step(Texts texts, MeteredModel& meter) {
  Impl& s = *impl_;
  STRATA_CHECK(!texts.empty() && &meter.model() == &s.teacher);
  s.gradients->clear();  // of a step that failed
  ASSIGN_OR_RETURN(const double loss, s.run(texts, &*s.gradients, meter));
  const at::NoGradGuard no_grad;
  const double rate =
      cosine_between(s.training.rate, s.training.last_rate, s.adam->steps(), s.training.steps);
  const Tensors sums = s.gradients->sums();
  if (s.master)
    for (std::size_t i = 0; i < s.master->tensors().size(); ++i)
      if (s.master->scale(i) != 1) sums[i].mul_(s.master->scale(i));
  ASSIGN_OR_RETURN(const double norm, s.adam->step(sums, rate));
  if (s.master) s.master->refresh();
  s.losses.push_back(loss);
  return nlohmann::json{{"loss", loss}, {"rate", rate}, {"gradient_norm", norm}};
}

Status HybridTrainer::save(const std::filesystem::path& file) const {
  return save_adamw(file, impl_->named());
}

Status HybridTrainer::restore(const std::filesystem::path& file) {
  RETURN_IF_ERROR(restore_adamw(file, impl_->named()));
  if (impl_->master) impl_->master->refresh();
  return {};
}

Result<DistilledStudent> distil(MeteredModel& teacher, const Model& start,
                                const AttentionPlan& plan, std::span<const Tokens> texts,
                                const HybridTraining& training, Progress& progress) {
  RETURN_IF_ERROR(HybridTrainer::check(start, plan, training));
  HybridTrainer trainer(teacher.model(), start, plan, training);
  ASSIGN_OR_RETURN(nlohmann::json curve, train_on_texts(teacher, texts,
                                                        {.title = "training the hybrid",
                                                         .steps = training.steps,
                                                         .batch = training.batch,
                                                         .seed = training.seed,
                                                         .checkpoint = {},
                                                         .identity = {}},
                                                        trainer, progress));
  DistilledStudent out{nullptr, trainer.losses(), std::move(curve)};
  out.model = std::move(trainer).release();
  return out;
}

}  // namespace strata
