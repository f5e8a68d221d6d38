// Reports as one self-contained page of HTML: escaping, tables, and the document around them.
//
// Everything that a database says (names, prompts, answers) is hostile: it reaches the page through
// html_text() or script_json() alone. The document's Content-Security-Policy names the hashes of
// our own scripts, so that no other runs, and forbids every request.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "results/reports/page.h"
#include "results/reports/text_table.h"

namespace strata {

// For text and for attributes in double quotes. Control characters and bytes that are no UTF-8
// become U+FFFD.
std::string html_text(std::string_view text);
// JSON that may stand within <script>: neither '<' nor U+2028 and U+2029 occur in it.
std::string script_json(const nlohmann::json& json);

// What stands in a cell instead of its text, as HTML.
using CellHtml = std::function<std::optional<std::string>(std::size_t row, std::size_t column)>;
// Columns are sorted by their headers' buttons (page.js); each group of rows between separating
// lines is a tbody, and rows stay within it. The first left-aligned column names the row.
std::string html_table(const TextTable& table, std::string_view caption, const CellHtml& cell = {});
// Paragraphs; those that begin with "! " are warnings.
std::string html_lines(const std::vector<std::string>& lines, std::string_view css_class);

struct HtmlDocument {
  std::string title;  // text
  std::string body;   // HTML
  // JSON array of charts (charts.js), each drawn in the figure whose data-chart is its index;
  // empty: a page without charts, which carries no Vega.
  std::string charts_json;
};
std::string html_document(const HtmlDocument& document);

std::string as_html(const ReportPage& page);

}  // namespace strata
