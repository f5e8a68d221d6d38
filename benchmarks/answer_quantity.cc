#include "benchmarks/answer_quantity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace strata {
namespace {

constexpr double kMinute = 60, kHour = 3600, kDay = 86400;

struct NamedUnit {
  std::string_view name;
  TimeUnit unit;
};
constexpr std::array<NamedUnit, 13> kTimeUnits = {{{"second", {UnitKind::kTime, 1}},
                                                   {"sec", {UnitKind::kTime, 1}},
                                                   {"minute", {UnitKind::kTime, kMinute}},
                                                   {"min", {UnitKind::kTime, kMinute}},
                                                   {"hour", {UnitKind::kTime, kHour}},
                                                   {"hr", {UnitKind::kTime, kHour}},
                                                   {"day", {UnitKind::kTime, kDay}},
                                                   {"week", {UnitKind::kTime, 7 * kDay}},
                                                   {"fortnight", {UnitKind::kTime, 14 * kDay}},
                                                   {"month", {UnitKind::kMonths, 1}},
                                                   {"year", {UnitKind::kMonths, 12}},
                                                   {"yr", {UnitKind::kMonths, 12}},
                                                   {"decade", {UnitKind::kMonths, 120}}}};

constexpr std::array<std::string_view, 12> kMonths = {
    "january", "february", "march",     "april",   "may",      "june",
    "july",    "august",   "september", "october", "november", "december"};

int month_of(std::string_view word) {
  for (std::size_t i = 0; i < kMonths.size(); ++i)
    if (word == kMonths[i] ||
        (word.size() >= 3 && word.size() <= 4 && kMonths[i].starts_with(word)))
      return static_cast<int>(i) + 1;
  return 0;
}

bool is_money(std::string_view word) {
  return word == "dollar" || word == "usd" || word == "buck" || word == "euro";
}

bool is_at(const std::vector<Word>& words, std::size_t i, std::string_view text) {
  return i < words.size() && words[i].text == text;
}

class QuantityFinder {
 public:
  explicit QuantityFinder(const std::vector<Word>& words) : words_(words), taken_(words.size()) {
    for (const auto& moments : {clock_times_of(words), days_of(words)})
      for (const Moment& moment : moments)
        for (std::size_t i = moment.begin; i < moment.end; ++i) taken_[i] = true;
  }

  std::vector<Quantity> run() {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if (taken_[i]) continue;
      std::optional<Quantity> found = counted(i);
      if (!found) found = article(i);
      if (!found) continue;
      i = found->end - 1;
      if (!out_.empty() && continues(out_.back(), *found)) {
        out_.back().amount += found->amount;
        out_.back().end = found->end;
        out_.back().step = found->step;
        continue;
      }
      out_.push_back(*std::move(found));
    }
    return std::move(out_);
  }

 private:
  Quantity at(std::size_t i, double value) const {
    Quantity out;
    out.value = out.amount = value;
    out.begin = i;
    out.end = i + 1;
    out.sentence = words_[i].sentence;
    out.clause = words_[i].clause;
    return out;
  }

  // The word behind is the unit: a time, money, percent, or the thing that is counted.
  void take_unit(Quantity& quantity) const {
    const std::size_t i = quantity.end;
    if (i >= words_.size() || words_[i].clause != quantity.clause) return;
    const std::string& word = words_[i].text;
    if (words_[i].number || word == "and" || word == "or") return;
    if (const auto unit = time_unit(word)) {
      quantity.kind = unit->kind;
      quantity.step = unit->amount;
      quantity.amount = quantity.value * unit->amount;
    } else if (is_money(word)) {
      quantity.kind = UnitKind::kMoney;
    } else if (word == "percent" || word == "percentage") {
      quantity.kind = UnitKind::kPercent;
    } else if (is_filler_word(word)) {
      return;
    } else {
      quantity.kind = UnitKind::kThing;
    }
    quantity.unit = word;
    ++quantity.end;
  }

  std::optional<Quantity> counted(std::size_t i) const {
    const Word& word = words_[i];
    if (!word.number || word.ordinal || word.index) return std::nullopt;
    Quantity out = at(i, *word.number);
    out.decimals = word.decimals;
    take_unit(out);
    out.year = !word.grouped && word.decimals == 0 && *word.number >= 1900 &&
               *word.number <= 2100 && out.kind != UnitKind::kMoney &&
               out.kind != UnitKind::kPercent;
    // "1.5", "an hour and a half": half a unit more.
    half(out);
    return out;
  }

