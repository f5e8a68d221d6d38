// A small tokenizer for these tests, in the shape of SmolLM2's: byte-level BPE with single digits,
// the same special tokens, and a merge for each prefix of a few hundred common words, so that a
// token is a word or a piece of one.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "benchmarks/benchmark.h"
#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer.h"

namespace strata {

// A new empty directory, removed with everything in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

struct Model {
  Tokenizer tokenizer;
  ChatTemplate chat;

  SampleRequest request(std::int64_t count, std::uint64_t seed = 1,
                        Split split = Split::kTest) const;
};

// With digits merged as in GPT-2 where `whole_numbers`, so that " 1234567" has no blank first
// token.
Model small_model(bool whole_numbers = false);
// SmolLM2's directory: $STRATA_SMOLLM2, else in the user's cache; nullptr where there is none.
const Model* smollm2_model();

}  // namespace strata

#define SKIP_WITHOUT_SMOLLM2(model)     \
  const Model* model = smollm2_model(); \
  if (model == nullptr)                 \
  GTEST_SKIP() << "no SmolLM2 directory: set STRATA_SMOLLM2 or run tools/demo once to import it"
