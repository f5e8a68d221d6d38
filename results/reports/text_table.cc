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

// The same signs for LaTeX, the characters that mean something to it, and those that its default
// encoding prints as others (< as an inverted exclamation mark).
constexpr std::array<std::pair<std::string_view, std::string_view>, 29> kCommands = {
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
     {"<", "\\textless{}"},
     {">", "\\textgreater{}"},
     {"|", "\\textbar{}"},
     {"\"", "\\textquotedblright{}"},
     {"`", "\\textquoteleft{}"}}};

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U; }

std::vector<std::size_t> widths_of(const TextTable& table) {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    std::size_t width = display_width(table.columns[i].header);
    for (const auto& row : table.rows)
      if (!row.empty()) width = std::max(width, display_width(row[i].text));
    widths.push_back(width);
  }
  return widths;
}

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::string space(width - display_width(text), ' ');
  return right ? space + text : text + space;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Whether `c` would be more than itself where a renderer of markdown reads it. An underscore within
// a word is not, nor is < before a number, nor brackets that no ( [ or : follows:
// nll_guided[restore] and 80.0 [71.8, 87.8] stay as they are.
bool means_something(char before, char c, char after) {
  switch (c) {
    case '_': return !is_word(before) || !is_word(after);
    case '<': return !is_digit(after);
    case ']': return after == '(' || after == '[' || after == ':';
    default: return std::string_view("\\`|*&~").find(c) != std::string_view::npos;
  }
}

std::string markdown_text(std::string_view raw) {
  const std::string text = without_controls(raw);
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (means_something(i == 0 ? ' ' : text[i - 1], text[i],
                        i + 1 < text.size() ? text[i + 1] : ' '))
      out += '\\';
    out += text[i];
  }
  return out;
}

std::size_t continuations_after(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : byte >= 0xc0 ? 1 : 0;
}

bool is_control(std::string_view code_point) {
  const auto first = static_cast<unsigned char>(code_point[0]);
  const bool c1 =
      code_point.size() == 2 && first == 0xc2 && static_cast<unsigned char>(code_point[1]) < 0xa0;
  return first < 0x20 || first == 0x7f || c1 || continues(code_point[0]);
}

// Each of `signs` replaced; any other code point beyond ASCII becomes '?'.
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

std::string latex_text(std::string_view text) { return spelt(without_controls(text), kCommands); }

}  // namespace

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !continues(c); }));
}

std::string to_ascii(std::string_view text) { return spelt(text, kSpellings); }

std::string without_controls(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t size = 1;
    while (size < text.size() && size <= continuations_after(text[0]) && continues(text[size]))
      ++size;
    const std::string_view code_point = text.substr(0, size);
    out += is_control(code_point) ? " " : code_point;
    text.remove_prefix(size);
  }
  return out;
}

std::string markdown_line(std::string_view text) {
  const std::string shown = markdown_text(text);
  // What makes a heading, a quotation, a list or a box to tick of the item.
  const bool begins_block =
      !shown.empty() && std::string_view("#>+-[").find(shown[0]) != std::string_view::npos;
  return (begins_block ? "- \\" : "- ") + shown + "\n";
}

TextTable each_cell(TextTable table, const std::function<std::string(std::string_view)>& change) {
  for (TextTable::Column& column : table.columns) column.header = change(column.header);
  for (auto& row : table.rows)
    for (TextTable::Cell& cell : row) cell.text = change(cell.text);
  return table;
}

std::size_t text_width(const TextTable& table) {
  std::size_t width = kGap * (table.columns.size() - 1);
  for (const std::size_t column : widths_of(each_cell(table, without_controls))) width += column;
  return width;
}

std::string as_text(const TextTable& raw) {
  const TextTable table = each_cell(raw, without_controls);
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
    out += row.empty() ? rule() : line([&](std::size_t i) { return row[i].text; });
  return out;
}

std::string as_markdown(const TextTable& raw) {
  const TextTable table = each_cell(raw, markdown_text);
  std::string out = "|";
  for (const TextTable::Column& column : table.columns) out += " " + column.header + " |";
  out += "\n|";
  for (const TextTable::Column& column : table.columns) out += column.right ? "---:|" : "---|";
  out += "\n";
  for (const auto& row : table.rows) {
    if (row.empty()) continue;
    out += "|";
    for (const TextTable::Cell& cell : row) out += " " + cell.text + " |";
    out += "\n";
  }
  return out;
}

std::string as_latex(const TextTable& raw) {
  const TextTable table = each_cell(raw, latex_text);
  const auto line = [](auto&& cell, std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) out += (i == 0 ? "" : " & ") + cell(i);
    // The command that ends the row before would take these for its own.
    const std::size_t first = out.find_first_not_of(' ');
    if (first != std::string::npos && (out[first] == '[' || out[first] == '*')) out.insert(0, "{}");
    return out + " \\\\\n";
  };
  std::string out = "\\begin{tabular}{";
  for (const TextTable::Column& column : table.columns) out += column.right ? 'r' : 'l';
  out += "}\n\\toprule\n";
  out += line([&](std::size_t i) { return table.columns[i].header; }, table.columns.size());
  out += "\\midrule\n";
  for (const auto& row : table.rows)
    out += row.empty() ? std::string("\\midrule\n")
                       : line([&](std::size_t i) { return row[i].text; }, row.size());
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
