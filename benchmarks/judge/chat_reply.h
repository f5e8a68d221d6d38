// What an endpoint's answer to a chat completion means: the message's text, or what to do without.
// Pure; for bytes of strangers.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "benchmarks/judge/http_reply.h"

namespace strata {

struct ChatReply {
  enum class Next {
    kDone,
    kAgain,     // may come right by itself
    kGiveUp,    // this request never will
    kHopeless,  // nor will any other
  };
  Next next = Next::kAgain;
  std::string text, model;  // where done; UTF-8
  std::string error;        // else; as it came, not yet fit to be shown
  std::optional<std::chrono::seconds> retry_after;
};

ChatReply read_chat_reply(const HttpReply& reply);

}  // namespace strata
