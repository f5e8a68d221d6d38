#include "benchmarks/ruler_fwe.h"

#include <set>

#include "benchmarks/bundled_text.h"
#include "benchmarks/ruler_source.h"
#include "models/tokenizer/tokenizer.h"

namespace strata {
namespace {

constexpr double kZetaOf2 = 1.6449340668482264;  // π²/6
constexpr std::size_t kLetters = 6;
constexpr std::int64_t kTokensPerWord = 50;  // of length, for a word of the vocabulary
constexpr std::size_t kAnswers = 3;
// From here on the fourth rank is always more frequent than the fifth.
constexpr std::int64_t kFewestWords = 73;

class FweDraft final : public RulerDraft {
 public:
  FweDraft(const RulerSetting& setting, std::int64_t index);
  std::int64_t min_units() const override { return kFewestWords; }
  std::int64_t tokens(std::int64_t units) override;
  Result<RulerText> text(std::int64_t units) override;

 private:
  const RulerSetting setting_;
  const std::string stream_;
  std::vector<std::string> words_;   // by rank
  std::vector<std::int64_t> costs_;  // tokens of a space and the word
};

FweDraft::FweDraft(const RulerSetting& setting, std::int64_t index)
    : setting_(setting), stream_(setting.stream(index)) {
  // lm_eval does not take the tokens to generate from the length.
  const std::int64_t room =
      setting.length - (setting.lm_eval() ? 0 : ruler_generation(RulerTask::kFwe));
  const auto size = static_cast<std::size_t>(
      std::max<std::int64_t>(room / kTokensPerWord, static_cast<std::int64_t>(kAnswers) + 2));
  Rng rng(setting.request.seed, stream_ + "/words");
  std::set<std::string> seen;
  words_.emplace_back(kFweNoise);
  while (words_.size() < size) {
    std::string word;
    for (std::size_t i = 0; i < kLetters; ++i) word += static_cast<char>('a' + rng.below(26));
    if (split_of(word) == setting.request.split && seen.insert(word).second)
      words_.push_back(std::move(word));
  }
  for (const std::string& word : words_)
    costs_.push_back(std::ssize(setting.request.tokenizer.encode_plain(" " + word)));
}

std::int64_t FweDraft::tokens(std::int64_t units) {
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    const std::int64_t count = fwe_count(units, static_cast<std::int64_t>(i) + 1);
    if (count == 0) break;
    tokens += count * costs_[i];
  }
  return tokens;
}

Result<RulerText> FweDraft::text(std::int64_t units) {
  std::vector<std::string_view> list;
  for (std::size_t i = 0; i < words_.size(); ++i)
    list.insert(list.end(),
                static_cast<std::size_t>(fwe_count(units, static_cast<std::int64_t>(i) + 1)),
                words_[i]);
  Rng(setting_.request.seed, stream_ + "/places").shuffle(list);
  RulerText text;
  text.head = kFweHead;
  for (const std::string_view word : list) {
    if (!text.context.empty()) text.context += ' ';
    text.context += word;
  }
  text.tail = kFweTail;
  text.answer_prefix = ruler_answer_prefix(setting_, std::string(kFweAnswerPrefix));
  text.references.assign(words_.begin() + 1, words_.begin() + 1 + kAnswers);
  text.answer = " " + join_names(text.references);
  // Coded words, not running text: overlap is looked for in the words that are asked for.
  text.metadata = {{"own_words", text.references},
                   {"fixed_wording", true},
                   {"items", list.size()},
                   {"source", {{"kind", "coded words"}, {"words", words_.size()}}}};
  return text;
}

class FweSource final : public RulerSource {
 public:
  explicit FweSource(const RulerSetting& setting) : setting_(setting) {}
  Result<std::unique_ptr<RulerDraft>> draft(std::int64_t index) const override {
    return std::make_unique<FweDraft>(setting_, index);
  }

 private:
  const RulerSetting setting_;
};

}  // namespace

std::int64_t fwe_count(std::int64_t words, std::int64_t rank) {
  return static_cast<std::int64_t>(static_cast<double>(words) / static_cast<double>(rank * rank) /
                                   kZetaOf2);
}

Result<std::unique_ptr<RulerSource>> make_fwe_source(const RulerSetting& setting) {
  return std::make_unique<FweSource>(setting);
}

}  // namespace strata
