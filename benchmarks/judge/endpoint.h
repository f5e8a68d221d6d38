// Endpoint: where chat completions are asked for, checked before anything is sent.
#pragma once

#include <string>

#include "benchmarks/judge/judge_config.h"
#include "core/result.h"

namespace strata {

struct Endpoint {
  std::string url;   // of chat completions; may hold secrets of a gateway: never shown or stored
  std::string host;  // "api.openai.com", "127.0.0.1:8001", "[::1]:80": what is shown and stored
  bool loopback = false;  // this machine: localhost, 127.0.0.0/8, [::1]
  std::string ca_file;    // certificates to trust; "": the system's
};

// `base` is the URL up to and without /chat/completions (with it is understood too). http:// is
// taken for this machine only, unless allowed. Refused: other schemes, user names and passwords,
// queries and fragments. Errors name the part that is wrong, not the URL.
Result<Endpoint> parse_endpoint(const std::string& base, bool allow_http);

// That of judge.url, with judge.ca_file, which has to be there.
Result<Endpoint> endpoint_of(const JudgeConfig& config);

}  // namespace strata
