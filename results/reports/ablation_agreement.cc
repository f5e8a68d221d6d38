// How far selections agree, and what it costs to calibrate on another task than the evaluated one.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "core/correlation.h"
#include "core/jaccard.h"
#include "core/json_reader.h"
#include "results/reports/ablation.h"

namespace strata {
namespace {

struct Chosen {
  std::vector<std::size_t> kept;
  std::vector<double> scores;  // NaN where a unit has none; empty where there are no scores
  std::size_t units = 0;
};

// Flat numbers of [[…] a layer]; null gives NaN, anything else an empty list.
std::vector<double> flat(const std::string& text) {
  const auto rows = parse_json(text).value_or(nlohmann::json());
  std::vector<double> out;
  if (!rows.is_array()) return out;
  for (const auto& row : rows) {
    if (!row.is_array()) return {};
    for (const auto& value : row) {
      if (!value.is_number() && !value.is_null()) return {};
      out.push_back(value.is_null() ? NAN : value.get<double>());
    }
  }
  return out;
}

Chosen chosen_of(const SelectionRow& selection) {
  Chosen out;
  const std::vector<double> mask = flat(selection.mask_json);
  out.units = mask.size();
  for (std::size_t unit = 0; unit < mask.size(); ++unit)
    if (mask[unit] == 1) out.kept.push_back(unit);
  out.scores = flat(selection.scores_json);
  if (out.scores.size() != out.units) out.scores.clear();
  return out;
}

std::optional<double> correlation(const Chosen& a, const Chosen& b) {
  std::vector<double> of_a, of_b;
  for (std::size_t unit = 0; unit < std::min(a.scores.size(), b.scores.size()); ++unit) {
    if (std::isnan(a.scores[unit]) || std::isnan(b.scores[unit])) continue;
    of_a.push_back(a.scores[unit]);
    of_b.push_back(b.scores[unit]);
  }
  if (of_a.size() < 3) return std::nullopt;
  return spearman(of_a, of_b);
}

// Expected overlap of two sets of k of n drawn at random: hypergeometric.
double chance_jaccard(std::size_t k, std::size_t n) {
  if (k == 0) return 1;
  const auto log_choose = [](double all, double some) {
    return std::lgamma(all + 1) - std::lgamma(some + 1) - std::lgamma(all - some + 1);
  };
  double out = 0;
  for (std::size_t both = 0; both <= k; ++both) {
    if (k - both > n - k) continue;
    const auto x = static_cast<double>(both), kd = static_cast<double>(k),
               nd = static_cast<double>(n);
    const double p = std::exp(log_choose(kd, x) + log_choose(nd - kd, kd - x) - log_choose(nd, kd));
    out += p * x / (2 * kd - x);
  }
  return out;
}

Agreement over_seeds(const std::string& name, const std::vector<Chosen>& seeds) {
  Agreement out{.name = name, .seeds = seeds.size()};
  std::set<std::vector<std::size_t>> sets;
  std::vector<double> overlaps, correlations;
  for (std::size_t a = 0; a < seeds.size(); ++a) {
    sets.insert(seeds[a].kept);
    for (std::size_t b = a + 1; b < seeds.size(); ++b) {
      overlaps.push_back(jaccard(seeds[a].kept, seeds[b].kept));
      if (const auto rho = correlation(seeds[a], seeds[b])) correlations.push_back(*rho);
    }
  }
  out.different_sets = sets.size();
  if (!overlaps.empty()) {
    out.jaccard = mean_of(overlaps).value;
    out.lowest_jaccard = *std::min_element(overlaps.begin(), overlaps.end());
  }
  if (!correlations.empty()) out.spearman = mean_of(correlations).value;
  out.chance_jaccard = chance_jaccard(seeds[0].kept.size(), seeds[0].units);
  return out;
}

using Selectors = std::map<std::string, std::vector<Chosen>>;

void find_nearest(const Selectors& selectors, Agreement& out) {
  const Chosen& own = selectors.at(out.name)[0];
  for (const auto& [name, seeds] : selectors) {
    if (name == out.name || seeds[0].units != own.units) continue;
    const double overlap = jaccard(own.kept, seeds[0].kept);
    if (out.nearest_jaccard && overlap <= *out.nearest_jaccard) continue;
    out.nearest = name;
    out.nearest_jaccard = overlap;
    out.nearest_spearman = correlation(own, seeds[0]);
  }
}

// Sample by sample, over the runs of one calibration.
std::vector<double> mean_nll(const std::vector<const AblationRun*>& runs) {
  std::vector<double> out(runs[0]->evaluation->nll.size(), 0.0);
  for (const AblationRun* run : runs)
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] += run->evaluation->nll[i] / static_cast<double>(runs.size());
  return out;
}

}  // namespace

