// HttpReply: what a server answered to a request, whole.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace strata {

struct HttpReply {
  long status = 0;
  std::string body;
  std::string content_type;                         // "" where the server names none
  std::optional<std::chrono::seconds> retry_after;  // from either form of the header
};

}  // namespace strata
