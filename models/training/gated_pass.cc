#include "models/training/gated_pass.h"

#include <ATen/DeviceAccelerator.h>

#include <algorithm>

#include "models/forward.h"
#include "models/linear_parts.h"
#include "models/parallel.h"
#include "models/training/gated_batch.h"

namespace strata {
namespace {

bool same_shape(const GatedRequest& a, const GatedRequest& b) {
  return a.prompt.size() == b.prompt.size() && a.answer.size() == b.answer.size() &&
         a.loss == b.loss && a.alignment == b.alignment && a.scored == b.scored &&
         a.weights == b.weights;
}

// Prompts like this one in a pass: without memory for all activations of several, one.
std::size_t most_at_once(const ModelShape& shape, const MixerSpec& cheap,
                         const GatedRequest& request, const PassLimits& limits) {
  const auto tokens = static_cast<std::int64_t>(request.prompt.size() + request.answer.size());
  const std::int64_t rows = std::max<std::int64_t>(tokens - 1, 1);  // not checked yet
  std::int64_t most = 1;
  while ((most + 1) * rows <= limits.batch_rows &&
         gated_pass_bytes(shape, rows, shape.heads.layers, most + 1, cheap) <= limits.memory_bytes)
    ++most;
  return static_cast<std::size_t>(most);
}

std::vector<std::vector<std::size_t>> groups_of(const ModelShape& shape, const MixerSpec& cheap,
                                                std::span<const GatedRequest> requests,
                                                const PassLimits& limits) {
  struct Open {  // the group that the next request of a shape joins
    std::size_t group, places;
  };
  std::vector<Open> open;
  std::vector<std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    auto of_shape = std::find_if(open.begin(), open.end(), [&](const Open& one) {
      return same_shape(requests[groups[one.group][0]], requests[i]);
    });
    if (of_shape == open.end()) of_shape = open.insert(open.end(), {0, 0});
    if (of_shape->places == 0) {
      *of_shape = {groups.size(), most_at_once(shape, cheap, requests[i], limits)};
      groups.emplace_back();
    }
    groups[of_shape->group].push_back(i);
    --of_shape->places;
  }
  return groups;
}

Status check_request(const MeteredModel& model, const GatedRequest& request) {
  if (request.answer.empty())
    return fail(ErrorKind::kInvalidArgument, "the answer is empty; expected at least 1 token");
  Tokens tokens(request.prompt.begin(), request.prompt.end());
  tokens.insert(tokens.end(), request.answer.begin(), request.answer.end());
  const auto length = static_cast<std::int64_t>(tokens.size());
  STRATA_CHECK(request.scored >= 0 && request.scored < length);
  return model.check(tokens, length, AttentionPlan::full(model.layout()));
}

// A norm over what each kind of heads gives (fusion=norm) is no mixture of them.
Status check_fusion(const Model& model, const GatedAttention& attention) {
  if (!std::holds_alternative<LinearAttention>(attention.cheap) ||
      attention.granularity == Granularity::kLayer)
    return {};
  for (int layer = 0; layer < model.layout().layers; ++layer)
    if (const LayerBranch* branch = model.decoder().branch(layer);
        branch != nullptr && branch->config().fusion != HeadFusion::kNone)
      return fail(make_error(ErrorKind::kUnsupported,
                             "gates of single heads over branches with fusion=norm (layer {}): "
                             "expected fusion=none, or gates of whole layers",
                             layer)
                      .with_hint("granularity=layer"));
  return {};
}

Status check_gates(const MeteredModel& model, const GatedAttention& attention,
                   const GatedRequest& request) {
  const HeadLayout& layout = model.layout();
  const auto units = static_cast<std::size_t>(layout.layers) *
                     static_cast<std::size_t>(layout.units_per_layer(attention.granularity));
  if (request.gates.size() != units)
    return fail(ErrorKind::kInvalidArgument, "{} gates given; expected one for each of {} units",
                request.gates.size(), units);
  for (const double gate : request.gates)
    if (!(gate >= 0 && gate <= 1))
      return fail(ErrorKind::kInvalidArgument, "a gate is {}; expected 0 to 1", gate);
  for (const bool keeps : {true, false}) {
    ASSIGN_OR_RETURN(const AttentionPlan plan,
                     AttentionPlan::from_mask(Mask(attention.granularity, layout, keeps),
                                              attention.kept, attention.cheap, attention.rule));
    RETURN_IF_ERROR(model.model().check_mixers(plan));
  }
  RETURN_IF_ERROR(check_fusion(model.model(), attention));
  if (request.weights != nullptr) RETURN_IF_ERROR(check_weight_training(attention.cheap));
  STRATA_CHECK(request.loss == PassLoss::kNll || request.teacher != nullptr);
  STRATA_CHECK(request.loss == PassLoss::kAlignment || !attention.separate_layers);
  STRATA_CHECK(request.weights == nullptr ||
               (request.loss == PassLoss::kNll && !attention.kept_from_teacher));
  return {};
}

// body(batch, limits of a worker) of each group; what it returns, in the order of the requests.
template <typename T, typename Check, typename Body>
Result<std::vector<T>> in_passes(MeteredModel& model, const GatedAttention& attention,
                                 std::span<const GatedRequest> requests, PassLimits limits,
                                 const Progress& progress,
                                 const std::function<void(std::size_t)>& finished, bool gradient,
                                 const Check& check, const Body& body) {
  limits.memory_bytes /= static_cast<std::uint64_t>(model.workers());
  const std::vector<std::vector<std::size_t>> groups =
      groups_of(model.model().shape(), attention.cheap, requests, limits);
  std::vector<T> out(requests.size());
  RETURN_IF_ERROR(for_each_sample(
      model, groups.size(), progress,
      [&](MeteredModel& worker, std::size_t g) -> Status {
        std::vector<GatedRequest> group;
        const auto named = [](Status status, const GatedRequest& request) -> Status {
          if (status || request.name.empty()) return status;
          return fail(std::move(status).error().at(request.name));
        };
        for (const std::size_t i : groups[g]) {
          RETURN_IF_ERROR(named(check(requests[i]), requests[i]));
          group.push_back(requests[i]);
        }
        return named(translated([&]() -> Status {
                       const Stopwatch watch;
                       GatedBatch batch(worker.model(), attention, group);
                       std::vector<T> results = body(batch, limits);
                       synchronize(worker.model().decoder().options().device());
                       Meter meter = batch.meter(gradient);
                       meter.seconds = watch.seconds();
                       worker.absorb(meter);
                       for (std::size_t i = 0; i < group.size(); ++i)
                         out[groups[g][i]] = std::move(results[i]);
                       return {};
                     }),
                     group[0]);
      },
      [&](std::size_t g) -> Status {
        if (finished) finished(groups[g].size());
        return {};
      }));
  return out;
}

}  // namespace

