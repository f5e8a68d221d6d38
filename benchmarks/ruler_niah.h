// RULER's needles, queries and templates (NVIDIA/RULER, Apache-2.0: data/synthetic/constants.py and
// niah.py; the texts are the benchmark's own, byte for byte).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/ruler_config.h"

namespace strata {

enum class RulerHaystack { kNoise, kEssay, kNeedle };
enum class RulerWord { kWords, kNumbers, kUuids };

struct RulerNiahTask {
  RulerHaystack haystack = RulerHaystack::kNoise;
  RulerWord key = RulerWord::kWords;
  RulerWord value = RulerWord::kNumbers;
  std::size_t keys = 1;     // in the haystack, besides distractors and a needle haystack's lines
  std::size_t values = 1;   // of each key
  std::size_t queries = 1;  // keys asked for
};
RulerNiahTask ruler_niah_task(RulerTask task);

std::string_view ruler_word_name(RulerWord word);  // "words", "numbers", "uuids"

std::string ruler_needle(RulerWord value_type, std::string_view key, std::string_view value);

// The singular form ("A special magic number is …") where one value answers the question.
struct RulerNiahTexts {
  std::string head;  // ends before the haystack
  std::string tail;
  std::string answer_prefix;
};
RulerNiahTexts ruler_niah_texts(RulerWord value_type, std::string_view query, bool singular);

}  // namespace strata
