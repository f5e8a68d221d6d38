#include "runner/config/merge.h"

#include <algorithm>

#include "core/config/binder.h"

namespace strata::config {
namespace {

struct Split {
  std::string parent;
  std::string last;
};

Split split_key(const std::string& key) {
  const std::size_t dot = key.rfind('.');
  if (dot == std::string::npos) return {"", key};
  return {key.substr(0, dot), key.substr(dot + 1)};
}

void collect_keys(const Value& value, const std::string& path, std::vector<std::string>& out) {
  const Map* map = value.if_map();
  if (map == nullptr) return;
  for (const MapEntry& entry : *map) {
    const std::string key = path.empty() ? entry.key : path + '.' + entry.key;
    out.push_back(key);
    collect_keys(entry.value, key, out);
  }
}

// The nearest of all keys; else the one of that name elsewhere; else the keys where the path still
// led somewhere.
std::string key_hint(const Value& config, const std::string& key) {
  std::vector<std::string> keys;
  collect_keys(config, "", keys);
  if (const auto best = nearest(key, keys)) return fmt::format("did you mean '{}'?", *best);
  Split split = split_key(key);
  for (const std::string& candidate : keys) {
    if (split_key(candidate).last == split.last)
      return fmt::format("did you mean '{}'?", candidate);
  }
  while (!split.parent.empty() && config.find(split.parent) == nullptr)
    split = split_key(split.parent);
  keys.clear();
  if (const Value* parent = config.find(split.parent);
      parent != nullptr && parent->if_map() != nullptr) {
    for (const MapEntry& entry : *parent->if_map()) keys.push_back(entry.key);
  }
  return nearest_hint(
      split.last, keys,
      split.parent.empty() ? "known keys" : fmt::format("keys of {}", split.parent));
}

tl::unexpected<Error> refuse(const Override& override, std::string message, std::string hint) {
  return fail(Error{
      ErrorKind::kInvalidArgument, std::move(message), {override.key_pos.text()}, std::move(hint)});
}

tl::unexpected<Error> unknown_key(const Value& config, const Override& override,
                                  const std::string& key) {
  return refuse(override, fmt::format("unknown key '{}'", key), key_hint(config, override.key));
}

// Every key of a dict given for an existing mapping must exist there too.
Status check_known(const Value& config, const Override& override, const Value& target,
                   const Value& value, const std::string& path) {
  const Map* map = value.if_map();
  if (map == nullptr || target.if_map() == nullptr) return {};
  for (const MapEntry& entry : *map) {
    const std::string key = path + '.' + entry.key;
    const Value* inner = target.if_map()->find(entry.key);
    if (inner == nullptr) return unknown_key(config, override, key);
    RETURN_IF_ERROR(check_known(config, override, *inner, entry.value, key));
  }
  return {};
}

Status change(Value& config, const Override& override, const Value& value) {
  Value* target = config.find(override.key);
  if (target == nullptr) return unknown_key(config, override, override.key);
  RETURN_IF_ERROR(check_known(config, override, *target, value, override.key));
  return merge(*target, value, Missing::kWins, override.key);
}

// Makes mappings on the way where there is nothing, or only a scalar.
Status add(Value& config, const Override& override, const Value& value) {
  if (Value* target = config.find(override.key)) {
    return merge(*target, value, Missing::kWins, override.key);
  }
  Value* here = &config;
  std::string rest = override.key;
  while (!rest.empty()) {
    const std::size_t dot = rest.find('.');
    const std::string key = rest.substr(0, dot);
    rest = dot == std::string::npos ? "" : rest.substr(dot + 1);
    if (here->if_list() != nullptr) {
      Value* item = here->find(key);
      if (item == nullptr)
        return refuse(override, fmt::format("the list has no element '{}'", key), "");
      here = item;
      continue;
    }
    if (here->if_map() == nullptr) *here = Value(Map());
    Value* next = here->if_map()->find(key);
    here = next != nullptr ? next : &here->if_map()->set(key, override.key_pos, Value());
  }
  *here = value;
  return {};
}

Status remove(Value& config, const Override& override, const Value* value) {
  const Value* target = config.find(override.key);
  if (target == nullptr) return unknown_key(config, override, override.key);
  if (value != nullptr && !value->is_null() && !(*value == *target)) {
    return refuse(override,
                  fmt::format("'{}' is {}, not {}, so it stays", override.key, target->describe(),
                              value->describe()),
                  "");
  }
  const Split split = split_key(override.key);
  Map* map = config.find(split.parent)->if_map();
  if (map == nullptr)
    return refuse(override, "an element of a list cannot be deleted", "give the whole list");
  map->erase(split.last);
  return {};
}

}  // namespace

Status merge(Value& below, const Value& above, Missing missing, const std::string& path) {
  Map* target = below.if_map();
  const Map* source = above.if_map();
  const bool clash = (target != nullptr && above.if_list() != nullptr) ||
                     (source != nullptr && below.if_list() != nullptr);
  if (clash) {
    Error error = make_error(ErrorKind::kInvalidArgument, "{}: expected {}, got {}", path,
                             below.type_name(), above.type_name());
    error.where.push_back(above.pos.text());
    if (!below.pos.file.empty())
      error.hint = fmt::format("it is {} at {}", below.type_name(), below.pos.text());
    return fail(std::move(error));
  }
  if (target == nullptr || source == nullptr) {
    if (missing == Missing::kWins || !above.is_mandatory()) below = above;
    return {};
  }
  for (const MapEntry& entry : *source) {
    if (Value* existing = target->find(entry.key)) {
      RETURN_IF_ERROR(merge(*existing, entry.value, missing,
                            path.empty() ? entry.key : path + '.' + entry.key));
    } else {
      target->set(entry.key, entry.key_pos, entry.value);
    }
  }
  return {};
}

Value embed(Value value, const std::string& package) {
  std::string rest = package;
  while (!rest.empty()) {
    const Split split = split_key(rest);
    SourcePos pos = value.pos;
    Map map;
    map.set(split.last, pos, std::move(value));
    value = Value(std::move(map));
    value.pos = std::move(pos);
    rest = split.parent;
  }
  return value;
}

Status apply_override(Value& config, const Override& override) {
  if (override.package) {
    return refuse(override, fmt::format("there is no group '{}'", override.key),
                  "'@' belongs to overrides of groups");
  }
  const Value* value = override.element();
  switch (override.kind) {
    case OverrideKind::kChange: {
      Status status = change(config, override, *value);
      if (!status && override.key.find('/') != std::string::npos) {
        return refuse(override, fmt::format("there is no group '{}'", override.key), "");
      }
      return status;
    }
    case OverrideKind::kAdd: {
      const Value* existing = config.find(override.key);
      const bool free = existing == nullptr || existing->is_null() || existing->is_mandatory();
      if (!free && value->if_map() == nullptr && value->if_list() == nullptr) {
        return refuse(override, fmt::format("'{}' is already there", override.key),
                      fmt::format("to change it write {}, to add or change it +{}",
                                  override.line.substr(1), override.line));
      }
      return add(config, override, *value);
    }
    case OverrideKind::kForceAdd: return add(config, override, *value);
    case OverrideKind::kDelete: return remove(config, override, value);
  }
  return {};
}

}  // namespace strata::config
