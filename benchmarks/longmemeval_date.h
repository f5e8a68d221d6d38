// LongMemEval's dates: "2023/05/30 (Tue) 23:40".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace strata {

inline constexpr std::int64_t kMinutesPerDay = 1440;

// Minutes since 1970/01/01 00:00; none for what is no such date, has a day that the calendar lacks,
// or the name of another weekday. Years 1000 to 9999.
std::optional<std::int64_t> minutes_of_date(std::string_view text);
std::string date_of_minutes(std::int64_t minutes);

}  // namespace strata
