// Endpoint: where chat completions are asked for, checked before anything is sent.
#pragma once

#include <string>

#include "core/result.h"

namespace strata {

struct Endpoint {
  std::string url;   // of chat completions; may hold secrets of a gateway: never shown or stored
  std::string host;  // "api.openai.com", "127.0.0.1:8001", "[::1]:80": what is shown and stored
  bool loopback = false;  // this machine: localhost, 127.0.0.0/8, [::1]
};

// `base` is the URL up to and without /chat/completions (with it is understood too). http:// is
// taken for this machine only, unless allowed. Refused: other schemes, user names and passwords,
// queries and fragments. Errors name the part that is wrong, not the URL.
Result<Endpoint> parse_endpoint(const std::string& base, bool allow_http);

}  // namespace strata
