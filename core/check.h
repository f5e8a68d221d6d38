// Check: whether something is as it must be, in words with figures. Signs of a bug
// (docs/diagnostics.md) are written as these by whoever looks for them, and read by reports.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace strata {

struct Check {
  // kNotJudged: what there was to look at cannot say it; found has the reason.
  enum class Outcome { kClear, kSign, kNotJudged };
  std::string name;      // what is looked at: "gates"
  std::string expected;  // "not all equal"
  std::string found;     // with figures: "0.2 to 0.9"
  Outcome outcome = Outcome::kClear;
};

// "gates: expected not all equal, found all 1".
std::string sentence(const Check& check);

// Adds the check to the list "checks" and, where it is a sign, its sentence to "signs_of_a_bug".
void note(nlohmann::json& diagnostics, const Check& check);

// "signs_of_a_bug" of diagnostics as they were stored, by whomever; empty where there is none.
std::vector<std::string> signs_in(const nlohmann::json& diagnostics);
// A line for each of its "checks": name, what was found, and whether that is a sign.
std::vector<std::string> checks_in(const nlohmann::json& diagnostics);

}  // namespace strata
