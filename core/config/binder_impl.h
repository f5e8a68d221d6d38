// The templates of binder.h; include that. One overload of read, write and type_text for each kind
// of field; what needs no template is in binder.cc and help.cc.
#pragma once

#include <utility>

#include "core/config/binder.h"

namespace strata::config::internal {

struct Place {
  std::string path;                        // dotted
  const Constraint* constraint = nullptr;  // may be null
};

Error error_at(const SourcePos& pos, ErrorKind kind, std::string message);
Error wrong_type(const Value& value, const Place& place, std::string_view expected);
Status refuse_mandatory(const Value& value, const Place& place);
Status check_keys(const Map& map, const std::string& path, const std::vector<std::string>& fields,
                  const std::vector<std::string>& also_known);
std::string join_path(const std::string& path, std::string_view key);

Status read(const Value& value, bool& out, const Place& place);
Status read(const Value& value, int& out, const Place& place);
Status read(const Value& value, std::int64_t& out, const Place& place);
Status read(const Value& value, std::uint64_t& out, const Place& place);
Status read(const Value& value, double& out, const Place& place);
Status read(const Value& value, std::string& out, const Place& place);
Result<std::size_t> read_choice(const Value& value, const Place& place,
                                const std::vector<std::string>& names);

inline Status read(const Value& value, Value& out, const Place& /*place*/) {
  out = value;
  return {};
}

template <NamedEnum E>
std::vector<std::string> enum_names() {
  std::vector<std::string> names;
  names.reserve(EnumTable<E>::kNames.size());
  for (const auto& entry : EnumTable<E>::kNames) names.emplace_back(entry.second);
  return names;
}

template <NamedEnum E>
Status read(const Value& value, E& out, const Place& place) {
  ASSIGN_OR_RETURN(const std::size_t index, read_choice(value, place, enum_names<E>()));
  out = EnumTable<E>::kNames[index].first;
  return {};
}

template <HasFields T>
Status read(const Value& value, T& out, const Place& place,
            const std::vector<std::string>& also_known = {}) {
  RETURN_IF_ERROR(refuse_mandatory(value, place));
  std::vector<std::string> names;
  T::fields(out, [&](const char* name, auto&&...) { names.emplace_back(name); });
  const Map* map = value.if_map();
  if (map == nullptr)
    return fail(
        wrong_type(value, place, "a mapping").with_hint(nearest_hint("", names, "its keys")));
  RETURN_IF_ERROR(check_keys(*map, place.path, names, also_known));
  Status status;
  T::fields(out, [&](const char* name, auto& field, std::string_view /*help*/,
                     const Constraint& constraint = {}) {
    const Value* given = map->find(name);
    if (!status || given == nullptr) return;
    status = read(*given, field, Place{join_path(place.path, name), &constraint});
  });
  return status;
}

template <typename T>
Status read(const Value& value, std::vector<T>& out, const Place& place) {
  RETURN_IF_ERROR(refuse_mandatory(value, place));
  const List* list = value.if_list();
  if (list == nullptr) return fail(wrong_type(value, place, "a list"));
  std::vector<T> items;
  for (std::size_t i = 0; i < list->size(); ++i) {
    T item{};
    RETURN_IF_ERROR(
        read((*list)[i], item, Place{join_path(place.path, std::to_string(i)), place.constraint}));
    items.push_back(std::move(item));
  }
  out = std::move(items);
  return {};
}

template <typename T>
Status read(const Value& value, std::optional<T>& out, const Place& place) {
  if (value.is_null()) {
    out.reset();
    return {};
  }
  T item = out.value_or(T{});
  RETURN_IF_ERROR(read(value, item, place));
  out = std::move(item);
  return {};
}

inline Value write(bool field) { return Value(field); }
inline Value write(int field) { return Value(field); }
inline Value write(std::int64_t field) { return Value(field); }
Value write(std::uint64_t field);
inline Value write(double field) { return Value(field); }
inline Value write(const std::string& field) { return Value(field); }
inline Value write(const Value& field) { return field; }
template <NamedEnum E>
Value write(E field) {
  return Value(enum_name(field));
}
template <HasFields T>
Value write(const T& object);
template <typename T>
Value write(const std::optional<T>& field);

template <typename T>
Value write(const std::vector<T>& field) {
  List list;
  for (const auto& item : field) list.push_back(write(static_cast<const T&>(item)));
  return Value(std::move(list));
}
template <typename T>
Value write(const std::optional<T>& field) {
  return field ? write(*field) : Value();
}
template <HasFields T>
Value write(const T& object) {
  Map map;
  T::fields(object,
            [&](const char* name, const auto& field, auto&&...) { map.set(name, write(field)); });
  return Value(std::move(map));
}
void mark_default(Value& value);

template <typename T>
struct TypeText;  // value: what FieldHelp::type says
template <>
struct TypeText<bool> {
  static std::string one() { return "true | false"; }
};
template <>
struct TypeText<int> {
  static std::string one() { return "integer"; }
};
template <>
struct TypeText<std::int64_t> {
  static std::string one() { return "integer"; }
};
template <>
struct TypeText<std::uint64_t> {
  static std::string one() { return "integer"; }
};
template <>
struct TypeText<double> {
  static std::string one() { return "real"; }
};
template <>
struct TypeText<std::string> {
  static std::string one() { return "string"; }
};
template <>
struct TypeText<Value> {
  static std::string one() { return "mapping"; }
};
std::string join_choices(const std::vector<std::string>& names);
template <NamedEnum E>
struct TypeText<E> {
  static std::string one() { return join_choices(enum_names<E>()); }
};
template <HasFields T>
struct TypeText<T> {
  static std::string one() { return "mapping"; }
};
template <typename T>
struct TypeText<std::vector<T>> {
  static std::string one() { return "list of " + TypeText<T>::one(); }
};
template <typename T>
struct TypeText<std::optional<T>> {
  static std::string one() { return TypeText<T>::one() + " | null"; }
};

template <typename T>
std::vector<std::string> choices_of(const Constraint& constraint) {
  if constexpr (std::is_same_v<T, bool>) {
    return {"true", "false"};
  } else if constexpr (NamedEnum<T>) {
    return enum_names<T>();
  } else {
    return {constraint.choices.begin(), constraint.choices.end()};
  }
}

FieldHelp field_help(std::string path, std::string type, const Value& value, std::string_view help,
                     const Constraint& constraint, std::vector<std::string> choices);

}  // namespace strata::config::internal

namespace strata::config {

template <HasFields T>
Status bind(const Value& value, T& target, const BindOptions& options) {
  return internal::read(value, target, internal::Place{options.path, nullptr}, options.also_known);
}

template <HasFields T>
Value to_value(const T& object) {
  Value value = internal::write(object);
  internal::mark_default(value);
  return value;
}

template <HasFields T>
auto to_json(const T& object) {
  return to_value(object).to_json();
}

template <HasFields T>
std::vector<FieldHelp> describe(const T& defaults, const std::string& prefix) {
  std::vector<FieldHelp> out;
  T::fields(defaults, [&](const char* name, const auto& field, std::string_view help,
                          const Constraint& constraint = {}) {
    using Field = std::remove_cvref_t<decltype(field)>;
    std::string path = internal::join_path(prefix, name);
    if constexpr (HasFields<Field>) {
      for (FieldHelp& inner : describe(field, path)) out.push_back(std::move(inner));
    } else {
      out.push_back(internal::field_help(std::move(path), internal::TypeText<Field>::one(),
                                         internal::write(field), help, constraint,
                                         internal::choices_of<Field>(constraint)));
    }
  });
  return out;
}

}  // namespace strata::config
