// The fields of a config struct, listed once: parsing, --help, completion, hashing and printing
// derive from this list.
//
//   struct PeriodicConfig {
//     PeriodicBy by = PeriodicBy::kBudget;
//     std::int64_t offset = 0;
//     template <typename Self, typename Visitor>
//     static void fields(Self& self, Visitor&& visit) {
//       visit("by", self.by, "how the kept layers are spread");
//       visit("offset", self.offset, "first kept layer", config::at_least(0));
//     }
//   };
//
// Field types: bool, int, std::int64_t, std::uint64_t, double, std::string, enums with an
// EnumTable, structs with fields(), std::vector<T> and std::optional<T> (null) of these, and
// config::Value (taken as it is, bound later).
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/config/value.h"

namespace strata::config {

// The names of an enum, in the order of its help:
//   template <> struct strata::config::EnumTable<PeriodicBy> {
//     static constexpr std::array kNames = {std::pair{PeriodicBy::kStride,
//     std::string_view("stride")},
//                                           std::pair{PeriodicBy::kBudget,
//                                           std::string_view("budget")}};
//   };
template <typename E>
struct EnumTable;

template <typename E>
concept NamedEnum = std::is_enum_v<E> && requires {
  EnumTable<E>::kNames.size();
};

template <NamedEnum E>
constexpr std::string_view enum_name(E value) {
  for (const auto& [candidate, name] : EnumTable<E>::kNames) {
    if (candidate == value) return name;
  }
  return "?";
}

// What a field's value must also be. Applies to each element of a vector. Bounds are exact to 2^53.
struct Constraint {
  std::optional<double> at_least;
  std::optional<double> above;
  std::optional<double> at_most;
  std::vector<std::string_view> choices;  // of a string; string literals

  std::string text() const;  // "at least 1 and at most 8"; empty where nothing is asked
};

inline Constraint at_least(double bound) {
  return {.at_least = bound, .above = {}, .at_most = {}, .choices = {}};
}
inline Constraint above(double bound) {
  return {.at_least = {}, .above = bound, .at_most = {}, .choices = {}};
}
inline Constraint between(double low, double high) {
  return {.at_least = low, .above = {}, .at_most = high, .choices = {}};
}
inline Constraint one_of(std::vector<std::string_view> choices) {
  return {.at_least = {}, .above = {}, .at_most = {}, .choices = std::move(choices)};
}

namespace internal {
struct AnyVisitor {
  template <typename... Args>
  void operator()(Args&&...) const {}
};
}  // namespace internal

template <typename T>
concept HasFields = requires(T& object) {
  T::fields(object, internal::AnyVisitor{});
};

}  // namespace strata::config
