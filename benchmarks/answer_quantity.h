// Quantities, times of day and days of the year in a text. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "benchmarks/answer_text.h"

namespace strata {

enum class UnitKind { kNone, kTime, kMonths, kMoney, kPercent, kThing };

struct Quantity {
  double value = 0;   // as it was said
  double amount = 0;  // in seconds, months, or as it was said
  double step = 1;    // one of its unit, as amount
  UnitKind kind = UnitKind::kNone;
  std::string unit;  // "week", "plant"; empty: none
  int decimals = 0;
  std::size_t begin = 0, end = 0;  // words
  int sentence = 0, clause = 0;
  bool year = false;  // may be one: "2019"
};

// In order. Numbers of lists, days of months, times of day and ordinals are none.
// "4 years and 9 months" is one quantity; "an hour and a half" 1.5 hours, "over a year" one year.
std::vector<Quantity> quantities_of(const std::vector<Word>& words);

// The unit that "how many weeks …" asks for; empty where a question asks for none.
std::string asked_unit(const std::vector<Word>& question);
// A time unit's kind and length; nothing for other words.
struct TimeUnit {
  UnitKind kind;
  double amount;
};
std::optional<TimeUnit> time_unit(std::string_view word);

struct Moment {
  std::int64_t value = 0;  // minutes of the day, or 100 · month + day
  std::size_t begin = 0, end = 0;
  int sentence = 0, clause = 0;
};
std::vector<Moment> clock_times_of(const std::vector<Word>& words);  // "7 pm", "6:45 AM"
std::vector<Moment> days_of(const std::vector<Word>& words);         // "June 3rd", "3 June"

}  // namespace strata
