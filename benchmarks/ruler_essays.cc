#include "benchmarks/ruler_essays.h"

#include <deque>
#include <numeric>

#include "models/tokenizer/tokenizer.h"

namespace strata {
namespace {

EssayReading bundled_reading(const std::shared_ptr<const BundledLibrary>& library,
                             const Tokenizer& tokenizer, Rng rng) {
  struct State {
    BundledText text;
    std::deque<CountedSentence> sentences;
  };
  const auto state = std::make_shared<State>(State{BundledText(*library, rng), {}});
  EssayReading reading;
  reading.source = {{"kind", "bundled"}, {"generator", BundledLibrary::content_id()}};
  reading.sentence = [library, state, tokenizer](std::size_t i) -> const CountedSentence& {
    while (state->sentences.size() <= i)
      state->sentences.push_back(count_words(tokenizer, state->text.next_sentence()));
    return state->sentences[i];
  };
  return reading;
}

}  // namespace

CountedSentence count_words(const Tokenizer& tokenizer, std::string text) {
  CountedSentence out{std::move(text), {}, {}};
  std::string word;
  for (std::size_t begin = 0; begin < out.text.size();) {
    const std::size_t end = std::min(out.text.find(' ', begin), out.text.size());
    word.assign(1, ' ').append(out.text, begin, end - begin);
    out.word_ends.push_back(static_cast<std::uint32_t>(end));
    out.word_tokens.push_back(static_cast<std::uint32_t>(tokenizer.encode_plain(word).size()));
    begin = end + 1;
  }
  return out;
}

Result<RulerEssays> RulerEssays::load(const RulerSetting& setting) {
  const SampleRequest& request = setting.request;
  RulerEssays out;
  if (setting.config.essays == TextSource::kBundled) {
    out.library_ = std::make_shared<const BundledLibrary>(request.split);
    return out;
  }
  auto files = read_essays(request.data_dir);
  if (!files) {
    return fail(std::move(files).error().with_hint(
        "set STRATA_DATA to the folder that holds pg_essays/, or use benchmark.essays=bundled"));
  }
  ASSIGN_OR_RETURN(EssayText prepared,
                   prepare_essays(*files, request.tokenizer, request.split, setting.length));
  std::vector<CountedSentence> counted;
  counted.reserve(prepared.sentences.size());
  for (const EssaySentence& sentence : prepared.sentences)
    counted.push_back(count_words(request.tokenizer, sentence.text));
  for (const std::size_t begin : prepared.block_starts) {
    Stretch stretch{begin, 0};
    for (std::int64_t tokens = 0;
         tokens < setting.length && begin + stretch.size < prepared.sentences.size();
         ++stretch.size)
      tokens += std::ssize(prepared.sentences[begin + stretch.size].tokens);
    out.stretches_.push_back(stretch);
  }
  Rng(request.seed, fmt::format("ruler/essay order/{}", to_string(request.split)))
      .shuffle(out.stretches_);
  out.text_ = std::make_shared<const EssayText>(std::move(prepared));
  out.counted_ = std::make_shared<const std::vector<CountedSentence>>(std::move(counted));
  return out;
}

EssayReading RulerEssays::open(const RulerSetting& setting, std::int64_t index) const {
  Rng rng(setting.request.seed, setting.stream(index) + "/text");
  if (library_) return bundled_reading(library_, setting.request.tokenizer, rng);
  const Stretch stretch = stretches_[static_cast<std::size_t>(index) % stretches_.size()];
  const std::size_t first = rng.below(stretch.size);
  const auto at = [stretch, first](std::size_t i) {
    return stretch.begin + (first + i) % stretch.size;
  };
  EssayReading reading;
  reading.words = 0;
  for (std::size_t i = 0; i < stretch.size; ++i)
    reading.words += std::ssize((*counted_)[stretch.begin + i].word_ends);
  reading.source = {{"kind", "essay"},
                    {"file", text_->files[text_->sentences[at(0)].file]},
                    {"sentence", at(0)},
                    {"stretch", {stretch.begin, stretch.begin + stretch.size}},
                    {"shared_sentences_removed", text_->removed_sentences}};
  reading.cluster = fmt::format("essay sentences from {} on", stretch.begin);
  reading.sentence = [counted = counted_, at](std::size_t i) -> const CountedSentence& {
    return (*counted)[at(i)];
  };
  return reading;
}

}  // namespace strata
