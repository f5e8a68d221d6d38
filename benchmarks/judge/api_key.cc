#include "benchmarks/judge/api_key.h"

#include <algorithm>
#include <cstdlib>

namespace strata {
namespace {

constexpr std::string_view kReplacement = "[key]";
constexpr std::size_t kMaxNameBytes = 64;
constexpr std::size_t kMaxKeyBytes = 8192;

// Upper case only: no provider's keys look like that.
bool is_variable_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !name.empty() && name.size() <= kMaxNameBytes && !(name[0] >= '0' && name[0] <= '9') &&
         std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace

Result<ApiKey> ApiKey::from_environment(const std::string& variable) {
  if (!is_variable_name(variable))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected the name of an environment variable (A-Z, 0-9, _), got "
                           "something else (not shown: it may be a key)")
                    .at("judge.key_env")
                    .with_hint("export STRATA_JUDGE_KEY=… and leave judge.key_env out"));
  const char* value = std::getenv(variable.c_str());
  const std::string_view key = value == nullptr ? "" : value;
  if (key.size() > kMaxKeyBytes ||
      !std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20 && c < 0x7f; }))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected at most {} printable characters without spaces in the "
                           "environment variable {}, got something else (not shown)",
                           kMaxKeyBytes, variable)
                    .at("judge.key_env")
                    .with_hint("a line break at its end, perhaps"));
  return ApiKey(std::string(key));
}

std::vector<std::string> ApiKey::headers() const {
  if (value_.empty()) return {};
  return {"Authorization: Bearer " + value_};
}

std::string ApiKey::redacted(std::string_view text) const {
  if (value_.size() < kSecretBytes) return std::string(text);
  std::string out;
  std::size_t begin = 0;
  for (std::size_t at = text.find(value_); at != std::string_view::npos;
       at = text.find(value_, begin)) {
    out += text.substr(begin, at - begin);
    out += kReplacement;
    begin = at + value_.size();
  }
  return out += text.substr(begin);
}

}  // namespace strata
