// Sample: one question of a benchmark, rendered and tokenised, with its accepted answers and
// metadata.
//
// prompt = every token before the first scored answer token (template, assistant header, answer
// prefix and tokens moved into it); its size is the prompt length P of the visibility rule.
// `metadata` (needle position, depth, evidence) reaches the database, never the model.
//
// Calibration samples may have metadata "counterfactual": the same question with another value in
// the haystack, {"tokens": [[position, token], …] to put into the prompt, "answer": [tokens], as
// many as the answer has}.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "core/tokens.h"

namespace strata {

struct Sample {
  std::string id;  // SHA-256 of prompt tokens, answers and benchmark: content, not index
  Tokens prompt;
  Tokens answer;            // the first accepted answer, teacher-forced (no end-of-sequence token)
  std::string prompt_text;  // for the person who reads the database
  std::vector<std::string> answers;  // accepted answers; any counts
  std::string answer_given;  // the part of answers[0] that was moved into the prompt ("" if none)
  std::string cluster;       // samples of one cluster are not independent
  nlohmann::json metadata = nlohmann::json::object();
};

// Answer-bearing prompts on which a selector may look, disjoint from every evaluated sample.
struct CalibrationSet {
  std::string id;  // SHA-256 over the sample ids
  std::vector<Sample> samples;
};

// The content id of a set of samples, in order.
std::string content_id(const std::vector<Sample>& samples);

}  // namespace strata
