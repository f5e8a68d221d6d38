#include "results/reports/html_page.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "core/sha256.h"
#include "results/reports/html_assets.h"

namespace strata {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Bytes of the well-formed UTF-8 sequence at `at` (Unicode, table 3-7); 0 where there is none.
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xC2 && first <= 0xDF   ? 2
                             : first >= 0xE0 && first <= 0xEF ? 3
                             : first >= 0xF0 && first <= 0xF4 ? 4
                                                              : 0;
  const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  for (std::size_t i = 1; i < length; ++i)
    if (byte(i) < (i == 1 ? low : 0x80) || byte(i) > (i == 1 ? high : 0xBF)) return 0;
  return length;
}

std::string base64(const std::array<std::uint8_t, 32>& bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? bytes[i + j] : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      out += i + j <= bytes.size() ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

std::string script_source(std::string_view script) {
  return " 'sha256-" + base64(Sha256().update(script).digest()) + "'";
}

std::string script_element(std::string_view script) {
  return "<script>" + std::string(script) + "</script>\n";
}

// Of left-aligned columns, the first names a row.
std::size_t name_column(const TextTable& table) {
  for (std::size_t i = 0; i < table.columns.size(); ++i)
    if (!table.columns[i].right) return i;
  return 0;
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = sequence_length(text, i);
    const char c = text[i];
    if (length == 0 ||
        (length == 1 && ((c >= 0 && c < ' ' && c != '\n' && c != '\t') || c == 0x7F)))
      out += kReplacement;
    else if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += text.substr(i, length);
    i += std::max<std::size_t>(length, 1);
  }
  return out;
}

std::string script_json(const nlohmann::json& json) {
  // ASCII alone, so that U+2028 and U+2029 are escapes; '<' occurs in strings only.
  const std::string text = json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c == '<')
      out += "\\u003c";
    else
      out += c;
  }
  return out;
}

std::string html_table(const TextTable& table, std::string_view caption, const CellHtml& cell) {
  const std::size_t name = name_column(table);
  const auto kind = [&](std::size_t column) {
    return table.columns[column].right && column != name ? std::string(" class=\"n\"") : "";
  };
  std::string out = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\">\n<table>\n"
      "<caption>{0}</caption>\n<thead><tr>",
      html_text(caption));
  for (std::size_t j = 0; j < table.columns.size(); ++j)
    out += fmt::format(
        "<th scope=\"col\" aria-sort=\"none\"{}><button type=\"button\">{}</button></th>", kind(j),
        html_text(table.columns[j].header));
  out += "</tr></thead>\n<tbody>\n";
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    if (table.rows[i].empty()) {
      out += "</tbody>\n<tbody>\n";
      continue;
    }
    out += "<tr>";
    for (std::size_t j = 0; j < table.rows[i].size(); ++j) {
      const auto made = cell ? cell(i, j) : std::nullopt;
      const std::string content = made ? *made : html_text(table.rows[i][j].text);
      out += j == name ? "<th scope=\"row\">" + content + "</th>"
                       : "<td" + kind(j) + ">" + content + "</td>";
    }
    out += "</tr>\n";
  }
  return out + "</tbody>\n</table>\n</div>\n";
}

std::string html_lines(const std::vector<std::string>& lines, std::string_view css_class) {
  std::string out;
  for (const std::string& line : lines)
    out += fmt::format("<p class=\"{}\">{}</p>\n", line.starts_with("! ") ? "mark" : css_class,
                       html_text(line));
  return out;
}

std::string html_document(const HtmlDocument& document) {
  const bool charts = !document.charts_json.empty();
  std::string sources = script_source(page_js());
  if (charts) sources += script_source(charts_bundle()) + script_source(charts_js());
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src{}; "
      "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n"
      "<title>{}</title>\n<style>\n",
      sources, html_text(document.title));
  out += page_css();
  out += "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the content</a>\n";
  out += fmt::format("<h1>{}</h1>\n", html_text(document.title));
  out += document.body;
  // What a sort did, for those who do not see it.
  out += "<p id=\"status\" role=\"status\" class=\"skip\"></p>\n";
  if (charts) {
    out += "<noscript><p class=\"mark\">Charts need JavaScript; tables do not.</p></noscript>\n";
    out +=
        "<script type=\"application/json\" id=\"charts\">" + document.charts_json + "</script>\n";
  }
  out += script_element(page_js());
  if (charts) out += script_element(charts_bundle()) + script_element(charts_js());
  return out + "</body>\n</html>\n";
}

std::string as_html(const ReportPage& page) {
  std::string body = "<main id=\"main\">\n", previous;
  for (const PageSection& section : page.sections) {
    body += "<section>\n";
    if (section.name != previous) body += "<h2>" + html_text(section.name) + "</h2>\n";
    previous = section.name;
    body += html_lines(section.lines, "facts");
    // The line above a table says what it is of.
    if (!section.table.rows.empty())
      body +=
          html_table(section.table, section.lines.empty() ? section.name : section.lines.back());
    body += html_lines(section.notes, "notes") + "</section>\n";
  }
  body += "</main>\n<footer>\n" + html_lines(page.footer, "notes") + "</footer>\n";
  return html_document({.title = "strata report", .body = std::move(body), .charts_json = {}});
}

}  // namespace strata
