// One override of the command line, parsed: Hydra's grammar (key=value, +key=value, ++key=value,
// ~key, group=option, group@package=option; quoting, lists, dicts, casts, sweeps). Knows neither
// files nor keys.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/config/value.h"
#include "core/result.h"

namespace strata::config {

enum class OverrideKind { kChange, kAdd, kForceAdd, kDelete };

struct Sweep {  // a,b  choice(a,b)  range(1,5)
  std::vector<Value> values;
};

struct Glob {  // the options of a group that match; each list holds shell patterns
  std::vector<std::string> include;
  std::vector<std::string> exclude;
};

struct Override {
  OverrideKind kind = OverrideKind::kChange;
  std::string key;                     // "strategy.offset", "strategy", "a/b"
  std::optional<std::string> package;  // after '@'; "" and "_global_" both name the root
  std::variant<std::monostate, Value, Sweep, Glob> value;  // none: ~key
  std::string line;                                        // as given
  SourcePos key_pos;

  bool is_sweep() const {
    return std::holds_alternative<Sweep>(value) || std::holds_alternative<Glob>(value);
  }
  const Value* element() const { return std::get_if<Value>(&value); }
  // "+db@src": what makes two overrides the same one.
  std::string prefixed_key() const;
};

inline constexpr std::size_t kMaxOverrideBytes = std::size_t{64} * 1024;
inline constexpr std::size_t kMaxOverrideDepth = 32;
inline constexpr std::size_t kMaxSweepValues = 100'000;

Result<Override> parse_override(const std::string& line);

// The element that `text` writes (what may stand right of '=' but sweeps). For resolvers'
// arguments.
Result<Value> parse_element(const std::string& text, const SourcePos& pos);

// The shortest text right of '=' that parses to this value; strings are quoted only where they must
// be.
std::string override_text(const Value& value);

}  // namespace strata::config
