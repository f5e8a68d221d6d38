#include "results/reports/text_table.h"

#include <algorithm>
#include <array>
#include <utility>

namespace strata {
namespace {

constexpr std::size_t kGap = 2;  // spaces between columns

constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kSpellings = {
    {{"█", "#"},
     {"·", "."},
     {"–", "-"},
     {"−", "-"},
     {"─", "-"},
     {"Δ", "d"},
     {"…", "..."},
     {"×", "x"},
     {"≥", ">="},
     {"≤", "<="},
     {"←", "<-"},
     {"↔", "<->"},
     {"±", "+-"},
     {"ρ", "rho"}}};

// The same signs for LaTeX, and the characters that mean something to it.
constexpr std::array<std::pair<std::string_view, std::string_view>, 25> kCommands = {
    {{"█", "\\rule{0.4em}{1ex}"},
     {"·", "$\\cdot$"},
     {"–", "--"},
     {"−", "$-$"},
     {"─", "--"},
     {"Δ", "$\\Delta$"},
     {"…", "\\dots{}"},
     {"×", "$\\times$"},
     {"≥", "$\\geq$"},
     {"≤", "$\\leq$"},
     {"←", "$\\leftarrow$"},
     {"↔", "$\\leftrightarrow$"},
     {"±", "$\\pm$"},
     {"ρ", "$\\rho$"},
     {"\\", "\\textbackslash{}"},
     {"&", "\\&"},
     {"%", "\\%"},
     {"$", "\\$"},
     {"#", "\\#"},
     {"_", "\\_"},
     {"{", "\\{"},
     {"}", "\\}"},
     {"~", "\\textasciitilde{}"},
     {"^", "\\textasciicircum{}"},
     {"\n", " "}}};

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U; }

std::vector<std::size_t> widths_of(const TextTable& table) {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    std::size_t width = display_width(table.columns[i].header);
    for (const auto& row : table.rows)
      if (!row.empty()) width = std::max(width, display_width(row[i]));
    widths.push_back(width);
  }
  return widths;
}

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::string space(width - display_width(text), ' ');
  return right ? space + text : text + space;
}

std::string escaped_for_markdown(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

// Each sign of `table` replaced; any other code point beyond ASCII becomes '?'.
template <typename Signs>
std::string spelt(std::string_view text, const Signs& signs) {
  std::string out;
  while (!text.empty()) {
    const auto found = std::find_if(signs.begin(), signs.end(),
                                    [&](const auto& s) { return text.starts_with(s.first); });
    if (found != signs.end()) {
      out += found->second;
      text.remove_prefix(found->first.size());
      continue;
    }
    const bool ascii = static_cast<unsigned char>(text[0]) < 0x80;
    out += ascii ? text[0] : '?';
    text.remove_prefix(1);
    if (!ascii)
      while (!text.empty() && continues(text[0])) text.remove_prefix(1);
  }
  return out;
}

}  // namespace

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !continues(c); }));
}

std::string to_ascii(std::string_view text) { return spelt(text, kSpellings); }

std::size_t text_width(const TextTable& table) {
  std::size_t width = kGap * (table.columns.size() - 1);
  for (const std::size_t column : widths_of(table)) width += column;
  return width;
}

std::string as_text(const TextTable& table) {
  const std::vector<std::size_t> widths = widths_of(table);
  const auto line = [&](auto&& cell) {
    std::string out;
    for (std::size_t i = 0; i < widths.size(); ++i)
      out +=
          std::string(i == 0 ? 0 : kGap, ' ') + padded(cell(i), widths[i], table.columns[i].right);
    out.erase(out.find_last_not_of(' ') + 1);
    return out + "\n";
  };
  const auto rule = [&] { return std::string(text_width(table), '-') + "\n"; };
  std::string out = line([&](std::size_t i) { return table.columns[i].header; }) + rule();
  for (const auto& row : table.rows)
    out += row.empty() ? rule() : line([&](std::size_t i) { return row[i]; });
  return out;
}

std::string as_markdown(const TextTable& table) {
  std::string out = "|";
  for (const TextTable::Column& column : table.columns)
    out += " " + escaped_for_markdown(column.header) + " |";
  out += "\n|";
  for (const TextTable::Column& column : table.columns) out += column.right ? "---:|" : "---|";
  out += "\n";
  for (const auto& row : table.rows) {
    if (row.empty()) continue;
    out += "|";
    for (const std::string& cell : row) out += " " + escaped_for_markdown(cell) + " |";
    out += "\n";
  }
  return out;
}

std::string as_latex(const TextTable& table) {
  const auto line = [](auto&& cell, std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i)
      out += (i == 0 ? "" : " & ") + spelt(cell(i), kCommands);
    return out + " \\\\\n";
  };
  std::string out = "\\begin{tabular}{";
  for (const TextTable::Column& column : table.columns) out += column.right ? 'r' : 'l';
  out += "}\n\\toprule\n";
  out += line([&](std::size_t i) { return table.columns[i].header; }, table.columns.size());
  out += "\\midrule\n";
  for (const auto& row : table.rows)
    out += row.empty() ? std::string("\\midrule\n")
                       : line([&](std::size_t i) { return row[i]; }, row.size());
  return out + "\\bottomrule\n\\end{tabular}\n";
}

std::string csv_line(const std::vector<std::string>& cells) {
  std::string out;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) out += ',';
    if (cells[i].find_first_of(",\"\r\n") == std::string::npos) {
      out += cells[i];
      continue;
    }
    out += '"';
    for (const char c : cells[i]) out += c == '"' ? std::string("\"\"") : std::string(1, c);
    out += '"';
  }
  return out + "\n";
}

}  // namespace strata
