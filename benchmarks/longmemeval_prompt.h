// The published reading prompts of LongMemEval, byte for byte (src/generation/run_generation.py of
// xiaowu0162/LongMemEval, MIT, Copyright (c) 2024 Di Wu): the whole history, no retrieval.
//
// Pure functions; what they are given holds no label.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "benchmarks/longmemeval_config.h"
#include "benchmarks/longmemeval_file.h"

namespace strata {

struct TurnPlace {
  std::size_t begin = 0;  // bytes of the prompt: the turn's content as it is written there
  std::size_t end = 0;
};

struct ReadingPrompt {
  std::string text;
  // In the order of ChatHistory, as its sessions and their turns.
  std::vector<std::vector<TurnPlace>> turns;
  // Where each shown session begins, and one more: where they end.
  std::vector<std::size_t> borders;
};

// Sessions that are shown, by their place in the history: sorted by date, equal dates in the file's
// order.
std::vector<std::size_t> by_date(const ChatHistory& history);

// The prompt with the sessions of `shown`, in that order, numbered from 1. Turns of other sessions
// have empty places.
ReadingPrompt reading_prompt(const ChatHistory& history, std::span<const std::size_t> shown,
                             HistoryFormat format, ReadingStyle style);

}  // namespace strata
