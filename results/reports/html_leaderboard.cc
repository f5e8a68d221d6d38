#include "results/reports/html_leaderboard.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "results/reports/block_render.h"
#include "results/reports/format.h"
#include "results/reports/html_charts.h"
#include "results/reports/html_mask.h"
#include "results/reports/html_page.h"
#include "results/reports/html_samples.h"
#include "results/reports/leaderboard_block.h"
#include "results/reports/leaderboard_data.h"

namespace strata {
namespace {

constexpr const char* kStripColumn = "layers";
constexpr std::size_t kMaxPlans = 120;  // pictures below a table

using PlansByRun = std::map<std::string, const AttentionPlan*>;

PlansByRun plans_of(const LeaderboardData& data) {
  PlansByRun out;
  for (const Evaluation& evaluation : data.evaluations) out[evaluation.run.id] = &evaluation.plan;
  return out;
}

std::string heading(const LeaderboardBlock& block) {
  return fmt::format("{} · {} · {}{}", block.benchmark,
                     block.budget_units == 0 ? "references" : budget_text(block), block.model_name,
                     block.by.empty() ? "" : " · " + block.by);
}

// The block's table with pictures in place of its strips.
std::string board_html(const LeaderboardBlock& block, const TextTable& table,
                       const PlansByRun& plans) {
  // Rows of the table are those of the block, with separating lines among them.
  std::vector<const LeaderboardRow*> rows;
  std::size_t next = 0;
  for (const auto& cells : table.rows)
    rows.push_back(cells.empty() || next == block.rows.size() ? nullptr : &block.rows[next++]);
  return html_table(
      table, "Leaderboard: " + heading(block),
      [&](std::size_t row, std::size_t column) -> std::optional<std::string> {
        const bool drawn = table.columns[column].header == kStripColumn && rows[row] != nullptr &&
                           rows[row]->strip && !rows[row]->run_ids.empty();
        if (!drawn) return std::nullopt;
        const auto plan = plans.find(rows[row]->run_ids[0]);
        return plan == plans.end() ? std::nullopt : std::optional(mask_svg(*plan->second));
      });
}

// Every plan of the block, those of draws and offsets too, layers × heads.
std::string plans_html(const LeaderboardBlock& block, const PlansByRun& plans) {
  std::string list;
  std::size_t all = 0;
  for (const LeaderboardRow& row : block.rows)
    for (std::size_t i = 0; i < row.run_ids.size(); ++i) {
      const auto plan = plans.find(row.run_ids[i]);
      if (plan == plans.end() || ++all > kMaxPlans) continue;
      const std::string draw =
          row.run_ids.size() > 1 ? fmt::format(" · {} of {}", i + 1, row.run_ids.size()) : "";
      list +=
          fmt::format("<li>{}{}\n{}</li>\n", html_text(row.name), draw, mask_svg(*plan->second));
    }
  if (all == 0) return {};
  const std::string note =
      all > kMaxPlans
          ? html_lines({fmt::format("{} of {} plans are drawn.", kMaxPlans, all)}, "notes")
          : "";
  return fmt::format(
      "<details><summary>{}, a column a layer, a row a head</summary>\n<ul "
      "class=\"plans\">\n{}</ul>\n"
      "{}</details>\n",
      plural(static_cast<std::int64_t>(all), "plan"), list, note);
}

// The tables: sections of the page as data, each block's first with its pictures.
std::string tables_html(const LeaderboardTable& table, const ReportPage& page,
                        const PlansByRun& plans) {
  std::string out;
  std::size_t next = 0;
  for (const PageSection& section : page.sections) {
    const bool board = section.name == "leaderboard" && next < table.blocks.size();
    if (board) {
      const LeaderboardBlock& block = table.blocks[next++];
      out += fmt::format("{}<section class=\"block\" id=\"table-{}\">\n<h3>{}</h3>\n",
                         next > 1 ? "</section>\n" : "", next, html_text(heading(block)));
      out += html_lines(section.lines, "facts") + board_html(block, section.table, plans) +
             html_lines(section.notes, "notes") + plans_html(block, plans);
      continue;
    }
    out += html_lines(section.lines, "facts") +
           html_table(section.table, section.lines.empty() ? "selectors over calibration seeds"
                                                           : section.lines[0]) +
           html_lines(section.notes, "notes");
  }
  return next > 0 ? out + "</section>\n" : out;
}

std::string table_links(const LeaderboardTable& table) {
  if (table.blocks.size() < 2) return {};
  std::string out = fmt::format("<details><summary>{}</summary>\n<ul>\n",
                                plural(static_cast<std::int64_t>(table.blocks.size()), "table"));
  for (std::size_t i = 0; i < table.blocks.size(); ++i)
    out += fmt::format("<li><a href=\"#table-{}\">{}</a></li>\n", i + 1,
                       html_text(heading(table.blocks[i])));
  return out + "</ul>\n</details>\n";
}

struct Part {
  const char* id;
  const char* title;
  const char* lead;  // a sentence below the title, or ""
  std::string html;
};

}  // namespace

Result<std::string> html_leaderboard(const Store& store, const LeaderboardRequest& request) {
  ASSIGN_OR_RETURN(const LeaderboardData data, load_leaderboard_data(store, request));
  const auto made = leaderboard_of(data, request);
  if (!made) return fail(Error(made.error()).at(store.path()));
  const LeaderboardTable& table = *made;
  ASSIGN_OR_RETURN(std::string samples, sample_browser(store, data));
  const ReportPage page = leaderboard_page(table);
  ChartSet charts;
  std::vector<Part> parts;
  parts.push_back({"tables", "Tables", "", tables_html(table, page, plans_of(data))});
  parts.push_back({"pareto", "Quality against cost",
                   "Dashed: plans that no other beats at as little cost. Controls (random draws, "
                   "offsets) do not take part: the best of many draws is an oracle.",
                   pareto_figures(table, charts)});
  parts.push_back({"needles", "Needles by depth and length",
                   "Depth 0 is the beginning of the context.", heat_figures(data, charts)});
  parts.push_back({"scores", "Scores of layers and heads",
                   "With one standard error, where the selector has one.",
                   score_figures(data, charts)});
  parts.push_back({"training", "Training", "", training_figures(data, charts)});
  parts.push_back({"samples", "Samples on which plans disagree", "", std::move(samples)});

  std::string links, body;
  for (const Part& part : parts) {
    if (part.html.empty()) continue;
    links += fmt::format("<li><a href=\"#{}\">{}</a></li>\n", part.id, part.title);
    body += fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n{}{}</section>\n", part.id, part.title,
                        *part.lead != '\0' ? html_lines({part.lead}, "facts") : "", part.html);
  }
  body = fmt::format(
      "<nav aria-label=\"contents\">\n<ul>\n{}<li><a href=\"#reading\">How to read "
      "it</a></li>\n</ul>\n"
      "{}</nav>\n<main id=\"main\">\n{}</main>\n<footer id=\"reading\">\n<h2>How to read "
      "it</h2>\n{}"
      "</footer>\n",
      links, table_links(table), body, html_lines(page.footer, "notes"));
  return html_document({.title = "strata · leaderboard",
                        .body = std::move(body),
                        .charts_json = charts.all().empty() ? "" : script_json(charts.all())});
}

}  // namespace strata
