#include "benchmarks/longmemeval_date.h"

#include <fmt/format.h>

#include <array>
#include <chrono>

namespace strata {
namespace {

constexpr std::array<std::string_view, 7> kWeekdays = {"Sun", "Mon", "Tue", "Wed",
                                                       "Thu", "Fri", "Sat"};
constexpr std::string_view kShape = "dddd/dd/dd (www) dd:dd";  // d: digit, w: any letter

int number_at(std::string_view text, std::size_t at, std::size_t digits) {
  int value = 0;
  for (const char c : text.substr(at, digits)) value = 10 * value + (c - '0');
  return value;
}

}  // namespace

std::optional<std::int64_t> minutes_of_date(std::string_view text) {
  if (text.size() != kShape.size()) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kShape[i] == 'd' ? !digit : kShape[i] != 'w' && kShape[i] != text[i]) return std::nullopt;
  }
  const std::chrono::year_month_day day(
      std::chrono::year(number_at(text, 0, 4)),
      std::chrono::month(static_cast<unsigned>(number_at(text, 5, 2))),
      std::chrono::day(static_cast<unsigned>(number_at(text, 8, 2))));
  const int hour = number_at(text, 17, 2);
  const int minute = number_at(text, 20, 2);
  if (text[0] == '0' || !day.ok() || hour > 23 || minute > 59) return std::nullopt;
  const std::chrono::sys_days days(day);
  if (kWeekdays[std::chrono::weekday(days).c_encoding()] != text.substr(12, 3)) return std::nullopt;
  return std::int64_t{days.time_since_epoch().count()} * kMinutesPerDay + std::int64_t{60} * hour +
         minute;
}

std::string date_of_minutes(std::int64_t minutes) {
  const std::int64_t of_day = (minutes % kMinutesPerDay + kMinutesPerDay) % kMinutesPerDay;
  const std::chrono::sys_days days(
      std::chrono::days(static_cast<int>((minutes - of_day) / kMinutesPerDay)));
  const std::chrono::year_month_day day(days);
  return fmt::format("{:04}/{:02}/{:02} ({}) {:02}:{:02}", static_cast<int>(day.year()),
                     static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()),
                     kWeekdays[std::chrono::weekday(days).c_encoding()], of_day / 60, of_day % 60);
}

}  // namespace strata
