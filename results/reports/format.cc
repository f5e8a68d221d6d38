#include "results/reports/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "results/reports/leaderboard_data.h"

namespace strata {

std::string percent(double share, int decimals) {
  return fmt::format("{:.{}f}", share * 100, decimals);
}

TextTable::Cell with_interval(const std::optional<Estimate>& estimate, double scale, int decimals,
                              bool sign) {
  if (!estimate) return kNoValue;
  const auto one = [&](double value) {
    // Rounding must not print a minus in front of zero.
    const double unit = std::pow(10.0, decimals);
    const double rounded = std::round(value * scale * unit) / unit + 0.0;
    return sign ? fmt::format("{:+.{}f}", rounded, decimals)
                : fmt::format("{:.{}f}", rounded, decimals);
  };
  std::string out = one(estimate->value);
  Estimate exact{estimate->value * scale, {}};
  if (const auto& interval = estimate->interval) {
    out += fmt::format(" [{}, {}]", one(interval->low), one(interval->high));
    exact.interval = Interval{interval->low * scale, interval->high * scale};
  }
  return {std::move(out), exact};
}

TextTable::Cell shown(double value, std::string text) {
  return {std::move(text), Estimate{value, {}}};
}

TextTable::Cell number(const std::optional<double>& value, int decimals) {
  return value ? shown(*value, fmt::format("{:.{}f}", *value, decimals)) : kNoValue;
}

// Fifteen digits: what a percentage has beyond them is of the multiplication.
std::string exact(double value) { return fmt::format("{:.15g}", value); }

std::string csv_text(const TextTable::Cell& cell) {
  return cell.number ? exact(cell.number->value) : cell.text == kNoValue ? "" : cell.text;
}

TextTable::Cell p_text(const std::optional<double>& p) {
  if (!p) return kNoValue;
  return shown(*p, *p < 0.001 ? "<0.001" : fmt::format("{:.3f}", *p));
}

std::string sql_text(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + "'";
}

std::string sql_list(const std::vector<std::string>& ids) {
  std::string out;
  for (const std::string& id : ids) out += (out.empty() ? "" : ", ") + sql_text(id);
  return out;
}

std::string count(double value) {
  constexpr std::array<const char*, 5> kUnits = {"", "k", "M", "G", "T"};
  std::size_t unit = 0;
  while (std::abs(value) >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}{}", value, kUnits[unit]);
}

std::string bytes(double value) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (std::abs(value) >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", value) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string short_id(const std::string& id) { return id.substr(0, 8); }

const char* unit_name(Granularity granularity) {
  switch (granularity) {
    case Granularity::kLayer: return "layer";
    case Granularity::kKvHead: return "KV head";
    case Granularity::kQueryHead: return "query head";
  }
  return "unit";
}

const char* kind_name(RowKind kind) {
  switch (kind) {
    case RowKind::kRanked: return "ranked";
    case RowKind::kUnmatched: return "unmatched";
    case RowKind::kControl: return "control";
    case RowKind::kReference: return "reference";
  }
  return "";
}

std::string plural(std::int64_t n, const std::string& noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

std::string strip_text(const LayerStrip& strip) {
  std::string out;
  for (const double share : strip.kept_share) {
    if (share <= 0) {
      out += "·";
    } else if (share >= 1) {
      out += "█";
    } else {
      const int steps = strip.units_per_layer <= 9 ? strip.units_per_layer : 10;
      out +=
          static_cast<char>('0' + std::clamp(static_cast<int>(std::lround(share * steps)), 1, 9));
    }
  }
  return out;
}

std::string mixer_text(std::int64_t window, std::int64_t sinks, const std::string& linear) {
  if (linear.empty()) return fmt::format("window {} · sinks {}", window, sinks);
  const std::string text = linear + " linear attention";
  return window == 0 ? text : fmt::format("window {} · sinks {} · {}", window, sinks, text);
}

std::string mixer_text(const RunRow& run, const AttentionPlan* plan) {
  return run.group == "full" ? "" : mixer_text(run.window, run.sinks, linear_of(run, plan));
}

std::string config_text(const std::string& config_json) {
  const auto config = parse_json(config_json).value_or(nlohmann::json());
  if (!config.is_object()) return config_json;
  std::string out;
  for (const auto& [key, value] : config.items()) {
    if (!out.empty()) out += ' ';
    out += key + "=" + (value.is_string() ? value.get<std::string>() : value.dump());
  }
  return out;
}

std::string wrapped(const std::string& raw, std::size_t width) {
  const std::string text = without_controls(raw);
  std::string out, line;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (!line.empty() && display_width(line) + 1 + display_width(word) > width) {
      out += line + "\n";
      line = "  " + word;
    } else {
      line += (begin == 0 ? "" : " ") + word;
    }
    begin = end + 1;
  }
  return out + line + "\n";
}

}  // namespace strata
