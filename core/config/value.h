// Value: what a configuration is made of before it becomes typed structs: null, bool, integer,
// real, string, list and map (keys keep their order). Each value knows where it was written, so
// that an error about it can say so.
//
// A plain value type: copies are deep, equality ignores positions and the order of keys. Not bound
// to YAML, which only runner/config reads. Not thread-safe for writing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace strata::config {

// Lines and columns count from 1; line 0 = the place has no lines ("command line: 'a=1'").
struct SourcePos {
  std::string file;
  std::size_t line = 0;
  std::size_t column = 0;

  std::string text()
      const;  // "configs/config.yaml:12:5", "command line: 'a=1':3", "" where nothing is known
};

class Value;
struct MapEntry;
using List = std::vector<Value>;

class Map {
 public:
  // Defined where MapEntry is complete, as are the members below.
  Map();
  ~Map();
  Map(const Map&);
  Map(Map&&) noexcept;
  Map& operator=(const Map&);
  Map& operator=(Map&&) noexcept;

  // Pointers hold until the map changes.
  const Value* find(std::string_view key) const;
  Value* find(std::string_view key);
  const MapEntry* find_entry(std::string_view key) const;

  // Replaces the value of a key that exists (which keeps its place), else appends. Returns the
  // value in the map.
  Value& set(std::string key, Value value);
  Value& set(std::string key, SourcePos key_pos, Value value);
  bool erase(std::string_view key);

  std::size_t size() const;
  bool empty() const;
  std::vector<MapEntry>::const_iterator begin() const;
  std::vector<MapEntry>::const_iterator end() const;
  std::vector<MapEntry>::iterator begin();
  std::vector<MapEntry>::iterator end();

 private:
  std::vector<MapEntry> entries_;
};

class Value {
 public:
  Value() = default;  // null
  Value(bool value) : data_(value) {}
  Value(int value) : data_(static_cast<std::int64_t>(value)) {}
  Value(std::int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(const char* value) : data_(std::string(value)) {}
  Value(std::string_view value) : data_(std::string(value)) {}
  Value(std::string value) : data_(std::move(value)) {}
  Value(List value) : data_(std::move(value)) {}
  Value(Map value) : data_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  bool is_mandatory() const;  // "???": somebody must still give it

  // nullptr where the value is of another type; never converts.
  const bool* if_bool() const { return std::get_if<bool>(&data_); }
  const std::int64_t* if_int() const { return std::get_if<std::int64_t>(&data_); }
  const double* if_double() const { return std::get_if<double>(&data_); }
  const std::string* if_string() const { return std::get_if<std::string>(&data_); }
  const List* if_list() const { return std::get_if<List>(&data_); }
  const Map* if_map() const { return std::get_if<Map>(&data_); }
  std::string* if_string() { return std::get_if<std::string>(&data_); }
  List* if_list() { return std::get_if<List>(&data_); }
  Map* if_map() { return std::get_if<Map>(&data_); }

  // Follows a dotted path through maps and lists ("strategy.offset", "budgets.0"); nullptr where it
  // leads nowhere. The empty path is the value itself.
  const Value* find(std::string_view dotted_path) const;
  Value* find(std::string_view dotted_path);

  std::string type_name() const;  // for messages: "a string", "an integer", "a mapping"
  std::string describe() const;   // for messages: "the string 'abc'", "the integer 3", "a mapping"
  std::string to_text() const;  // on one line: abc, 3, 0.5, null, [a,b], {k:v}; strings as they are

  // Non-finite reals become the strings ".inf", "-.inf", ".nan". Objects sort their keys.
  nlohmann::json to_json() const;

  friend bool operator==(const Value& a, const Value& b);

  SourcePos pos;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, List, Map> data_;
};

struct MapEntry {
  std::string key;
  SourcePos key_pos;
  Value value;
};

inline std::size_t Map::size() const { return entries_.size(); }
inline bool Map::empty() const { return entries_.empty(); }
inline std::vector<MapEntry>::const_iterator Map::begin() const { return entries_.begin(); }
inline std::vector<MapEntry>::const_iterator Map::end() const { return entries_.end(); }
inline std::vector<MapEntry>::iterator Map::begin() { return entries_.begin(); }
inline std::vector<MapEntry>::iterator Map::end() { return entries_.end(); }

inline constexpr std::string_view kMandatory = "???";

// Shortest text that reads back as the same real, always recognisable as a real: "0.25", "1.0",
// "1e-05", ".inf".
std::string real_text(double value);

}  // namespace strata::config
