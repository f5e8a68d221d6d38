// Essays as haystack: $STRATA_DATA/pg_essays/*.txt, cut into sentences, split by file, without what
// files share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/benchmark.h"

namespace strata {

struct EssayFile {
  std::string name;
  std::string text;  // white space normalised
};

struct EssaySentence {
  std::string text;
  std::size_t file = 0;
  Tokens tokens;  // of a space and the text
};

// The sentences of one split, in order of file name.
struct EssayText {
  std::vector<std::string> files;
  std::vector<EssaySentence> sentences;
  std::int64_t removed_sentences =
      0;  // over all splits: held a span that occurs in more than one file
  // Starts of disjoint stretches of at least the asked number of tokens; {0} where the text is
  // shorter than one.
  std::vector<std::size_t> block_starts;
};

// Sorted by name; licence files are not essays. Errors name the folder or file and the way out.
Result<std::vector<EssayFile>> read_essays(const std::filesystem::path& data_dir);

// A sentence ends at . ! or ? (and closing quotes or brackets) before white space and an upper-case
// letter, digit or opening quote, unless it ends in a common abbreviation.
std::vector<std::string> split_sentences(std::string_view text);

// Removes sentences until no 13-token span occurs in more than one file.
Result<EssayText> prepare_essays(const std::vector<EssayFile>& files, const Tokenizer& tokenizer,
                                 Split split, std::int64_t block_tokens);

inline constexpr std::size_t kSpanTokens = 13;
// A content hash of kSpanTokens tokens.
std::uint64_t span_hash(const TokenId* tokens);

}  // namespace strata
