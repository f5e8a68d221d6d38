// Between a config::Value and the typed structs of fields.h: bind() reads, to_value() and to_json()
// print, describe() lists every key for --help and completion.
//
// bind() refuses what the struct does not know: unknown keys (naming the nearest), wrong types,
// values outside a constraint, mandatory values nobody gave; every error says where the value was
// written. Conversions are those a user expects and no others: integers to reals; text that is
// exactly a number, to that number (environment variables are text); integers to strings;
// yes/no/on/off/true/false text to bool. Pure functions; they do no input or output.
#pragma once

#include <concepts>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/config/fields.h"
#include "core/config/value.h"
#include "core/result.h"

namespace strata::config {

struct BindOptions {
  std::string path;  // dotted path of the value within the whole config, for messages
  std::vector<std::string>
      also_known;  // keys of the top level that belong to somebody else ("name")
};

// Fields whose keys are absent keep what `target` holds. On an error `target` is unspecified.
template <HasFields T>
Status bind(const Value& value, T& target, const BindOptions& options = {});

// Every field, in order; positions say "default". A std::uint64_t above 2^63 - 1 is written as
// text.
template <HasFields T>
Value to_value(const T& object);
template <HasFields T>
auto to_json(const T& object);  // nlohmann::json; include <nlohmann/json.hpp> to call it

struct FieldHelp {
  std::string path;          // "budget.fraction"
  std::string type;          // "integer", "list of strings", "stride | budget"
  std::string default_text;  // as one would write it on the command line
  std::string help;
  std::string constraint;            // "at least 1", may be empty
  std::vector<std::string> choices;  // of an enum, a constraint or a bool: for completion
};

// The leaves of the struct, in order; nested structs contribute theirs, after `prefix`.
template <HasFields T>
std::vector<FieldHelp> describe(const T& defaults, const std::string& prefix = {});

// SHA-256 over the canonical text (sorted keys): equal meaning, equal hash. 64 hexadecimal digits.
std::string config_hash(const nlohmann::json& config);

// The known word nearest to `word` by edit distance, where it is near enough to be meant.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& known);
// "did you mean 'offset'?" or "known keys: by, offset"; empty where nothing is known.
std::string nearest_hint(std::string_view word, const std::vector<std::string>& known,
                         std::string_view plural);

}  // namespace strata::config

#include "core/config/binder_impl.h"  // the templates
