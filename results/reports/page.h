// A report as data: sections of lines and a table. What a report says is decided where it is made,
// how it looks here; another format is another case of render().
#pragma once

#include <string>
#include <vector>

#include "results/reports/leaderboard.h"
#include "results/reports/text_table.h"

namespace strata {

struct PageSection {
  std::string name;                // one word, the first column of csv: "summary", "changed"
  std::vector<std::string> lines;  // above the table
  TextTable table;                 // no rows: none
  std::vector<std::string> notes;  // below it
};

struct ReportPage {
  std::vector<PageSection> sections;
  std::vector<std::string> footer;
};

// The tables of a leaderboard whole, as for markdown.
ReportPage leaderboard_page(const LeaderboardTable& table);
// The numbers that its claims are made of, one a calibration set, each with the rows behind it and
// the query that gives it.
ReportPage claims_trace(const LeaderboardTable& table);

// csv: the tables alone, each with a header of its own and its section's name in the first column,
// an empty line between them; numbers are whole, a column NAME of intervals is NAME, NAME_low and
// NAME_high.
std::string render(const ReportPage& page, const RenderOptions& options);

}  // namespace strata