  void half(Quantity& quantity) const {
    const std::size_t i = quantity.end;
    if (is_at(words_, i, "and") && is_at(words_, i + 1, "a") && is_at(words_, i + 2, "half")) {
      quantity.value += 0.5;
      quantity.amount += 0.5 * quantity.step;
      quantity.end += 3;
      if (quantity.unit.empty()) take_unit(quantity);
    }
  }

  // "an hour", "half an hour", "a half hour".
  std::optional<Quantity> article(std::size_t i) const {
    std::size_t unit = i;
    double value = 1;
    if (is_at(words_, i, "half")) {
      value = 0.5;
      ++unit;
    }
    if (is_at(words_, unit, "a") || is_at(words_, unit, "an")) ++unit;
    if (is_at(words_, unit, "half") && value == 1) {
      value = 0.5;
      ++unit;
    }
    if (unit == i || unit >= words_.size() || !time_unit(words_[unit].text)) return std::nullopt;
    // "three times a week" is a rate.
    if (value == 1 && i > 0 && (is_at(words_, i - 1, "time") || is_at(words_, i - 1, "day")))
      return std::nullopt;
    Quantity out = at(i, value);
    out.end = unit;
    take_unit(out);
    half(out);
    return out;
  }

  // "4 years and 9 months".
  bool continues(const Quantity& first, const Quantity& second) const {
    const bool joined = second.begin == first.end ||
                        (second.begin == first.end + 1 && is_at(words_, first.end, "and"));
    const bool time = first.kind == UnitKind::kTime || first.kind == UnitKind::kMonths;
    return joined && time && first.kind == second.kind && second.step < first.step &&
           first.sentence == second.sentence;
  }

  const std::vector<Word>& words_;
  std::vector<bool> taken_;
  std::vector<Quantity> out_;
};

}  // namespace

std::optional<TimeUnit> time_unit(std::string_view word) {
  for (const NamedUnit& known : kTimeUnits)
    if (known.name == word) return known.unit;
  return std::nullopt;
}

std::vector<Quantity> quantities_of(const std::vector<Word>& words) {
  return QuantityFinder(words).run();
}

std::string asked_unit(const std::vector<Word>& question) {
  for (std::size_t i = 0; i + 2 < question.size(); ++i)
    if (question[i].text == "how" &&
        (question[i + 1].text == "many" || question[i + 1].text == "much"))
      return question[i + 2].text;
  return {};
}

std::vector<Moment> clock_times_of(const std::vector<Word>& words) {
  std::vector<Moment> out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& text = words[i].text;
    const auto colon = text.find(':');
    const bool hours_only =
        words[i].number && !words[i].ordinal && words[i].decimals == 0 && *words[i].number <= 24;
    if (!hours_only && (colon == std::string::npos || text.size() != colon + 3 || colon > 2))
      continue;
    const auto half = [&](std::string_view word) {  // am, pm; "a.m." is two words
      if (is_at(words, i + 1, word)) return 1;
      const bool apart = is_at(words, i + 1, word.substr(0, 1)) && is_at(words, i + 2, "m");
      return apart ? 2 : 0;
    };
    const int am = half("am");
    const int pm = half("pm");
    if (hours_only && am == 0 && pm == 0) continue;
    int hour = std::atoi(text.c_str());
    const int minute = colon == std::string::npos ? 0 : std::atoi(text.c_str() + colon + 1);
    if (hour > 24 || minute > 59 || ((am > 0 || pm > 0) && hour > 12)) continue;
    if (pm > 0 && hour < 12) hour += 12;
    if (am > 0 && hour == 12) hour = 0;
    out.push_back({hour * 60 + minute, i, i + 1 + static_cast<std::size_t>(am + pm),
                   words[i].sentence, words[i].clause});
  }
  return out;
}

std::vector<Moment> days_of(const std::vector<Word>& words) {
  std::vector<Moment> out;
  const auto is_day = [&](std::size_t i) {
    return i < words.size() && words[i].number && words[i].decimals == 0 && *words[i].number >= 1 &&
           *words[i].number <= 31;
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    const int month = month_of(words[i].text);
    if (month == 0) continue;
    std::size_t day = words.size();
    std::size_t begin = i;
    std::size_t end = i + 1;
    if (is_day(i + 1)) {
      day = i + 1;
      end = i + 2;
    } else if (i >= 2 && words[i - 1].text == "of" && is_day(i - 2)) {
      day = begin = i - 2;
    } else if (i >= 1 && is_day(i - 1)) {
      day = begin = i - 1;
    } else {
      continue;
    }
    out.push_back({std::int64_t{100} * month + static_cast<std::int64_t>(*words[day].number), begin,
                   end, words[i].sentence, words[i].clause});
  }
  return out;
}

}  // namespace strata
