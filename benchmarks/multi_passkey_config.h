// Keys of benchmark=multi_passkey: several sequences of random words hidden in a book and asked
// back (DuoAttention, arXiv 2410.10819; FlashMorph, arXiv 2606.30562, selects layers on it).
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "benchmarks/text_source.h"
#include "core/config/fields.h"

namespace strata {

enum class PasskeyAlphabet { kBundled, kNato };
enum class PasskeyScore { kAnswer, kSuffix };

struct MultiPasskeyConfig {
  std::int64_t length = 4096;
  std::int64_t passkeys = 10;
  std::int64_t words = 32;
  std::int64_t slots = 1000;
  std::int64_t answer_passkeys = 1;
  PasskeyScore score = PasskeyScore::kAnswer;
  PasskeyAlphabet alphabet = PasskeyAlphabet::kNato;
  TextSource haystack = TextSource::kBundled;
  std::int64_t generation_limit = 0;

  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("length", self.length,
          "prompt and generation limit together, in tokens; the haystack is at least as long as "
          "the passkeys (inferred)",
          config::between(1, 1 << 24));
    visit("passkeys", self.passkeys,
          "how many are hidden; 'first' is the shallowest (inferred); published: 10",
          config::between(1, 20));
    visit("words", self.words, "random words of a passkey; published: 32", config::between(1, 256));
    visit("slots", self.slots,
          "depths from 0.05 to 0.95 of which distinct ones are drawn; a passkey stands at the "
          "sentence border before its slot (inferred); published: 1000",
          config::between(1, 1 << 20));
    visit("answer_passkeys", self.answer_passkeys,
          "how many are asked back, drawn at random and asked in order; published for "
          "calibration: all 10",
          config::between(1, 20));
    visit("score", self.score,
          "answer: the passkeys, after one question (its wording is ours); suffix: questions and "
          "passkeys in turn, as published, in the assistant's turn (inferred), nothing is "
          "generated");
    visit("alphabet", self.alphabet,
          "nato: the spelling alphabet, 10 / 6 / 10 words a split (the split is ours; published: "
          "all 26); bundled: niah's nouns");
    visit("haystack", self.haystack,
          "bundled: generated English; essay: $STRATA_DATA/pg_essays/*.txt (published: BookSum, "
          "DCLM)");
    visit("generation_limit", self.generation_limit,
          "tokens to generate; 0: the answer's and 8 more", config::between(0, 1 << 24));
  }
};

}  // namespace strata

template <>
struct strata::config::EnumTable<strata::PasskeyAlphabet> {
  static constexpr std::array kNames = {
      std::pair{strata::PasskeyAlphabet::kBundled, std::string_view("bundled")},
      std::pair{strata::PasskeyAlphabet::kNato, std::string_view("nato")}};
};
template <>
struct strata::config::EnumTable<strata::PasskeyScore> {
  static constexpr std::array kNames = {
      std::pair{strata::PasskeyScore::kAnswer, std::string_view("answer")},
      std::pair{strata::PasskeyScore::kSuffix, std::string_view("suffix")}};
};
