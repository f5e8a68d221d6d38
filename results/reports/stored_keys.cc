#include "results/reports/stored_keys.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"

namespace strata {
namespace {

using nlohmann::json;
using Values = std::vector<std::pair<std::string, std::string>>;

void add_leaves(const json& value, const std::string& path, Values& out) {
  if (value.is_object()) {
    for (const auto& [key, inner] : value.items())
      add_leaves(inner, path.empty() ? key : fmt::format("{}.{}", path, key), out);
    return;
  }
  if (value.is_null() || path.empty()) return;
  out.emplace_back(path, value.is_string() ? value.get<std::string>() : value.dump());
}

// Columns last: their names are no keys of a configuration but these, which mean the same.
void add_columns(const RunRow& run, Values& out) {
  out.emplace_back("run", run.id);
  out.emplace_back("label", run.label);
  out.emplace_back("group", run.group);
  out.emplace_back("strategy", run.strategy);
  out.emplace_back("status", to_string(run.status));
  out.emplace_back("granularity", to_string(run.granularity));
  out.emplace_back("decode_rule", to_string(run.decode_rule));
  out.emplace_back("window", fmt::format("{}", run.window));
  out.emplace_back("sinks", fmt::format("{}", run.sinks));
  out.emplace_back("benchmark", run.benchmark);
  out.emplace_back("config_hash", run.config_hash);
  if (run.budget_units) out.emplace_back("budget.units", fmt::format("{}", *run.budget_units));
  if (run.budget_fraction) out.emplace_back("budget.fraction", json(*run.budget_fraction).dump());
}

}  // namespace

Result<KeyFilter> parse_key_filter(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0)
    return fail(ErrorKind::kInvalidArgument,
                "--where: expected KEY=VALUE (calibration.samples=16), got '{}'", text);
  return KeyFilter{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

StoredKeys::StoredKeys(const RunRow& run, const SelectionRow* selection, const ModelRow* model) {
  add_leaves(parse_json(run.config_json).value_or(json()), "", values_);
  add_leaves(parse_json(run.benchmark_config_json).value_or(json()), "benchmark", values_);
  add_columns(run, values_);
  if (model != nullptr) {
    values_.emplace_back("model", model->name);
    values_.emplace_back("model.id", model->id);
  }
  if (selection != nullptr) {
    values_.emplace_back("selection", selection->id);
    values_.emplace_back("supervision", selection->supervision);
    values_.emplace_back("calibration.id", selection->calibration_id);
    values_.emplace_back("selection.seed", fmt::format("{}", selection->seed));
  }
  // Of a key that stands there twice the later one counts.
  std::stable_sort(values_.begin(), values_.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
}

std::optional<std::string> StoredKeys::value(std::string_view key) const {
  const auto after = std::upper_bound(
      values_.begin(), values_.end(), key,
      [](std::string_view wanted, const auto& entry) { return wanted < entry.first; });
  if (after == values_.begin() || (after - 1)->first != key) return std::nullopt;
  return (after - 1)->second;
}

bool StoredKeys::matches(const KeyFilter& filter) const {
  const std::optional<std::string> mine = value(filter.key);
  if (!mine || *mine == filter.value) return mine.has_value();
  const auto asked = parse_json(filter.value), have = parse_json(*mine);
  return asked && have && asked->is_number() && have->is_number() &&
         asked->get<double>() == have->get<double>();
}

std::vector<std::string> StoredKeys::names() const {
  std::vector<std::string> out;
  for (const auto& [key, value] : values_)
    if (out.empty() || out.back() != key) out.push_back(key);
  return out;
}

}  // namespace strata
