#include "results/json_text.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"

namespace strata {
namespace {

using nlohmann::json;

// Discarded: no JSON, or beyond the limits of parse_json.
json parse(std::string_view text) {
  return parse_json(text).value_or(json(json::value_t::discarded));
}

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

template <typename T>
bool read_as(std::string_view text, T& out) {
  const json value = parse(text);
  if (value.is_discarded()) return false;
  try {
    out = value.get<T>();
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

}  // namespace

Result<std::string> canonical_json(std::string_view text, std::string_view what) {
  if (text.empty()) return std::string("{}");
  const json value = parse(text);
  if (value.is_discarded())
    return fail(ErrorKind::kInvalidArgument, "{}: expected JSON, got '{}'", what,
                text.substr(0, 60));
  return dump(value);
}

std::string json_of(const std::vector<double>& values) { return dump(values); }
std::string json_of(const std::vector<std::string>& values) { return dump(values); }
std::string json_of(const Tokens& values) { return dump(values); }
std::string json_of(const std::map<std::string, double>& values) { return dump(values); }

bool read_json(std::string_view text, std::vector<double>& out) { return read_as(text, out); }
bool read_json(std::string_view text, std::vector<std::string>& out) { return read_as(text, out); }
bool read_json(std::string_view text, Tokens& out) {
  // Not read_as: the library would cut larger numbers down.
  const json value = parse(text);
  if (!value.is_array()) return false;
  out.clear();
  for (const json& token : value) {
    if (!token.is_number_integer() || token < std::numeric_limits<TokenId>::min() ||
        token > std::numeric_limits<TokenId>::max())
      return false;
    out.push_back(token.get<TokenId>());
  }
  return true;
}
bool read_json(std::string_view text, std::map<std::string, double>& out) {
  return read_as(text, out);
}

}  // namespace strata
