// What a damaged or unknown tokenizer.json is told: errors are part of the product, so their text
// is tested.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"
#include "models/tokenizer/tokenizer.h"
#include "models/tokenizer/tokenizer_json.h"
#include "tests/unit/tokenizer/toy_tokenizer.h"

namespace strata {
namespace {

using nlohmann::json;

struct Case {
  const char* pointer;  // what is replaced in the toy document,
  json value;           // by this
  ErrorKind kind;
  const char* text;
};

TEST(TokenizerErrors, EachSaysWhereWhatWasExpectedAndWhatIsThere) {
  constexpr ErrorKind kBad = ErrorKind::kInvalidFile;
  constexpr ErrorKind kNew = ErrorKind::kUnsupported;
  const Case cases[] = {
      {"/model/type", "Unigram", kNew, "model.type: expected BPE, got \"Unigram\""},
      {"/model", nullptr, kBad, "model: expected an object with a `type`, got null"},
      {"/model/vocab", json::object(), kBad,
       "model.vocab: expected an object with tokens, got an object"},
      {"/model/vocab/hello", -1, kBad, "model.vocab: expected a token id, got -1"},
      {"/model/vocab/hello", 1.5, kBad, "model.vocab: expected a token id, got 1.5"},
      {"/model/vocab/hello", 258, kBad, "model.vocab: id 258 belongs to two tokens"},
      {"/model/vocab/hello", 2'000'000'000, kBad,
       "model.vocab: id 2000000000 of 263 tokens leaves too large a gap"},
      {"/model/vocab/hello", 5'000'000'000, kBad,
       "model.vocab: expected a token id, got 5000000000"},
      {"/model/vocab/", 266, kBad, "model.vocab: id 266 belongs to an empty token"},
      {"/model/merges", 3, kBad, "model.merges: expected an array, got 3"},
      {"/model/merges/1", "l l l", kBad,
       "model.merges[1]: expected \"a b\" or [\"a\", \"b\"], got \"l l l\""},
      {"/model/merges/1",
       {"l", 1},
       kBad,
       "model.merges[1]: expected \"a b\" or [\"a\", \"b\"], got an array"},
      {"/model/merges/1", "l 中", kBad,
       "model.merges[1]: the token \"\\u4e2d\" is not in the vocabulary"},
      {"/model/merges/1", "l h", kBad,
       "model.merges[1]: the token \"lh\" is not in the vocabulary"},
      {"/model/unk_token", "<unk>", kBad, "model.unk_token: expected a token, got \"<unk>\""},
      {"/model/dropout", 0.1, kNew, "model.dropout: expected null, got 0.1"},
      {"/model/end_of_word_suffix", "</w>", kNew,
       "model.end_of_word_suffix: expected null, got \"</w>\""},
      {"/model/byte_fallback", true, kNew, "model.byte_fallback: expected false, got true"},
      {"/model/ignore_merges", "yes", kBad,
       "model.ignore_merges: expected true or false, got \"yes\""},
      {"/model/shuffle", 1, kNew, "model: unknown key \"shuffle\""},
      {"/extra", 1, kNew, "top level: unknown key \"extra\""},
      {"/normalizer", {{"type", "NFKC"}}, kNew, "normalizer: expected NFC or null, got \"NFKC\""},
      {"/normalizer",
       {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "Lowercase"}}}}},
       kNew,
       "normalizer.normalizers[1]: expected NFC or null, got \"Lowercase\""},
      {"/normalizer",
       {{"type", "Sequence"}},
       kNew,
       "normalizer: expected NFC or null, got \"Sequence\""},
      {"/normalizer", 3, kBad, "normalizer: expected an object with a `type`, got 3"},
      {"/pre_tokenizer", nullptr, kBad,
       "pre_tokenizer: expected an object with a `type`, got null"},
      {"/pre_tokenizer",
       {{"type", "Metaspace"}},
       kNew,
       "pre_tokenizer: expected ByteLevel, Digits, Split or one Sequence of them, got "
       "\"Metaspace\""},
      {"/pre_tokenizer",
       {{"type", "Digits"}},
       kNew,
       "pre_tokenizer: expected ByteLevel as the last part; only byte-level BPE is known"},
      {"/pre_tokenizer/pretokenizers/1/add_prefix_space", true, kNew,
       "pre_tokenizer.pretokenizers[1].add_prefix_space: expected false, got true"},
      {"/pre_tokenizer/pretokenizers/2",
       {{"type", "Digits"}},
       kNew,
       "pre_tokenizer.pretokenizers[2]: expected nothing behind ByteLevel, got \"Digits\""},
      {"/pre_tokenizer/pretokenizers/0",
       {{"type", "Split"},
        {"pattern", {{"Regex", "\\p{L}"}}},
        {"behavior", "Isolated"},
        {"invert", false}},
       kNew,
       "pre_tokenizer.pretokenizers[0].pattern: expected Llama 3's or Qwen 2's regular expression, "
       "got \"\\\\p{L}\""},
      {"/pre_tokenizer/pretokenizers/0",
       {{"type", "Split"},
        {"pattern", {{"String", " "}}},
        {"behavior", "Isolated"},
        {"invert", false}},
       kNew,
       "pre_tokenizer.pretokenizers[0].pattern: unknown key \"String\""},
      {"/post_processor",
       {{"type", "BertProcessing"}},
       kNew,
       "post_processor: expected ByteLevel or TemplateProcessing, got \"BertProcessing\""},
      {"/decoder", {{"type", "WordPiece"}}, kNew, "decoder: expected ByteLevel, got \"WordPiece\""},
      {"/decoder", nullptr, kBad, "decoder: expected an object with a `type`, got null"},
      {"/added_tokens/0/id", 4'000'000, kBad, "added_tokens[0]: id 4000000 leaves too large a gap"},
      {"/added_tokens/0/id", 97, kBad,
       "added_tokens[0]: id 97 belongs to another token of the vocabulary"},
      {"/added_tokens/0/content", "", kBad,
       "added_tokens[0].content: expected 1 to 4096 bytes, got 0"},
      {"/added_tokens/0/single_word", true, kNew,
       "added_tokens[0].single_word: expected false, got true"},
      {"/added_tokens/0", 7, kBad, "added_tokens[0]: expected an object, got 7"},
  };
  for (const Case& c : cases) {
    json document = toy::document();
    document[json::json_pointer(c.pointer)] = c.value;
    const Result<TokenizerSpec> spec = parse_tokenizer_json(document.dump());
    ASSERT_FALSE(spec) << c.text;
    EXPECT_EQ(spec.error().text(), c.text);
    EXPECT_EQ(spec.error().kind, c.kind) << c.text;
  }
}

