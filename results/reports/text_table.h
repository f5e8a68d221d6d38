// Tables as aligned text, markdown, LaTeX or csv, and the plain-ASCII spelling of the few signs
// that reports use.
//
// Cells hold text of anyone's: labels, configurations, answers, names of judges. Whatever bytes it
// has, a cell stays a cell and a line a line, and none of it is an instruction to a terminal, to
// LaTeX or to what renders markdown. csv alone has the bytes as they are, quoted.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "results/statistics.h"

namespace strata {

struct TextTable {
  struct Column {
    std::string header;
    bool right = true;
  };
  // What is shown, and the number that it rounds, where it is one, in the column's unit.
  struct Cell {
    Cell(const char* shown) : text(shown) {}
    Cell(std::string shown, std::optional<Estimate> exact = {})
        : text(std::move(shown)), number(exact) {}
    std::string text;
    std::optional<Estimate> number;
  };
  using Row = std::vector<Cell>;
  std::vector<Column> columns;
  std::vector<Row> rows;  // an empty one is a separating line
};

// Columns on a terminal: code points of UTF-8 (none of ours is wide).
std::size_t display_width(std::string_view text);
// Signs of ours in ASCII (█ to #, · to ., Δ to d); any other code point becomes '?'.
std::string to_ascii(std::string_view text);
// A space for each control character (newline, escape, C1) and for bytes that begin no UTF-8.
std::string without_controls(std::string_view text);
// An item of a list, with its newline.
std::string markdown_line(std::string_view text);

// Headers and rows with `change` applied to each text.
TextTable each_cell(TextTable table, const std::function<std::string(std::string_view)>& change);

std::string as_text(const TextTable& table);
std::size_t text_width(const TextTable& table);
std::string as_markdown(const TextTable& table);
// A tabular for the booktabs package, in ASCII: signs of ours as commands, special characters
// escaped.
std::string as_latex(const TextTable& table);
std::string csv_line(const std::vector<std::string>& cells);  // RFC 4180, with its newline (\n)

}  // namespace strata