void find_agreement(const AblationRuns& runs, Ablation& out) {
  std::map<BlockKey, Selectors> blocks;
  std::map<BlockKey, std::size_t> settings;
  std::map<BlockKey, std::set<std::pair<std::string, std::string>>> seen;  // calibration sets
  for (const AblationRun& run : runs) {
    const auto& selection = run.evaluation->selection;
    if (!selection || selection->calibration_id.empty()) continue;
    Chosen chosen = chosen_of(*selection);
    if (chosen.kept.empty() || chosen.units == 0) continue;
    settings[run.key] = run.setting;
    const bool fresh = seen[run.key].emplace(run.name, selection->calibration_id).second;
    if (fresh) blocks[run.key][run.name].push_back(std::move(chosen));
  }
  for (const auto& [key, selectors] : blocks)
    for (const auto& [name, seeds] : selectors) {
      Agreement agreement = over_seeds(name, seeds);
      agreement.setting = settings[key];
      agreement.units = key.budget;
      find_nearest(selectors, agreement);
      out.agreements.push_back(std::move(agreement));
    }
}

void find_transfers(const AblationRuns& runs, std::uint64_t seed, Ablation& out) {
  // (block, label, prompts) → calibrated on → runs; "" is the evaluated setting itself.
  using Name = std::tuple<BlockKey, std::string, std::string>;
  std::map<Name, std::map<std::string, std::vector<const AblationRun*>>> groups;
  for (const AblationRun& run : runs) {
    const Evaluation& evaluation = *run.evaluation;
    if (evaluation.nll.empty() || !evaluation.selection) continue;
    const auto prompts = run.factors.find("calibration.samples");
    groups[{run.key, evaluation.run.label + run.differing,
            prompts == run.factors.end() ? "" : prompts->second}][evaluation.transfer]
        .push_back(&run);
  }
  for (const auto& [name, sources] : groups) {
    const auto own = sources.find("");
    if (own == sources.end()) continue;
    const std::vector<double> at_home = mean_nll(own->second);
    for (const auto& [source, moved] : sources) {
      if (source.empty()) continue;
      const std::vector<double> elsewhere = mean_nll(moved);
      const std::span<const std::size_t> clusters = moved[0]->clusters;
      std::vector<double> regret(elsewhere.size());
      std::transform(elsewhere.begin(), elsewhere.end(), at_home.begin(), regret.begin(),
                     std::minus<>());
      Transfer row{.setting = moved[0]->setting,
                   .name = std::get<1>(name),
                   .calibrated_on = source,
                   .seeds = moved.size(),
                   .own_nll = mean_of(at_home).value,
                   .transferred_nll = mean_of(elsewhere).value,
                   .regret = mean_estimate(regret, {.seed = seed, .clusters = clusters})};
      const PValue flipped = cluster_sign_flip(regret, clusters, {.seed = seed});
      if (const double* p = std::get_if<double>(&flipped)) row.p = *p;
      out.transfers.push_back(std::move(row));
    }
  }
  std::vector<double> p;
  for (const Transfer& row : out.transfers)
    if (row.p) p.push_back(*row.p);
  const std::vector<double> adjusted = benjamini_hochberg(p);
  auto next = adjusted.begin();
  for (Transfer& row : out.transfers)
    if (row.p) row.q = *next++;
}

}  // namespace strata
