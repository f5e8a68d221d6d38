// The eight needle tasks: what is hidden, and the two kinds of haystack (lines, running text).
#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "benchmarks/haystack.h"
#include "benchmarks/needles.h"
#include "benchmarks/ruler_essays.h"
#include "benchmarks/ruler_niah.h"
#include "benchmarks/ruler_source.h"
#include "models/tokenizer/tokenizer.h"

namespace strata {
namespace {

using Used = std::set<std::string, std::less<>>;
constexpr std::size_t kDepths = 40;  // rounded(linspace(0, 100, 40)), of which needles take some

// Version 4, variant 1, from 122 random bits: no two are ever equal, whatever the split.
std::string draw_uuid(Rng& rng) {
  const std::uint64_t high = (rng.next_u64() & ~0xF000ULL) | 0x4000ULL;
  const std::uint64_t low = (rng.next_u64() & ~(3ULL << 62U)) | 1ULL << 63U;
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32U, high >> 16U & 0xFFFFU,
                     high & 0xFFFFU, low >> 48U, low & 0xFFFFFFFFFFFFULL);
}

Needle draw_needle(const RulerNiahTask& task, const NeedlePool& pool, Rng& rng, Used& used) {
  Needle needle;
  if (task.key == RulerWord::kWords || task.value == RulerWord::kNumbers)
    needle = pool.draw(rng, used);
  if (task.key == RulerWord::kUuids) needle.key = draw_uuid(rng);
  if (task.value == RulerWord::kUuids) needle.value = draw_uuid(rng);
  return needle;
}

// What one sample hides and asks for.
struct Hidden {
  std::vector<Needle> needles;      // in the order in which they stand
  std::vector<std::string> asked;   // keys, in the order of the question
  std::vector<std::size_t> wanted;  // needles of the asked keys
};

Hidden draw_hidden(const RulerNiahTask& task, std::size_t distractors, const NeedlePool& pool,
                   Rng& rng, Used& used) {
  Hidden hidden;
  std::vector<std::string> keys;
  for (std::size_t k = 0; k < task.keys + distractors; ++k)
    for (std::size_t v = 0; v < task.values; ++v) {
      Needle needle = draw_needle(task, pool, rng, used);
      if (v == 0) keys.push_back(needle.key);
      needle.key = keys.back();
      hidden.needles.push_back(std::move(needle));
    }
  rng.shuffle(hidden.needles);
  for (const std::size_t i : rng.sample(keys.size(), task.queries)) {
    hidden.asked.push_back(keys[i]);
    for (std::size_t n = 0; n < hidden.needles.size(); ++n)
      if (hidden.needles[n].key == keys[i]) hidden.wanted.push_back(n);
  }
  return hidden;
}

class NiahDraft : public RulerDraft {
 public:
  NiahDraft(const RulerSetting& setting, Hidden hidden, std::int64_t index)
      : setting_(setting),
        task_(ruler_niah_task(setting.config.task)),
        hidden_(std::move(hidden)),
        stream_(setting.stream(index)) {
    for (const Needle& needle : hidden_.needles)
      sentences_.push_back(ruler_needle(task_.value, needle.key, needle.value));
  }

 protected:
  RulerText frame() const;
  // Appends needle n, and says where it stands.
  void add_needle(RulerText& text, std::size_t n) const {
    text.evidence.push_back({text.context.size(), text.context.size() + sentences_[n].size()});
    text.context += sentences_[n];
  }
  Rng places() const { return {setting_.request.seed, stream_ + "/places"}; }

  const RulerSetting setting_;
  const RulerNiahTask task_;
  const Hidden hidden_;
  const std::string stream_;
  std::vector<std::string> sentences_;
};

RulerText NiahDraft::frame() const {
  const bool singular = task_.queries * task_.values == 1;
  RulerNiahTexts texts = ruler_niah_texts(task_.value, join_names(hidden_.asked), singular);
  RulerText text;
  text.head = std::move(texts.head);
  text.tail = std::move(texts.tail);
  text.answer_prefix = ruler_answer_prefix(setting_, std::move(texts.answer_prefix));
  text.asked = hidden_.wanted;
  for (const std::size_t n : hidden_.wanted) text.references.push_back(hidden_.needles[n].value);
  text.answer = " " + join_names(text.references);
  std::vector<std::string> keys;
  for (const Needle& needle : hidden_.needles) keys.push_back(needle.key);
  text.metadata["keys"] = std::move(keys);
  text.metadata["asked"] = hidden_.asked;
  return text;
}

// Lines, needles among them: noise, or other needles.
class LineDraft final : public NiahDraft {
 public:
  LineDraft(const RulerSetting& setting, const NeedlePool& pool, Hidden hidden, std::int64_t index)
      : NiahDraft(setting, std::move(hidden), index),
        pool_(pool),
        rng_(setting.request.seed, stream_ + "/lines") {
    for (const Needle& needle : hidden_.needles) used_.insert({needle.key, needle.value});
    noise_tokens_ = cost(kNoiseUnit);
  }
  std::int64_t min_units() const override { return std::ssize(hidden_.needles); }
  std::int64_t tokens(std::int64_t units) override {
    if (task_.haystack == RulerHaystack::kNoise) return units * noise_tokens_;
    draw_lines(units);
    const auto drawn = std::min(units, std::ssize(sums_));
    return sums_[static_cast<std::size_t>(drawn) - 1] + (units - drawn);
  }
  Result<RulerText> text(std::int64_t units) override;

