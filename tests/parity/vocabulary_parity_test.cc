// Tokenizers of other families, made of their published vocabularies by tools/import_tiktoken.py,
// against the package `tokenizers` on the golden files of tools/make_tokenizer_golden.py.
// tools/test puts the vocabularies into the cache; they are not in the repository.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer.h"
#include "models/tokenizer/unicode.h"
#include "tests/parity/tokenizer_golden.h"

namespace strata {
namespace {

using nlohmann::json;

std::filesystem::path directory_of(const std::string& family) {
  if (family == "default") return default_model_dir();
  const std::string given = environment("STRATA_TOKENIZERS");
  return (given.empty() ? cache_dir() / "tokenizers" : std::filesystem::path(given)) / family;
}

class VocabularyParity : public testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() {
    texts_ = golden_texts();
    checks_ = json::parse(read_file(golden("tokenizer_families.json")));
  }

  void SetUp() override {
    if (!std::filesystem::exists(directory_of(GetParam()) / "tokenizer.json")) {
      GTEST_SKIP() << "there is no tokenizer in " << directory_of(GetParam())
                   << "; run tools/setup --tests, or name the folder above with STRATA_TOKENIZERS";
    }
    Result<Tokenizer> loaded = Tokenizer::load(directory_of(GetParam()));
    ASSERT_TRUE(loaded) << loaded.error().text();
    tokenizer_ = *std::move(loaded);
    ASSERT_GE(texts_.size(), 20'000U);
  }

  const json& checks() const { return checks_["families"][GetParam()]; }

  template <typename Record>
  void expect_blocks(const char* what, Record record) const {
    expect_crcs(checks()[what], checks_["block"], texts_, record, GetParam() + " " + what);
  }

  static inline std::vector<std::string> texts_;
  static inline json checks_;
  std::optional<Tokenizer> tokenizer_;
};

TEST_P(VocabularyParity, IdsOfEveryTextEqualThoseOfTokenizers) {
  constexpr std::size_t kHashBytes = 8;
  const std::string hashes = gunzip(golden("tokenizer_" + GetParam() + ".bin.gz"));
  ASSERT_EQ(hashes.size(), kHashBytes * texts_.size());
  std::size_t equal = 0;
  std::size_t ids = 0;
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    const Tokens got = tokenizer_->encode(texts_[i]);
    std::string expected;
    for (const char c : hashes.substr(i * kHashBytes, kHashBytes))
      expected += fmt::format("{:02x}", static_cast<std::uint8_t>(c));
    const bool same = ids_hash(got) == expected;
    if (!same && equal == i) {
      ADD_FAILURE()
          << "text " << i << ": " << texts_[i]
          << "\n  ids: " << fmt::format("{}", fmt::join(got, ", "))
          << "\n  those of tokenizers: tools/python tools/make_tokenizer_golden.py --show "
          << directory_of(GetParam()).string() << " " << i;
    }
    equal += same ? 1 : 0;
    ids += got.size();
  }
  EXPECT_EQ(equal, texts_.size());
  EXPECT_EQ(ids, checks()["ids"].get<std::size_t>());
  RecordProperty("texts_equal", std::to_string(equal));
}

TEST_P(VocabularyParity, SpecialTextAsPlainTextEqualsEncodeSpecialTokens) {
  expect_blocks("plain",
                [&](std::size_t i) { return packed(tokenizer_->encode_plain(texts_[i])); });
}

TEST_P(VocabularyParity, DecodingTheIdsEqualsTokenizers) {
  expect_blocks("decoded", [&](std::size_t i) {
    return unicode::replace_invalid_utf8(tokenizer_->decode(tokenizer_->encode(texts_[i])));
  });
}

INSTANTIATE_TEST_SUITE_P(, VocabularyParity, testing::Values("llama3", "qwen3"),
                         [](const auto& family) { return family.param; });

// What a tokenizer says beside ids: that of the checkpoints of its family.
class VocabularyFacts : public VocabularyParity {};

TEST_P(VocabularyFacts, BosStopIdsAndPrefixAreThoseOfTheFamily) {
  const bool llama = GetParam() == "llama3";
  EXPECT_EQ(tokenizer_->bos(), llama ? std::optional<TokenId>(128000) : std::nullopt);
  EXPECT_EQ(tokenizer_->eos(), (Tokens{llama ? 128009 : 151645}));
  EXPECT_EQ(tokenizer_->prefix(), llama ? Tokens{128000} : Tokens{});
  EXPECT_EQ(tokenizer_->vocab_size(), llama ? 128256 : 151669);
  EXPECT_EQ(tokenizer_->is_special(llama ? 128006 : 151667), llama);  // <think> is not special
}

INSTANTIATE_TEST_SUITE_P(, VocabularyFacts, testing::Values("llama3", "qwen3"),
                         [](const auto& family) { return family.param; });

// tools/make_chat_golden.py; that the texts are equal is a unit test.
class ChatParity : public VocabularyParity {};

TEST_P(ChatParity, IdsOfRenderedConversationsEqualThoseOfTransformers) {
  const json golden_chats = json::parse(read_file(golden("chat_templates.json")));
  int compared = 0;
  for (const json& expected : golden_chats["templates"]) {
    if (expected["tokenizer"] != GetParam()) continue;
    const auto chat = ChatTemplate::for_model(*tokenizer_, expected["name"].get<std::string>());
    ASSERT_TRUE(chat) << chat.error().text();
    for (std::size_t i = 0; i < expected["ids"].size(); ++i) {
      std::vector<ChatMessage> messages;
      for (const json& message : golden_chats["conversations"][i])
        messages.push_back({message[0], message[1]});
      for (const bool prompt : {false, true}) {
        const std::string text = chat->render(messages, prompt);
        EXPECT_EQ(ids_hash(tokenizer_->encode(text)), expected["ids"][i][prompt ? 1 : 0])
            << chat->name() << ": " << text;
        ++compared;
      }
    }
  }
  EXPECT_GE(compared, 80);
}

INSTANTIATE_TEST_SUITE_P(, ChatParity, testing::Values("default", "llama3", "qwen3"),
                         [](const auto& family) { return family.param; });

}  // namespace
}  // namespace strata
