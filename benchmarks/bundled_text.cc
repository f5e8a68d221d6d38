#include "benchmarks/bundled_text.h"

#include <algorithm>
#include <numeric>

#include "benchmarks/word_lists.h"
#include "core/sha256.h"

namespace strata {
namespace {

constexpr std::string_view kTopics =
#include "benchmarks/data/topics.inc"
    ;
constexpr std::string_view kCommon =
#include "benchmarks/data/common_words.inc"
    ;
constexpr std::string_view kForms =
#include "benchmarks/data/sentence_forms.inc"
    ;
constexpr std::string_view kGeneratorVersion = "1";
constexpr std::int64_t kSentencesPerTopicLow = 10;
constexpr std::int64_t kSentencesPerTopicHigh = 16;

bool is_vowel(char c) { return std::string_view("aeiouAEIOU").find(c) != std::string_view::npos; }

std::string plural_of(std::string_view word) {
  const auto ends = [&](std::string_view tail) { return word.ends_with(tail); };
  if (ends("man")) return std::string(word.substr(0, word.size() - 2)) + "en";
  if (ends("knife")) return std::string(word.substr(0, word.size() - 2)) + "ves";
  if (ends("loaf")) return std::string(word.substr(0, word.size() - 1)) + "ves";
  if (ends("shelf")) return std::string(word.substr(0, word.size() - 1)) + "ves";
  if (ends("s") || ends("x") || ends("ch") || ends("sh")) return std::string(word) + "es";
  if (ends("y") && word.size() > 1 && !is_vowel(word[word.size() - 2]))
    return std::string(word.substr(0, word.size() - 1)) + "ies";
  return std::string(word) + "s";
}

std::uint64_t name_hash(std::string_view name) {
  const auto digest = Sha256().update("strata split 1").update(name).digest();
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < 8; ++i) hash = hash << 8U | digest[i];
  return hash;
}

}  // namespace

Split split_of(std::string_view name) {
  const std::uint64_t fifth = name_hash(name) % 5;
  return fifth < 2 ? Split::kCalibration : fifth == 2 ? Split::kDevelopment : Split::kTest;
}

std::vector<Split> split_by_weight(const std::vector<std::string>& names,
                                   const std::vector<std::size_t>& weights) {
  STRATA_CHECK(names.size() == weights.size(), "{} {}", names.size(), weights.size());
  std::vector<std::size_t> order(names.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(name_hash(names[a]), names[a]) < std::pair(name_hash(names[b]), names[b]);
  });
  const std::size_t total = std::accumulate(weights.begin(), weights.end(), std::size_t{0});
  std::vector<Split> splits(names.size(), Split::kTest);
  std::size_t before = 0;  // a file goes where its middle falls
  for (const std::size_t i : order) {
    const std::size_t middle = before + weights[i] / 2;
    splits[i] = 5 * middle < 2 * total   ? Split::kCalibration
                : 5 * middle < 3 * total ? Split::kDevelopment
                                         : Split::kTest;
    before += weights[i];
  }
  return splits;
}

BundledLibrary::BundledLibrary(Split split) {
  static constexpr std::string_view kSlots[] = {"agent", "thing", "place", "mass", "verb"};
  const auto of_split = [split](const std::vector<std::string>& names) {
    const auto splits = split_by_weight(names, std::vector<std::size_t>(names.size(), 2));
    std::vector<std::size_t> kept;
    for (std::size_t i = 0; i < names.size(); ++i)
      if (splits[i] == split) kept.push_back(i);
    return kept;
  };
  const auto lines = split_text(kTopics, '\n');
  std::vector<std::string> names;
  names.reserve(lines.size());
  for (const std::string& line : lines) names.push_back(line.substr(0, line.find('|')));
  for (const std::size_t i : of_split(names)) {
    const auto fields = split_text(lines[i], '|');
    STRATA_CHECK(fields.size() == 6, "{}", lines[i]);
    Topic topic{names[i], {}};
    for (std::size_t slot = 0; slot < 5; ++slot)
      topic.words.emplace(kSlots[slot], split_text(fields[slot + 1], ','));
    topics_.push_back(std::move(topic));
  }
  for (const std::string& line : split_text(kCommon, '\n')) {
    const auto colon = line.find(':');
    const auto words = split_text(std::string_view(line).substr(colon + 1), ',');
    const std::string slot = line.substr(0, colon - 1);  // "adjectives:" lists the slot {adjective}
    auto& list = common_[slot];
    if (slot != "name")
      list = words;
    else
      for (const std::size_t i : of_split(words)) list.push_back(words[i]);
  }
  forms_ = split_text(kForms, '\n');
}

std::string BundledLibrary::content_id() {
  Sha256 hash;
  for (std::string_view part : {kGeneratorVersion, kTopics, kCommon, kForms})
    hash.update_u64(part.size()).update(part);
  return hash.hex_digest();
}

BundledText::BundledText(const BundledLibrary& library, Rng rng) : library_(library), rng_(rng) {}

std::string_view BundledText::fill(std::string_view slot, std::string& plural) {
  const auto pick = [&](const std::vector<std::string>& words) -> std::string_view {
    return words[rng_.below(words.size())];
  };
  if (auto found = topic_->words.find(slot); found != topic_->words.end())
    return pick(found->second);
  if (auto found = library_.common_.find(slot); found != library_.common_.end())
    return pick(found->second);
  STRATA_CHECK(slot == "agents" || slot == "things", "{}", slot);
  plural = plural_of(fill(slot.substr(0, slot.size() - 1), plural));
  return plural;
}

std::string BundledText::next_sentence() {
  if (left_in_topic_-- <= 0) {
    topic_ = &library_.topics_[rng_.below(library_.topics_.size())];
    left_in_topic_ =
        static_cast<int>(rng_.between(kSentencesPerTopicLow, kSentencesPerTopicHigh)) - 1;
  }
  std::string_view form = library_.forms_[rng_.below(library_.forms_.size())];
  std::string out;
  std::string plural;
  while (!form.empty()) {
    const auto open = form.find('{');
    out += form.substr(0, open);
    if (open == std::string_view::npos) break;
    const auto close = form.find('}', open);
    const std::string_view word = fill(form.substr(open + 1, close - open - 1), plural);
    const bool article = out == "A " || out.ends_with(" a ");
    if (article && is_vowel(word[0])) {
      out.back() = 'n';
      out += ' ';
    }
    out += word;
    form.remove_prefix(close + 1);
  }
  return out;
}

}  // namespace strata
