#include "strategies/model_checks.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "core/score_tensor.h"
#include "models/self_patch.h"
#include "strategies/gate_gradients.h"
#include "strategies/learned.h"
#include "strategies/searcher.h"
#include "strategies/signs.h"

namespace strata {
namespace {

using Outcome = Check::Outcome;

constexpr double kSteep = 0.01;    // nats: no smaller slope or difference is judged
constexpr double kDrowned = 0.25;  // nor one of which rounding may be a larger share

Check same_nll(std::string name, double expected, double found, double rounding) {
  const double allowed = rounding * std::max(1.0, std::abs(expected));
  const double difference = found - expected;
  return {.name = std::move(name),
          .expected = fmt::format("NLL {:.6f} within {:.1e} (rounding)", expected, allowed),
          .found = fmt::format("{:.6f}, {:+.1e}", found, difference),
          .outcome = std::abs(difference) <= allowed ? Outcome::kClear : Outcome::kSign};
}

// The end of the prompt and the beginning of the answer, at most `length` tokens, at least one of
// each.
ForcedRequest cut_to(const Sample& sample, std::size_t length) {
  const std::span<const TokenId> prompt = sample.prompt, answer = sample.answer;
  const std::size_t kept_answer = std::min(answer.size(), length - 1);
  return {prompt.last(std::min(prompt.size(), length - kept_answer)), answer.first(kept_answer)};
}

// What windowed attention does where it sees everything.
Result<Check> covered_check(const ModelProbe& probe, const SelectionRequest& request,
                            const SlidingWindow& window, const Sample& sample) {
  constexpr const char* kName = "effect of the window on a text that fits window + sinks";
  const std::int64_t seen = window.window + window.sinks;
  if (seen < 2)
    return Check{kName, "none", "no text of prompt and answer is that short", Outcome::kNotJudged};
  ForcedRequest text = cut_to(sample, static_cast<std::size_t>(seen));
  const AttentionPlan full = AttentionPlan::full(request.layout);
  ASSIGN_OR_RETURN(const AttentionPlan none,
                   request.plan(Mask(request.granularity, request.layout, false)));
  text.plan = &full;
  ASSIGN_OR_RETURN(const double unmasked, probe.nll(text));
  text.plan = &none;
  ASSIGN_OR_RETURN(const double windowed, probe.nll(text));
  return same_nll(kName, unmasked, windowed, probe.resolution.nll);
}

// The plan that windows every unit, but by a window as long as the text.
Result<AttentionPlan> wide_plan(const SelectionRequest& request, const Sample& sample) {
  const auto length = static_cast<std::int64_t>(sample.prompt.size() + sample.answer.size());
  return AttentionPlan::from_mask(Mask(request.granularity, request.layout, false), request.kept,
                                  SlidingWindow{length, 0}, request.rule);
}

// Central differences of the loss in one gate at steps h, 2h and 4h; neighbours combined
// (Richardson), so that what is left of the error is of order h⁴; `bend`, how far the two results
// differ, is what the loss bends at that scale.
constexpr double kSteps[] = {1, -1, 2, -2, 4, -4};
struct Slope {
  double value = 0, bend = 0;
};
Slope slope_of(std::span<const GatedGradient> at, double step) {
  const double near = (at[0].loss - at[1].loss) / (2 * step);
  const double middle = (at[2].loss - at[3].loss) / (4 * step);
  const double far = (at[4].loss - at[5].loss) / (8 * step);
  const double value = (4 * near - middle) / 3;
  return {value, std::abs(value - (4 * middle - far) / 3)};
}

Result<Check> slope_check(const ModelProbe& probe, const Sample& sample, std::size_t units) {
  constexpr const char* kName = "gradient of gates off its finite difference";
  constexpr double kTolerance = 0.01, kBent = 0.05;
  constexpr std::size_t kUnits = 3;
  const std::vector<double> middle(units, 0.5);
  ASSIGN_OR_RETURN(const std::vector<GatedGradient> here, probe.gated(sample, {&middle, 1}));
  std::vector<double> steep;
  for (const double slope : here[0].gradient) steep.push_back(std::abs(slope));
  std::vector<std::size_t> order = ranked(steep);
  order.resize(std::min(order.size(), kUnits));
  std::vector<std::vector<double>> gates;
  const double step = probe.resolution.step;
  for (const std::size_t unit : order)
    for (const double steps : kSteps) {
      gates.push_back(middle);
      gates.back()[unit] += steps * step;
    }
  ASSIGN_OR_RETURN(const std::vector<GatedGradient> around, probe.gated(sample, gates));
  // Two losses at ±h, each rounded, weigh 4/3 · 1/2h each.
  const double allowed = 4.0 / 3 * probe.resolution.nll * std::max(1.0, here[0].loss) / step;
  Check check{.name = kName,
              .expected = fmt::format("within 1 % + {:.1e} (rounding) + what it bends at step {}",
                                      allowed, step)};
  std::size_t judged = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Slope slope =
        slope_of(std::span(around).subspan(std::size(kSteps) * i, std::size(kSteps)), step);
    const double claimed = here[0].gradient[order[i]];
    const double size = std::max(std::abs(slope.value), std::abs(claimed));
    const double blur = allowed + slope.bend;
    if (size <= kSteep || allowed > kDrowned * size || slope.bend > kBent * size) continue;
    ++judged;
    check.found += fmt::format("{}unit {}: {:.6f} for {:.6f}", check.found.empty() ? "" : ", ",
                               order[i], claimed, slope.value);
    if (std::abs(claimed - slope.value) > kTolerance * std::abs(slope.value) + blur)
      check.outcome = Outcome::kSign;
  }
  if (judged == 0) {
    check.outcome = Outcome::kNotJudged;
    check.found = fmt::format(
        "the steepest is {:.2e} nats a gate, beside {} nats, rounding and "
        "the bend of the loss too flat",
        steep[order[0]], kSteep);
  }
  return check;
}

// Σ_u −∂NLL/∂g_u, mean over the midpoints of `points` equal parts of the path.
Result<double> path_sum(const ModelProbe& probe, const Sample& sample, std::size_t units,
                        std::size_t points) {
  std::vector<std::vector<double>> gates;
  for (std::size_t i = 0; i < points; ++i)
    gates.emplace_back(units, (static_cast<double>(i) + 0.5) / static_cast<double>(points));
  ASSIGN_OR_RETURN(const std::vector<GatedGradient> path, probe.gated(sample, gates));
  double sum = 0;
  for (const GatedGradient& at : path)
    sum -= std::accumulate(at.gradient.begin(), at.gradient.end(), 0.0);
  return sum / static_cast<double>(points);
}

Result<Check> path_check(const ModelProbe& probe, const SelectionRequest& request,
                         const Sample& sample) {
  constexpr const char* kName = "gradients of gates, integrated, off NLL of none - NLL of full";
  constexpr double kSettled = 0.01, kTolerance = 0.02;
  constexpr std::size_t kFirst = 8, kMost = 128;
  const AttentionPlan full = AttentionPlan::full(request.layout);
  ASSIGN_OR_RETURN(const AttentionPlan none,
                   request.plan(Mask(request.granularity, request.layout, false)));
  ASSIGN_OR_RETURN(const double lost, probe.nll({sample.prompt, sample.answer, &none}));
  ASSIGN_OR_RETURN(const double unmasked, probe.nll({sample.prompt, sample.answer, &full}));
  const double difference = lost - unmasked;
  const double rounding = 2 * probe.resolution.nll * std::max({1.0, lost, unmasked});
  Check check{
      .name = kName,
      .expected = fmt::format("{:.6f} within 2 % + {:.1e} (rounding)", difference, rounding)};
  if (std::abs(difference) <= std::max(kSteep, rounding / kDrowned)) {
    check.outcome = Outcome::kNotJudged;
    check.found = fmt::format("a difference too small beside {} nats and rounding", kSteep);
    return check;
  }
  const std::size_t units = units_in(request);
  std::size_t points = kFirst;
  ASSIGN_OR_RETURN(double sum, path_sum(probe, sample, units, points));
  for (bool settled = false; !settled && points < kMost;) {
    points *= 2;
    ASSIGN_OR_RETURN(const double finer, path_sum(probe, sample, units, points));
    settled = std::abs(finer - sum) < kSettled * std::abs(finer);
    check.outcome = settled ? Outcome::kClear : Outcome::kNotJudged;
    sum = finer;
  }
  check.found = fmt::format("{:.6f} at {} points", sum, points);
  if (check.outcome == Outcome::kNotJudged)
    check.found += ", not settled to 1 %";
  else if (std::abs(sum - difference) > kTolerance * std::abs(difference) + rounding)
    check.outcome = Outcome::kSign;
  // A branch's norm turns a reading of one key that changes its sign into a jump of the loss, which
  // no quadrature sees.
  if (check.outcome == Outcome::kSign && std::holds_alternative<LinearAttention>(request.cheap)) {
    check.outcome = Outcome::kNotJudged;
    check.found += ", but the loss of linear branches may jump between them";
  }
  return check;
}

}  // namespace

