// The tables that a paper published, as configs/paper/NAME.yaml has them: numbers with their
// setting and source. Where sources disagree about a number, it has all of theirs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config/fields.h"
#include "core/config/value.h"
#include "core/result.h"

namespace strata {

// What a number was measured on. Unset: the sources do not say, or it does not apply.
struct PaperSetting {
  std::optional<std::string> model, benchmark, task;  // in strata's names where it has one
  std::optional<std::string> metric;   // "gen_contains"; any other word is no metric of ours
  std::optional<std::string> unit;     // "percent", "share", or for people
  std::optional<std::string> judge;    // the model, of metric "judged"
  std::optional<std::int64_t> length;  // in tokens
  std::optional<double> fraction;      // the budget
  std::optional<std::int64_t> window, sinks;
  std::optional<std::string> linear, decode_rule;
  std::optional<bool> trained;  // weights were tuned for the plan

  PaperSetting over(const PaperSetting& base) const;  // what is unset here from there
  bool operator==(const PaperSetting&) const = default;

  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("model", self.model, "as strata names it");
    visit("benchmark", self.benchmark, "as strata names it");
    visit("task", self.task, "of the benchmark");
    visit("metric", self.metric, "what was measured");
    visit("unit", self.unit, "percent, share, or for people");
    visit("judge", self.judge, "who judged");
    visit("length", self.length, "tokens", config::at_least(1));
    visit("fraction", self.fraction, "budget", config::between(0, 1));
    visit("window", self.window, "tokens", config::at_least(1));
    visit("sinks", self.sinks, "tokens", config::at_least(0));
    visit("linear", self.linear, "linear attention in place of full");
    visit("decode_rule", self.decode_rule, "of answers", config::one_of({"same", "full"}));
    visit("trained", self.trained, "whether weights were tuned for the plan");
  }
};

struct PublishedValue {
  std::vector<double> values;  // none: the table has no number here; several: sources disagree
  std::string note;            // why it is doubtful, or where the others are from
};

struct PaperColumn {
  std::string name;
  PaperSetting setting;
};

struct PaperRow {
  std::string name;
  std::optional<std::string> strategy;  // name, label or group of runs; none: not in strata
  PaperSetting setting;
  std::vector<PublishedValue> values;  // one a column
  std::vector<std::string> notes;
};

struct PaperTable {
  std::string name, source, read;
  PaperSetting setting;
  std::vector<PaperColumn> columns;
  std::vector<PaperRow> rows;
  std::vector<std::string> notes;

  // The row's over the column's over the table's.
  PaperSetting setting_of(const PaperRow& row, std::size_t column) const;
};

struct Paper {
  std::string title, arxiv;
  std::string read;  // in what the numbers were read: full_text, code, note, summary
  std::vector<std::string> notes;
  std::vector<PaperTable> tables;

  std::size_t published() const;  // numbers
};

// Errors say where in the file.
Result<Paper> parse_paper(const config::Value& value);

}  // namespace strata
