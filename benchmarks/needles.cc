#include "benchmarks/needles.h"

namespace strata {
namespace {

constexpr std::string_view kBeforeKey = "One of the special magic numbers for ";
constexpr std::string_view kBeforeValue = " is: ";
constexpr std::size_t kMaxKeyBytes = 200;
constexpr std::int64_t kLowestValue = 1'000'000;
constexpr std::int64_t kHighestValue = 9'999'999;

}  // namespace

std::string needle_sentence(const Needle& needle) {
  return fmt::format("{}{}{}{}.", kBeforeKey, needle.key, kBeforeValue, needle.value);
}

std::string niah_question(std::string_view key) {
  return fmt::format("What is the special magic number for {} mentioned in the provided text?",
                     key);
}

std::string niah_answer_prefix(std::string_view key) {
  return fmt::format(" The special magic number for {} mentioned in the provided text is", key);
}

std::vector<Needle> find_needles(std::string_view text) {
  std::vector<Needle> needles;
  for (auto at = text.find(kBeforeKey); at != std::string_view::npos;
       at = text.find(kBeforeKey, at + 1)) {
    const std::string_view rest = text.substr(at + kBeforeKey.size());
    const auto middle = rest.substr(0, kMaxKeyBytes).find(kBeforeValue);
    if (middle == std::string_view::npos) continue;
    const std::string_view value = rest.substr(middle + kBeforeValue.size());
    const auto digits = std::min(value.find_first_not_of("0123456789"), value.size());
    if (digits > 0 && value.substr(digits).starts_with('.'))
      needles.push_back(
          {std::string(rest.substr(0, middle)), std::string(value.substr(0, digits))});
  }
  return needles;
}

Split split_of_value(std::uint64_t value) {
  const std::uint64_t fifth = (value * 0x9E3779B97F4A7C15ULL >> 33U) % 5;
  return fifth < 2 ? Split::kCalibration : fifth == 2 ? Split::kDevelopment : Split::kTest;
}

NeedlePool::NeedlePool(const KeyWords& words, Split split)
    : split_(split), adjectives_(words.adjectives) {
  for (const std::string& noun : words.nouns)
    if (split_of(noun) == split) nouns_.push_back(noun);
}

Needle NeedlePool::draw(Rng& rng, std::set<std::string, std::less<>>& used) const {
  STRATA_CHECK(used.size() < 2 * key_count(), "{} {}", used.size(), key_count());
  Needle needle;
  do {
    needle.key =
        adjectives_[rng.below(adjectives_.size())] + "-" + nouns_[rng.below(nouns_.size())];
  } while (!used.insert(needle.key).second);
  do {
    std::int64_t value = 0;
    do {
      value = rng.between(kLowestValue, kHighestValue);
    } while (split_of_value(static_cast<std::uint64_t>(value)) != split_);
    needle.value = std::to_string(value);
  } while (!used.insert(needle.value).second);
  return needle;
}

}  // namespace strata