Resolution resolution_of(const ModelShape& shape) {
  const double depth = std::sqrt(static_cast<double>(shape.heads.layers));
  constexpr std::int64_t kDouble = 8, kFloat = 4;
  // Factors lie above what was seen of SmolLM2: logits are float32 under bfloat16 too, and weigh
  // more there than what the layers round.
  if (shape.bytes_per_value == kDouble) return {64 * std::ldexp(depth, -53), 1e-3};
  if (shape.bytes_per_value == kFloat) return {64 * std::ldexp(depth, -24), 0.01};
  return {4 * std::ldexp(depth, -8), 0.1};
}

ModelProbe probe_of(const SelectionRequest& request, SelectionContext& context) {
  MeteredModel& model = *context.model;
  const Progress& progress = *context.progress;
  ModelProbe probe{.resolution = resolution_of(model.model().shape())};
  probe.nll = [&model](const ForcedRequest& text) -> Result<double> {
    ASSIGN_OR_RETURN(const std::vector<AnswerScore> scores, model.score({&text, 1}));
    return scores[0].mean_nll();
  };
  probe.resumed_nll = [&model, &request](const Sample& sample) -> Result<double> {
    const Mask nothing(request.granularity, request.layout, false);
    const Mask masks[] = {nothing, Mask(request.granularity, request.layout, true)};
    ASSIGN_OR_RETURN(
        const std::vector<AnswerScore> scores,
        score_masks(model, request, {sample.prompt, sample.answer}, masks, ActivationReuse{}));
    return scores[1].mean_nll();
  };
  probe.gated =
      [&model, &progress, attention = gated_attention(request)](
          const Sample& sample,
          std::span<const std::vector<double>> gates) -> Result<std::vector<GatedGradient>> {
    std::vector<GatedRequest> requests;
    for (const std::vector<double>& at : gates)
      requests.push_back({.prompt = sample.prompt, .answer = sample.answer, .gates = at});
    return gate_gradients(model, attention, requests, pass_limits(model.model(), {}), progress, {});
  };
  probe.self_patch = [&model](const Sample& sample) {
    return self_patch_change(model, sample.prompt);
  };
  return probe;
}

