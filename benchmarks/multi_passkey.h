// Multiple passkeys: sequences of random words hidden at random depths of a book and asked back in
// order, at an exact token length (DuoAttention, arXiv 2410.10819,
// MultiplePasskeyRetrievalDataset).
//
// Words and haystack belong to splits. metadata holds the passkeys, which are asked, where they
// stand, and the distance of the nearest asked one. Sample i depends on config, seed, split and
// tokenizer alone.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "benchmarks/benchmark.h"
#include "benchmarks/multi_passkey_config.h"

namespace strata {

// `config` keeps to the constraints of its fields, as binding does.
std::unique_ptr<Benchmark> make_multi_passkey(MultiPasskeyConfig config);

// The words of one split.
std::vector<std::string> passkey_words(PasskeyAlphabet alphabet, Split split);

// Texts; `ordinal` from 0, `words` as they are written. The frame is the published one, needle and
// question are in our words.
inline constexpr std::string_view kBookHead = "This is a very long story book: <book> ";
inline constexpr std::string_view kBookTail = " </book>.";
std::string passkey_sentence(std::size_t ordinal, std::string_view words);
std::string passkey_question(const std::vector<std::size_t>& ordinals);

}  // namespace strata
