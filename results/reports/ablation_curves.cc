// Pareto fronts over all budgets, and the quality against the budget with how many units are
// needed.
#include <algorithm>
#include <cmath>
#include <tuple>

#include "results/reports/ablation.h"
#include "results/reports/format.h"

namespace strata {
namespace {

// Runs that may be compared whatever their budget and granularity.
BlockKey any_budget(BlockKey key) {
  key.granularity = Granularity::kLayer;
  key.budget = 0;
  return key;
}

std::int64_t units_of(const AblationRun& run) {
  const HeadLayout& layout = run.evaluation->plan.layout();
  return std::int64_t{layout.layers} * layout.units_per_layer(run.key.granularity);
}

// No other point costs as little or less with as low an NLL or lower, one of them strictly.
void mark_front(std::vector<ParetoPoint>& points, double ParetoPoint::*cost,
                bool ParetoPoint::*on_front) {
  for (ParetoPoint& point : points)
    point.*on_front = std::none_of(points.begin(), points.end(), [&](const ParetoPoint& other) {
      return other.*cost <= point.*cost && other.nll <= point.nll &&
             (other.*cost < point.*cost || other.nll < point.nll);
    });
}

ParetoPoint point_of(const AblationRun& run) {
  const Evaluation& evaluation = *run.evaluation;
  return {
      .setting = run.setting,
      .name = run.name,
      .budget = fmt::format("{} of {}", run.key.budget,
                            plural(units_of(run), unit_name(run.key.granularity))),
      .nll = mean_of(evaluation.nll).value,
      .kv_bytes = mean_of(evaluation.kv_bytes).value,
      .flops = mean_of(evaluation.prefill_flops).value + mean_of(evaluation.decode_flops).value};
}

CurvePoint curve_point(const std::vector<const AblationRun*>& seeds, std::uint64_t seed) {
  const AblationRun& first = *seeds[0];
  CurvePoint point{.units = first.key.budget, .of = units_of(first), .seeds = seeds.size()};
  // Of plan − full, the mean over seeds.
  std::vector<double> differences(first.full->nll.size(), 0.0);
  for (const AblationRun* run : seeds) {
    point.nll += mean_of(run->evaluation->nll).value / static_cast<double>(seeds.size());
    for (std::size_t i = 0; i < differences.size(); ++i)
      differences[i] +=
          (run->evaluation->nll[i] - run->full->nll[i]) / static_cast<double>(seeds.size());
  }
  const std::vector<double> clusters = cluster_means(differences, first.clusters);
  point.nll_minus_full = mean_estimate(differences, {.seed = seed, .clusters = first.clusters});
  if (clusters.size() >= kClustersForInference)
    point.equivalence = equivalence(clusters, kNllMargin);
  else
    point.equivalence.n_needed = equivalence(clusters, kNllMargin).n_needed;
  return point;
}

std::string needed_units(const std::vector<CurvePoint>& points) {
  bool unclear = false;
  for (const CurvePoint& point : points) {
    if (point.equivalence.answer == Equivalence::kEquivalent)
      return unclear ? fmt::format("at most {} (fewer: inconclusive)", point.units)
                     : fmt::format("{}", point.units);
    unclear |= point.equivalence.answer == Equivalence::kInconclusive;
  }
  if (unclear) return "inconclusive";
  return fmt::format("more than {}", points.back().units);
}

}  // namespace

void find_fronts(const AblationRuns& runs, Ablation& out) {
  std::map<BlockKey, std::vector<ParetoPoint>> groups;
  for (const AblationRun& run : runs)
    if (!run.evaluation->nll.empty() && !is_control(*run.evaluation))
      groups[any_budget(run.key)].push_back(point_of(run));
  for (auto& [key, points] : groups) {
    mark_front(points, &ParetoPoint::flops, &ParetoPoint::on_flops_front);
    mark_front(points, &ParetoPoint::kv_bytes, &ParetoPoint::on_kv_front);
    std::erase_if(points, [](const ParetoPoint& point) {
      return !point.on_flops_front && !point.on_kv_front;
    });
    std::stable_sort(points.begin(), points.end(), [](const ParetoPoint& a, const ParetoPoint& b) {
      return std::tie(a.flops, a.nll) < std::tie(b.flops, b.nll);
    });
    out.pareto.insert(out.pareto.end(), points.begin(), points.end());
  }
}

void find_curves(const AblationRuns& runs, std::uint64_t seed, Ablation& out) {
  // (question and unit, name) → units kept → seeds
  std::map<std::pair<BlockKey, std::string>,
           std::map<std::int64_t, std::vector<const AblationRun*>>>
      groups;
  for (const AblationRun& run : runs) {
    if (run.full == nullptr || run.full->nll.empty() || run.evaluation->nll.empty()) continue;
    BlockKey key = any_budget(run.key);
    key.granularity = run.key.granularity;
    groups[{key, run.name}][run.key.budget].push_back(&run);
  }
  for (const auto& [group, budgets] : groups) {
    if (budgets.size() < 2) continue;
    const AblationRun& first = *budgets.begin()->second[0];
    BudgetCurve curve{
        .setting = first.setting, .name = group.second, .unit = unit_name(group.first.granularity)};
    for (const auto& [units, seeds] : budgets) curve.points.push_back(curve_point(seeds, seed));
    curve.needed = needed_units(curve.points);
    out.curves.push_back(std::move(curve));
  }
}

}  // namespace strata
