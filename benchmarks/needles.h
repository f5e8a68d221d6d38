// Needles of the needle-in-a-haystack task: RULER's wording, keys and values, and where each
// belongs.
//
// A key is "adjective-noun" and belongs to the split of its noun; a value is seven digits and
// belongs to a split by hash. So keys, values and distractors never cross splits, whatever the
// seed.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/bundled_text.h"
#include "benchmarks/word_lists.h"
#include "core/rng.h"

namespace strata {

struct Needle {
  std::string key;
  std::string value;
  bool operator==(const Needle&) const = default;
};

// RULER's texts (NVIDIA/RULER, niah, words to numbers, one key asked for).
std::string needle_sentence(const Needle& needle);
std::string niah_question(std::string_view key);  // after the context and a newline
std::string niah_answer_prefix(
    std::string_view key);  // after the assistant's header, from a space on
inline constexpr std::string_view kNiahInstruction =  // before a newline and the context
    "A special magic number is hidden within the following text. Make sure to memorize it. I will "
    "quiz you about the "
    "number afterwards.";
inline constexpr std::string_view kNoiseUnit =
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

// Every complete needle sentence of a text, in order.
std::vector<Needle> find_needles(std::string_view text);

Split split_of_value(std::uint64_t value);

// The needles of one split.
class NeedlePool {
 public:
  NeedlePool(const KeyWords& words, Split split);
  std::size_t key_count() const { return adjectives_.size() * nouns_.size(); }

  // A needle whose key and value are not in `used`, and puts both there. Needs used.size() well
  // below key_count().
  Needle draw(Rng& rng, std::set<std::string, std::less<>>& used) const;

 private:
  Split split_;
  std::vector<std::string> adjectives_;
  std::vector<std::string> nouns_;
};

}  // namespace strata