Result<std::vector<Check>> model_checks(const ModelProbe& probe, const SelectionRequest& request,
                                        const Sample& sample) {
  std::vector<Check> checks;
  const auto* window = std::get_if<SlidingWindow>(&request.cheap);
  if (window != nullptr) {
    ASSIGN_OR_RETURN(Check covered, covered_check(probe, request, *window, sample));
    checks.push_back(std::move(covered));
  }
  const AttentionPlan full = AttentionPlan::full(request.layout);
  ForcedRequest text{sample.prompt, sample.answer, &full};
  ASSIGN_OR_RETURN(const double unmasked, probe.nll(text));
  if (window != nullptr) {
    ASSIGN_OR_RETURN(const AttentionPlan wide, wide_plan(request, sample));
    text.plan = &wide;
    ASSIGN_OR_RETURN(const double windowed, probe.nll(text));
    checks.push_back(same_nll("windows as long as the text against the unmasked model", unmasked,
                              windowed, probe.resolution.nll));
  }
  const std::vector<double> open(units_in(request), 1.0);
  ASSIGN_OR_RETURN(const std::vector<GatedGradient> gated, probe.gated(sample, {&open, 1}));
  checks.push_back(same_nll("all gates open against the unmasked model", unmasked, gated[0].loss,
                            probe.resolution.nll));
  ASSIGN_OR_RETURN(const double resumed, probe.resumed_nll(sample));
  checks.push_back(same_nll("a hybrid that keeps every unit against the unmasked model", unmasked,
                            resumed, probe.resolution.nll));
  ASSIGN_OR_RETURN(const double patched, probe.self_patch(sample));
  checks.push_back({.name = "patching clean by clean",
                    .expected = "no change at all",
                    .found = fmt::format("{:.3g}", patched),
                    .outcome = patched == 0 ? Outcome::kClear : Outcome::kSign});
  return checks;
}

Result<std::vector<Check>> gradient_checks(const ModelProbe& probe, const SelectionRequest& request,
                                           const Sample& sample) {
  ASSIGN_OR_RETURN(Check slope, slope_check(probe, sample, units_in(request)));
  ASSIGN_OR_RETURN(Check path, path_check(probe, request, sample));
  return std::vector<Check>{std::move(slope), std::move(path)};
}

Result<std::vector<Check>> search_checks(const SelectionRequest& request,
                                         const Selection& selection, const MaskLosses& losses,
                                         std::size_t samples, double rounding) {
  if (!selection.scores || !selection.diagnostics.contains("order")) return std::vector<Check>{};
  const std::size_t k = selection.mask.kept();
  std::vector<std::size_t> all(samples);
  std::iota(all.begin(), all.end(), std::size_t{0});
  const std::vector<MaskTrial> trials = {{top_k(request, selection.scores->score, k), all},
                                         {selection.mask, all}};
  ASSIGN_OR_RETURN(const std::vector<std::vector<double>> rows, losses(trials));
  const double top = mean_error(rows[0]).mean, searched = mean_error(rows[1]).mean;
  return std::vector<Check>{
      search_check(searched, top, k, rounding * std::max(1.0, std::abs(top)))};
}

}  // namespace strata
