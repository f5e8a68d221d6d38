// render_claims(): what the blocks say of selectors, as text, markdown or csv.
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
  for (const LeaderboardBlock& block : table.blocks) {
    const TextTable gaps = claims_table(block.claims);
    if (gaps.rows.empty() && block.comparisons.empty()) continue;
    page.sections.push_back({"claims", header_lines(block), gaps, {}});
    for (const ReferenceComparison& comparison : block.comparisons)
      page.sections.push_back(
          {"comparison", {comparison_heading(comparison)}, comparison_table(comparison), {}});
  }
  page.footer = {page.sections.empty() ? std::string(kNothing) : comparison_footer()};
  return page;
}

std::string render_page(const LeaderboardTable& table, bool markdown, bool utf8) {
  const auto line = [&](const std::string& text) {
    return markdown ? "- " + text + "\n" : wrapped(utf8 ? text : to_ascii(text), kMaxWidth);
  };
  const auto laid_out = [&](const TextTable& claims) {
    return markdown ? "\n" + as_markdown(claims) : as_text(for_terminal(claims, utf8, 0));
  };
  std::string out;
  bool compared = false;
  for (const LeaderboardBlock& block : table.blocks) {
    const TextTable gaps = claims_table(block.claims);
    if (gaps.rows.empty() && block.comparisons.empty()) continue;
    if (!out.empty()) out += '\n';
    for (const std::string& header : header_lines(block)) out += line(header);
    if (!gaps.rows.empty()) out += (markdown ? "" : "\n") + laid_out(gaps);
    for (const ReferenceComparison& comparison : block.comparisons)
      out += '\n' + line(comparison_heading(comparison)) + laid_out(comparison_table(comparison));
    compared = compared || !block.comparisons.empty();
  }
  if (out.empty()) out += line(kNothing);
  if (compared) out += '\n' + line(comparison_footer());
  return utf8 ? out : to_ascii(out);
}

Cells csv_header() {
  Cells cells = block_csv_header();
  for (const char* name :
       {"calibration", "reference", "reference_chosen", "selector", "seeds", "same_plan_seeds",
        "nll_difference", "between_seed_sd", "upper", "non_inferior", "p", "family", "holm_p",
        "equivalence", "equivalence_seeds_needed", "sign_flip_p", "flops_share"})
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

std::string render_csv(const LeaderboardTable& table) {
  std::string out = csv_line(csv_header());
  for (const LeaderboardBlock& block : table.blocks)
    for (const ReferenceComparison& comparison : block.comparisons)
      for (const ReferenceClaim& claim : comparison.claims)
        out += csv_line(csv_cells(block, comparison, claim));
  return to_ascii(out);
}

}  // namespace

std::string render_claims(const LeaderboardTable& table, const RenderOptions& options) {
  if (options.format == ReportFormat::kCsv) return render_csv(table);
  if (options.format == ReportFormat::kLatex || options.format == ReportFormat::kHtml)
    return render(claims_page(table), options);
  return render_page(table, options.format == ReportFormat::kMarkdown, options.utf8);
}

}  // namespace strata
