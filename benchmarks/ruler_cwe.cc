#include "benchmarks/ruler_cwe.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "benchmarks/bundled_text.h"
#include "benchmarks/ruler_words.h"
#include "models/tokenizer/tokenizer.h"

namespace strata {
namespace {

constexpr std::int64_t kShortLength = 4096;  // tokens, exclusive

// The vocabulary and what its parts cost, once a request.
struct CweWords {
  std::vector<std::string> words;
  std::vector<std::size_t> answers;       // those of the split: only they are asked for
  std::vector<std::int64_t> word_tokens;  // with the space in front
  std::vector<std::int64_t> number_sums;  // of the first n numbers with spaces and points
  std::int64_t number_tokens(std::int64_t items) const {
    const auto last = std::ssize(number_sums) - 1;  // beyond, as the last one
    if (items <= last) return number_sums[static_cast<std::size_t>(items)];
    return number_sums.back() + (items - last) * (number_sums.back() - number_sums.rbegin()[1]);
  }
};

std::string answer_list(const std::vector<std::string_view>& words) {
  return " " + numbered(words);
}

class CweDraft final : public RulerDraft {
 public:
  CweDraft(const RulerSetting& setting, const CweWords& words, std::int64_t index);
  std::int64_t min_units() const override { return kCweCommon; }
  std::int64_t max_units() const override {
    return setting_.lm_eval() ? std::ssize(words_.words) : kEndless;  // lm_eval stops there
  }
  std::int64_t tokens(std::int64_t units) override;
  Result<RulerText> text(std::int64_t units) override;

 private:
  std::string_view word(std::size_t i) const { return words_.words[i]; }
  std::string example(Rng rng) const;

  const RulerSetting setting_;
  const CweWords& words_;
  const CweShape shape_;
  const std::string stream_;
  std::vector<std::size_t> order_;  // of words: the common ones, then the others
  std::vector<std::int64_t> sums_;  // tokens of the first n words, each once
  std::string example_;
};

CweDraft::CweDraft(const RulerSetting& setting, const CweWords& words, std::int64_t index)
    : setting_(setting),
      words_(words),
      shape_(cwe_shape(setting.length)),
      stream_(setting.stream(index)) {
  Rng rng(setting.request.seed, stream_ + "/words");
  for (const std::size_t i : rng.sample(words.answers.size(), kCweCommon))
    order_.push_back(words.answers[i]);
  const std::set<std::size_t> common(order_.begin(), order_.end());
  std::vector<std::size_t> others;
  for (std::size_t i = 0; i < words.words.size(); ++i)
    if (!common.contains(i)) others.push_back(i);
  rng.shuffle(others);
  order_.insert(order_.end(), others.begin(), others.end());
  sums_.push_back(0);
  for (const std::size_t i : order_) sums_.push_back(sums_.back() + words.word_tokens[i]);
  if (!setting.lm_eval()) example_ = example({setting.request.seed, stream_ + "/example"});
}

// lm_eval builds an example too, but does not show it.
std::string CweDraft::example(Rng rng) const {
  std::set<std::size_t> taken(order_.begin(), order_.begin() + kCweCommon);
  std::vector<std::size_t> chosen;
  while (chosen.size() < kCweCommon) {
    const std::size_t i = words_.answers[rng.below(words_.answers.size())];
    if (taken.insert(i).second) chosen.push_back(i);
  }
  while (chosen.size() < shape_.example_words) {
    const std::size_t i = rng.below(words_.words.size());
    if (taken.insert(i).second) chosen.push_back(i);
  }
  std::vector<std::string_view> list;
  std::vector<std::string_view> answer;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const std::int64_t times = i < kCweCommon ? shape_.example_common : shape_.example_other;
    list.insert(list.end(), static_cast<std::size_t>(times), word(chosen[i]));
    if (i < kCweCommon) answer.push_back(word(chosen[i]));
  }
  rng.shuffle(list);
  return fmt::format("{}{}{}{}{}\n", kCweHead, numbered(list), kCweTail, kCweAnswerPrefix,
                     answer_list(answer));
}

std::int64_t CweDraft::tokens(std::int64_t units) {
  const auto all = std::ssize(order_);
  const auto known = static_cast<std::size_t>(std::min(units, all));
  std::int64_t others = sums_[known] - sums_[kCweCommon];
  if (units > all)  // as many as the vocabulary has not, each of one token
    others += units - all;
  const std::int64_t common = static_cast<std::int64_t>(kCweCommon);
  return sums_[kCweCommon] * shape_.common + others * shape_.other +
         words_.number_tokens(common * shape_.common + (units - common) * shape_.other);
}

Result<RulerText> CweDraft::text(std::int64_t units) {
  if (units > std::ssize(order_))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "a list of {} tokens needs at least {} different words, but the "
                           "vocabulary has {}",
                           setting_.length, units, order_.size())
                    .at("benchmark.word_file")
                    .with_hint("give a file with more words, one a line (RULER's "
                               "english_words.json is read too), or lower benchmark.length"));
  std::vector<std::string_view> list;
  for (std::size_t i = 0; i < static_cast<std::size_t>(units); ++i)
    list.insert(list.end(), static_cast<std::size_t>(i < kCweCommon ? shape_.common : shape_.other),
                word(order_[i]));
  Rng(setting_.request.seed, stream_ + "/places").shuffle(list);
  RulerText text;
  text.head = example_ + std::string(kCweHead);
  text.context = numbered(list);
  text.tail = kCweTail;
  text.answer_prefix = ruler_answer_prefix(setting_, std::string(kCweAnswerPrefix), "\n\n");
  std::vector<std::string_view> common;
  for (std::size_t i = 0; i < kCweCommon; ++i) {
    common.push_back(word(order_[i]));
    text.references.emplace_back(word(order_[i]));
  }
  text.answer = answer_list(common);
  // A list, not running text: overlap is looked for in the words that are asked for.
  text.metadata = {{"own_words", text.references},
                   {"fixed_wording", true},
                   {"items", list.size()},
                   {"source", {{"kind", "words"}, {"words", words_.words.size()}}}};
  return text;
}