 private:
  // Half of the keys at most, so that drawing without repetition stays quick.
  std::int64_t most_lines() const {
    return task_.key == RulerWord::kWords ? static_cast<std::int64_t>(pool_.key_count() / 2)
                                          : kEndless;
  }
  std::int64_t cost(std::string_view line) const {
    return tokens_behind(setting_.request.tokenizer, ".", "\n" + std::string(line));
  }
  void draw_lines(std::int64_t units);

  const NeedlePool& pool_;
  Rng rng_;
  Used used_;
  std::int64_t noise_tokens_ = 0;
  std::vector<std::string> lines_;
  std::vector<std::int64_t> sums_;
};

// No more than fill the whole length: beyond, the search needs no true counts.
void LineDraft::draw_lines(std::int64_t units) {
  const std::int64_t enough = std::min(units, most_lines());
  while (std::ssize(lines_) < enough && (sums_.empty() || sums_.back() <= setting_.length)) {
    const Needle needle = draw_needle(task_, pool_, rng_, used_);
    lines_.push_back(ruler_needle(task_.value, needle.key, needle.value));
    sums_.push_back((sums_.empty() ? 0 : sums_.back()) + cost(lines_.back()));
  }
}

Result<RulerText> LineDraft::text(std::int64_t units) {
  const bool noise = task_.haystack == RulerHaystack::kNoise;
  if (!noise) draw_lines(units);
  if (!noise && std::ssize(lines_) < units)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "a haystack of {} tokens needs {} different keys, got {} of the {} "
                           "split (half of its pairs of words)",
                           setting_.length, units, lines_.size(), to_string(setting_.request.split))
                    .at("benchmark.words")
                    .with_hint("benchmark.words=wonderwords has many more, or lower "
                               "benchmark.length"));
  RulerText text = frame();
  const auto lines = static_cast<std::size_t>(units);
  std::vector<std::size_t> before = places().sample(lines, sentences_.size());
  std::sort(before.begin(), before.end());
  std::size_t needle = 0;
  for (std::size_t line = 0; line < lines; ++line) {
    if (needle < before.size() && before[needle] == line) {
      if (!text.context.empty()) text.context += '\n';
      add_needle(text, needle++);
    }
    if (!text.context.empty()) text.context += '\n';
    text.context += noise ? kNoiseUnit : std::string_view(lines_[line]);
  }
  // Template text, and lines whose keys and values are checked one by one: not running text.
  text.metadata["fixed_wording"] = true;
  text.metadata["source"] = {{"kind", noise ? "noise" : "needle"}};
  return text;
}

// Running text, needles between its sentences.
class EssayDraft final : public NiahDraft {
 public:
  EssayDraft(const RulerSetting& setting, const RulerEssays& essays, Hidden hidden,
             std::int64_t index)
      : NiahDraft(setting, std::move(hidden), index), reading_(essays.open(setting, index)) {}
  std::int64_t min_units() const override { return 1; }
  std::int64_t max_units() const override {
    return setting_.lm_eval() ? reading_.words : kEndless;  // lm_eval repeats no text
  }
  std::int64_t tokens(std::int64_t units) override;
  Result<RulerText> text(std::int64_t units) override;

 private:
  EssayReading reading_;
  std::size_t counted_ = 0;         // sentences whose words are in sums_
  std::vector<std::int64_t> sums_;  // tokens of the first words
};

std::int64_t EssayDraft::tokens(std::int64_t units) {
  // No more than fill the whole length, as above.
  while (std::ssize(sums_) < units && (sums_.empty() || sums_.back() <= setting_.length))
    for (const std::uint32_t tokens : reading_.sentence(counted_++).word_tokens)
      sums_.push_back((sums_.empty() ? 0 : sums_.back()) + tokens);
  const auto counted = std::min(units, std::ssize(sums_));
  return sums_[static_cast<std::size_t>(counted) - 1] + (units - counted);
}

