// A real HTTP server on 127.0.0.1, of plain sockets, that misbehaves as told: what it does with
// each request is a function's choice.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace strata::test {

struct ServerRequest {
  std::string line;                            // "POST /v1/chat/completions HTTP/1.1"
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  std::size_t number = 0;  // from 0, over all connections
  std::chrono::steady_clock::time_point arrived;
};

struct Behaviour {
  enum class Kind {
    kReply,    // status, headers, body, with the body's length
    kHang,     // nothing, for as long as the client waits
    kDrip,     // the reply, a byte every `pause`
    kReset,    // the connection is reset
    kClose,    // the connection is closed without a byte
    kHalf,     // the length of the whole body, then half of it, then the end
    kEndless,  // a body without end
    kEndlessHeader,
    kUnlengthed,  // the body as it is, ended by the connection's end
    kGarbage      // the body in place of HTTP
  };
  Kind kind = Kind::kReply;
  int status = 200;
  std::string body;
  std::string content_type = "application/json";  // "": no such header
  std::vector<std::string> headers;
  std::chrono::milliseconds pause{20};
  std::chrono::milliseconds delay{0};  // before anything is sent
};

// {"choices": [{"message": {"content": …}}], "model": …}
Behaviour completion(const std::string& content, const std::string& model = "judge-1");
Behaviour with_status(int status, std::vector<std::string> headers = {}, std::string body = "{}");

class BadServer {
 public:
  using Choose = std::function<Behaviour(const ServerRequest&)>;  // called from several threads
  explicit BadServer(Choose choose);
  ~BadServer();  // ends every connection
  BadServer(const BadServer&) = delete;
  BadServer& operator=(const BadServer&) = delete;

  int port() const { return port_; }
  std::string url() const;  // "http://127.0.0.1:PORT/v1"
  std::string host() const;
  std::vector<ServerRequest> requests() const;  // so far
  int most_at_once() const;                     // requests that were being answered

 private:
  void accept_all();
  void serve(int connection);
  bool answer(int connection, const ServerRequest& request);

  Choose choose_;
  int listener_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;
  bool ending_ = false;
  std::vector<int> connections_;
  std::vector<std::thread> threads_;
  std::vector<ServerRequest> requests_;
  int at_once_ = 0, most_at_once_ = 0;
  std::thread acceptor_;
};

}  // namespace strata::test
