#include "results/reports/page.h"

#include "results/reports/block_render.h"
#include "results/reports/format.h"
#include "results/reports/html_page.h"

namespace strata {
namespace {

using Line = std::string (*)(const std::string&);
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

std::string text_line(const std::string& text) { return wrapped(text, kMaxWidth); }
std::string markdown_line(const std::string& text) { return "- " + text + "\n"; }
std::string latex_line(const std::string& text) { return "% " + to_ascii(text) + "\n"; }

std::string as_csv(const ReportPage& page) {
  std::string out;
  for (const PageSection& section : page.sections) {
    if (section.table.rows.empty()) continue;
    if (!out.empty()) out += '\n';
    std::vector<std::string> cells = {"table"};
    for (const TextTable::Column& column : section.table.columns) cells.push_back(column.header);
    out += csv_line(cells);
    for (const auto& row : section.table.rows) {
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
  const auto spelt = [&](const std::string& text) { return options.utf8 ? text : to_ascii(text); };
  switch (options.format) {
    case ReportFormat::kText:
      // (Columns are as wide as what is printed: signs are spelt out before.)
      if (!options.utf8) {
        ReportPage ascii = page;
        for (PageSection& section : ascii.sections)
          section.table = for_terminal(std::move(section.table), false, 0);
        return to_ascii(laid_out(ascii, text_line, as_text));
      }
      return laid_out(page, text_line, as_text);
    case ReportFormat::kMarkdown: return spelt(laid_out(page, markdown_line, as_markdown));
    case ReportFormat::kLatex: return laid_out(page, latex_line, as_latex);
    case ReportFormat::kCsv: return as_csv(page);
    case ReportFormat::kHtml: return as_html(page);
  }
  return {};
}

}  // namespace strata
