// JSON as text in rows: checked, in canonical form (sorted keys, no white space), and to and from
// plain vectors.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/tokens.h"

namespace strata {

// Empty text gives {}. `what` names the field in the error.
Result<std::string> canonical_json(std::string_view text, std::string_view what);

// The values must be finite (JSON has no others).
std::string json_of(const std::vector<double>& values);
std::string json_of(const std::vector<std::string>& values);  // invalid UTF-8 is replaced
std::string json_of(const Tokens& values);
std::string json_of(const std::map<std::string, double>& values);

// False where the text is something else.
bool read_json(std::string_view text, std::vector<double>& out);
bool read_json(std::string_view text, std::vector<std::string>& out);
bool read_json(std::string_view text, Tokens& out);
bool read_json(std::string_view text, std::map<std::string, double>& out);

}  // namespace strata