TEST(TokenizerErrors, LongValuesAreShortened) {
  json document = toy::document();
  document["model"]["type"] = std::string(100'000, 'x');
  EXPECT_LT(parse_tokenizer_json(document.dump()).error().text().size(), 200U);
}

TEST(TokenizerErrors, FilesAreNamed) {
  toy::ModelDirectory directory;
  const auto text = [&] { return directory.load().error().text(); };
  EXPECT_EQ(
      text(),
      directory.path() +
          "/tokenizer.json: there is no such file\n  hint: model.path= names a Hugging Face model "
          "directory: config.json, *.safetensors, tokenizer.json");
  directory.write("tokenizer.json", toy::document().dump().substr(0, 500));
  EXPECT_EQ(text(), directory.path() + "/tokenizer.json: invalid JSON at byte 501");
  directory.write("tokenizer.json", toy::document());
  directory.write("tokenizer_config.json", std::string("[]"));
  EXPECT_EQ(text(), directory.path() + "/tokenizer_config.json: expected a JSON object");
  directory.write("tokenizer_config.json", json{{"eos_token", "</s>"}});
  EXPECT_EQ(text(),
            directory.path() +
                "/tokenizer_config.json: eos_token: the token \"</s>\" is not in tokenizer.json");
  directory.write("tokenizer_config.json", json{{"chat_template", 5}});
  EXPECT_EQ(text(), directory.path() + "/tokenizer_config.json: chat_template: expected a text");
  directory.write("tokenizer_config.json", json::object());
  directory.write("generation_config.json", json{{"eos_token_id", "2"}});
  EXPECT_EQ(text(), directory.path() + "/generation_config.json: eos_token_id: expected token ids");
}

// Whatever the bytes, there is an answer: a tokenizer that works, or an error.
TEST(TokenizerErrors, DamagedFilesNeverCrash) {
  const std::string whole = toy::document().dump();
  constexpr std::uint64_t kSeed = 9;
  Rng rng(kSeed, "damage test");
  toy::ModelDirectory directory;
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    std::string damaged = whole;
    for (std::uint64_t i = 1 + rng.below(3); i > 0; --i) {
      damaged[rng.below(damaged.size())] = "0123456789{}[]\",:\\eunl\xFF"[rng.below(23)];
    }
    const Result<Tokenizer> loaded = directory.write("tokenizer.json", damaged).load();
    if (!loaded) {
      ++refused;
      EXPECT_FALSE(loaded.error().message.empty());
    } else {
      loaded->decode(loaded->encode("hello wörld <|im_end|> 42"));
    }
  }
  EXPECT_GT(refused, 100) << "seed " << kSeed;
}

}  // namespace
}  // namespace strata
