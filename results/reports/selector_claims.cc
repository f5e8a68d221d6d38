#include "results/reports/selector_claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

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
  std::vector<SelectorClaim> claims;
  std::set<std::string> seen;
  for (const Evaluation* first : members.budgeted) {
    const std::string& label = first->run.label;
    std::vector<std::vector<double>> seeds;
    for (const Evaluation* member : members.budgeted)
      if (member->run.label == label && member->selection && !member->nll.empty() &&
          !member->selection->calibration_id.empty())
        seeds.push_back(shares_of_gap(*member, none, gap));
    if (seeds.empty() || !seen.insert(label).second) continue;
    claims.push_back({label, seed_estimate(seeds, {.seed = bootstrap_seed, .clusters = clusters})});
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
