// What the renderings of a leaderboard and of its claims share: a block's heading, its columns in
// csv, and tables that fit a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "results/reports/leaderboard.h"
#include "results/reports/text_table.h"

namespace strata {

inline constexpr std::size_t kMaxWidth = 160;  // of text, in columns

std::string joined(const std::vector<std::string>& values, const std::string& separator);
// " [1]": what times bear that were measured on the block's first device, where it has several.
std::string device_sign(std::size_t index);
// "budget 7 of 30 layers", "KV bytes within 1 %: 14.9 MiB a sample", "no budget".
std::string budget_text(const LeaderboardBlock& block);
// Model, data, setting and marks; a line each.
std::vector<std::string> header_lines(const LeaderboardBlock& block);
// Long names clipped (markdown and csv have them whole), other signs spelt out without `utf8`.
TextTable for_terminal(TextTable table, bool utf8, std::size_t name_column);
// The columns that say which block a row is of.
std::vector<std::string> block_csv_header();
std::vector<std::string> block_csv_cells(const LeaderboardBlock& block);

}  // namespace strata
