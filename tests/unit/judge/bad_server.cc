#include "bad_server.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

namespace strata::test {
namespace {

bool send_all(int connection, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// Until the other side ends the connection, or this one does.
void wait_for_end(int connection) {
  char byte = 0;
  while (::recv(connection, &byte, 1, 0) > 0) continue;
}

// False: the other side is gone.
bool pause(int connection, std::chrono::milliseconds duration) {
  pollfd watched{connection, POLLIN | POLLRDHUP, 0};
  return ::poll(&watched, 1, static_cast<int>(duration.count())) == 0;
}

std::optional<ServerRequest> read_request(int connection, std::string& pending) {
  const auto more = [&] {
    char block[4096];
    const ssize_t got = ::recv(connection, block, sizeof block, 0);
    if (got <= 0) return false;
    pending.append(block, static_cast<std::size_t>(got));
    return true;
  };
  std::size_t end = 0;
  while ((end = pending.find("\r\n\r\n")) == std::string::npos)
    if (!more()) return std::nullopt;
  ServerRequest request;
  std::size_t at = pending.find("\r\n");
  request.line = pending.substr(0, at);
  while (at < end) {
    const std::size_t next = pending.find("\r\n", at + 2);
    const std::string line = pending.substr(at + 2, next - at - 2);
    std::string name = line.substr(0, line.find(':'));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    request.headers[name] = line.substr(std::min(line.size(), line.find(':') + 2));
    at = next;
  }
  const auto length =
      static_cast<std::size_t>(std::atoll(request.headers["content-length"].c_str()));
  pending.erase(0, end + 4);
  while (pending.size() < length)
    if (!more()) return std::nullopt;
  request.body = pending.substr(0, length);
  pending.erase(0, length);
  return request;
}

std::string head_of(const Behaviour& behaviour, bool with_length) {
  std::string head = fmt::format("HTTP/1.1 {} Whatever\r\n", behaviour.status);
  if (!behaviour.content_type.empty())
    head += fmt::format("Content-Type: {}\r\n", behaviour.content_type);
  if (with_length) head += fmt::format("Content-Length: {}\r\n", behaviour.body.size());
  for (const std::string& header : behaviour.headers) head += header + "\r\n";
  return head;
}

}  // namespace

Behaviour completion(const std::string& content, const std::string& model) {
  const nlohmann::json body = {
      {"model", model},
      {"choices", {{{"index", 0}, {"message", {{"role", "assistant"}, {"content", content}}}}}}};
  return {.body = body.dump()};
}

Behaviour with_status(int status, std::vector<std::string> headers, std::string body) {
  return {.status = status, .body = std::move(body), .headers = std::move(headers)};
}

BadServer::BadServer(Choose choose) : choose_(std::move(choose)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  if (listener_ < 0 || ::bind(listener_, plain, size) != 0 || ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, plain, &size) != 0)
    std::abort();
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

BadServer::~BadServer() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    for (const int connection : connections_) ::shutdown(connection, SHUT_RDWR);
  }
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
  for (const int connection : connections_) ::close(connection);
  ::close(listener_);
}

std::string BadServer::host() const { return fmt::format("127.0.0.1:{}", port_); }
std::string BadServer::url() const { return fmt::format("http://{}/v1", host()); }

std::vector<ServerRequest> BadServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

int BadServer::most_at_once() const {
  const std::lock_guard lock(mutex_);
  return most_at_once_;
}

void BadServer::accept_all() {
  while (true) {
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const std::lock_guard lock(mutex_);
    if (ending_ || connection < 0) {
      if (connection >= 0) ::close(connection);
      return;
    }
    connections_.push_back(connection);
    threads_.emplace_back([this, connection] { serve(connection); });
  }
}

void BadServer::serve(int connection) {
  std::string pending;
  while (auto request = read_request(connection, pending)) {
    {
      const std::lock_guard lock(mutex_);
      request->number = requests_.size();
      request->arrived = std::chrono::steady_clock::now();
      requests_.push_back(*request);
      most_at_once_ = std::max(most_at_once_, ++at_once_);
    }
    const bool go_on = answer(connection, *request);
    const std::lock_guard lock(mutex_);
    --at_once_;
    if (!go_on) break;
  }
  // (The descriptor itself is closed at the end, so that no other connection gets its number.)
  ::shutdown(connection, SHUT_RDWR);
}

bool BadServer::answer(int connection, const ServerRequest& request) {
  using Kind = Behaviour::Kind;
  const Behaviour behaviour = choose_(request);
  if (behaviour.delay.count() > 0) std::this_thread::sleep_for(behaviour.delay);
  switch (behaviour.kind) {
    case Kind::kReply:
      return send_all(connection, head_of(behaviour, true) + "\r\n" + behaviour.body);
    case Kind::kHang: wait_for_end(connection); return false;
    case Kind::kDrip:
      for (const char byte : head_of(behaviour, true) + "\r\n" + behaviour.body)
        if (!send_all(connection, {&byte, 1}) || !pause(connection, behaviour.pause)) return false;
      return true;
    case Kind::kReset: {
      // Disconnecting a socket with nothing lingering sends a reset.
      const linger at_once{1, 0};
      ::setsockopt(connection, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      sockaddr none{};
      none.sa_family = AF_UNSPEC;
      static_cast<void>(::connect(connection, &none, sizeof none) == 0);
      return false;
    }
    case Kind::kClose: return false;
    case Kind::kHalf:
      send_all(connection, head_of(behaviour, true) + "\r\n" +
                               behaviour.body.substr(0, behaviour.body.size() / 2));
      return false;
    case Kind::kEndless: {
      if (!send_all(connection, head_of(behaviour, false) + "\r\n")) return false;
      const std::string block(65536, ' ');
      while (send_all(connection, block)) continue;
      return false;
    }
    case Kind::kEndlessHeader: {
      if (!send_all(connection, head_of(behaviour, false))) return false;
      const std::string line = "X-More: " + std::string(1000, 'x') + "\r\n";
      while (send_all(connection, line)) continue;
      return false;
    }
    case Kind::kUnlengthed:
      send_all(connection,
               head_of(behaviour, false) + "Connection: close\r\n\r\n" + behaviour.body);
      return false;
    case Kind::kGarbage: send_all(connection, behaviour.body); return false;
  }
  return false;
}

}  // namespace strata::test
