// ApiKey: an endpoint's key, which leaves this object only as a request's header.
//
// It has no formatter and no accessor, and what comes from outside (replies, error texts) goes
// through redacted() before anybody stores or shows it: endpoints are known to send keys back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace strata {

class ApiKey {
 public:
  // Shorter ones ("EMPTY", "x") are what local servers take for form's sake; replacing them in
  // replies would spoil these.
  static constexpr std::size_t kSecretBytes = 8;

  ApiKey() = default;  // none
  // None where the variable is unset or empty. Errors never have the value; nor the name unless it
  // looks like one, because a key may have been given in its place.
  static Result<ApiKey> from_environment(const std::string& variable);

  bool empty() const { return value_.empty(); }
  // "Authorization: Bearer …"; nothing without a key.
  std::vector<std::string> headers() const;
  // The text with every occurrence of the key replaced.
  std::string redacted(std::string_view text) const;

 private:
  explicit ApiKey(std::string value) : value_(std::move(value)) {}
  std::string value_;
};

}  // namespace strata
