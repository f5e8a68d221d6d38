#include "results/reports/selector_claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

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

// What a selector's seeds have in common: the strategy's and the calibration's keys, seeds apart.
std::string setting_of(const RunRow& run) {
  const nlohmann::json config = parse_json(run.config_json).value_or(nlohmann::json());
  nlohmann::json setting = nlohmann::json::object();
  for (const char* group : {"strategy", "calibration"}) {
    if (!config.is_object() || !config.contains(group) || !config[group].is_object()) continue;
    for (const auto& [key, value] : config[group].items())
      if (key != "seed" && !value.is_null()) setting[group][key] = value;
  }
  return setting.dump();
}

std::string method_text(const SelectorClaim& claim) {
  const std::size_t seeds = claim.gap_closed.seed_means.size();
  if (claim.gap_closed.method == SeedMethod::kBootstrap)
    return "bootstrap over seeds, clusters and samples";
  if (seeds >= kSeedsForClaim) return "t over per-seed means";
  return fmt::format("t over per-seed means; {} seeds are needed for a claim", kSeedsForClaim);
}

}  // namespace

std::vector<SelectorClaim> selector_claims(const BlockMembers& members,
                                           const std::vector<std::size_t>& clusters,
                                           std::uint64_t bootstrap_seed) {
  if (members.full == nullptr || members.none == nullptr) return {};
  const std::vector<double>& none = members.none->nll;
  if (none.empty() || members.full->nll.empty()) return {};
  const double gap = mean_of(none).value - mean_of(members.full->nll).value;
  if (!(gap > 0)) return {};
  // In the order of their first run: setting, and the latest run on each calibration set.
  struct Group {
    std::string label, setting;
    std::vector<const Evaluation*> seeds;
  };
  std::vector<Group> groups;
  for (const Evaluation* member : members.budgeted) {
    if (!member->selection || member->selection->calibration_id.empty() || member->nll.empty())
      continue;
    const std::string setting = setting_of(member->run);
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& known) {
      return known.label == member->run.label && known.setting == setting;
    });
    if (group == groups.end())
      group = groups.insert(groups.end(), {member->run.label, setting, {}});
    const auto same =
        std::find_if(group->seeds.begin(), group->seeds.end(), [&](const Evaluation* seed) {
          return seed->selection->calibration_id == member->selection->calibration_id;
        });
    if (same == group->seeds.end())
      group->seeds.push_back(member);
    else
      *same = member;
  }
  std::vector<SelectorClaim> claims;
  for (const Group& group : groups) {
    std::vector<std::vector<double>> seeds;
    for (const Evaluation* seed : group.seeds) seeds.push_back(shares_of_gap(*seed, none, gap));
    const auto of_label = std::count_if(groups.begin(), groups.end(), [&](const Group& other) {
      return other.label == group.label;
    });
    const std::string first_run = " #" + group.seeds[0]->run.id.substr(0, 6);
    claims.push_back({group.label + (of_label > 1 ? first_run : ""),
                      seed_estimate(seeds, {.seed = bootstrap_seed, .clusters = clusters})});
  }
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
