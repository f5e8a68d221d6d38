// The tokenizer against the packages `tokenizers` and `transformers`, on the golden files of
// tools/make_tokenizer_golden.py. Needs the imported default model (its vocabulary is not in the
// repository).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer.h"
#include "models/tokenizer/tokenizer_json.h"
#include "models/tokenizer/unicode.h"
#include "tests/parity/tokenizer_golden.h"

namespace strata {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Golden {
  std::vector<std::string> texts;
  std::vector<Tokens> ids;
  json checks;
};

Golden read_golden() {
  Golden result;
  result.texts = golden_texts();
  const std::string ids = gunzip(golden("tokenizer_ids.bin.gz"));
  for (std::string_view rest = ids; !rest.empty();) {
    Tokens row(take_varint(rest));
    for (TokenId& id : row) id = static_cast<TokenId>(take_varint(rest));
    result.ids.push_back(std::move(row));
  }
  result.checks = json::parse(read_file(golden("tokenizer_checks.json")));
  return result;
}

class TokenizerParity : public testing::Test {
 protected:
  static void SetUpTestSuite() { golden_ = read_golden(); }

  void SetUp() override {
    if (!fs::exists(default_model_dir() / "tokenizer.json")) {
      GTEST_SKIP() << "the default model is not at " << default_model_dir()
                   << "; import it with tools/import_gguf.py or name it with STRATA_SMOLLM2";
    }
    Result<Tokenizer> loaded = Tokenizer::load(default_model_dir());
    ASSERT_TRUE(loaded) << loaded.error().text();
    tokenizer_ = *std::move(loaded);
  }

  template <typename Record>
  static void expect_blocks(const std::string& variant, Record record) {
    expect_crcs(golden_.checks["crc32"][variant], golden_.checks["block"], golden_.texts, record,
                variant);
  }

