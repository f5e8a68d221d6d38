#include "results/reports/page.h"

#include <array>
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

// "0.5 [0.4, 0.6]" as its three numbers; none where the cell is anything else.
std::optional<std::array<std::string, 3>> with_bounds(const std::string& cell) {
  const std::size_t open = cell.find(" ["), comma = cell.find(", ", open);
  if (open == std::string::npos || comma == std::string::npos || !cell.ends_with(']'))
    return std::nullopt;
  std::array<std::string, 3> parts = {cell.substr(0, open), cell.substr(open + 2, comma - open - 2),
                                      cell.substr(comma + 2, cell.size() - comma - 3)};
  for (const std::string& part : parts)
    if (part.empty() || part.find_first_not_of("+-0123456789.e") != std::string::npos)
      return std::nullopt;
  return parts;
}

// A column that has intervals becomes three: its own, and those of the bounds.
TextTable with_columns_of_bounds(const TextTable& table) {
  std::vector<bool> bounded(table.columns.size(), false);
  for (const auto& row : table.rows)
    for (std::size_t c = 0; c < row.size(); ++c)
      if (with_bounds(row[c])) bounded[c] = true;
  TextTable out;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    out.columns.push_back(table.columns[c]);
    if (!bounded[c]) continue;
    for (const char* bound : {"_low", "_high"})
      out.columns.push_back({table.columns[c].header + bound});
  }
  for (const auto& row : table.rows) {
    auto& cells = out.rows.emplace_back();
    for (std::size_t c = 0; c < row.size(); ++c) {
      const auto parts = with_bounds(row[c]);
      cells.push_back(parts ? (*parts)[0] : row[c]);
      if (!bounded[c]) continue;
      cells.push_back(parts ? (*parts)[1] : "");
      cells.push_back(parts ? (*parts)[2] : "");
    }
  }
  return out;
}

std::string as_csv(const ReportPage& page) {
  std::string out;
  for (const PageSection& section : page.sections) {
    if (section.table.rows.empty()) continue;
    if (!out.empty()) out += '\n';
    const TextTable table = with_columns_of_bounds(section.table);
    std::vector<std::string> cells = {"table"};
    for (const TextTable::Column& column : table.columns) cells.push_back(column.header);
    out += csv_line(cells);
    for (const auto& row : table.rows) {
      if (row.empty()) continue;
      cells = {section.name};
      for (const std::string& cell : row) cells.push_back(cell == kNoValue ? "" : cell);
      out += csv_line(cells);
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
