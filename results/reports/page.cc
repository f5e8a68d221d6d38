#include "results/reports/page.h"

#include <fmt/format.h>

#include <optional>

#include "results/reports/block_render.h"
#include "results/reports/format.h"
#include "results/reports/html_page.h"

namespace strata {
namespace {

using Line = std::string (*)(std::string_view);
using Table = std::string (*)(const TextTable&);

std::string laid_out(const ReportPage& page, Line line, Table table) {
  std::string out;
  const auto add_lines = [&](const std::vector<std::string>& lines) {
    for (const std::string& text : lines) out += line(text);
    if (!lines.empty()) out += '\n';
  };
  for (const PageSection& section : page.sections) {
    add_lines(section.lines);
    if (!section.table.rows.empty()) out += table(section.table) + "\n";
    add_lines(section.notes);
  }
  for (const std::string& text : page.footer) out += line(text);
  return out;
}

std::string text_line(std::string_view text) { return wrapped(std::string(text), kMaxWidth); }
std::string latex_line(std::string_view text) {
  return "% " + to_ascii(without_controls(text)) + "\n";
}

// Before it is laid out: columns are as wide as what is printed, and what a format escapes is
// there.
ReportPage in_ascii(ReportPage page) {
  const auto spell = [](std::vector<std::string>& lines) {
    for (std::string& line : lines) line = to_ascii(line);
  };
  for (PageSection& section : page.sections) {
    spell(section.lines);
    section.table = each_cell(std::move(section.table), to_ascii);
    spell(section.notes);
  }
  spell(page.footer);
  return page;
}

// A column that has intervals becomes three: its own, and those of the bounds.
std::vector<bool> columns_with_bounds(const TextTable& table) {
  std::vector<bool> out(table.columns.size(), false);
  for (const TextTable::Row& row : table.rows)
    for (std::size_t c = 0; c < row.size(); ++c)
      if (row[c].number && row[c].number->interval) out[c] = true;
  return out;
}

std::string as_csv(const ReportPage& page) {
  std::string out;
  for (const PageSection& section : page.sections) {
    if (section.table.rows.empty()) continue;
    if (!out.empty()) out += '\n';
    const std::vector<bool> bounded = columns_with_bounds(section.table);
    std::vector<std::string> line = {"table"};
    for (std::size_t c = 0; c < bounded.size(); ++c) {
      const std::string& header = section.table.columns[c].header;
      line.push_back(header);
      if (bounded[c]) line.insert(line.end(), {header + "_low", header + "_high"});
    }
    out += csv_line(line);
    for (const TextTable::Row& row : section.table.rows) {
      if (row.empty()) continue;
      line = {section.name};
      for (std::size_t c = 0; c < row.size(); ++c) {
        line.push_back(csv_text(row[c]));
        if (!bounded[c]) continue;
        const auto bounds = row[c].number ? row[c].number->interval : std::nullopt;
        line.push_back(bounds ? exact(bounds->low) : "");
        line.push_back(bounds ? exact(bounds->high) : "");
      }
      out += csv_line(line);
    }
  }
  return to_ascii(out);
}

}  // namespace

std::string render(const ReportPage& page, const RenderOptions& options) {
  switch (options.format) {
    case ReportFormat::kText:
      return laid_out(options.utf8 ? page : in_ascii(page), text_line, as_text);
    case ReportFormat::kMarkdown:
      return laid_out(options.utf8 ? page : in_ascii(page), markdown_line, as_markdown);
    case ReportFormat::kLatex: return laid_out(page, latex_line, as_latex);
    case ReportFormat::kCsv: return as_csv(page);
    case ReportFormat::kHtml: return as_html(page);
  }
  return {};
}

}  // namespace strata
