// Essays for RULER's haystacks, counted in words: RULER cuts the text behind any word, and puts
// needles between sentences.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "benchmarks/bundled_text.h"
#include "benchmarks/essays.h"
#include "benchmarks/ruler_source.h"

namespace strata {

struct CountedSentence {
  std::string text;
  std::vector<std::uint32_t> word_ends;    // bytes of text
  std::vector<std::uint32_t> word_tokens;  // of a space and the word
};
CountedSentence count_words(const Tokenizer& tokenizer, std::string text);

// The text of one sample, from its beginning on.
struct EssayReading {
  std::function<const CountedSentence&(std::size_t)> sentence;  // endless; stays where it is
  std::int64_t words = RulerDraft::kEndless;                    // before it repeats
  nlohmann::json source;
  std::string cluster;  // "" = independent of every other sample
};

class RulerEssays {
 public:
  // Errors: essays that are not there or not UTF-8.
  static Result<RulerEssays> load(const RulerSetting& setting);

  // Each sample begins at a sentence of its own, so that no two share the beginning of a prompt.
  // Essays: the samples are dealt out over disjoint stretches of the split's text as long as the
  // prompt, and a stretch is read round from where the sample begins; where the split is shorter
  // than that, all of it is.
  EssayReading open(const RulerSetting& setting, std::int64_t index) const;

 private:
  struct Stretch {
    std::size_t begin = 0;
    std::size_t size = 0;  // sentences
  };
  std::shared_ptr<const BundledLibrary> library_;  // or
  std::shared_ptr<const EssayText> text_;
  std::shared_ptr<const std::vector<CountedSentence>> counted_;
  std::vector<Stretch> stretches_;  // in the order they are dealt
};

}  // namespace strata
