// Reading JSON files whose every fault is an error that names file, field, expected and got.
// For models/checkpoint and the command line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "core/result.h"

namespace strata::json_fields {

// Errors: kNotFound, kIo, kInvalidFile where it is longer than max_bytes.
Result<std::string> read_text(const std::filesystem::path& path, std::uint64_t max_bytes);
Result<nlohmann::json> parse_object(std::string_view text);

// A value for a message: short, whatever it is.
std::string describe(const nlohmann::json& value);

// The fields of one object. `prefix` stands before names in messages ("rope_scaling."). The object
// must outlive it.
class Fields {
 public:
  explicit Fields(const nlohmann::json& object, std::string prefix = {})
      : object_(object), prefix_(std::move(prefix)) {}

  const nlohmann::json& object() const { return object_; }
  bool has(const char* name) const;                  // there, null or not
  bool has_value(const char* name) const;            // there and not null
  const nlohmann::json& at(const char* name) const;  // must be there

  // The integer or number of a field that must be there, in [low, high].
  Result<std::int64_t> integer(const char* name, std::int64_t low, std::int64_t high) const;
  Result<double> number(const char* name, double low, double high) const;
  // Absent or null: the default.
  Result<double> number_or(const char* name, double otherwise, double low, double high) const;
  Result<bool> boolean_or(const char* name, bool otherwise) const;
  Result<std::string> string_or(const char* name, std::string_view otherwise) const;

  tl::unexpected<Error> error(const char* name, std::string_view expected) const;
  tl::unexpected<Error> unsupported(const char* name, std::string_view expected) const;

 private:
  Error make(ErrorKind kind, const char* name, std::string_view expected) const;

  const nlohmann::json& object_;
  std::string prefix_;
};

}  // namespace strata::json_fields
