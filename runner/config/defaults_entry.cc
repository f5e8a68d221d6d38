#include "runner/config/defaults_entry.h"

#include <algorithm>

namespace strata::config {
namespace {

tl::unexpected<Error> fail_at(const SourcePos& pos, ErrorKind kind, std::string message) {
  return fail(Error{kind, std::move(message), {pos.text()}, {}});
}

void split_package(std::string_view text, std::string& name, std::optional<std::string>& package) {
  const std::size_t at = text.find('@');
  name = text.substr(0, at);
  if (at == std::string_view::npos) return;
  package = std::string(text.substr(at + 1));
  if (*package == "_here_") package = "";
}

Status refuse_interpolation(const Value& value) {
  const std::string* text = value.if_string();
  if (text == nullptr || text->find("${") == std::string::npos) return {};
  return fail_at(value.pos, ErrorKind::kUnsupported,
                 fmt::format("interpolation inside a defaults list is not supported: '{}'", *text));
}

Status check_option(const Value& option) {
  RETURN_IF_ERROR(refuse_interpolation(option));
  if (option.is_null() || option.if_string() != nullptr) return {};
  const List* list = option.if_list();
  if (list == nullptr) {
    return fail_at(
        option.pos, ErrorKind::kInvalidFile,
        "expected the name of an option, a list of names or null, got " + option.describe());
  }
  for (const Value& item : *list) {
    RETURN_IF_ERROR(refuse_interpolation(item));
    if (item.if_string() == nullptr) {
      return fail_at(item.pos, ErrorKind::kInvalidFile,
                     "expected the name of an option, got " + item.describe());
    }
  }
  return {};
}

Result<DefaultsEntry> parse_entry(const Value& item) {
  DefaultsEntry entry;
  entry.pos = item.pos;
  std::string name;
  if (const std::string* text = item.if_string()) {
    RETURN_IF_ERROR(refuse_interpolation(item));
    split_package(*text, name, entry.package);
    entry.option = Value(name);
    entry.option.pos = item.pos;
    if (name.empty())
      return fail_at(item.pos, ErrorKind::kInvalidFile, "expected the name of a config, got ''");
    if (entry.is_self() && entry.package) {
      return fail_at(item.pos, ErrorKind::kInvalidFile, "'_self_' takes no package");
    }
    return entry;
  }
  const Map* map = item.if_map();
  if (map == nullptr || map->size() != 1) {
    return fail_at(
        item.pos, ErrorKind::kInvalidFile,
        "expected '_self_', the name of a config or one 'group: option', got " +
            (map == nullptr ? item.describe() : fmt::format("a mapping of {} keys", map->size())));
  }
  const MapEntry& only = *map->begin();
  entry.pos = only.key_pos;
  std::string_view key = only.key;
  for (std::size_t space = key.find(' '); space != std::string_view::npos; space = key.find(' ')) {
    const std::string_view keyword = key.substr(0, space);
    if (keyword != "optional" && keyword != "override") {
      return fail_at(
          only.key_pos, ErrorKind::kInvalidFile,
          fmt::format("expected 'optional' or 'override' before the group, got '{}'", keyword));
    }
    (keyword == "optional" ? entry.is_optional : entry.is_override) = true;
    key = key.substr(space + 1);
  }
  split_package(key, entry.group, entry.package);
  if (entry.group.empty() || entry.group == "/") {
    return fail_at(only.key_pos, ErrorKind::kInvalidFile,
                   fmt::format("expected the name of a group, got '{}'", only.key));
  }
  RETURN_IF_ERROR(check_option(only.value));
  entry.option = only.value;
  return entry;
}

}  // namespace

Result<std::vector<DefaultsEntry>> parse_defaults(const Value& list) {
  std::vector<DefaultsEntry> out;
  if (list.if_list() == nullptr) {
    return fail_at(list.pos, ErrorKind::kInvalidFile,
                   "expected a list under 'defaults', got " + list.describe());
  }
  for (const Value& item : *list.if_list()) {
    ASSIGN_OR_RETURN(DefaultsEntry entry, parse_entry(item));
    out.push_back(std::move(entry));
  }
  const auto selves = std::count_if(out.begin(), out.end(),
                                    [](const DefaultsEntry& entry) { return entry.is_self(); });
  if (selves > 1)
    return fail_at(list.pos, ErrorKind::kInvalidFile, "'_self_' is in the defaults list twice");
  return out;
}

}  // namespace strata::config
