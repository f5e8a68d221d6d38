#include "core/config/binder.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace strata::config::internal {
namespace {

// The whole text as a number; nullopt where it is not one or does not fit.
template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Status check_bounds(const Value& value, double number, const Place& place) {
  if (place.constraint == nullptr) return {};
  const Constraint& c = *place.constraint;
  const bool good = (!c.at_least || number >= *c.at_least) && (!c.above || number > *c.above) &&
                    (!c.at_most || number <= *c.at_most);
  if (good) return {};
  return fail(
      error_at(value.pos, ErrorKind::kInvalidArgument,
               fmt::format("{}: expected {}, got {}", place.path, c.text(), value.describe())));
}

template <typename Integer>
Status read_integer(const Value& value, Integer& out, const Place& place) {
  RETURN_IF_ERROR(refuse_mandatory(value, place));
  std::optional<Integer> number;
  if (const std::int64_t* integer = value.if_int()) {
    if (!std::in_range<Integer>(*integer)) {
      return fail(
          wrong_type(value, place,
                     fmt::format("an integer from {} to {}", std::numeric_limits<Integer>::min(),
                                 std::numeric_limits<Integer>::max())));
    }
    number = static_cast<Integer>(*integer);
  } else if (const std::string* text = value.if_string()) {
    number = parse_number<Integer>(*text);
  }
  if (!number) {
    Error error = wrong_type(value, place, "an integer");
    const double* real = value.if_double();
    if (real != nullptr && *real >= -1e15 && *real <= 1e15 &&
        *real == static_cast<double>(static_cast<std::int64_t>(*real))) {
      error.hint = fmt::format("write {}", static_cast<std::int64_t>(*real));
    }
    return fail(std::move(error));
  }
  RETURN_IF_ERROR(check_bounds(value, static_cast<double>(*number), place));
  out = *number;
  return {};
}

std::string key_name(const std::string& path) { return path.empty() ? "the configuration" : path; }

}  // namespace

Error error_at(const SourcePos& pos, ErrorKind kind, std::string message) {
  Error error{kind, std::move(message), {}, {}};
  if (std::string place = pos.text(); !place.empty()) error.where.push_back(std::move(place));
  return error;
}

Error wrong_type(const Value& value, const Place& place, std::string_view expected) {
  return error_at(
      value.pos, ErrorKind::kInvalidArgument,
      fmt::format("{}: expected {}, got {}", key_name(place.path), expected, value.describe()));
}

Status refuse_mandatory(const Value& value, const Place& place) {
  if (!value.is_mandatory()) return {};
  return fail(error_at(value.pos, ErrorKind::kInvalidArgument,
                       fmt::format("{} is mandatory ({}) and was not given", key_name(place.path),
                                   kMandatory))
                  .with_hint(fmt::format("give it on the command line: {}=…", place.path)));
}

Status check_keys(const Map& map, const std::string& path, const std::vector<std::string>& fields,
                  const std::vector<std::string>& also_known) {
  for (const MapEntry& entry : map) {
    const auto has = [&](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), entry.key) != names.end();
    };
    if (has(fields) || has(also_known)) continue;
    std::vector<std::string> known = fields;
    known.insert(known.end(), also_known.begin(), also_known.end());
    return fail(error_at(entry.key_pos, ErrorKind::kInvalidArgument,
                         fmt::format("unknown key '{}'", join_path(path, entry.key)))
                    .with_hint(nearest_hint(entry.key, known, "known keys")));
  }
  return {};
}

std::string join_path(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

Status read(const Value& value, bool& out, const Place& place) {
  RETURN_IF_ERROR(refuse_mandatory(value, place));
  if (const bool* flag = value.if_bool()) {
    out = *flag;
    return {};
  }
  if (const std::string* text = value.if_string()) {
    for (const std::string_view yes : {"true", "yes", "on"}) {
      if (*text == yes) return out = true, Status{};
    }
    for (const std::string_view no : {"false", "no", "off"}) {
      if (*text == no) return out = false, Status{};
    }
  }
  return fail(wrong_type(value, place, "true or false"));
}

Status read(const Value& value, int& out, const Place& place) {
  return read_integer(value, out, place);
}
Status read(const Value& value, std::int64_t& out, const Place& place) {
  return read_integer(value, out, place);
}
Status read(const Value& value, std::uint64_t& out, const Place& place) {
  return read_integer(value, out, place);
}

Status read(const Value& value, double& out, const Place& place) {
  RETURN_IF_ERROR(refuse_mandatory(value, place));
  std::optional<double> number;
  if (const double* real = value.if_double()) number = *real;
  if (const std::int64_t* integer = value.if_int()) number = static_cast<double>(*integer);
  if (const std::string* text = value.if_string()) number = parse_number<double>(*text);
  if (!number) return fail(wrong_type(value, place, "a real number"));
  RETURN_IF_ERROR(check_bounds(value, *number, place));
  out = *number;
  return {};
}

Status read(const Value& value, std::string& out, const Place& place) {
  RETURN_IF_ERROR(refuse_mandatory(value, place));
  if (const std::string* text = value.if_string()) {
    if (place.constraint != nullptr && !place.constraint->choices.empty()) {
      const auto& choices = place.constraint->choices;
      RETURN_IF_ERROR(read_choice(value, place, {choices.begin(), choices.end()}));
    }
    out = *text;
    return {};
  }
  if (const std::int64_t* integer = value.if_int()) {
    out = std::to_string(*integer);
    return {};
  }
  Error error = wrong_type(value, place, "a string");
  if (value.if_bool() != nullptr || value.if_double() != nullptr)
    error.hint = "put the value in quotes";
  return fail(std::move(error));
}

Result<std::size_t> read_choice(const Value& value, const Place& place,
                                const std::vector<std::string>& names) {
  RETURN_IF_ERROR(refuse_mandatory(value, place));
  const std::string expected = "one of " + fmt::format("{}", fmt::join(names, ", "));
  const std::string* text = value.if_string();
  if (text == nullptr) return fail(wrong_type(value, place, expected));
  const auto found = std::find(names.begin(), names.end(), *text);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  Error error = wrong_type(value, place, expected);
  if (const auto best = nearest(*text, names))
    error.hint = fmt::format("did you mean '{}'?", *best);
  return fail(std::move(error));
}

}  // namespace strata::config::internal
