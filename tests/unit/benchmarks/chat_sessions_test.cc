#include "benchmarks/chat_sessions.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

const char* const kTurns =
    R"([{"role": "user", "content": "Hi", "has_answer": true}, {"role": "assistant", "content": "Ho"}])";

std::string items(const std::string& sessions) {
  return R"([{"question": "secret?", "answer": 7, "haystack_session_ids": ["answer_1"], )"
         R"("haystack_sessions": )" +
         sessions + "}]";
}
std::string refusal(const std::string& text) {
  const auto sessions = sessions_in(text, "f.json");
  return sessions ? "no error" : sessions.error().text();
}

TEST(ChatSessionsTest, AreWhatWasSaidEachContentOnce) {
  const std::string turns = kTurns;
  const std::string unmarked =
      R"([{"content": "Hi", "role": "user"}, {"content": "Ho", "role": "assistant"}])";
  const std::string other = R"([{"role": "user", "content": "HiHo"}])";
  const auto sessions =
      sessions_in(items("[" + turns + ", [], " + unmarked + ", " + other + "]"), "f.json");
  ASSERT_TRUE(sessions) << sessions.error().text();
  ASSERT_EQ(sessions->size(), 2);
  EXPECT_EQ((*sessions)[0].text, "user: Hi\n\nassistant: Ho");
  EXPECT_EQ((*sessions)[1].text, "user: HiHo");
  EXPECT_EQ((*sessions)[0].id.size(), 64);
}

TEST(ChatSessionsTest, WhereAWordBeginsCounts) {
  const auto a = sessions_in(items(R"([[{"role": "user", "content": "ab"}]])"), "a");
  const auto b = sessions_in(items(R"([[{"role": "usera", "content": "b"}]])"), "b");
  EXPECT_NE((*a)[0].id, (*b)[0].id);
}

TEST(ChatSessionsTest, WhatIsWrongIsNamedWithItsPlace) {
  EXPECT_EQ(refusal("{}"), "f.json: expected a list of items, got a object");
  EXPECT_EQ(refusal("[3]"), "f.json: item 0: expected an object, got a number");
  EXPECT_EQ(refusal("[{}]"),
            "f.json: item 0: field 'haystack_sessions': expected a list of sessions, got a null");
  EXPECT_EQ(refusal(items("[7]")),
            "f.json: item 0: haystack_sessions[0]: expected a list of turns, got a number");
  EXPECT_EQ(refusal(items(R"([[{"role": "user"}]])")),
            "f.json: item 0: haystack_sessions[0][0].content: expected a string, got a null");
  EXPECT_EQ(refusal(items(R"([[{"role": "user", "content": 1}]])")),
            "f.json: item 0: haystack_sessions[0][0].content: expected a string, got a number");
  EXPECT_NE(refusal("[").find("f.json: invalid JSON"), std::string::npos);
}

}  // namespace
}  // namespace strata
