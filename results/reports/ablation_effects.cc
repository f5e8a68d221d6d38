// Main effects and interactions of swept keys, over settings that differ in nothing else.
#include <algorithm>
#include <limits>
#include <set>

#include "results/reports/ablation.h"
#include "results/reports/format.h"

namespace strata {
namespace {

using Factors = std::map<std::string, std::string>;

// The mean over seeds, draws and offsets of one setting.
struct Cell {
  std::vector<double> gaps, nlls;
  std::set<std::string> data_ids;
  double gap() const { return mean_of(gaps).value; }
  double nll() const { return mean_of(nlls).value; }
};
using Cells = std::map<Factors, Cell>;

Cells cells_of(const AblationRuns& runs) {
  Cells cells;
  for (const AblationRun& run : runs) {
    const std::optional<double> gap = run.gap();
    if (!gap) continue;
    Cell& cell = cells[run.factors];
    cell.gaps.push_back(*gap);
    cell.nlls.push_back(mean_of(run.evaluation->nll).value);
    cell.data_ids.insert(run.evaluation->experiment.data_id);
  }
  return cells;
}

// Random, where strategies are compared; else the value that most settings have.
std::string reference_of(const Cells& cells, const std::string& key) {
  std::map<std::string, std::size_t> counts;
  for (const auto& [factors, cell] : cells) ++counts[factors.at(key)];
  if (key == "strategy" && counts.contains("random")) return "random";
  return std::max_element(counts.begin(), counts.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

const Cell* with_value(const Cells& cells, Factors factors, const std::string& key,
                       const std::string& value) {
  factors[key] = value;
  const auto it = cells.find(factors);
  return it == cells.end() ? nullptr : &it->second;
}

void add_effect(const Cells& cells, const std::string& key, const std::string& value,
                const std::string& reference, Ablation& out) {
  std::vector<double> gaps, nlls;
  bool same_samples = true;
  for (const auto& [factors, cell] : cells) {
    if (factors.at(key) != value) continue;
    const Cell* other = with_value(cells, factors, key, reference);
    if (other == nullptr) continue;
    gaps.push_back(cell.gap() - other->gap());
    nlls.push_back(cell.nll() - other->nll());
    same_samples &= cell.data_ids == other->data_ids;
  }
  if (gaps.empty()) return;
  Effect effect{key, value, reference, gaps.size(), t_estimate(gaps), {}};
  if (same_samples) effect.nll = mean_of(nlls).value;
  out.effects.push_back(std::move(effect));
}

void add_interaction(const Cells& cells, const Effect& effect, const std::string& other_key,
                     const std::string& with, const std::string& without, Ablation& out) {
  std::vector<double> gaps;
  for (const auto& [factors, cell] : cells) {
    if (factors.at(effect.key) != effect.value || factors.at(other_key) != with) continue;
    const Cell* base = with_value(cells, factors, effect.key, effect.reference);
    const Cell* elsewhere = with_value(cells, factors, other_key, without);
    Factors both = factors;
    both[other_key] = without;
    const Cell* base_elsewhere = with_value(cells, both, effect.key, effect.reference);
    if (base == nullptr || elsewhere == nullptr || base_elsewhere == nullptr) continue;
    gaps.push_back((cell.gap() - base->gap()) - (elsewhere->gap() - base_elsewhere->gap()));
  }
  if (gaps.empty()) return;
  out.interactions.push_back({effect.key, effect.value, effect.reference, other_key, with, without,
                              gaps.size(), t_estimate(gaps)});
}

}  // namespace

void find_effects(const AblationRuns& runs, Ablation& out) {
  const Cells cells = cells_of(runs);
  if (cells.empty()) {
    out.notes.emplace_back("no effects: no setting has full and none, which the gap closed needs");
    return;
  }
  std::map<std::string, std::set<std::string>> values;
  for (const auto& [factors, cell] : cells)
    for (const auto& [key, value] : factors) values[key].insert(value);
  std::map<std::string, std::string> references;
  for (const auto& [key, known] : values) references[key] = reference_of(cells, key);
  for (const auto& [key, known] : values)
    for (const std::string& value : known)
      if (value != references[key] && value != kNoValue && references[key] != kNoValue)
        add_effect(cells, key, value, references[key], out);
  const std::vector<Effect> effects = out.effects;
  for (const Effect& effect : effects)
    for (const auto& [key, known] : values)
      for (const std::string& with : known)
        // Each pair of keys once: (a at b) − (a at not b) is (b at a) − (b at not a).
        if (key > effect.key && with != references[key] && with != kNoValue &&
            references[key] != kNoValue)
          add_interaction(cells, effect, key, with, references[key], out);
  // Those that differ most clearly from none first, those of one setting last.
  const auto clarity = [](const Interaction& row) {
    if (!row.gap_closed.interval) return -std::numeric_limits<double>::infinity();
    const Interval& interval = *row.gap_closed.interval;
    return std::max(interval.low, -interval.high);
  };
  std::stable_sort(
      out.interactions.begin(), out.interactions.end(),
      [&](const Interaction& a, const Interaction& b) { return clarity(a) > clarity(b); });
}

}  // namespace strata
