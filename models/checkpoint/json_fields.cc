#include "models/checkpoint/json_fields.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"

namespace strata::json_fields {
namespace {

constexpr std::size_t kShownString = 60;

}  // namespace

Result<std::string> read_text(const std::filesystem::path& path, std::uint64_t max_bytes) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status))
    return fail(make_error(ErrorKind::kNotFound, "there is no such file").at(path.string()));
  if (!std::filesystem::is_regular_file(status))
    return fail(make_error(ErrorKind::kInvalidFile, "expected a regular file, got something else")
                    .at(path.string()));
  const std::uintmax_t size = std::filesystem::file_size(path, code);
  if (code)
    return fail(make_error(ErrorKind::kIo, "cannot look at the file: {}", code.message())
                    .at(path.string()));
  if (size > max_bytes)
    return fail(
        make_error(ErrorKind::kInvalidFile, "expected at most {} bytes, got {}", max_bytes, size)
            .at(path.string()));
  std::ifstream stream(path, std::ios::binary);
  std::string text(static_cast<std::size_t>(size), '\0');
  stream.read(text.data(), static_cast<std::streamsize>(size));
  if (!stream || static_cast<std::uintmax_t>(stream.gcount()) != size)
    return fail(make_error(ErrorKind::kIo, "cannot read the file").at(path.string()));
  return text;
}

Result<nlohmann::json> parse_object(std::string_view text) {
  ASSIGN_OR_RETURN(auto json, parse_json(text));
  if (!json.is_object())
    return fail(ErrorKind::kInvalidFile, "expected a JSON object, got {}", describe(json));
  return json;
}

std::string describe(const nlohmann::json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  if (value.is_string() && value.get_ref<const std::string&>().size() > kShownString)
    return "a long string";
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool Fields::has(const char* name) const { return object_.contains(name); }
bool Fields::has_value(const char* name) const { return has(name) && !at(name).is_null(); }
const nlohmann::json& Fields::at(const char* name) const { return *object_.find(name); }

Error Fields::make(ErrorKind kind, const char* name, std::string_view expected) const {
  return make_error(kind, "field '{}{}': expected {}, got {}", prefix_, name, expected,
                    has(name) ? describe(at(name)) : "nothing");
}

tl::unexpected<Error> Fields::error(const char* name, std::string_view expected) const {
  return fail(make(ErrorKind::kInvalidFile, name, expected));
}

tl::unexpected<Error> Fields::unsupported(const char* name, std::string_view expected) const {
  return fail(make(ErrorKind::kUnsupported, name, expected));
}

Result<std::int64_t> Fields::integer(const char* name, std::int64_t low, std::int64_t high) const {
  const auto refuse = [&] {
    return error(name, fmt::format("an integer from {} to {}", low, high));
  };
  if (!has(name) || !at(name).is_number_integer()) return refuse();
  const auto& json = at(name);
  if (json.is_number_unsigned() && json.get<std::uint64_t>() > static_cast<std::uint64_t>(high))
    return refuse();
  const auto value = json.get<std::int64_t>();
  if (value < low || value > high) return refuse();
  return value;
}

Result<double> Fields::number(const char* name, double low, double high) const {
  const auto refuse = [&] { return error(name, fmt::format("a number from {} to {}", low, high)); };
  if (!has(name) || !at(name).is_number()) return refuse();
  const auto value = at(name).get<double>();
  if (!(value >= low && value <= high)) return refuse();
  return value;
}

Result<double> Fields::number_or(const char* name, double otherwise, double low,
                                 double high) const {
  if (!has_value(name)) return otherwise;
  return number(name, low, high);
}

Result<bool> Fields::boolean_or(const char* name, bool otherwise) const {
  if (!has_value(name)) return otherwise;
  if (!at(name).is_boolean()) return error(name, "true or false");
  return at(name).get<bool>();
}

Result<std::string> Fields::string_or(const char* name, std::string_view otherwise) const {
  if (!has_value(name)) return std::string(otherwise);
  if (!at(name).is_string()) return error(name, "a string");
  return at(name).get<std::string>();
}

}  // namespace strata::json_fields
