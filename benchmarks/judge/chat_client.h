// ChatClient: one user message to a model behind an OpenAI-compatible endpoint, and its reply, with
// attempts, back-off and pace. One thread at a time uses a client; clients share a Pace.
#pragma once

#include <stop_token>
#include <string>

#include "benchmarks/judge/api_key.h"
#include "benchmarks/judge/chat_reply.h"
#include "benchmarks/judge/endpoint.h"
#include "benchmarks/judge/http_client.h"
#include "benchmarks/judge/judge_config.h"
#include "benchmarks/judge/pacing.h"

namespace strata {

// What a call came to.
enum class CallEnd {
  kReplied,
  kFailed,   // attempts used up, or a request that this endpoint will not take
  kHopeless  // no call to this endpoint can succeed: its key, path or model is wrong
};

struct ChatOutcome {
  CallEnd end = CallEnd::kFailed;
  bool stopped = false;  // kFailed because the user stopped: no outcome at all
  std::string reply;     // the message's text; UTF-8, without the key
  std::string model;     // as the endpoint names what answered; may be ""
  std::string error;     // of the last attempt; one line, UTF-8, without the key
  int attempts = 0;
  double latency_ms = 0;  // of the last attempt
};

class ChatClient {
 public:
  // All three outlive the client.
  ChatClient(const JudgeConfig& config, const Endpoint& endpoint, const ApiKey& key, Pace& pace);

  ChatOutcome ask(const std::string& prompt, Rng& jitter, const std::stop_token& stop);

 private:
  ChatReply attempt(const std::string& body, const std::stop_token& stop, bool& stopped);

  const JudgeConfig& config_;
  const Endpoint& endpoint_;
  const ApiKey& key_;
  Pace& pace_;
  HttpClient http_;
};

// What changes a judge's replies, as canonical JSON: {"max_tokens":10,"temperature":0.0}.
std::string judge_settings_json(const JudgeConfig& config);

// The request's JSON. Bytes of the prompt that are no UTF-8 are replaced.
std::string chat_request_json(const JudgeConfig& config, const std::string& prompt);

}  // namespace strata
