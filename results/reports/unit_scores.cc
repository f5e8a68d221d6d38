#include "results/reports/unit_scores.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "results/reports/format.h"
#include "results/stability.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr double kPercent = 100;

TextTable::Cell cell_of(const json& grid, std::size_t layer, std::size_t unit) {
  if (!grid.is_array() || layer >= grid.size() || !grid[layer].is_array() ||
      unit >= grid[layer].size() || !grid[layer][unit].is_number())
    return kNoValue;
  return number(grid[layer][unit].get<double>(), 4);
}

// One row a unit, of what the selection's own row says.
TextTable table_of(const SelectionRow& selection, const json& mask) {
  TextTable table{{{"layer"}, {"unit"}, {"kept", false}, {"score"}, {"standard error"}}, {}};
  const json scores = parse_json(selection.scores_json).value_or(json());
  const json errors = parse_json(selection.standard_errors_json).value_or(json());
  for (std::size_t layer = 0; layer < mask.size(); ++layer)
    for (std::size_t unit = 0; mask[layer].is_array() && unit < mask[layer].size(); ++unit)
      table.rows.push_back({fmt::format("{}", layer), fmt::format("{}", unit),
                            mask[layer][unit] == 1 ? "█" : "·", cell_of(scores, layer, unit),
                            cell_of(errors, layer, unit)});
  return table;
}

// 95 % of a unit's mean over the prompts that it was scored on: Student's t where each is its own
// cluster, else resampled clusters.
std::optional<Interval> unit_interval(const std::vector<std::vector<double>>& gains,
                                      const std::vector<std::string>& clusters, std::size_t unit) {
  std::vector<double> values;
  std::vector<std::string> names;
  for (std::size_t sample = 0; sample < gains.size(); ++sample) {
    if (std::isnan(gains[sample][unit])) continue;
    values.push_back(gains[sample][unit]);
    names.push_back(clusters[sample]);
  }
  if (values.empty()) return std::nullopt;
  const std::vector<std::size_t> numbers = cluster_numbers(names);
  const bool independent = 1 + *std::max_element(numbers.begin(), numbers.end()) == numbers.size();
  if (independent) return t_estimate(values).interval;
  return paired_bootstrap(values, std::vector<double>(values.size(), 0.0), {.clusters = numbers})
      .interval;
}

double mean(const std::vector<double>& values) { return mean_of(values).value; }

constexpr std::string_view kAnswerNll = "answer NLL";

// What the tensor's nats are of, where it is not the answer's NLL.
std::string measure_of(const SelectionRow& selection) {
  const json diagnostics = parse_json(selection.diagnostics_json).value_or(json());
  if (!diagnostics.is_object() || !diagnostics.contains("measure")) return std::string(kAnswerNll);
  const json& measure = diagnostics["measure"];
  return measure.is_string() ? measure.get<std::string>() : std::string(kAnswerNll);
}

