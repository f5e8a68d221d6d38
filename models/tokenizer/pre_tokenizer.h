// Splitters: the pre-tokenizers of tokenizer.json, written by hand.
//
// A splitter finds the end of the piece that starts at `begin` (valid UTF-8, begin < size; the
// result is > begin). Stages are applied one inside the other, each seeing a piece of the one
// before as its whole text, exactly as `tokenizers`' Sequence does. Pure functions.
#pragma once

#include <cstddef>
#include <string_view>

namespace strata {

using Splitter = std::size_t (*)(std::string_view text, std::size_t begin);

std::size_t split_single_digits(std::string_view text,
                                std::size_t begin);  // Digits(individual_digits=true)
std::size_t split_digit_runs(std::string_view text,
                             std::size_t begin);  // Digits(individual_digits=false)
std::size_t split_gpt2(std::string_view text, std::size_t begin);  // ByteLevel(use_regex=true)

// The splitter of a Split(Regex) whose pattern we know (Llama 3, Qwen 2 and 3), else nullptr.
Splitter splitter_of_pattern(std::string_view pattern);

}  // namespace strata
