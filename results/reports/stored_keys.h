// Any stored key of a run, for filters and groups of reports: a column of runs, models or
// selections, or a dotted key of the run's configuration.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/rows.h"

namespace strata {

struct KeyFilter {
  std::string key, value;
};
// "calibration.samples=16"; the error names what was expected.
Result<KeyFilter> parse_key_filter(std::string_view text);

// What a run has, read once. `selection` and `model` may be null.
class StoredKeys {
 public:
  StoredKeys(const RunRow& run, const SelectionRow* selection, const ModelRow* model);
  // As text: strings as they are, numbers as JSON writes them. None where the run has no such key.
  std::optional<std::string> value(std::string_view key) const;
  // Equal as text, or as numbers: budget.fraction=0.250 is 0.25.
  bool matches(const KeyFilter& filter) const;
  // Every key, for hints.
  std::vector<std::string> names() const;

 private:
  std::vector<std::pair<std::string, std::string>> values_;  // sorted by key
};

}  // namespace strata
