#include "runner/config/interpolation.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/config/binder.h"
#include "runner/config/override.h"

namespace strata::config {
namespace {

// As Python's str() writes it; containers have no such text here.
Result<std::string> python_text(const Value& value, const SourcePos& pos) {
  if (value.if_map() != nullptr || value.if_list() != nullptr) {
    return fail(
        make_error(ErrorKind::kInvalidArgument, "{} cannot be part of a string", value.describe())
            .at(pos.text()));
  }
  if (const bool* flag = value.if_bool()) return *flag ? "True" : "False";
  if (value.is_null()) return "None";
  return value.if_double() != nullptr ? override_text(value) : value.to_text();
}

// Path of the container that holds the value at `path`.
std::string parent_of(const std::string& path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string::npos ? std::string() : path.substr(0, dot);
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// Offset of the '}' that closes the "${" at `begin`; npos where none does. Quotes hide braces.
std::size_t closing_brace(std::string_view text, std::size_t begin) {
  std::size_t depth = 0;
  char quote = '\0';
  for (std::size_t i = begin; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\') {
      ++i;
    } else if (quote != '\0') {
      if (c == quote) quote = '\0';
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      return i;
    }
  }
  return std::string_view::npos;
}

// Splits "NAME,default" at commas outside of quotes and brackets.
std::vector<std::string> split_arguments(std::string_view text) {
  std::vector<std::string> out(1);
  std::size_t depth = 0;
  char quote = '\0';
  for (const char c : text) {
    if (quote != '\0') {
      if (c == quote) quote = '\0';
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '{' || c == '[' || c == '(') {
      ++depth;
    } else if ((c == '}' || c == ']' || c == ')') && depth > 0) {
      --depth;
    } else if (c == ',' && depth == 0) {
      out.emplace_back();
      continue;
    }
    out.back() += c;
  }
  return out;
}

class Resolver {
 public:
  Resolver(const Value& root, const Environment& environment)
      : root_(root), environment_(environment) {}

  // The value with everything inside resolved; `path` is where it stands.
  Result<Value> deep(const Value& value, const std::string& path) {
    if (++steps_ > kMaxInterpolationSteps) {
      return fail(make_error(ErrorKind::kInvalidFile, "interpolation makes more than {} values",
                             kMaxInterpolationSteps)
                      .at(value.pos.text()));
    }
    Value out = value;
    const auto child_path = [&](const std::string& key) {
      return path.empty() ? key : path + '.' + key;
    };
    if (Map* map = out.if_map()) {
      for (MapEntry& entry : *map) {
        ASSIGN_OR_RETURN(entry.value, deep(entry.value, child_path(entry.key)));
      }
    } else if (List* list = out.if_list()) {
      for (std::size_t i = 0; i < list->size(); ++i) {
        ASSIGN_OR_RETURN((*list)[i], deep((*list)[i], child_path(std::to_string(i))));
      }
    } else if (const std::string* text = value.if_string();
               text != nullptr && text->find("${") != std::string::npos) {
      const bool circle = std::find(active_.begin(), active_.end(), path) != active_.end();
      if (circle || active_.size() >= kMaxInterpolationDepth) {
        return fail(make_error(ErrorKind::kInvalidFile, "'{}' goes in a circle: {}", *text,
                               fmt::join(active_, " → "))
                        .at(value.pos.text()));
      }
      active_.push_back(path);
      ASSIGN_OR_RETURN(out, expand(*text, path, value.pos));
      active_.pop_back();
      out.pos = value.pos;
    }
    return out;
  }

 private:
  // A string: literal pieces and interpolations. One interpolation alone keeps its type.
  Result<Value> expand(const std::string& text, const std::string& path, const SourcePos& pos) {
    std::string out;
    std::size_t i = 0;
    while (i < text.size()) {
      const std::size_t dollar = std::min(text.find("${", i), text.size());
      std::size_t plain_end = dollar;
      while (plain_end > i && text[plain_end - 1] == '\\' && dollar < text.size()) --plain_end;
      const std::size_t backslashes = dollar - plain_end;
      out.append(text, i, plain_end - i);
      out.append(backslashes / 2, '\\');
      if (dollar == text.size()) break;
      if (backslashes % 2 == 1) {
        out += "${";
        i = dollar + 2;
        continue;
      }
      const std::size_t end = closing_brace(text, dollar);
      if (end == std::string::npos) {
        return fail(make_error(ErrorKind::kInvalidArgument, "expected '}}' after '{}', got the end",
                               text.substr(dollar))
                        .at(pos.text()));
      }
      ASSIGN_OR_RETURN(Value value,
                       interpolate(text.substr(dollar + 2, end - dollar - 2), path, pos));
      if (dollar == 0 && end + 1 == text.size()) return value;
      ASSIGN_OR_RETURN(const std::string piece, python_text(value, pos));
      out += piece;
      if (out.size() > kMaxInterpolatedBytes) {
        return fail(make_error(ErrorKind::kInvalidFile,
                               "interpolation makes a string of more than {} bytes",
                               kMaxInterpolatedBytes)
                        .at(pos.text()));
      }
      i = end + 1;
    }
    return Value(std::move(out));
  }