Result<RulerText> EssayDraft::text(std::int64_t units) {
  std::vector<std::string_view> sentences;
  for (std::size_t i = 0; units > 0; ++i) {
    const CountedSentence& sentence = reading_.sentence(i);
    const auto words = std::min(units, std::ssize(sentence.word_ends));
    sentences.push_back(std::string_view(sentence.text)
                            .substr(0, sentence.word_ends[static_cast<std::size_t>(words) - 1]));
    units -= words;
  }
  std::vector<std::size_t> before;
  for (const std::size_t depth : places().sample(kDepths, sentences_.size())) {
    const double percent = std::round(static_cast<double>(depth) * 100 / (kDepths - 1));
    before.push_back(
        static_cast<std::size_t>(static_cast<double>(sentences.size()) * (percent / 100)));
  }
  std::sort(before.begin(), before.end());
  RulerText text = frame();
  // As RULER joins the parts: one with nothing in it leaves its space.
  std::size_t at = 0;
  for (std::size_t n = 0; n <= before.size(); ++n) {
    const std::size_t end = n < before.size() ? before[n] : sentences.size();
    for (std::size_t i = at; i < end; ++i) {
      if (i > at) text.context += ' ';
      text.context += sentences[i];
    }
    at = end;
    if (n == before.size()) break;
    text.context += ' ';
    add_needle(text, n);
    text.context += ' ';
  }
  text.metadata["fixed_wording"] = false;
  text.metadata["source"] = reading_.source;
  text.cluster = reading_.cluster;
  return text;
}

class NiahSource final : public RulerSource {
 public:
  NiahSource(const RulerSetting& setting, const KeyWords& words, std::optional<RulerEssays> essays)
      : setting_(setting),
        task_(ruler_niah_task(setting.config.task)),
        pool_(words, setting.request.split),
        essays_(std::move(essays)) {}

  // Half of the keys at most, so that drawing without repetition stays quick.
  Status draw(std::int64_t count);
  Result<std::unique_ptr<RulerDraft>> draft(std::int64_t index) const override;

 private:
  const RulerSetting setting_;
  const RulerNiahTask task_;
  const NeedlePool pool_;
  const std::optional<RulerEssays> essays_;
  std::vector<Hidden> hidden_;
};

Status NiahSource::draw(std::int64_t count) {
  const auto distractors = static_cast<std::size_t>(setting_.config.distractors);
  const std::size_t needles = (task_.keys + distractors) * task_.values;
  if (essays_ && needles > kDepths)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected at most {} (needles stand at {} depths, a key has {}), got {}",
                           kDepths / task_.values - task_.keys, kDepths, task_.values, distractors)
                    .at("benchmark.distractors"));
  const auto most = static_cast<std::int64_t>(pool_.key_count() / 2 / needles);
  if (count > most)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "the {} split has keys for {} samples, got {}",
                           to_string(setting_.request.split), most, count)
                    .at("benchmark.samples")
                    .with_hint("benchmark.words=wonderwords has many more"));
  // No two samples hide the same key or value.
  Rng rng(setting_.request.seed, setting_.stream(-1));
  Used used;
  for (std::int64_t i = 0; i < count; ++i)
    hidden_.push_back(draw_hidden(task_, distractors, pool_, rng, used));
  return {};
}

Result<std::unique_ptr<RulerDraft>> NiahSource::draft(std::int64_t index) const {
  const Hidden& hidden = hidden_[static_cast<std::size_t>(index)];
  if (essays_) return std::make_unique<EssayDraft>(setting_, *essays_, hidden, index);
  return std::make_unique<LineDraft>(setting_, pool_, hidden, index);
}

Result<KeyWords> key_words(const RulerConfig& config, const SampleRequest& request) {
  if (config.words == KeyWordSource::kBundled) return bundled_key_words();
  auto words = wonder_key_words(request.data_dir);
  if (words) return words;
  return fail(std::move(words).error().with_hint(
      "set STRATA_DATA to the folder that holds wonderwords/, or use benchmark.words=bundled"));
}

}  // namespace

Result<std::unique_ptr<RulerSource>> make_niah_source(const RulerSetting& setting) {
  ASSIGN_OR_RETURN(const KeyWords words, key_words(setting.config, setting.request));
  std::optional<RulerEssays> essays;
  if (ruler_niah_task(setting.config.task).haystack == RulerHaystack::kEssay) {
    ASSIGN_OR_RETURN(essays, RulerEssays::load(setting));
  }
  auto source = std::make_unique<NiahSource>(setting, words, std::move(essays));
  RETURN_IF_ERROR(source->draw(setting.request.count));
  return source;
}

Status hash_niah_source(const RulerConfig& config, const SampleRequest& request, Sha256& hash) {
  ASSIGN_OR_RETURN(const KeyWords words, key_words(config, request));
  for (const auto* list : {&words.adjectives, &words.nouns})
    for (const std::string& word : *list) hash.update_u64(word.size()).update(word);
  if (ruler_niah_task(config.task).haystack != RulerHaystack::kEssay) return {};
  ASSIGN_OR_RETURN(const std::string text,
                   haystack_content_id(haystack_of(config.essays), request));
  hash.update(text);
  return {};
}

}  // namespace strata