class Evidence {
 public:
  Evidence(const ScoreTensor& tensor, std::string measure, Mask mask,
           std::optional<double> plan_nll)
      : tensor_(tensor),
        measure_(std::move(measure)),
        mask_(std::move(mask)),
        plan_nll_(plan_nll),
        gains_(tensor.sample_gains()) {
    std::vector<std::size_t> order = ranked(tensor.scores());
    const std::size_t k = mask_.kept();
    top_ = std::vector(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k));
    std::reverse(order.begin(), order.end());
    std::vector<std::size_t> bottom(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k));
    std::sort(top_.begin(), top_.end());
    std::sort(bottom.begin(), bottom.end());
    const std::vector<std::size_t> kept = mask_.kept_units();
    is_top_ = kept == top_;
    end_ = !is_top_ && kept == bottom ? SelectedEnd::kBottom : SelectedEnd::kTop;
    stability_ = stability_of(gains_, cluster_numbers(tensor.clusters), k, end_);
  }

  std::vector<std::string> lines() const {
    std::vector<std::string> out{what_was_scored(), how_stable()};
    if (plan_nll_ && tensor_.kind == GainKind::kToggle && measure_ == kAnswerNll)
      out.push_back(joint_against_singles(*plan_nll_));
    return out;
  }

  void complete(TextTable& table, std::vector<std::optional<Interval>>& intervals) const {
    table.columns.insert(table.columns.end(), {{"95 % interval"}, {"chosen in resamples %"}});
    for (std::size_t unit = 0; unit < table.rows.size(); ++unit) {
      const std::optional<Interval>& interval =
          intervals.emplace_back(unit_interval(gains_, tensor_.clusters, unit));
      table.rows[unit].push_back(
          interval ? fmt::format("[{:.4f}, {:.4f}]", interval->low, interval->high) : kNoValue);
      table.rows[unit].push_back(stability_ ? number(stability_->inclusion[unit] * kPercent, 0)
                                            : kNoValue);
    }
  }

 private:
  const ScoreTensor& tensor_;
  std::string measure_;
  Mask mask_;
  std::optional<double> plan_nll_;
  std::vector<std::vector<double>> gains_;
  std::vector<std::size_t> top_;
  bool is_top_ = false;
  SelectedEnd end_ = SelectedEnd::kTop;
  std::optional<Stability> stability_;

  std::string what_was_scored() const {
    const std::string prompts =
        plural(static_cast<std::int64_t>(tensor_.samples.size()), "calibration prompt");
    switch (tensor_.kind) {
      case GainKind::kSlope:
        return fmt::format(
            "scores: slope of the answer NLL (nats a token) in a unit's gate, where every gate is "
            "partly open · {}",
            prompts);
      case GainKind::kRegression:
        return fmt::format(
            "scores: answer NLL (nats a token) that keeping a unit saves in random sets of {}, by "
            "regression · {}, each scored by its part in it",
            mask_.kept(), prompts);
      case GainKind::kToggle:
      case GainKind::kBothSides: break;
    }
    const auto [least, most] =
        std::minmax_element(tensor_.positions.begin(), tensor_.positions.end());
    const bool both = tensor_.kind == GainKind::kBothSides;
    const std::size_t kept = tensor_.context.kept(), share = both ? 2 : 1;
    return fmt::format(
        "scores: {} (nats a token) that keeping a unit saves where {} of {} units keep full "
        "attention{} · {}, {} positions each{}",
        measure_, kept, tensor_.units(),
        both ? fmt::format(", and where {} do, averaged", tensor_.units() - kept) : "", prompts,
        *least == *most ? fmt::format("{}", *least / share)
                        : fmt::format("{} to {}", *least / share, *most / share),
        dropped_samples());
  }

  // Where a race dropped units before they had seen every prompt.
  std::string dropped_samples() const {
    const bool partly = std::any_of(gains_.begin(), gains_.end(), [](const auto& of_unit) {
      return std::any_of(of_unit.begin(), of_unit.end(),
                         [](double gain) { return std::isnan(gain); });
    });
    return partly ? " · not every unit was scored on every prompt" : "";
  }

  std::string how_stable() const {
    if (!stability_) return "stability: needs at least 4 independent calibration prompts";
    const StabilityOptions used;
    return fmt::format(
        "{}: the {} {} of two halves of the prompts overlap by a Jaccard of {:.2f} ({} random "
        "half-splits; below {} is not stable) · rank correlation of the halves, corrected to all "
        "prompts: {}{}",
        stability_->stable() ? "stable" : "NOT STABLE",
        end_ == SelectedEnd::kBottom ? "lowest" : "highest", mask_.kept(), stability_->jaccard,
        used.half_splits, kStableJaccard, number(stability_->rank_correlation, 2).text,
        is_top_ || end_ == SelectedEnd::kBottom
            ? ""
            : " · the set that was chosen is not the one of highest scores");
  }

  // What changes from the context to the chosen set, by the sum of its toggles and as a whole.
  std::string joint_against_singles(double plan_nll) const {
    const std::vector<double> scores = tensor_.scores();
    double singles = 0;
    std::size_t toggled = 0;
    for (std::size_t unit = 0; unit < scores.size(); ++unit) {
      if (mask_.at(unit) == tensor_.context.at(unit)) continue;
      singles += mask_.at(unit) ? scores[unit] : -scores[unit];
      ++toggled;
    }
    const double before = mean(tensor_.sample_context_nll());
    return fmt::format(
        "together: {} take the calibration prompts' NLL from {:.4f} to {:.4f}, a gain of {:+.4f}; "
        "their single gains add up to {:+.4f}",
        plural(static_cast<std::int64_t>(toggled), "toggle"), before, plan_nll, before - plan_nll,
        singles);
  }
};

}  // namespace

Result<UnitEvidence> unit_evidence(const SelectionRow& selection, const ScoreTensor* tensor,
                                   std::optional<double> plan_nll) {
  UnitEvidence evidence;
  const json mask = parse_json(selection.mask_json).value_or(json());
  if (!mask.is_array()) return evidence;
  evidence.table = table_of(selection, mask);
  if (tensor == nullptr) return evidence;
  const Mask& context = tensor->context;
  ASSIGN_OR_RETURN(Mask chosen, mask_from_json(mask, context.granularity(), context.layout()));
  const Evidence full(*tensor, measure_of(selection), std::move(chosen), plan_nll);
  evidence.lines = full.lines();
  full.complete(evidence.table, evidence.intervals);
  return evidence;
}

}  // namespace strata
