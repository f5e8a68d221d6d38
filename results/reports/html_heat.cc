// heat_figures(): report grid's maps, coloured.
#include <fmt/format.h>

#include <algorithm>

#include "results/reports/format.h"
#include "results/reports/heat_map.h"
#include "results/reports/html_charts.h"
#include "results/reports/html_page.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxMaps = 24;

struct Metric {
  const char* name;
  std::optional<double> HeatCell::*value;
  double scale;
  const char* format;  // of d3
  bool reverse;        // low is good
};
constexpr Metric kMetrics[] = {{"right answers, %", &HeatCell::gen_contains, 100, ".0f", false},
                               {"NLL", &HeatCell::answer_nll, 1, ".2f", true}};

// One scale of colours for all maps of a metric, so that they may be compared.
std::optional<std::pair<double, double>> domain_of(const std::vector<HeatMap>& maps,
                                                   const Metric& metric) {
  if (metric.scale != 1) return std::pair(0.0, metric.scale);
  std::optional<std::pair<double, double>> out;
  for (const HeatMap& map : maps)
    for (const HeatCell& cell : map.cells)
      if (const std::optional<double>& value = cell.*metric.value) {
        if (!out) out = std::pair(*value, *value);
        out->first = std::min(out->first, *value);
        out->second = std::max(out->second, *value);
      }
  return out;
}

}  // namespace

std::string heat_figures(const LeaderboardData& data, ChartSet& charts) {
  const std::vector<HeatMap> maps = heat_maps(data);
  std::string out;
  std::size_t drawn = 0;
  for (const HeatMap& map : maps) {
    if (++drawn > kMaxMaps) break;
    const ReportPage tables = heat_map_page({map}, ReportFormat::kHtml);
    for (std::size_t i = 0; i < std::size(kMetrics); ++i) {
      const Metric& metric = kMetrics[i];
      const auto domain = domain_of(maps, metric);
      json points = json::array();
      for (const HeatCell& cell : map.cells)
        if (const std::optional<double>& value = cell.*metric.value)
          points.push_back({cell.length, cell.depth, *value * metric.scale});
      if (points.empty() || !domain) continue;
      const std::string caption = fmt::format("{} · {}", map.name, metric.name);
      out += charts.figure(
          {{"type", "heat"},
           {"value", metric.name},
           {"format", metric.format},
           {"reverse", metric.reverse},
           {"domain", {domain->first, domain->second}},
           {"points", points}},
          caption, caption + " by depth and length of the needle; the numbers are below.", {},
          "<details><summary>numbers</summary>\n" + html_table(tables.sections[i].table, caption) +
              "</details>\n");
    }
  }
  if (out.empty()) return out;
  std::string note;
  if (maps.size() > kMaxMaps)
    note = html_lines(
        {fmt::format("{} of {} runs are drawn: narrow them with --where.", kMaxMaps, maps.size())},
        "notes");
  return "<div class=\"charts\">\n" + out + "</div>\n" + note;
}

}  // namespace strata