  static inline Golden golden_;
  std::optional<Tokenizer> tokenizer_;
};

TEST_F(TokenizerParity, TheTextsAreOfTheKindsThatWerePromised) {
  std::size_t non_latin = 0;
  std::size_t runs = 0;
  for (const std::string& bytes : golden_.texts) {
    const std::string text = unicode::replace_invalid_utf8(bytes);
    bool foreign = false;
    std::size_t run = 0;
    std::size_t longest = 0;
    for (std::size_t at = 0; at < text.size();) {
      const unicode::CodePoint point = unicode::code_point_at(text, at);
      const std::uint8_t bits = unicode::char_class(point.code);
      foreign |= point.code > 0x36F && (bits & unicode::kLetter) != 0;
      run = (bits & (unicode::kSpace | unicode::kNumber)) != 0 ? run + 1 : 0;
      longest = std::max(longest, run);
      at += point.length;
    }
    if (foreign) ++non_latin;
    if (longest >= 3) ++runs;
  }
  EXPECT_GE(golden_.texts.size(), 20'000U);
  EXPECT_EQ(golden_.ids.size(), golden_.texts.size());
  EXPECT_GE(non_latin * 10, golden_.texts.size() * 3);
  EXPECT_GE(runs * 20, golden_.texts.size());
}

TEST_F(TokenizerParity, IdsEqualThoseOfTokenizers) {
  std::size_t differing = 0;
  for (std::size_t i = 0; i < golden_.texts.size() && differing < 5; ++i) {
    const Tokens ids = tokenizer_->encode(golden_.texts[i]);
    if (ids != golden_.ids[i]) ++differing;
    EXPECT_EQ(ids, golden_.ids[i]) << "text " << i << ": " << golden_.texts[i];
  }
}

TEST_F(TokenizerParity, SpecialTextAsPlainTextEqualsEncodeSpecialTokens) {
  expect_blocks("plain",
                [&](std::size_t i) { return packed(tokenizer_->encode_plain(golden_.texts[i])); });
}

TEST_F(TokenizerParity, DecodingAtOnceAndStreamingEqualTokenizers) {
  const auto reversed = [&](std::size_t i) {
    return Tokens(golden_.ids[i].rbegin(), golden_.ids[i].rend());
  };
  expect_blocks("decoded", [&](std::size_t i) {
    return unicode::replace_invalid_utf8(tokenizer_->decode(reversed(i)));
  });
  StreamingDecoder decoder(*tokenizer_);
  expect_blocks("decoded", [&](std::size_t i) {
    std::string text;
    for (const TokenId id : reversed(i)) text += decoder.push(id);
    return text + decoder.finish();
  });
}

// Appends the bytes of each piece of `text` that the stages leave, as tokens so that packed() takes
// them.
void piece_lengths(std::string_view text, std::span<const Splitter> stages, Tokens& lengths) {
  if (stages.empty()) return lengths.push_back(static_cast<TokenId>(text.size()));
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = stages.front()(text, begin);
    piece_lengths(text.substr(begin, end - begin), stages.subspan(1), lengths);
    begin = end;
  }
}

TEST_F(TokenizerParity, PreTokenizersOfSeveralModelFamiliesMakeTheSamePieces) {
  const json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const json gpt2 = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  const auto sequence = [](json first, json second) {
    return json{{"type", "Sequence"}, {"pretokenizers", {std::move(first), std::move(second)}}};
  };
  const auto digits = [&](bool individual) {
    return sequence({{"type", "Digits"}, {"individual_digits", individual}}, gpt2);
  };
  const auto split = [&](const std::string& number) {
    const std::string pattern = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" +
                                number + R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
    return sequence({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}},
                    byte_level);
  };
  const std::vector<std::pair<std::string, json>> variants = {{"smollm", digits(true)},
                                                              {"gpt2", gpt2},
                                                              {"digit_runs", digits(false)},
                                                              {"llama3", split("{1,3}")},
                                                              {"qwen2", split("")}};
  json document = json::parse(read_file(default_model_dir() / "tokenizer.json"));
  for (const auto& [name, pre_tokenizer] : variants) {
    document["pre_tokenizer"] = pre_tokenizer;
    const Result<TokenizerSpec> spec = parse_tokenizer_json(document.dump());
    ASSERT_TRUE(spec) << spec.error().text();
    expect_blocks(name, [&](std::size_t i) {
      Tokens lengths;
      piece_lengths(unicode::replace_invalid_utf8(golden_.texts[i]), spec->splitters, lengths);
      return packed(lengths);
    });
  }
}

TEST_F(TokenizerParity, ChatsAreRenderedAndEncodedAsByTransformers) {
  const json chat = json::parse(read_file(golden("tokenizer_chat.json")));
  const Result<ChatTemplate> chat_template = ChatTemplate::for_model(*tokenizer_, "model");
  ASSERT_TRUE(chat_template) << chat_template.error().text();
  EXPECT_EQ(chat_template->name(), "smollm2");
  EXPECT_EQ(tokenizer_->bos(), chat["bos"].get<TokenId>());
  EXPECT_THAT(tokenizer_->eos(), testing::ElementsAre(chat["eos"].get<TokenId>()));
  ASSERT_GE(chat["cases"].size(), 16U);
  for (const json& expected : chat["cases"]) {
    std::vector<ChatMessage> messages;
    for (const json& message : expected["messages"])
      messages.push_back({message["role"], message["content"]});
    const std::string text = chat_template->render(messages, expected["add_generation_prompt"]);
    EXPECT_EQ(text, expected["text"]);
    const Tokens ids = tokenizer_->encode(text + expected["answer_prefix"].get<std::string>());
    EXPECT_EQ(ids, expected["ids"].get<Tokens>()) << text;
    // BOS is the template's own: once at the front, and nothing adds a second one.
    ASSERT_GE(ids.size(), 2U);
    EXPECT_EQ(ids[0], tokenizer_->bos());
    EXPECT_NE(ids[1], tokenizer_->bos());
    EXPECT_THAT(tokenizer_->prefix(), testing::IsEmpty());
  }
}

}  // namespace
}  // namespace strata