class CweSource final : public RulerSource {
 public:
  CweSource(const RulerSetting& setting, CweWords words)
      : setting_(setting), words_(std::move(words)) {}
  Result<std::unique_ptr<RulerDraft>> draft(std::int64_t index) const override {
    return std::make_unique<CweDraft>(setting_, words_, index);
  }

 private:
  const RulerSetting setting_;
  const CweWords words_;
};

}  // namespace

CweShape cwe_shape(std::int64_t length) {
  if (length < kShortLength) return {6, 1, 20, 3, 1};
  return {};
}

std::string numbered(const std::vector<std::string_view>& words) {
  std::string out;
  std::array<char, 20> digits{};
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += ' ';
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), i + 1);
    out.append(digits.data(), end.ptr).append(". ").append(words[i]);
  }
  return out;
}

Result<std::unique_ptr<RulerSource>> make_cwe_source(const RulerSetting& setting) {
  CweWords words;
  ASSIGN_OR_RETURN(words.words, ruler_words(setting.config, setting.request));
  const Tokenizer& tokenizer = setting.request.tokenizer;
  for (std::size_t i = 0; i < words.words.size(); ++i) {
    if (split_of(words.words[i]) == setting.request.split) words.answers.push_back(i);
    words.word_tokens.push_back(std::ssize(tokenizer.encode_plain(" " + words.words[i])));
  }
  // Twice: the example's common words are others.
  if (words.answers.size() < 2 * kCweCommon)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected at least {} words of the {} split, got {} of {} words",
                           2 * kCweCommon, to_string(setting.request.split), words.answers.size(),
                           words.words.size())
                    .at("benchmark.word_file"));
  words.number_sums.push_back(0);
  // An item has at least two tokens.
  for (std::int64_t i = 1; i <= setting.length / 2 + 2; ++i)
    words.number_sums.push_back(words.number_sums.back() +
                                std::ssize(tokenizer.encode_plain(fmt::format(" {}.", i))));
  return std::make_unique<CweSource>(setting, std::move(words));
}

Status hash_cwe_source(const RulerConfig& config, const SampleRequest& request, Sha256& hash) {
  ASSIGN_OR_RETURN(const std::vector<std::string> words, ruler_words(config, request));
  for (const std::string& word : words) hash.update_u64(word.size()).update(word);
  return {};
}

}  // namespace strata
