#include "runner/config/override_functions.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "core/config/binder.h"
#include "runner/config/scalar.h"

namespace strata::config::internal {
namespace {

tl::unexpected<Error> fail_call(const Call& call, std::string message) {
  return fail(
      make_error(ErrorKind::kInvalidArgument, "{}(): {}", call.name, message).at(call.pos.text()));
}

// Puts named arguments into their places; gaps stay empty.
Result<std::vector<std::optional<Value>>> arguments(const Call& call,
                                                    const std::vector<std::string>& names) {
  std::vector<std::optional<Value>> out(names.size());
  const auto put = [&](std::size_t index, const Argument& argument) -> Status {
    const auto* value = std::get_if<Value>(&argument);
    if (value == nullptr) return fail_call(call, "expected a value, got a sweep");
    if (out[index]) return fail_call(call, fmt::format("'{}' is given twice", names[index]));
    out[index] = *value;
    return {};
  };
  if (call.positional.size() > names.size()) {
    return fail_call(call, fmt::format("expected at most {} arguments, got {}", names.size(),
                                       call.positional.size()));
  }
  for (std::size_t i = 0; i < call.positional.size(); ++i)
    RETURN_IF_ERROR(put(i, call.positional[i]));
  for (const auto& [name, argument] : call.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return fail_call(call, fmt::format("unknown argument '{}'", name));
    RETURN_IF_ERROR(put(static_cast<std::size_t>(found - names.begin()), argument));
  }
  return out;
}

Result<Argument> choice(const Call& call) {
  Sweep sweep;
  if (!call.named.empty()) return fail_call(call, "expected values, got name=value");
  for (const Argument& argument : call.positional) {
    const auto* value = std::get_if<Value>(&argument);
    if (value == nullptr) return fail_call(call, "a sweep cannot be inside another");
    sweep.values.push_back(*value);
  }
  if (sweep.values.empty()) return fail_call(call, "expected at least one value");
  return Argument(std::move(sweep));
}

std::optional<double> number(const Value& value) {
  if (const std::int64_t* integer = value.if_int()) return static_cast<double>(*integer);
  if (const double* real = value.if_double(); real != nullptr && std::isfinite(*real)) return *real;
  return std::nullopt;
}

// start + i · step without the noise of binary fractions: 0.3, not 0.30000000000000004.
double rounded(long double value) {
  const std::string text = fmt::format("{:.15g}", value);
  double out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

// As Python's range for integers; reals are rounded to 15 significant digits.
Result<Argument> range(const Call& call) {
  ASSIGN_OR_RETURN(auto given, arguments(call, {"start", "stop", "step"}));
  if (!given[0]) return fail_call(call, "expected start and stop, or stop alone");
  if (!given[1]) {
    given[1] = given[0];
    given[0] = Value(0);
  }
  if (!given[2]) given[2] = Value(1);
  bool integers = true;
  for (const auto& value : given) {
    if (!number(*value)) return fail_call(call, "expected numbers, got " + value->describe());
    integers = integers && value->if_int() != nullptr;
  }
  const long double start =
      integers ? static_cast<long double>(*given[0]->if_int()) : *number(*given[0]);
  const long double stop =
      integers ? static_cast<long double>(*given[1]->if_int()) : *number(*given[1]);
  const long double step =
      integers ? static_cast<long double>(*given[2]->if_int()) : *number(*given[2]);
  if (step == 0) return fail_call(call, "expected a step other than 0");
  const long double steps = std::ceil((stop - start) / step);
  if (steps > static_cast<long double>(kMaxSweepValues)) {
    return fail_call(call, fmt::format("expected at most {} values", kMaxSweepValues));
  }
  Sweep sweep;
  for (std::size_t i = 0; static_cast<long double>(i) < steps; ++i) {
    const long double value = start + static_cast<long double>(i) * step;
    if (step > 0 ? value >= stop : value <= stop) break;
    sweep.values.push_back(integers ? Value(static_cast<std::int64_t>(value))
                                    : Value(rounded(value)));
    sweep.values.back().pos = call.pos;
  }
  if (sweep.values.empty()) return fail_call(call, "the range is empty");
  return Argument(std::move(sweep));
}

Result<std::vector<std::string>> patterns(const Call& call, const std::optional<Value>& value) {
  std::vector<std::string> out;
  if (!value) return out;
  const List single{*value};
  const List& list = value->if_list() != nullptr ? *value->if_list() : single;
  for (const Value& item : list) {
    const std::string* text = item.if_string();
    if (text == nullptr) return fail_call(call, "expected patterns, got " + item.describe());
    out.push_back(*text);
  }
  return out;
}

Result<Argument> glob(const Call& call) {
  ASSIGN_OR_RETURN(const auto given, arguments(call, {"include", "exclude"}));
  if (!given[0]) return fail_call(call, "expected a pattern such as glob(*)");
  Glob out;
  ASSIGN_OR_RETURN(out.include, patterns(call, given[0]));
  ASSIGN_OR_RETURN(out.exclude, patterns(call, given[1]));
  return Argument(std::move(out));
}

std::string python_text(const Value& value) {
  if (const bool* flag = value.if_bool()) return *flag ? "true" : "false";
  return override_text(value);
}

Result<Value> cast(const Call& call, const Value& value) {
  Value out;
  if (const List* list = value.if_list()) {
    List items;
    for (const Value& item : *list) {
      ASSIGN_OR_RETURN(Value one, cast(call, item));
      items.push_back(std::move(one));
    }
    out = Value(std::move(items));
  } else if (const Map* map = value.if_map()) {
    Map items;
    for (const MapEntry& entry : *map) {
      ASSIGN_OR_RETURN(Value one, cast(call, entry.value));
      items.set(entry.key, entry.key_pos, std::move(one));
    }
    out = Value(std::move(items));
  } else if (call.name == "str") {
    out = value.if_string() != nullptr ? value : Value(python_text(value));
  } else {
    Value read = value;
    if (const std::string* text = value.if_string()) {
      ASSIGN_OR_RETURN(read, parse_element(*text, value.pos));
    }
    if (const bool* flag = read.if_bool())
      read = call.name == "bool" ? Value(*flag) : Value(*flag ? 1 : 0);
    const auto real = number(read);
    const bool is_text = value.if_string() != nullptr;
    const bool castable = real && std::abs(*real) <= 9e15 && !(is_text && call.name == "bool") &&
                          !(is_text && call.name == "int" && read.if_double() != nullptr);
    if (call.name == "bool" && read.if_bool() != nullptr) {
      out = read;
    } else if (!castable) {
      return fail_call(call, "cannot cast " + value.describe());
    } else if (call.name == "bool") {
      out = Value(*real != 0);
    } else {
      out = call.name == "float" ? Value(*real) : Value(static_cast<std::int64_t>(*real));
    }
  }
  out.pos = call.pos;
  return out;
}

Result<Argument> cast_all(const Call& call) {
  if (call.positional.size() != 1 || !call.named.empty())
    return fail_call(call, "expected one argument");
  if (const auto* value = std::get_if<Value>(&call.positional[0])) {
    ASSIGN_OR_RETURN(Value out, cast(call, *value));
    return Argument(std::move(out));
  }
  const auto* sweep = std::get_if<Sweep>(&call.positional[0]);
  if (sweep == nullptr) return fail_call(call, "cannot cast a glob");
  Sweep out;
  for (const Value& value : sweep->values) {
    ASSIGN_OR_RETURN(Value one, cast(call, value));
    out.values.push_back(std::move(one));
  }
  return Argument(std::move(out));
}

// Numbers by size or strings by bytes; a mixture has no order.
Result<Argument> sort(const Call& call) {
  bool reverse = false;
  for (const auto& [name, argument] : call.named) {
    const auto* value = std::get_if<Value>(&argument);
    if (name != "reverse" || value == nullptr || value->if_bool() == nullptr) {
      return fail_call(call, "expected values and reverse=true|false");
    }
    reverse = *value->if_bool();
  }
  std::vector<Value> values;
  bool is_list = false;
  for (const Argument& argument : call.positional) {
    const auto* value = std::get_if<Value>(&argument);
    const auto* sweep = std::get_if<Sweep>(&argument);
    is_list = call.positional.size() == 1 && value != nullptr && value->if_list() != nullptr;
    if (is_list)
      values = *value->if_list();
    else if (value != nullptr)
      values.push_back(*value);
    else if (sweep != nullptr && call.positional.size() == 1)
      values = sweep->values;
    else
      return fail_call(call, "expected values, a list or one sweep");
  }
  if (values.empty()) return fail_call(call, "expected at least one value");
  const auto all = [&](auto test) { return std::all_of(values.begin(), values.end(), test); };
  const auto is_number = [](const Value& value) { return number(value).has_value(); };
  const auto is_text = [](const Value& value) { return value.if_string() != nullptr; };
  if (!all(is_number) && !all(is_text))
    return fail_call(call, "expected only numbers or only strings");
  const auto before = [&](const Value& a, const Value& b) {
    return is_number(a) ? *number(a) < *number(b) : *a.if_string() < *b.if_string();
  };
  std::stable_sort(values.begin(), values.end(), [&](const Value& a, const Value& b) {
    return reverse ? before(b, a) : before(a, b);
  });
  if (is_list) return Argument(Value(List(std::move(values))));
  return Argument(Sweep{std::move(values)});
}

}  // namespace

Result<Argument> evaluate(const Call& call) {
  if (call.name == "choice") return choice(call);
  if (call.name == "range") return range(call);
  if (call.name == "glob") return glob(call);
  if (call.name == "sort") return sort(call);
  if (call.name == "int" || call.name == "float" || call.name == "str" || call.name == "bool")
    return cast_all(call);
  if (call.name == "interval" || call.name == "shuffle" || call.name == "tag") {
    return fail(make_error(ErrorKind::kUnsupported, "{}() is not supported", call.name)
                    .at(call.pos.text()));
  }
  const std::vector<std::string> known = {"bool", "choice", "float", "glob",
                                          "int",  "range",  "sort",  "str"};
  return fail(make_error(ErrorKind::kInvalidArgument, "unknown function '{}'", call.name)
                  .at(call.pos.text())
                  .with_hint(nearest_hint(call.name, known, "known functions")));
}

}  // namespace strata::config::internal
