// render_claims(): what the blocks say of selectors, as a page or csv.
#include <fmt/format.h>

#include "results/reports/block_render.h"
#include "results/reports/format.h"
#include "results/reports/leaderboard.h"
#include "results/reports/page.h"
#include "results/reports/reference_claims.h"
#include "results/reports/selector_claims.h"

namespace strata {
namespace {

using Cells = std::vector<std::string>;

constexpr const char* kNothing =
    "no selector ran on two calibration sets: calibration.seed=0,1,2,3,4 gives five";

ReportPage claims_page(const LeaderboardTable& table) {
  ReportPage page;
  bool compared = false;
  for (const LeaderboardBlock& block : table.blocks) {
    const TextTable gaps = claims_table(block.claims);
    if (gaps.rows.empty() && block.comparisons.empty()) continue;
    page.sections.push_back({"claims", header_lines(block), gaps, {}});
    for (const ReferenceComparison& comparison : block.comparisons)
      page.sections.push_back(
          {"comparison", {comparison_heading(comparison)}, comparison_table(comparison), {}});
    compared = compared || !block.comparisons.empty();
  }
  if (page.sections.empty()) page.footer.emplace_back(kNothing);
  if (compared) page.footer.push_back(comparison_footer());
  return page;
}

// Of a selector against a reference the gap's columns are empty; of the gap that a selector closes,
// those that take a reference.
Cells csv_header() {
  Cells cells = block_csv_header();
  for (const char* name : {"calibration",
                           "reference",
                           "reference_chosen",
                           "selector",
                           "seeds",
                           "same_plan_seeds",
                           "nll_difference",
                           "between_seed_sd",
                           "upper",
                           "non_inferior",
                           "p",
                           "family",
                           "holm_p",
                           "equivalence",
                           "equivalence_seeds_needed",
                           "sign_flip_p",
                           "flops_share",
                           "gap_closed",
                           "gap_closed_low",
                           "gap_closed_high",
                           "gap_closed_between_seed_sd"})
    cells.emplace_back(name);
  return cells;
}

template <typename T>
std::string plain(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : "";
}

Cells csv_cells(const LeaderboardBlock& block, const ReferenceComparison& comparison,
                const ReferenceClaim& claim) {
  const auto& test = claim.non_inferiority;
  const auto& tost = claim.equivalence;
  const std::optional<bool> shown = claim.non_inferior();
  Cells cells = block_csv_cells(block);
  for (std::string cell :
       {comparison.calibration, comparison.reference, comparison.chosen, claim.label,
        fmt::format("{}", claim.differences.size()), fmt::format("{}", claim.same_plans),
        fmt::format("{}", claim.mean()), plain(claim.between_seed_sd()),
        test ? fmt::format("{}", test->upper) : std::string(),
        std::string(shown ? (*shown ? "yes" : "no") : "not supported"),
        test ? fmt::format("{}", test->p) : std::string(), fmt::format("{}", comparison.family),
        plain(claim.holm_p), std::string(tost ? to_string(tost->answer) : "not supported"),
        tost ? plain(tost->n_needed) : std::string(), plain(claim.sign_flip_p),
        plain(claim.flops_share)})
    cells.push_back(std::move(cell));
  return cells;
}

Cells csv_cells(const LeaderboardBlock& block, const SelectorClaim& claim) {
  constexpr std::size_t kOfReference = 12;  // "same_plan_seeds" to "flops_share"
  const SeedEstimate& gap = claim.gap_closed;
  const std::optional<Interval> interval = gap.interval();
  Cells cells = block_csv_cells(block);
  cells.insert(cells.end(), {"", "", "", claim.label, fmt::format("{}", gap.seed_means.size())});
  cells.resize(cells.size() + kOfReference);
  cells.insert(
      cells.end(),
      {fmt::format("{}", gap.value), interval ? fmt::format("{}", interval->low) : std::string(),
       interval ? fmt::format("{}", interval->high) : std::string(), plain(gap.between_seed_sd)});
  return cells;
}

std::string render_csv(const LeaderboardTable& table) {
  const Cells header = csv_header();
  std::string out = csv_line(header);
  const auto add = [&](Cells cells) {
    cells.resize(header.size());
    out += csv_line(cells);
  };
  for (const LeaderboardBlock& block : table.blocks) {
    for (const SelectorClaim& claim : block.claims)
      if (claim.gap_closed.between_seed_sd) add(csv_cells(block, claim));
    for (const ReferenceComparison& comparison : block.comparisons)
      for (const ReferenceClaim& claim : comparison.claims)
        add(csv_cells(block, comparison, claim));
  }
  return to_ascii(out);
}

}  // namespace

std::string render_claims(const LeaderboardTable& table, const RenderOptions& options) {
  return options.format == ReportFormat::kCsv ? render_csv(table)
                                              : render(claims_page(table), options);
}

}  // namespace strata
