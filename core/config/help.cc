#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "core/config/binder.h"
#include "core/sha256.h"

namespace strata::config {
std::string Constraint::text() const {
  std::vector<std::string> parts;
  if (at_least) parts.push_back(fmt::format("at least {}", *at_least));
  if (above) parts.push_back(fmt::format("above {}", *above));
  if (at_most) parts.push_back(fmt::format("at most {}", *at_most));
  if (!choices.empty()) parts.push_back(fmt::format("one of {}", fmt::join(choices, ", ")));
  return fmt::format("{}", fmt::join(parts, " and "));
}

std::string config_hash(const nlohmann::json& config) {
  return sha256_hex(config.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

namespace internal {

Value write(std::uint64_t field) {
  if (std::in_range<std::int64_t>(field)) return Value(static_cast<std::int64_t>(field));
  return Value(std::to_string(field));
}

void mark_default(Value& value) {
  value.pos = {"default", 0, 0};
  if (List* list = value.if_list()) {
    for (Value& item : *list) mark_default(item);
  }
  if (Map* map = value.if_map()) {
    for (MapEntry& entry : *map) {
      entry.key_pos = value.pos;
      mark_default(entry.value);
    }
  }
}

std::string join_choices(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, " | "));
}

FieldHelp field_help(std::string path, std::string type, const Value& value, std::string_view help,
                     const Constraint& constraint, std::vector<std::string> choices) {
  return {std::move(path),
          std::move(type),
          value.if_string() != nullptr && value.if_string()->empty() ? "''" : value.to_text(),
          std::string(help),
          constraint.text(),
          std::move(choices)};
}

}  // namespace internal
}  // namespace strata::config
