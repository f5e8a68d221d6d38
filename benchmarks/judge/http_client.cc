#include "benchmarks/judge/http_client.h"

#include <curl/curl.h>

#include <array>
#include <utility>

namespace strata {
namespace {

constexpr std::size_t kMaxHeaderBytes = std::size_t{64} << 10U;

struct Transfer {
  HttpReply reply;
  std::size_t header_bytes = 0;
  std::size_t max_bytes = 0;
  bool too_large = false;
  std::array<char, CURL_ERROR_SIZE> detail{};
  std::stop_token stop;
};

extern "C" std::size_t take_body(char* data, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::size_t bytes = size * count;
  if (bytes > transfer.max_bytes - transfer.reply.body.size()) {
    transfer.too_large = true;
    return 0;  // ends the transfer
  }
  transfer.reply.body.append(data, bytes);
  return bytes;
}

extern "C" std::size_t take_header(char*, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::size_t bytes = size * count;
  transfer.header_bytes += bytes;
  if (transfer.header_bytes <= kMaxHeaderBytes) return bytes;
  transfer.too_large = true;
  return 0;
}

// Called at least once a second.
extern "C" int take_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const Transfer*>(user)->stop.stop_requested() ? 1 : 0;
}

// libcurl's own state, for as long as the process lives.
void start_curl() {
  static const CURLcode kStarted = curl_global_init(CURL_GLOBAL_DEFAULT);
  STRATA_CHECK(kStarted == CURLE_OK, "{}", curl_easy_strerror(kStarted));
}

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

HeaderList header_list(const std::vector<std::string>& headers) {
  HeaderList list;
  for (const std::string& header : headers) {
    curl_slist* longer = curl_slist_append(list.get(), header.c_str());
    STRATA_CHECK(longer != nullptr);
    static_cast<void>(list.release());
    list.reset(longer);
  }
  return list;
}

Error failure(CURLcode code, const Transfer& transfer, const HttpLimits& limits) {
  if (transfer.too_large)
    return make_error(ErrorKind::kInvalidFile, "expected a reply of at most {} bytes, got more",
                      limits.reply_bytes);
  switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
      return make_error(ErrorKind::kInterrupted, "stopped before the reply was there");
    case CURLE_OPERATION_TIMEDOUT:
      return make_error(ErrorKind::kIo, "no whole reply in time (connecting {} ms, in all {} ms)",
                        limits.connect.count(), limits.total.count());
    case CURLE_PARTIAL_FILE:
      return make_error(ErrorKind::kIo, "the connection ended in the middle of the reply");
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return make_error(
          ErrorKind::kUnsupported, "{} (judge.ca_file names what to trust)",
          transfer.detail[0] != '\0' ? transfer.detail.data() : curl_easy_strerror(code));
    default: return make_error(ErrorKind::kIo, "{}", curl_easy_strerror(code));
  }
}

}  // namespace

struct HttpClient::Handle {
  struct Free {
    void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
  };
  std::unique_ptr<CURL, Free> curl;

  template <typename T>
  void set(CURLoption option, T value) const {
    const CURLcode code = curl_easy_setopt(curl.get(), option, value);
    STRATA_CHECK(code == CURLE_OK, "option {}: {}", static_cast<int>(option),
                 curl_easy_strerror(code));
  }
};

HttpClient::HttpClient() {
  start_curl();
  handle_ = std::make_unique<Handle>();
  handle_->curl.reset(curl_easy_init());
  STRATA_CHECK(handle_->curl != nullptr);
}
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

Result<HttpReply> HttpClient::post(const Endpoint& endpoint,
                                   const std::vector<std::string>& headers, std::string_view body,
                                   const HttpLimits& limits, std::stop_token stop) {
  if (stop.stop_requested())
    return fail(ErrorKind::kInterrupted, "stopped before the reply was there");
  Transfer transfer;
  transfer.max_bytes = limits.reply_bytes;
  transfer.stop = std::move(stop);
  const Handle& handle = *handle_;
  curl_easy_reset(handle.curl.get());  // keeps its connections
  const HeaderList list = header_list(headers);
  handle.set(CURLOPT_URL, endpoint.url.c_str());
  handle.set(CURLOPT_PROTOCOLS_STR, "http,https");
  handle.set(CURLOPT_FOLLOWLOCATION, 0L);
  handle.set(CURLOPT_ERRORBUFFER, transfer.detail.data());
  if (!endpoint.ca_file.empty()) handle.set(CURLOPT_CAINFO, endpoint.ca_file.c_str());
  if (endpoint.loopback) handle.set(CURLOPT_PROXY, "");
  handle.set(CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));  // none of ours to a proxy
  handle.set(CURLOPT_HTTPHEADER, list.get());
  handle.set(CURLOPT_POST, 1L);
  handle.set(CURLOPT_POSTFIELDS, body.data());
  handle.set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  handle.set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(limits.connect.count()));
  handle.set(CURLOPT_TIMEOUT_MS, static_cast<long>(limits.total.count()));
  handle.set(CURLOPT_NOSIGNAL, 1L);
  handle.set(CURLOPT_WRITEFUNCTION, &take_body);
  handle.set(CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
  handle.set(CURLOPT_HEADERFUNCTION, &take_header);
  handle.set(CURLOPT_HEADERDATA, static_cast<void*>(&transfer));
  handle.set(CURLOPT_NOPROGRESS, 0L);
  handle.set(CURLOPT_XFERINFOFUNCTION, &take_progress);
  handle.set(CURLOPT_XFERINFODATA, static_cast<void*>(&transfer));
  const CURLcode code = curl_easy_perform(handle.curl.get());
  handle.set(CURLOPT_ERRORBUFFER, static_cast<char*>(nullptr));
  if (code != CURLE_OK) return fail(failure(code, transfer, limits));

  HttpReply& reply = transfer.reply;
  curl_easy_getinfo(handle.curl.get(), CURLINFO_RESPONSE_CODE, &reply.status);
  const char* type = nullptr;
  curl_easy_getinfo(handle.curl.get(), CURLINFO_CONTENT_TYPE, &type);
  if (type != nullptr) reply.content_type = type;
  curl_off_t seconds = 0;
  curl_easy_getinfo(handle.curl.get(), CURLINFO_RETRY_AFTER, &seconds);
  if (seconds > 0) reply.retry_after = std::chrono::seconds(seconds);
  return std::move(reply);
}

}  // namespace strata
