#include "models/tokenizer/nfc.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "models/tokenizer/unicode.h"

namespace strata::unicode {
namespace {

using nlohmann::json;

std::string normalized(std::string_view text) {
  std::string buffer;
  return std::string(nfc(text, buffer));
}

// What tools/make_nfc_tables.py wrote: what the package `tokenizers` gives.
const json& golden() {
  static const json kGolden = [] {
    const char* source = std::getenv("STRATA_SOURCE_DIR");
    std::ifstream file(std::string(source != nullptr ? source : ".") +
                       "/tests/golden/nfc_checks.json");
    return json::parse(file);
  }();
  return kGolden;
}

std::string utf8(char32_t code) {
  std::string text;
  append_utf8(code, text);
  return text;
}

TEST(Nfc, EveryCodePointAloneAndAmongMarksIsAsInTokenizers) {
  const auto block = golden()["block"].get<char32_t>();
  const auto context = golden()["context"].get<std::string>();
  const std::size_t hole = context.find("\uFFFC");
  ASSERT_EQ(golden()["blocks"].size(), 0x110000 / block);
  for (char32_t begin = 0; begin < 0x110000; begin += block) {
    std::string lines;
    for (char32_t code = begin; code < begin + block; ++code) {
      if (code >= 0xD800 && code < 0xE000) continue;
      std::string among = context;
      among.replace(hole, 3, utf8(code));
      lines += normalized(utf8(code)) + "\n" + normalized(among) + "\n";
    }
    EXPECT_EQ(crc32_z(0, reinterpret_cast<const Bytef*>(lines.data()), lines.size()),
              golden()["blocks"][begin / block].get<std::uint64_t>())
        << "code points from " << static_cast<std::uint32_t>(begin);
  }
}

TEST(Nfc, StringsOfLettersAndMarksAreAsInTokenizers) {
  ASSERT_GE(golden()["texts"].size(), 3000U);
  int changed = 0;
  for (const json& pair : golden()["texts"]) {
    const auto text = pair[0].get<std::string>();
    EXPECT_EQ(normalized(text), pair[1].get<std::string>()) << "text: " << text;
    changed += pair[0] != pair[1] ? 1 : 0;
  }
  EXPECT_GT(changed, 1000);
}

// Segments are found again wherever they lie: joined by characters that join with nothing, texts
// normalize each for itself, and what is normal stays, without a copy.
TEST(Nfc, TextsJoinedByLettersNormalizeEachForItself) {
  constexpr std::uint64_t kSeed = 5;
  Rng rng(kSeed, "nfc test");
  const json& texts = golden()["texts"];
  for (int round = 0; round < 500; ++round) {
    std::string text;
    std::string expected;
    for (int i = 0; i < 6; ++i) {
      const json& pair = texts[rng.below(texts.size())];
      const char* glue = rng.below(2) == 0 ? "中" : "\n plain ";
      text += glue + pair[0].get<std::string>();
      expected += glue + pair[1].get<std::string>();
    }
    ASSERT_EQ(normalized(text), expected) << "seed " << kSeed;
    ASSERT_EQ(normalized(expected), expected) << "seed " << kSeed;
  }
}

TEST(Nfc, NormalTextIsReturnedWithoutACopy) {
  std::string buffer = "untouched";
  for (const std::string text : {"", "plain ASCII 42", "café Zürich", "中文 한국어 日本語 😀"}) {
    EXPECT_EQ(nfc(text, buffer).data(), text.data());
    EXPECT_EQ(buffer, "untouched");
  }
}

TEST(Nfc, TheRulesOfTheStandardHold) {
  EXPECT_EQ(normalized("e\u0301"), "\u00E9");
  EXPECT_EQ(normalized("q\u0307\u0323"), "q\u0323\u0307");  // marks are ordered by their class,
  EXPECT_EQ(normalized("q\u0301\u0307"), "q\u0301\u0307");  // those of one class stay
  EXPECT_EQ(normalized("a\u0300\u0300"), "\u00E0\u0300");   // an equal class blocks
  EXPECT_EQ(normalized("a\u0327\u0301"), "\u00E1\u0327");   // a lower one does not
  EXPECT_EQ(normalized("\u1100\u1161\u11A8"), "\uAC01");    // Hangul
  EXPECT_EQ(normalized("\uAC01\u11A8"), "\uAC01\u11A8");    // with one trailing consonant only
  EXPECT_EQ(normalized("\u0958"), "\u0915\u093C");          // excluded from composition
  EXPECT_EQ(normalized("\u212B \u2126"), "\u00C5 \u03A9");  // singletons
  EXPECT_EQ(normalized("\u0301e\u0301"), "\u0301\u00E9");   // a mark without a letter
  EXPECT_EQ(normalized("<|im_end|>\u0338"), "<|im_end|\u226F");
}

}  // namespace
}  // namespace strata::unicode
