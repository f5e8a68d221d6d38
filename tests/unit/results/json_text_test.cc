// Columns of numbers as JSON: what is written is read again, and what is no JSON is refused.
#include "results/json_text.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

using Numbers = std::vector<double>;

TEST(JsonText, PlainNumbersAreReadAsWritten) {
  const Numbers values = {0.1, -2.5e-7, 1e300, 3, -0.0, 0.30000000000000004};
  Numbers read;
  ASSERT_TRUE(read_json(json_of(values), read));
  EXPECT_EQ(read, values);
  std::map<std::string, double> named;
  ASSERT_TRUE(read_json(R"({"answer_nll":0.25,"tf_exact":1.0})", named));
  EXPECT_EQ(named, (std::map<std::string, double>{{"answer_nll", 0.25}, {"tf_exact", 1}}));
  Tokens tokens;
  ASSERT_TRUE(read_json("[1,-2,2147483647]", tokens));
  EXPECT_EQ(tokens, (Tokens{1, -2, 2147483647}));
  ASSERT_TRUE(read_json("[]", tokens));
  EXPECT_TRUE(tokens.empty());
}

TEST(JsonText, OtherSpellingsAreReadToo) {
  Numbers read;
  ASSERT_TRUE(read_json(" [ 1 , 2.5 ] ", read));
  EXPECT_EQ(read, (Numbers{1, 2.5}));
  std::map<std::string, double> named;
  ASSERT_TRUE(read_json(R"({"with space": 1, "\u00e4": 2})", named));
  EXPECT_EQ(named.size(), 2U);
}

TEST(JsonText, WhatIsNoJsonIsRefused) {
  for (const char* text : {"[1.]", "[1.e5]", "[.5]", "[01]", "[-01]", "[+1]", "[nan]", "[inf]",
                           "[1,]", "[1", "[1]x", "[0x10]", "[-]", "{}", "[\"1\"]", "[1e999]"}) {
    Numbers read;
    EXPECT_FALSE(read_json(text, read)) << text;
  }
  for (const char* text : {"[1.5]", "[2147483648]", "[1e2]", "[00]", "{}"}) {
    Tokens tokens;
    EXPECT_FALSE(read_json(text, tokens)) << text;
  }
  for (const char* text :
       {R"({"a":1,})", R"({"a":01})", R"({"a" 1})", R"({a:1})", R"({"a":"1"})"}) {
    std::map<std::string, double> named;
    EXPECT_FALSE(read_json(text, named)) << text;
  }
}

}  // namespace
}  // namespace strata
