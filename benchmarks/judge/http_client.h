// HttpClient: one POST at a time over libcurl, within limits of time and size.
//
// HTTP and HTTPS alone, certificates checked, redirects not followed, nothing decompressed, no
// cookies, no proxy to this machine. Errors say what failed and never where to: a URL may hold
// secrets. One thread at a time uses a client; connections are kept between calls.
#pragma once

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/judge/endpoint.h"
#include "benchmarks/judge/http_reply.h"
#include "core/result.h"

namespace strata {

struct HttpLimits {
  std::chrono::milliseconds connect{10'000};
  std::chrono::milliseconds total{120'000};  // connecting included
  std::size_t reply_bytes = std::size_t{1} << 20;
};

class HttpClient {
 public:
  HttpClient();
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;
  ~HttpClient();

  // Any status is a reply. Errors: kIo (no connection, a timeout, a connection that broke),
  // kInvalidFile (a reply above the limit), kUnsupported (a certificate that is not trusted),
  // kInterrupted (`stop`).
  Result<HttpReply> post(const Endpoint& endpoint, const std::vector<std::string>& headers,
                         std::string_view body, const HttpLimits& limits, std::stop_token stop);

 private:
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

}  // namespace strata
