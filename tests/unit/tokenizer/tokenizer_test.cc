#include "models/tokenizer/tokenizer.h"

#include <gmock/gmock.h>

#include <thread>

#include "core/rng.h"
#include "core/sha256.h"
#include "models/tokenizer/unicode.h"
#include "tests/unit/tokenizer/toy_tokenizer.h"

namespace strata {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;
using toy::bytes;

constexpr TokenId kHello = 259;
constexpr TokenId kSpaceW = 260;
constexpr TokenId kStart = 263;
constexpr TokenId kEnd = 264;
constexpr TokenId kTool = 265;

Tokens joined(std::initializer_list<Tokens> parts) {
  Tokens all;
  for (const Tokens& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST(Tokenizer, MergesWordsAndSplitsDigitsOneByOne) {
  const Tokenizer tokenizer = toy::load(toy::document());
  EXPECT_EQ(tokenizer.encode("hello world"), joined({{kHello, kSpaceW}, bytes("orld")}));
  EXPECT_EQ(tokenizer.encode("x 12"), bytes("x 12"));
  EXPECT_EQ(tokenizer.encode("é"), (Tokens{262}));
  EXPECT_THAT(tokenizer.encode(""), IsEmpty());
  EXPECT_EQ(tokenizer.vocab_size(), 266);
}

TEST(Tokenizer, MergesAsPairsMeanTheSame) {
  json document = toy::document();
  for (json& merge : document["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    const std::size_t space = text.find(' ');
    merge = json::array({text.substr(0, space), text.substr(space + 1)});
  }
  EXPECT_EQ(toy::load(document).encode("hello"), (Tokens{kHello}));
}

TEST(Tokenizer, SpecialTextIsAnIdOrTextAsAsked) {
  const Tokenizer tokenizer = toy::load(toy::document());
  const std::string text = "a<|im_end|><tool>b";
  EXPECT_EQ(tokenizer.encode(text), joined({bytes("a"), {kEnd, kTool}, bytes("b")}));
  EXPECT_EQ(tokenizer.encode_plain(text), joined({bytes("a<|im_end|>"), {kTool}, bytes("b")}));
  EXPECT_EQ(tokenizer.encode("<|im_end|"), bytes("<|im_end|"));
}

TEST(Tokenizer, AddedTokensAreFoundLeftmostAndLongestAndMaySwallowSpaces) {
  json document = toy::document();
  json& added = document["added_tokens"];
  json longer = added[1];
  longer.update({{"id", 266}, {"content", "<|im_end|>>"}, {"lstrip", true}, {"rstrip", true}});
  added.push_back(longer);
  const Tokenizer tokenizer = toy::load(document);
  EXPECT_EQ(tokenizer.encode("a \u3000<|im_end|>> \nb"), joined({bytes("a"), {266}, bytes("b")}));
  EXPECT_EQ(tokenizer.encode("a <|im_end|> b"), joined({bytes("a "), {kEnd}, bytes(" b")}));
  EXPECT_EQ(tokenizer.encode("<|im_start|><|im_end|>>"), (Tokens{kStart, 266}));
}

TEST(Tokenizer, IllFormedBytesAreReplacedBeforeEncoding) {
  const Tokenizer tokenizer = toy::load(toy::document());
  EXPECT_EQ(tokenizer.encode("a\xE2\x82z"), tokenizer.encode("a\uFFFDz"));
}

TEST(Tokenizer, NfcIsDoneBetweenAddedTokensWhichAreFoundBeforeIt) {
  json document = toy::document();
  const Tokenizer bare = toy::load(document);
  EXPECT_EQ(bare.encode("e\u0301"), bytes("e\u0301"));
  document["normalizer"] = {{"type", "NFC"}};
  const Tokenizer tokenizer = toy::load(document);
  EXPECT_EQ(tokenizer.encode("e\u0301 a"), joined({{262}, bytes(" a")}));
  EXPECT_EQ(tokenizer.encode_plain("e\u0301"), (Tokens{262}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("e\u0301")), "\u00E9");
  // U+0338 would join with the ">" before it, were the special token not cut out first.
  EXPECT_EQ(tokenizer.encode("<|im_end|>\u0338"), joined({{kEnd}, bytes("\u0338")}));
  EXPECT_EQ(tokenizer.encode_plain("<|im_end|>\u0338"), bytes("<|im_end|\u226F"));
}

TEST(Tokenizer, AddedTokensThatAreNormalizedAreFoundInTheNormalizedText) {
  json document = toy::document();
  document["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  document["added_tokens"].push_back({{"id", 266}, {"content", "<e\u0301>"}, {"normalized", true}});
  const Tokenizer tokenizer = toy::load(document);
  EXPECT_EQ(tokenizer.encode("<e\u0301>"), (Tokens{266}));
  EXPECT_EQ(tokenizer.encode("<\u00E9>"), (Tokens{266}));
  EXPECT_EQ(tokenizer.decode(Tokens{266}), "<e\u0301>");
}

TEST(Tokenizer, DecodingGivesTheTextBack) {
  const Tokenizer tokenizer = toy::load(toy::document());
  const std::vector<std::string> alphabet = {"h",  "e", "l",          "o", " ",  "w",   "é",
                                             "中", "😀", "<|im_end|>", "7", "\n", "\xFF"};
  Rng rng(1, "tokenizer test");
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (std::uint64_t i = rng.below(20); i > 0; --i) text += alphabet[rng.below(alphabet.size())];
    const std::string expected = unicode::replace_invalid_utf8(text);
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), expected);
    ASSERT_EQ(tokenizer.decode(tokenizer.encode_plain(text)), expected);
  }
}

TEST(Tokenizer, DecodingMaySkipSpecialTokensAndIgnoresIdsWithoutAToken) {
  const Tokenizer tokenizer = toy::load(toy::document());
  const Tokens ids = {kStart, 'a', kTool, kEnd, 100'000, -1};
  EXPECT_EQ(tokenizer.decode(ids), "<|im_start|>a<tool><|im_end|>");
  EXPECT_EQ(tokenizer.decode(ids, true), "a<tool>");
  EXPECT_EQ(tokenizer.token_bytes(100'000), "");
}

TEST(Tokenizer, TextIsUtf8WhereverTokensEnd) {
  const Tokenizer tokenizer = toy::load(toy::document());
  EXPECT_EQ(tokenizer.decode(Tokens{0xE4, 'a', 0xF0, 0x9F}),
            "\xE4"
            "a\xF0\x9F");
  EXPECT_EQ(tokenizer.decode_text(Tokens{0xE4, 'a', 0xF0, 0x9F}), "\uFFFDa\uFFFD");
}

TEST(StreamingDecoder, HoldsBackUntilACharacterIsComplete) {
  StreamingDecoder decoder(toy::load(toy::document()));
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.push(0x9F), "");
  EXPECT_EQ(decoder.push(0x98), "");
  EXPECT_EQ(decoder.push(0x80), "😀");
  EXPECT_EQ(decoder.push(0xE4), "");
  EXPECT_EQ(decoder.push('a'), "\uFFFDa");
  EXPECT_EQ(decoder.push(0xE4), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamingDecoder, JoinsToTheReplacedDecodingOfAnyIds) {
  const Tokenizer tokenizer = toy::load(toy::document());
  StreamingDecoder decoder(tokenizer, true);
  Rng rng(2, "streaming test");
  for (int round = 0; round < 2000; ++round) {
    Tokens ids;
    for (std::uint64_t i = rng.below(12); i > 0; --i) {
      ids.push_back(
          static_cast<TokenId>(rng.below(3) == 0 ? rng.below(266) : 0x80 + rng.below(128)));
    }
    std::string text;
    for (const TokenId id : ids) {
      const std::string part = decoder.push(id);
      ASSERT_TRUE(unicode::is_valid_utf8(part));
      text += part;
    }
    text += decoder.finish();
    ASSERT_EQ(text, tokenizer.decode_text(ids, true));
  }
}

TEST(Tokenizer, BosAndEveryStopIdComeFromTheConfigurations) {
  toy::ModelDirectory directory;
  directory.write("tokenizer.json", toy::document());
  directory.write("tokenizer_config.json",
                  json{{"bos_token", "<|im_start|>"}, {"eos_token", {{"content", "<|im_end|>"}}}});
  directory.write("config.json", json{{"eos_token_id", 5}});
  EXPECT_EQ(directory.load()->bos(), kStart);
  EXPECT_THAT(directory.load()->eos(), ElementsAre(5, kEnd));
  directory.write("generation_config.json", json{{"eos_token_id", {7, 3}}});
  EXPECT_THAT(directory.load()->eos(), ElementsAre(3, 7, kEnd));
}

TEST(Tokenizer, ADirectoryWithTokenizerJsonAloneHasNoBosNoStopIdAndNoTemplate) {
  const Tokenizer tokenizer = toy::load(toy::document());
  EXPECT_EQ(tokenizer.bos(), std::nullopt);
  EXPECT_THAT(tokenizer.eos(), IsEmpty());
  EXPECT_EQ(tokenizer.chat_template_text(), std::nullopt);
  EXPECT_THAT(tokenizer.prefix(), IsEmpty());
}

TEST(Tokenizer, ThePostProcessorsTokensAreThePrefixAndNeverEncoded) {
  json document = toy::document();
  document["post_processor"] = {{"type", "Sequence"},
                                {"processors",
                                 {{{"type", "ByteLevel"}},
                                  {{"type", "TemplateProcessing"},
                                   {"single",
                                    {{{"SpecialToken", {{"id", "<|im_start|>"}, {"type_id", 0}}}},
                                     {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}}}}}};
  const Tokenizer tokenizer = toy::load(document);
  EXPECT_THAT(tokenizer.prefix(), ElementsAre(kStart));
  EXPECT_EQ(tokenizer.encode("hello"), (Tokens{kHello}));
}

TEST(Tokenizer, TheTemplateIsTheFileElseTheDefaultOfTheConfiguration) {
  toy::ModelDirectory directory;
  directory.write("tokenizer.json", toy::document());
  directory.write("tokenizer_config.json", json{{"chat_template",
                                                 {{{"name", "tool_use"}, {"template", "T"}},
                                                  {{"name", "default"}, {"template", "D"}}}}});
  EXPECT_EQ(directory.load()->chat_template_text(), "D");
  directory.write("chat_template.jinja", std::string("J"));
  EXPECT_EQ(directory.load()->chat_template_text(), "J");
}

TEST(Tokenizer, TheIdChangesWithTheVocabularyAndWithTheTemplateAlone) {
  toy::ModelDirectory directory;
  directory.write("tokenizer.json", toy::document());
  const std::string bare = directory.load()->id();
  EXPECT_EQ(bare.size(), 64U);
  directory.write("generation_config.json", json{{"eos_token_id", 3}});
  EXPECT_EQ(directory.load()->id(), bare);
  directory.write("chat_template.jinja", std::string());
  const std::string with_template = directory.load()->id();
  EXPECT_NE(with_template, bare);
  directory.write("tokenizer.json", toy::document().dump() + "\n");
  EXPECT_NE(directory.load()->id(), with_template);
}

TEST(Tokenizer, ThreadsThatShareOneGetTheSameIds) {
  const Tokenizer tokenizer = toy::load(toy::document());
  std::string text;
  for (int i = 0; i < 500; ++i) text += "hello wäll <|im_end|>aaaaahelll 42 ";
  const Tokens expected = tokenizer.encode(text);
  std::vector<Tokens> got(2);
  {
    std::vector<std::jthread> threads;
    threads.reserve(got.size());
    for (Tokens& ids : got)
      threads.emplace_back([&ids, &text, tokenizer] { ids = tokenizer.encode(text); });
  }
  EXPECT_THAT(got, testing::Each(expected));
}

}  // namespace
}  // namespace strata
