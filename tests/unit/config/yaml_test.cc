#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "runner/config/scalar.h"
#include "runner/config/yaml_reader.h"
#include "runner/config/yaml_writer.h"

namespace strata::config {
namespace {

using testing::HasSubstr;

std::string error_of(const std::string& text) {
  const auto value = read_yaml(text, "a.yaml");
  return value ? "no error" : value.error().text();
}

TEST(YamlReader, RemembersWhereEverythingStands) {
  const auto value = read_yaml("a: 1\nb:\n  - x\n  - {c: 2}\n", "a.yaml");
  ASSERT_TRUE(value) << value.error().text();
  EXPECT_EQ(value->find("a")->pos.text(), "a.yaml:1:4");
  EXPECT_EQ(value->find("b.1.c")->pos.text(), "a.yaml:4:9");
  EXPECT_EQ(value->if_map()->find_entry("b")->key_pos.text(), "a.yaml:2:1");
}

TEST(YamlReader, QuotedScalarsAreStringsAndTagsAreObeyed) {
  const auto value =
      read_yaml("a: '1'\nb: \"yes\"\nc: !!str 1\nd: !!float 1\ne: !!int '7'\n", "a.yaml");
  ASSERT_TRUE(value) << value.error().text();
  EXPECT_EQ(value->to_json().dump(), R"({"a":"1","b":"yes","c":"1","d":1.0,"e":7})");
}

TEST(YamlReader, EmptyTextIsAnEmptyMapping) {
  for (const char* text : {"", "\n", "# only this\n", "---\n"}) {
    const auto value = read_yaml(text, "a.yaml");
    ASSERT_TRUE(value) << value.error().text();
    EXPECT_EQ(value->to_json().dump(), "{}") << text;
  }
}

TEST(YamlReader, RefusesWithPlaceAndReason) {
  EXPECT_EQ(error_of("a: 1\nb: 2\na: 3\n"),
            "a.yaml:3:1: the key 'a' is here twice\n  hint: the first is at a.yaml:1:1");
  EXPECT_THAT(error_of("a: [1, 2\n"), HasSubstr("is not YAML"));
  EXPECT_THAT(error_of("a: b: c\n"), HasSubstr("a.yaml:1:5: is not YAML"));
  EXPECT_EQ(error_of("[1]: 2\n"), "a.yaml:1:1: expected a name as key, got a list");
  EXPECT_EQ(error_of("a: !made 2\n"), "a.yaml:1:4: cannot read '2' as the tag !made");
  EXPECT_EQ(error_of("a: 1\n---\nb: 2\n"), "a.yaml: expected one YAML document, got several");
  EXPECT_EQ(error_of("a: 99999999999999999999\n"),
            "a.yaml:1:4: the number 99999999999999999999 does not fit in 64 bits");
  EXPECT_EQ(error_of("a: \xff\n"), "a.yaml: is not UTF-8 text, or has control characters");
  EXPECT_EQ(error_of("a: &x [*x]\n"), "a.yaml:1:8: an alias refers to the value it stands in");
  EXPECT_EQ(error_of("a: {<<: 3}\n"), "a.yaml:1:9: '<<' expected a mapping, got the integer 3");
}

TEST(YamlReader, BoundsDepthSizeAndWhatAliasesExpandTo) {
  EXPECT_THAT(error_of("a: " + std::string(1000, '[')), HasSubstr("nested deeper than 64 levels"));
  EXPECT_THAT(error_of(std::string(kMaxYamlBytes + 1, ' ')),
              HasSubstr("expected at most 262144 bytes"));
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    laughs += fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}]\n",
                          i, i - 1);
  }
  EXPECT_THAT(error_of(laughs), HasSubstr("more than 20000 values (aliases expanded)"));
  std::string many = "a:\n";
  for (std::size_t i = 0; i <= kMaxYamlNodes; ++i) many += "- 1\n";
  EXPECT_THAT(error_of(many), HasSubstr("more than 20000 values"));
}

TEST(YamlReader, BoundsTheTextThatAliasesExpandTo) {
  std::string text = "a: &a " + std::string(200'000, 'x') + "\nb: [";
  for (int i = 0; i < 30; ++i) text += "*a,";
  EXPECT_THAT(error_of(text + "]\n"),
              HasSubstr("more than 4194304 bytes of text (aliases expanded)"));
}

TEST(YamlReader, BoundsWhatAnchorsRemember) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += fmt::format("&a{} [", i);
  for (int i = 0; i < 1000; ++i) text += "1,";
  EXPECT_THAT(error_of(text + std::string(60, ']')),
              HasSubstr("more than 20000 values (aliases expanded)"));
}

