#include "core/config/value.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace strata::config {

std::string SourcePos::text() const {
  if (file.empty()) return {};
  if (line > 0) return fmt::format("{}:{}:{}", file, line, column);
  return column > 0 ? fmt::format("{}:{}", file, column) : file;
}

Map::Map() = default;
Map::~Map() = default;
Map::Map(const Map&) = default;
Map::Map(Map&&) noexcept = default;
Map& Map::operator=(const Map&) = default;
Map& Map::operator=(Map&&) noexcept = default;

const MapEntry* Map::find_entry(std::string_view key) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const MapEntry& entry) { return entry.key == key; });
  return found == entries_.end() ? nullptr : &*found;
}

const Value* Map::find(std::string_view key) const {
  const MapEntry* entry = find_entry(key);
  return entry == nullptr ? nullptr : &entry->value;
}

Value* Map::find(std::string_view key) {
  return const_cast<Value*>(std::as_const(*this).find(key));
}

Value& Map::set(std::string key, Value value) {
  SourcePos pos = value.pos;
  return set(std::move(key), std::move(pos), std::move(value));
}

Value& Map::set(std::string key, SourcePos key_pos, Value value) {
  if (auto* entry = const_cast<MapEntry*>(find_entry(key))) {
    entry->key_pos = std::move(key_pos);
    entry->value = std::move(value);
    return entry->value;
  }
  entries_.push_back({std::move(key), std::move(key_pos), std::move(value)});
  return entries_.back().value;
}

bool Map::erase(std::string_view key) {
  return std::erase_if(entries_, [&](const MapEntry& entry) { return entry.key == key; }) > 0;
}

bool Value::is_mandatory() const {
  const std::string* text = if_string();
  return text != nullptr && *text == kMandatory;
}

const Value* Value::find(std::string_view dotted_path) const {
  const Value* here = this;
  while (!dotted_path.empty() && here != nullptr) {
    const std::size_t dot = dotted_path.find('.');
    const std::string_view key = dotted_path.substr(0, dot);
    dotted_path = dot == std::string_view::npos ? std::string_view() : dotted_path.substr(dot + 1);
    if (const Map* map = here->if_map()) {
      here = map->find(key);
    } else if (const List* list = here->if_list()) {
      std::size_t index = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      const bool good =
          error == std::errc() && end == key.data() + key.size() && index < list->size();
      here = good ? &(*list)[index] : nullptr;
    } else {
      here = nullptr;
    }
  }
  return here;
}

Value* Value::find(std::string_view dotted_path) {
  return const_cast<Value*>(std::as_const(*this).find(dotted_path));
}

std::string Value::type_name() const {
  static constexpr std::array<const char*, 7> kNames = {
      "null", "a boolean", "an integer", "a real number", "a string", "a list", "a mapping"};
  return kNames.at(data_.index());
}

std::string Value::describe() const {
  if (const bool* flag = if_bool()) return *flag ? "the boolean true" : "the boolean false";
  if (const std::int64_t* integer = if_int()) return fmt::format("the integer {}", *integer);
  if (const double* real = if_double()) return "the real number " + real_text(*real);
  if (const std::string* text = if_string()) return fmt::format("the string '{}'", *text);
  return type_name();
}

std::string Value::to_text() const {
  if (const bool* flag = if_bool()) return *flag ? "true" : "false";
  if (const std::int64_t* integer = if_int()) return std::to_string(*integer);
  if (const double* real = if_double()) return real_text(*real);
  if (const std::string* text = if_string()) return *text;
  std::vector<std::string> parts;
  if (const List* list = if_list()) {
    for (const Value& item : *list) parts.push_back(item.to_text());
    return fmt::format("[{}]", fmt::join(parts, ","));
  }
  if (const Map* map = if_map()) {
    for (const MapEntry& entry : *map) parts.push_back(entry.key + ":" + entry.value.to_text());
    return fmt::format("{{{}}}", fmt::join(parts, ","));
  }
  return "null";
}

nlohmann::json Value::to_json() const {
  if (const bool* flag = if_bool()) return *flag;
  if (const std::int64_t* integer = if_int()) return *integer;
  if (const double* real = if_double()) {
    if (std::isfinite(*real)) return *real;
    return real_text(*real);
  }
  if (const std::string* text = if_string()) return *text;
  if (const List* list = if_list()) {
    nlohmann::json out = nlohmann::json::array();
    for (const Value& item : *list) out.push_back(item.to_json());
    return out;
  }
  if (const Map* map = if_map()) {
    nlohmann::json out = nlohmann::json::object();
    for (const MapEntry& entry : *map) out[entry.key] = entry.value.to_json();
    return out;
  }
  return nullptr;
}

bool operator==(const Value& a, const Value& b) {
  const Map* map_a = a.if_map();
  const Map* map_b = b.if_map();
  if (map_a == nullptr || map_b == nullptr) {
    // Neither is compared as a map below: a map and another type differ by their index.
    if (a.data_.index() != b.data_.index()) return false;
    if (const List* list = a.if_list()) return *list == *b.if_list();
    if (const double* real = a.if_double()) {
      return *real == *b.if_double() || (std::isnan(*real) && std::isnan(*b.if_double()));
    }
    if (const std::string* text = a.if_string()) return *text == *b.if_string();
    if (const std::int64_t* integer = a.if_int()) return *integer == *b.if_int();
    if (const bool* flag = a.if_bool()) return *flag == *b.if_bool();
    return true;
  }
  return map_a->size() == map_b->size() &&
         std::all_of(map_a->begin(), map_a->end(), [&](const MapEntry& entry) {
           const Value* other = map_b->find(entry.key);
           return other != nullptr && entry.value == *other;
         });
}

std::string real_text(double value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value > 0 ? ".inf" : "-.inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace strata::config
