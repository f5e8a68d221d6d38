#include "models/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <string>

#include "core/rng.h"

namespace strata {
namespace {

// A random vocabulary over a few letters; tokens of one letter first, merged ones in the order of
// their rank.
struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<Merge> merges;

  std::vector<Bpe::Entry> entries() const {
    std::vector<Bpe::Entry> result;
    for (std::size_t i = 0; i < tokens.size(); ++i)
      result.push_back({tokens[i], static_cast<TokenId>(i)});
    return result;
  }
};

Vocabulary random_vocabulary(Rng& rng) {
  Vocabulary result;
  for (std::uint64_t letters = 2 + rng.below(3); letters > 0; --letters) {
    result.tokens.emplace_back(1, static_cast<char>('a' + letters));
  }
  for (int tries = 0; tries < 40; ++tries) {
    const std::size_t left = rng.below(result.tokens.size());
    const std::size_t right = rng.below(result.tokens.size());
    const std::string joined = result.tokens[left] + result.tokens[right];
    if (joined.size() > 12) continue;
    const auto known = std::find(result.tokens.begin(), result.tokens.end(), joined);
    const auto id = static_cast<TokenId>(known - result.tokens.begin());
    if (known == result.tokens.end()) result.tokens.push_back(joined);
    result.merges.push_back({static_cast<TokenId>(left), static_cast<TokenId>(right), id});
  }
  return result;
}

// The slow twin: merges the pair of lowest rank, leftmost first, until none is left.
Tokens slow_encode(const Vocabulary& vocabulary, std::string_view word) {
  std::map<std::pair<TokenId, TokenId>, std::size_t> ranks;
  for (std::size_t i = 0; i < vocabulary.merges.size(); ++i) {
    ranks[{vocabulary.merges[i].left, vocabulary.merges[i].right}] = i;
  }
  Tokens ids;
  for (const char c : word) {
    const auto found =
        std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), std::string(1, c));
    if (found != vocabulary.tokens.end())
      ids.push_back(static_cast<TokenId>(found - vocabulary.tokens.begin()));
  }
  for (;;) {
    std::size_t best = vocabulary.merges.size();
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto rank = ranks.find({ids[i], ids[i + 1]});
      if (rank != ranks.end() && rank->second < best) {
        best = rank->second;
        at = i;
      }
    }
    if (best == vocabulary.merges.size()) return ids;
    ids[at] = vocabulary.merges[best].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(Bpe, EqualsTheSlowTwinOnRandomVocabulariesAndWords) {
  constexpr std::uint64_t kSeed = 3;
  Rng rng(kSeed, "bpe test");
  Bpe::Scratch scratch;
  for (int round = 0; round < 400; ++round) {
    const Vocabulary vocabulary = random_vocabulary(rng);
    const std::vector<Bpe::Entry> entries = vocabulary.entries();
    const Bpe bpe(entries, vocabulary.merges, {});
    for (int words = 0; words < 20; ++words) {
      std::string word;
      for (std::uint64_t i = 1 + rng.below(30); i > 0; --i)
        word += static_cast<char>('a' + rng.below(6));
      Tokens ids;
      bpe.encode_word(word, scratch, ids);
      ASSERT_EQ(ids, slow_encode(vocabulary, word))
          << "seed " << kSeed << ", round " << round << ": " << word;
    }
  }
}

TEST(Bpe, BytesWithoutATokenAreLeftOutOrBecomeTheUnknownToken) {
  const std::vector<Bpe::Entry> entries = {{"a", 0}, {"b", 1}, {"ab", 2}};
  const std::vector<Merge> merges = {{0, 1, 2}};
  Bpe::Scratch scratch;
  Tokens dropped;
  Bpe(entries, merges, {}).encode_word("xaxbx", scratch, dropped);
  EXPECT_EQ(dropped, (Tokens{2}));  // what stood on both sides of a left-out byte are neighbours
  Tokens unknown;
  Bpe(entries, merges, {.unknown = 7}).encode_word("xaxb", scratch, unknown);
  EXPECT_EQ(unknown, (Tokens{7, 0, 7, 1}));
}

TEST(Bpe, AWholeWordWinsWithoutMergesOnlyWhereTheModelSaysSo) {
  const std::vector<Bpe::Entry> entries = {{"a", 0}, {"b", 1}, {"ab", 2}};
  Bpe::Scratch scratch;
  Tokens ids;
  Bpe(entries, {}, {}).encode_word("ab", scratch, ids);
  Bpe(entries, {}, {.ignore_merges = true}).encode_word("ab", scratch, ids);
  EXPECT_EQ(ids, (Tokens{0, 1, 2}));
}

// Of the processor: other processes' turns would fall into the long measurement alone.
double seconds_of(const Bpe& bpe, std::size_t length) {
  const std::string word(length, 'a');
  Bpe::Scratch scratch;
  double best = 1e9;
  for (int repeat = 0; repeat < 3; ++repeat) {
    Tokens ids;
    const std::clock_t start = std::clock();
    bpe.encode_word(word, scratch, ids);
    best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    EXPECT_EQ(ids.size(), length / 8);
  }
  return best;
}

TEST(Bpe, ALongRunWithoutSpacesTakesNoQuadraticTime) {
  const std::vector<Bpe::Entry> entries = {{"a", 0}, {"aa", 1}, {"aaaa", 2}, {"aaaaaaaa", 3}};
  const std::vector<Merge> merges = {{0, 0, 1}, {1, 1, 2}, {2, 2, 3}};
  const Bpe bpe(entries, merges, {});
  // 16 times the length: about 20 times the time, where a quadratic method takes 256 times.
  EXPECT_LT(seconds_of(bpe, 320'000), 80 * seconds_of(bpe, 20'000));
}

}  // namespace
}  // namespace strata
