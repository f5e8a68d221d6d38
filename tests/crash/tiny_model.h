// A model directory that both programs can run in milliseconds: a random Llama of six layers with a
// byte-level tokenizer, and questions for it.
#pragma once

#include <filesystem>

namespace strata::testing {

// Writes config.json, model.safetensors and tokenizer.json; the same bytes each time.
void write_tiny_model(const std::filesystem::path& folder);

// A jsonl file of `tests` test and `calibrations` calibration questions of 150 to 300 tokens.
void write_questions(const std::filesystem::path& file, int tests, int calibrations);

}  // namespace strata::testing