  // What stands between "${" and "}".
  Result<Value> interpolate(const std::string& inside, const std::string& path,
                            const SourcePos& pos) {
    const std::string_view body = trimmed(inside);
    const std::size_t colon = body.find(':');
    const std::size_t nested = body.find("${");
    if (colon == std::string_view::npos || nested < colon) {
      ASSIGN_OR_RETURN(const std::string key, expand_text(body, path, pos));
      return target(key, path, pos);
    }
    const std::string name(trimmed(body.substr(0, colon)));
    std::vector<std::string> arguments = split_arguments(body.substr(colon + 1));
    for (std::string& argument : arguments) {
      ASSIGN_OR_RETURN(argument, expand_text(trimmed(argument), path, pos));
    }
    if (name == "oc.env" && arguments.size() <= 2) return environment_value(arguments, pos);
    if (name == "oc.select" && arguments.size() <= 2) return selected(arguments, path, pos);
    if (name == "oc.decode" && arguments.size() == 1)
      return parse_element(unquoted(arguments[0], pos), pos);
    return fail(
        make_error(ErrorKind::kUnsupported,
                   "expected ${{key}}, ${{oc.env:NAME,default}}, ${{oc.select:key,default}} "
                   "or ${{oc.decode:text}}, got '${{{}}}'",
                   body)
            .at(pos.text()));
  }

  Result<std::string> expand_text(std::string_view text, const std::string& path,
                                  const SourcePos& pos) {
    if (text.find("${") == std::string_view::npos) return std::string(text);
    ASSIGN_OR_RETURN(const Value value, expand(std::string(text), path, pos));
    return python_text(value, pos);
  }

  static std::string unquoted(const std::string& argument, const SourcePos& pos) {
    const auto value = parse_element(argument, pos);
    return value && value->if_string() != nullptr ? *value->if_string() : argument;
  }

  Result<Value> environment_value(const std::vector<std::string>& arguments, const SourcePos& pos) {
    if (const auto found = environment_(arguments[0])) return Value(*found);
    if (arguments.size() == 1) {
      return fail(
          make_error(ErrorKind::kNotFound, "the environment variable {} is not set", arguments[0])
              .at(pos.text())
              .with_hint(
                  fmt::format("set it, or give a default: ${{oc.env:{},default}}", arguments[0])));
    }
    if (arguments[1].empty()) return Value("");
    ASSIGN_OR_RETURN(Value value, parse_element(arguments[1], pos));
    if (value.is_null()) return value;
    ASSIGN_OR_RETURN(std::string text, python_text(value, pos));
    return Value(std::move(text));
  }

  Result<Value> selected(const std::vector<std::string>& arguments, const std::string& path,
                         const SourcePos& pos) {
    Result<Value> value = target(arguments[0], path, pos);
    if (value || arguments.size() == 1 || value.error().kind != ErrorKind::kNotFound) {
      return value || arguments.size() == 2 || value.error().kind != ErrorKind::kNotFound
                 ? value
                 : Result<Value>(Value());
    }
    return parse_element(arguments[1], pos);
  }

  // "a.b", ".b" (from the container of the asking value), "..b", "a[b].c" → a dotted path from the
  // root.
  static std::string absolute(std::string_view key, const std::string& path) {
    std::string out;
    if (key.starts_with('.')) {
      out = parent_of(path);
      key.remove_prefix(1);
      for (; key.starts_with('.'); key.remove_prefix(1)) out = parent_of(out);
      if (!out.empty() && !key.empty()) out += '.';
    }
    for (const char c : key) {
      if (c == '[' && !out.empty() && out.back() != '.') out += '.';
      if (c != '[' && c != ']') out += c;
    }
    return out;
  }

  Result<Value> target(const std::string& key, const std::string& path, const SourcePos& pos) {
    const std::string full = absolute(key, path);
    const auto missing = [&] {
      std::vector<std::string> known;
      const Value* parent = root_.find(parent_of(full));
      if (parent != nullptr && parent->if_map() != nullptr) {
        for (const MapEntry& entry : *parent->if_map()) known.push_back(entry.key);
      }
      const std::string last = full.substr(full.rfind('.') + 1);
      return fail(
          make_error(ErrorKind::kNotFound, "'${{{}}}' refers to a key that is not there", key)
              .at(pos.text())
              .with_hint(nearest_hint(last, known, "keys there")));
    };
    if (full.empty()) return missing();
    const Value* here = &root_;
    Value holder;
    std::string walked;
    for (std::size_t begin = 0; begin <= full.size();) {
      const std::size_t end = std::min(full.find('.', begin), full.size());
      const std::string part = full.substr(begin, end - begin);
      here = here->find(part);
      if (part.empty() || here == nullptr) return missing();
      walked = full.substr(0, end);
      begin = end + 1;
      const std::string* text = here->if_string();
      if (text != nullptr && end < full.size() && text->find("${") != std::string::npos) {
        ASSIGN_OR_RETURN(Value resolved, deep(*here, walked));
        holder = std::move(resolved);
        here = &holder;
      }
    }
    if (here->is_mandatory()) {
      return fail(make_error(ErrorKind::kNotFound,
                             "'${{{}}}' refers to a mandatory key that was not given", key)
                      .at(pos.text())
                      .with_hint(fmt::format("give it on the command line: {}=…", full)));
    }
    return deep(*here, full);
  }

  const Value& root_;
  const Environment& environment_;
  std::vector<std::string> active_;  // paths of the strings being resolved
  std::size_t steps_ = 0;
};

}  // namespace

Result<Value> resolve(const Value& config, const Environment& environment) {
  return Resolver(config, environment).deep(config, "");
}

}  // namespace strata::config
