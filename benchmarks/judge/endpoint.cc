#include "benchmarks/judge/endpoint.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

namespace strata {
namespace {

constexpr std::string_view kPath = "/chat/completions";

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, FreeUrl>;

std::optional<std::string> part(CURLU* url, CURLUPart which) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, 0) != CURLUE_OK || text == nullptr) return std::nullopt;
  std::string out = text;
  curl_free(text);
  return out;
}

tl::unexpected<Error> refuse(std::string message, std::string hint) {
  return fail(make_error(ErrorKind::kInvalidArgument, "{}", message)
                  .at("judge.url")
                  .with_hint(std::move(hint)));
}

// By what the connection will be made to: libcurl resolves localhost itself, and has brought other
// spellings of an address (127.1) to the usual one.
bool is_loopback(std::string host) {
  std::transform(host.begin(), host.end(), host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (host == "localhost") return true;
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24U) == 127U;
  if (host.size() < 2 || host.front() != '[' || host.back() != ']') return false;
  in6_addr v6{};
  return inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6) == 1 &&
         IN6_IS_ADDR_LOOPBACK(&v6) != 0;
}

}  // namespace

Result<Endpoint> parse_endpoint(const std::string& base, bool allow_http) {
  const std::string example = "judge.url=https://api.openai.com/v1, or http://localhost:8001/v1";
  const Url url(curl_url());
  STRATA_CHECK(url != nullptr);
  const bool clean = std::all_of(base.begin(), base.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
  });
  if (!clean || curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK)
    return refuse("expected a URL that begins with https:// or http://", example);
  const std::string scheme = part(url.get(), CURLUPART_SCHEME).value_or("");
  if (scheme != "https" && scheme != "http")
    return refuse("expected a URL that begins with https:// or http://", example);
  if (part(url.get(), CURLUPART_USER) || part(url.get(), CURLUPART_PASSWORD))
    return refuse("expected no user name and password in the URL, got one (not shown)",
                  "a key belongs in the environment variable that judge.key_env names");
  if (part(url.get(), CURLUPART_QUERY) || part(url.get(), CURLUPART_FRAGMENT))
    return refuse("expected no query and no fragment in the URL, got one (not shown)",
                  "a key belongs in the environment variable that judge.key_env names");
  Endpoint endpoint;
  const std::string host = part(url.get(), CURLUPART_HOST).value_or("");
  if (host.empty()) return refuse("expected a URL with a host", example);
  endpoint.loopback = is_loopback(host);
  endpoint.host = host;
  if (const auto port = part(url.get(), CURLUPART_PORT)) endpoint.host += ":" + *port;
  if (scheme == "http" && !endpoint.loopback && !allow_http)
    return refuse(
        fmt::format("http:// would send key and prompts unencrypted to {}", endpoint.host),
        "use https://, or judge.allow_http=true in a network that you trust");
  std::string path = part(url.get(), CURLUPART_PATH).value_or("");
  while (path.ends_with('/')) path.pop_back();
  if (!path.ends_with(kPath)) path += kPath;
  if (curl_url_set(url.get(), CURLUPART_PATH, path.c_str(), 0) != CURLUE_OK)
    return refuse("the URL's path cannot be read", example);
  endpoint.url = part(url.get(), CURLUPART_URL).value_or("");
  return endpoint;
}

Result<Endpoint> endpoint_of(const JudgeConfig& config) {
  ASSIGN_OR_RETURN(Endpoint endpoint, parse_endpoint(config.url, config.allow_http));
  endpoint.ca_file = config.ca_file;
  std::error_code ignored;
  if (!endpoint.ca_file.empty() && !std::filesystem::is_regular_file(endpoint.ca_file, ignored))
    return fail(make_error(ErrorKind::kNotFound, "expected a file of certificates, got '{}'",
                           endpoint.ca_file)
                    .at("judge.ca_file"));
  return endpoint;
}

}  // namespace strata
