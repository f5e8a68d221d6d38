#include "core/json_reader.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace strata {
namespace {

using nlohmann::json;

std::string error_of(std::string_view text, JsonLimits limits = {}) {
  const auto read = parse_json(text, limits);
  return read ? "no error" : read.error().text();
}

TEST(JsonReader, ReadsWhatTheLibraryReads) {
  for (const char* text :
       {"null", "true", "-0", "0.5", "18446744073709551615", "-9223372036854775808", "1e-400",
        "\"\\u00e9\\ud83d\\ude00\"", "[]", "{}", "[[], [1, [2]], {}, \"x\"]",
        R"({"b": {"a": [1, {"c": null}]}, "a": "text of more than fifteen bytes", "": false})"}) {
    const auto read = parse_json(text);
    ASSERT_TRUE(read) << text << ": " << read.error().text();
    EXPECT_EQ(*read, json::parse(text)) << text;
    EXPECT_EQ(read->type(), json::parse(text).type()) << text;
  }
}

TEST(JsonReader, SaysAtWhichByteTextIsNoJson) {
  EXPECT_EQ(error_of(""), "invalid JSON at byte 1");
  EXPECT_EQ(error_of("{\"a\": }"), "invalid JSON at byte 7");
  EXPECT_EQ(error_of("{} {}"), "invalid JSON at byte 4");
  EXPECT_EQ(error_of("[NaN]"), "invalid JSON at byte 2");
  EXPECT_EQ(error_of("\"\xc0\xaf\""), "invalid JSON at byte 2");
  EXPECT_EQ(error_of(std::string_view("1\0", 2)), "invalid JSON at byte 2");
}

TEST(JsonReader, RefusesANumberThatNoDoubleHolds) {
  EXPECT_EQ(error_of("[1e999]"), "invalid JSON: a number out of range");
}

TEST(JsonReader, RefusesAFieldThatIsThereTwice) {
  EXPECT_EQ(error_of(R"({"a": {"b": 1, "c": 2, "b": 1}})"),
            "field 'b': expected the field once, got it twice");
}

TEST(JsonReader, RefusesDepthBeyondTheLimit) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(error_of(nested(128)), "no error");
  EXPECT_EQ(error_of(nested(129)), "expected at most 128 levels of nesting, got more");
  EXPECT_EQ(error_of(nested(4), {.depth = 3}), "expected at most 3 levels of nesting, got more");
}

TEST(JsonReader, RefusesATreeBeyondItsShareOfMemory) {
  EXPECT_EQ(error_of("[1, 2, 3]", {.tree_bytes = 100}),
            "expected JSON that takes at most 100 bytes of memory, got more");
  std::string many = "[";
  for (int i = 0; i < 2'000'000; ++i) many += "[],";
  EXPECT_EQ(error_of(many), "expected JSON that takes at most 60234498 bytes of memory, got more");
}

TEST(JsonReader, ChargesATreeWhatTreeBytesSays) {
  const std::string text = R"({"a": [1, "text of more than fifteen bytes", {"": []}], "b": "c"})";
  const std::size_t bytes = tree_bytes(*parse_json(text));
  EXPECT_EQ(error_of(text, {.tree_bytes = bytes}), "no error");
  EXPECT_NE(error_of(text, {.tree_bytes = bytes - 1}), "no error");
}

}  // namespace
}  // namespace strata