TEST(YamlReader, BoundsTheKeysOfAMapping) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += fmt::format("a{}: 1\n", i);
  EXPECT_TRUE(read_yaml(text, "a.yaml"));
  EXPECT_EQ(error_of(text + "b: 1\n"), "a.yaml:1001:1: more than 1000 keys in a mapping");
}

TEST(YamlReader, RefusesAKeyThatCouldNotBeWrittenOnALine) {
  EXPECT_EQ(error_of("? " + std::string(501, 'k') + "\n: 1\n"),
            "a.yaml:1:3: expected a key of at most 500 bytes, got 501");
}

TEST(YamlReader, MangledTextNeverCrashesAndErrorsNameTheFile) {
  const std::string good =
      "a: &x {b: [1, 'two', \"th\\nree\"], c: ~}\nd: *x\ne:\n  - f: {<<: *x, g: 1.5}\n  - |\n    "
      "text\n";
  Rng rng(11, "mangle");
  for (int round = 0; round < 3000; ++round) {
    std::string text = good;
    for (std::uint64_t edits = 1 + rng.below(4); edits > 0; --edits) {
      static constexpr std::string_view kNasty = "{}[]:,&*!|>'\"\n -?#%@<\\\t~0x";
      text[rng.below(text.size())] = kNasty[rng.below(kNasty.size())];
    }
    const auto value = read_yaml(text, "a.yaml");
    if (!value) {
      EXPECT_THAT(value.error().text(), testing::StartsWith("a.yaml")) << text;
    }
  }
}

Value random_value(Rng& rng, std::size_t depth) {
  static const std::vector<std::string> kStrings = {
      "",         "a",           "yes",   "1",           "1e5", "0x1F",    "null",   "~",
      " padded ", "a: b",        "a #b",  "#a",          "- a", "-a",      "?",      "it's",
      "\"q\"",    "line\nbreak", "tab\t", "back\\slash", "{x}", "[x]",     "${a.b}", "*a",
      "&a",       "!a",          "%a",    "@a",          "`a",  "é ü 漢",  "a:",     "|",
      ">",        "---",         "...",   "???",         "? a", ", a",     "12:30",  ".5",
      "_1",       "<<",          "=",     "trailing\n",  "\n",  "a\\nb\n", "--- a"};
  switch (rng.below(depth == 0 ? 5 : 7)) {
    case 0: return Value();
    case 1: return Value(rng.below(2) == 1);
    case 2: return Value(static_cast<std::int64_t>(rng.below(1000)) - 500);
    case 3:
      return Value((static_cast<double>(rng.below(1000)) - 500) * (rng.below(2) == 1 ? 1e-9 : 0.5));
    case 4: return Value(kStrings[rng.below(kStrings.size())]);
    case 5: {
      List list;
      for (std::uint64_t n = rng.below(4); n > 0; --n) list.push_back(random_value(rng, depth - 1));
      return Value(std::move(list));
    }
    default: {
      Map map;
      for (std::uint64_t n = rng.below(4); n > 0; --n) {
        std::string key =
            rng.below(2) == 1 ? fmt::format("key{}", n) : kStrings[rng.below(kStrings.size())];
        if (key != "<<") map.set(std::move(key), random_value(rng, depth - 1));
      }
      return Value(std::move(map));
    }
  }
}

TEST(YamlWriter, WhatItWritesReadsBackEqual) {
  Rng rng(5, "yaml");
  for (int round = 0; round < 3000; ++round) {
    Map root;
    root.set("root", random_value(rng, 4));
    const Value value{std::move(root)};
    const std::string text = to_yaml(value);
    const auto again = read_yaml(text, "a.yaml");
    ASSERT_TRUE(again) << again.error().text() << "\n" << text;
    ASSERT_EQ(*again, value) << text << "\nread as " << again->to_json().dump();
  }
}

TEST(YamlWriter, LaysOutAsOmegaConfDoes) {
  const auto value = read_yaml(
      "{a: 1, b: {c: [1, {d: e, f: 'yes'}, [x, y]], g: []}, h: {}, i: null, j: 0.25, k: '${a}'}",
      "a");
  ASSERT_TRUE(value) << value.error().text();
  EXPECT_EQ(to_yaml(*value),
            "a: 1\nb:\n  c:\n  - 1\n  - d: e\n    f: 'yes'\n  - - x\n    - y\n  g: []\nh: {}\ni: "
            "null\nj: 0.25\nk: ${a}\n");
}

TEST(CleanText, AcceptsUtf8AndNothingElse) {
  EXPECT_TRUE(is_clean_text("plain, é, 漢, 😀\n\t"));
  for (const char* bad : {"\x01", "\x7f", "\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                          "\xf4\x90\x80\x80", "\xe2\x82", "\xff"}) {
    EXPECT_FALSE(is_clean_text(bad));
  }
}

}  // namespace
}  // namespace strata::config