Status check_weight_training(const MixerSpec& cheap) {
  if (!std::holds_alternative<LinearAttention>(cheap)) return {};
  return fail(
      make_error(ErrorKind::kUnsupported,
                 "training the model's weights with {} as the cheap mixer: expected a mixer "
                 "without weights of its own",
                 name_of(cheap))
          .with_hint("mixer=sliding_window; or strata convert, which trains branches"));
}

PassLimits pass_limits(const Model& model, std::optional<std::int64_t> activation_mib) {
  constexpr std::int64_t kRowsOnGpu = 16384;
  PassLimits limits;
  const at::Device device = model.decoder().options().device();
  if (!device.is_cpu()) {
    const auto weights = static_cast<std::uint64_t>(model.parameters()) *
                         static_cast<std::uint64_t>(model.shape().bytes_per_value);
    const std::uint64_t all = at::accelerator::getMemoryInfo(device.index()).second;
    limits = {.memory_bytes = (all - std::min(all, weights)) / 2, .batch_rows = kRowsOnGpu};
  }
  if (activation_mib) limits.memory_bytes = static_cast<std::uint64_t>(*activation_mib) << 20;
  return limits;
}

namespace {

// Rows of a branch over n tokens, in the type of its sums and as wide as all heads (or as a chunk's
// squares): what autograd keeps of each layer, and what works beside it. Measured of branches as
// they are by default, rounded up.
struct BranchBytes {
  double tape = 0, working = 0;
};
BranchBytes branch_bytes(const ModelShape& shape, const MixerSpec& cheap, double n) {
  const auto* linear = std::get_if<LinearAttention>(&cheap);
  if (linear == nullptr) return {};
  const double kept = linear->kind == LinearKind::kLightning ? 16 : 36;
  const auto wide = static_cast<double>(std::max(shape.bytes_per_value, kLeastStateBytes));
  const double row = n * wide * static_cast<double>(shape.heads.query_heads) *
                     static_cast<double>(std::max(shape.head_dim, kLinearChunk));
  return {kept * row, 6 * row};
}

}  // namespace

