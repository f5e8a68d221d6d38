#include "results/reports/selector_claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "core/json_reader.h"
#include "results/reports/format.h"

namespace strata {
namespace {

constexpr double kPercent = 100;

// Its share of the gap, sample by sample, so that the mean is the gap closed.
std::vector<double> shares_of_gap(const Evaluation& plan, const std::vector<double>& none,
                                  double gap) {
  std::vector<double> out;
  for (std::size_t i = 0; i < none.size(); ++i) out.push_back((none[i] - plan.nll[i]) / gap);
  return out;
}

// A group's keys in a run's configuration, as they are for all seeds of a selector.
nlohmann::json setting_of(const nlohmann::json& config, const char* group) {
  nlohmann::json setting = nlohmann::json::object();
  if (config.is_object() && config.contains(group) && config[group].is_object())
    for (const auto& [key, value] : config[group].items())
      if (key != "seed" && !value.is_null()) setting[key] = value;
  return setting;
}

std::string method_text(const SelectorClaim& claim) {
  const std::size_t seeds = claim.gap_closed.seed_means.size();
  if (claim.gap_closed.method == SeedMethod::kBootstrap)
    return "bootstrap over seeds, clusters and samples";
  if (seeds >= kSeedsForClaim) return "t over per-seed means";
  return fmt::format("t over per-seed means; {} seeds are needed for a claim", kSeedsForClaim);
}

}  // namespace

std::vector<SelectorRuns> selector_runs(const std::vector<const Evaluation*>& evaluations) {
  std::vector<SelectorRuns> out;
  for (const Evaluation* evaluation : evaluations) {
    if (!evaluation->selection || evaluation->selection->calibration_id.empty() ||
        evaluation->nll.empty())
      continue;
    const auto config = parse_json(evaluation->run.config_json).value_or(nlohmann::json());
    nlohmann::json calibration = setting_of(config, "calibration");
    // The evaluated benchmark, spelt out.
    if (evaluation->transfer.empty()) calibration.erase("benchmark");
    SelectorRuns fresh{.label = evaluation->name(),
                       .strategy = setting_of(config, "strategy").dump(),
                       .calibration = calibration.dump(),
                       .seeds = {}};
    auto runs = std::find_if(out.begin(), out.end(), [&](const SelectorRuns& known) {
      return std::tie(known.label, known.strategy, known.calibration) ==
             std::tie(fresh.label, fresh.strategy, fresh.calibration);
    });
    if (runs == out.end()) runs = out.insert(out.end(), std::move(fresh));
    const auto same =
        std::find_if(runs->seeds.begin(), runs->seeds.end(), [&](const Evaluation* seed) {
          return seed->selection->calibration_id == evaluation->selection->calibration_id;
        });
    if (same == runs->seeds.end())
      runs->seeds.push_back(evaluation);
    else
      *same = evaluation;
  }
  std::map<std::string, int> settings;
  for (const SelectorRuns& runs : out) ++settings[runs.label];
  for (SelectorRuns& runs : out)
    if (settings[runs.label] > 1) runs.label += " #" + runs.seeds[0]->run.id.substr(0, 6);
  return out;
}

std::vector<SelectorClaim> selector_claims(const BlockMembers& members,
                                           const std::vector<std::size_t>& clusters,
                                           std::uint64_t bootstrap_seed) {
  if (members.full == nullptr || members.none == nullptr) return {};
  const std::vector<double>& none = members.none->nll;
  if (none.empty() || members.full->nll.empty()) return {};
  const double gap = mean_of(none).value - mean_of(members.full->nll).value;
  if (!(gap > 0)) return {};
  std::vector<SelectorClaim> claims;
  for (const SelectorRuns& runs : selector_runs(members.budgeted)) {
    std::vector<std::vector<double>> seeds;
    std::vector<RowSource> sources;
    for (const Evaluation* seed : runs.seeds) {
      seeds.push_back(shares_of_gap(*seed, none, gap));
      sources.push_back(seed->source());
    }
    claims.push_back({runs.label,
                      seed_estimate(seeds, {.seed = bootstrap_seed, .clusters = clusters}),
                      std::move(sources)});
  }
  std::stable_sort(claims.begin(), claims.end(), [](const auto& a, const auto& b) {
    return a.gap_closed.value > b.gap_closed.value;
  });
  return claims;
}

TextTable claims_table(const std::vector<SelectorClaim>& claims) {
  TextTable table;
  table.columns = {
      {"selector", false}, {"seeds"}, {"gap closed %"}, {"SD over seeds"}, {"interval", false}};
  for (const SelectorClaim& claim : claims) {
    const SeedEstimate& gap = claim.gap_closed;
    if (!gap.between_seed_sd) continue;
    table.rows.push_back({claim.label, fmt::format("{}", gap.seed_means.size()),
                          with_interval(Estimate{gap.value, gap.interval()}, kPercent, 1),
                          number(*gap.between_seed_sd * kPercent, 1), method_text(claim)});
  }
  return table;
}

std::string single_seed_note(const std::vector<SelectorClaim>& claims) {
  std::string names;
  for (const SelectorClaim& claim : claims)
    if (claim.gap_closed.seed_means.size() == 1) names += (names.empty() ? "" : ", ") + claim.label;
  if (names.empty()) return "";
  return fmt::format("1 seed: {} (says nothing of the selector: {} calibration seeds are needed)",
                     names, kSeedsForClaim);
}

}  // namespace strata
