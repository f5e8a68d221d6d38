#include "runner/config/override.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"

namespace strata::config {
namespace {

using testing::HasSubstr;

std::string error_of(const std::string& line) {
  const auto override = parse_override(line);
  return override ? "no error" : override.error().text();
}

TEST(Override, KnowsItsKindKeyAndPackage) {
  const auto change = parse_override("a.b=1");
  ASSERT_TRUE(change);
  EXPECT_EQ(change->kind, OverrideKind::kChange);
  EXPECT_EQ(change->key, "a.b");
  EXPECT_FALSE(change->package);
  const auto add = parse_override("+group/sub@pkg.x=option");
  ASSERT_TRUE(add);
  EXPECT_EQ(add->kind, OverrideKind::kAdd);
  EXPECT_EQ(add->key, "group/sub");
  EXPECT_EQ(add->package, "pkg.x");
  EXPECT_EQ(add->prefixed_key(), "+group/sub@pkg.x");
  const auto removed = parse_override("~a");
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->kind, OverrideKind::kDelete);
  EXPECT_EQ(removed->element(), nullptr);
}

TEST(Override, PointsAtTheColumnOfAMistake) {
  EXPECT_EQ(error_of("a=[1,2"), "command line: 'a=[1,2':7: expected ',' or ']', got the end");
  EXPECT_EQ(error_of("a=1,,2"), "command line: 'a=1,,2':5: expected a value, got ','");
  EXPECT_EQ(error_of("a={b}"), "command line: 'a={b}':5: expected ':', got '}'");
  EXPECT_EQ(error_of("a='b"), "command line: 'a='b':3: this quote is never closed");
  EXPECT_THAT(error_of("a=b;c"),
              HasSubstr("command line: 'a=b;c':4: a value with ';' needs quotes\n  hint:"));
  EXPECT_EQ(error_of("seed"), "command line: 'seed':5: expected '=' and a value, got the end");
  EXPECT_THAT(error_of("a..b=1"),
              HasSubstr(":1: expected a key such as a.b or a group such as a/b, got 'a..b'"));
  EXPECT_EQ(
      error_of("a=rnage(3)"),
      "command line: 'a=rnage(3)':3: unknown function 'rnage'\n  hint: did you mean 'range'?");
  EXPECT_EQ(error_of("a=shuffle(1,2)"),
            "command line: 'a=shuffle(1,2)':3: shuffle() is not supported");
  EXPECT_EQ(error_of("a=range(1,9,0)"),
            "command line: 'a=range(1,9,0)':3: range(): expected a step other than 0");
  EXPECT_EQ(error_of("a=range(1e9)"),
            "command line: 'a=range(1e9)':3: range(): expected at most 100000 values");
  EXPECT_EQ(error_of("a=99999999999999999999"),
            "command line: 'a=99999999999999999999':3: the number 99999999999999999999 does not "
            "fit in 64 bits");
}

TEST(Override, BoundsSizeAndDepth) {
  EXPECT_THAT(error_of("a=" + std::string(200, '[')), HasSubstr("nested deeper than 32 levels"));
  EXPECT_THAT(error_of("a=" + std::string(kMaxOverrideBytes, 'x')),
              HasSubstr("expected at most 65536 bytes"));
  EXPECT_THAT(error_of("a=\xff"), HasSubstr("UTF-8"));
}

TEST(OverrideText, ReadsBackEqualWhateverTheString) {
  Rng rng(3, "override text");
  static constexpr std::string_view kCharacters = "ab1.'\"\\,[]{}():= \t${}-+?*é;#~";
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (std::uint64_t n = rng.below(7); n > 0; --n)
      text += kCharacters[rng.below(kCharacters.size())];
    const Value value = rng.below(2) == 1 ? Value(text) : Value(List{Value(text), Value(1)});
    const std::string written = override_text(value);
    if (text.find_first_of("\xc3\xa9") != std::string::npos)
      continue;  // half a character is no text
    const auto again = parse_element(written, {});
    ASSERT_TRUE(again) << written << ": " << again.error().text();
    ASSERT_EQ(*again, value) << written;
  }
}

TEST(OverrideText, QuotesOnlyWhereItMust) {
  EXPECT_EQ(override_text(Value("plain/path.txt")), "plain/path.txt");
  EXPECT_EQ(override_text(Value("two words")), "two words");
  EXPECT_EQ(override_text(Value("1")), "'1'");
  EXPECT_EQ(override_text(Value("a,b")), "'a,b'");
  EXPECT_EQ(override_text(Value("")), "''");
  EXPECT_EQ(override_text(Value(1.0)), "1.0");
  EXPECT_EQ(override_text(Value()), "null");
}

TEST(Override, ManglingNeverCrashes) {
  const std::string good = "+a/b@c.d=choice([1,{x:'y'}],range(1,3)) ${e:f,g} \"h\\\\\"";
  Rng rng(17, "mangle");
  for (int round = 0; round < 5000; ++round) {
    std::string line = good.substr(0, 1 + rng.below(good.size()));
    for (std::uint64_t edits = rng.below(4); edits > 0; --edits) {
      line[rng.below(line.size())] = good[rng.below(good.size())];
    }
    const auto override = parse_override(line);
    if (!override) {
      EXPECT_THAT(override.error().text(), testing::StartsWith("command line")) << line;
    }
  }
}

}  // namespace
}  // namespace strata::config