std::uint64_t gated_pass_bytes(const ModelShape& shape, std::int64_t rows, int kept_layers,
                               std::int64_t batch, const MixerSpec& cheap) {
  const auto heads = static_cast<double>(shape.heads.query_heads);
  const auto kv_heads = static_cast<double>(shape.heads.kv_heads);
  const auto width = static_cast<double>(shape.head_dim),
             hidden = static_cast<double>(shape.hidden);
  const auto n = static_cast<double>(rows) * static_cast<double>(batch);  // of all of them
  const auto bytes = static_cast<double>(shape.bytes_per_value);
  const auto inner = static_cast<double>(shape.intermediate) *
                     std::max<double>(1, static_cast<double>(shape.experts_per_token));
  const BranchBytes branch = branch_bytes(shape, cheap, n);
  // A layer: norms with their inputs, projections before and after the turn, both outputs, the
  // MLP's gate, up and products.
  const double tape =
      n * bytes * (6 * hidden + (5 * heads + 4 * kv_heads) * width + 5 * inner) + branch.tape;
  const double inputs = n * bytes * hidden * shape.heads.layers;
  // A block of scores and its gradient, in float32; logits of a chunk, three times.
  const double block = std::min(static_cast<double>(rows), 1024.0) * n * heads * 4 * 4;
  const double logits =
      4.0 * 3.0 *
      std::max(static_cast<double>(PassLimits{}.logits), static_cast<double>(shape.vocabulary));
  return static_cast<std::uint64_t>(inputs + tape * std::max(kept_layers, 1) + block +
                                    branch.working + logits);
}

Result<std::vector<GatedGradient>> gate_gradients(
    MeteredModel& model, const GatedAttention& attention, std::span<const GatedRequest> requests,
    const PassLimits& limits, const Progress& progress,
    const std::function<void(std::size_t)>& finished) {
  return in_passes<GatedGradient>(
      model, attention, requests, limits, progress, finished, /*gradient=*/true,
      [&](const GatedRequest& request) -> Status {
        RETURN_IF_ERROR(check_gates(model, attention, request));
        return check_request(model, request);
      },
      [](GatedBatch& batch, const PassLimits& own) { return batch.run(own); });
}

Result<std::vector<TeacherRows>> teacher_rows(MeteredModel& model,
                                              std::span<const GatedRequest> requests,
                                              const PassLimits& limits, const Progress& progress) {
  const GatedAttention unmasked{.kept = FullAttention{}, .cheap = FullAttention{}};
  return in_passes<TeacherRows>(
      model, unmasked, requests, limits, progress, {}, /*gradient=*/false,
      [&](const GatedRequest& request) { return check_request(model, request); },
      [](GatedBatch& batch, const PassLimits&) { return batch.teacher_rows(); });
}

}  // namespace strata
