// Many prompts to one judge, several at once.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "benchmarks/judge/chat_client.h"
#include "core/progress.h"

namespace strata {

// Called on the thread that called judge_all(), as calls end. An error ends the others.
using TakeOutcome = std::function<Status(std::size_t prompt, const ChatOutcome& outcome)>;

// Asks each prompt once (with the attempts of ChatClient); `take` gets every call that ended, also
// of those that end while the pool is being stopped. The jitter of a prompt's waits comes from
// (config.seed, its place). Errors: kInterrupted; kIo where an outcome is hopeless, or
// config.max_failures calls in a row failed; what `take` returns.
Status judge_all(const JudgeConfig& config, const Endpoint& endpoint, const ApiKey& key,
                 std::span<const std::string> prompts, const TakeOutcome& take,
                 const Progress& progress);

}  // namespace strata
