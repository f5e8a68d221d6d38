// Data files that are wrong in one place each.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "benchmarks/longmemeval_file.h"

namespace strata {
namespace {

using nlohmann::json;

// Like the published ones: dates out of order, an integer answer, turns without labels.
json item(const std::string& id = "q1") {
  return json::parse(R"({
    "question_type": "multi-session",
    "question": "How many plants did I buy?",
    "answer": 3,
    "question_date": "2023/05/30 (Tue) 23:40",
    "haystack_dates": ["2023/05/21 (Sun) 02:21", "2023/05/20 (Sat) 11:09"],
    "haystack_session_ids": ["answer_7", "sharegpt_x_0"],
    "haystack_sessions": [
      [{"role": "user", "content": "I bought 3 plants.", "has_answer": true},
       {"role": "assistant", "content": "Lovely.", "has_answer": false}],
      [{"role": "user", "content": "Caf\u00e9?"}, {"role": "assistant", "content": ""}]],
    "answer_session_ids": ["answer_7"]
  })")
      .patch(json::parse(R"([{"op": "add", "path": "/question_id", "value": ")" + id + "\"}]"));
}

Result<std::vector<LongMemEvalItem>> read_all(LongMemEvalReader reader) {
  std::vector<LongMemEvalItem> items;
  while (true) {
    ASSIGN_OR_RETURN(std::optional<LongMemEvalItem> next, reader.next());
    if (!next) return items;
    items.push_back(*std::move(next));
  }
}
Result<std::vector<LongMemEvalItem>> read_text(const std::string& text) {
  return read_all(LongMemEvalReader::of_text(text, "d.json"));
}
std::string error_of(const std::string& text) {
  const auto items = read_text(text);
  return items ? "none" : items.error().text();
}

TEST(LongMemEvalFile, WhatIsNoListOfItemsIsRefusedWithItsPlace) {
  const std::string one = item().dump();
  const std::size_t end = one.size() + 1;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "d.json: expected a JSON list of items, but the text ends at byte 0"},
      {" \n", "d.json: expected a JSON list of items, but the text ends at byte 2"},
      {one, "d.json: expected a JSON list of items, got '{' at byte 1"},
      {"7", "d.json: expected a JSON list of items, got '7' at byte 1"},
      {"\xef\xbb\xbf[]", "d.json: expected a JSON list of items, got byte 0xef at byte 1"},
      {"[", "d.json: expected an item or ']', but the text ends at byte 1"},
      {"[,", "d.json: expected an item or ']', got ',' at byte 2"},
      {"[" + one,
       fmt::format("d.json: expected ',' or the list's ']' behind the item, but the text "
                   "ends at byte {}",
                   end)},
      {"[" + one + ",]",
       fmt::format("d.json: expected an item behind the comma, got ']' at byte {}", end + 2)},
      {"[" + one + ",",
       fmt::format("d.json: expected an item behind the comma, but the text ends at byte {}",
                   end + 1)},
      {"[" + one + one + "]",
       fmt::format("d.json: expected ',' or the list's ']' behind the item, got '{{' at byte {}",
                   end + 1)},
      {"[" + one + "]]",
       fmt::format("d.json: expected nothing behind the list, got ']' at byte {}", end + 2)},
      {"[" + one.substr(0, 50),
       "d.json: expected the item's end, but the text ends at byte 51 (the item begins at byte 2)"},
      {"[\"a",
       "d.json: expected the item's end, but the text ends at byte 3 (the item begins at "
       "byte 2)"},
      {"[7]", "d.json: item 0: the item from byte 2 on: expected an object, got 7"},
      {"[null]", "d.json: item 0: the item from byte 2 on: expected an object, got null"},
      {"[\"a, ]\"]", "d.json: item 0: the item from byte 2 on: expected an object, got \"a, ]\""},
      {"[[]]", "d.json: item 0: the item from byte 2 on: expected an object, got an empty list"},
      {"[{]", "d.json: item 0: the item from byte 2 on: invalid JSON at byte 2"},
      {"[}", "d.json: item 0: the item from byte 2 on: invalid JSON at byte 1"},
      {"[{\"a\": [[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]}]",
       "d.json: item 0: the item from byte 2 on: expected at most 16 levels of nesting, got more"},
      {"[{\"a\": 1, \"a\": 2}]",
       "d.json: item 0: field 'a': expected the field once, got it twice"},
      {"[{\"a\": \"\xff\"}]", "d.json: item 0: the item from byte 2 on: invalid JSON at byte 8"},
      {"[{\"a\": \"\\ud83d\"}]",
       "d.json: item 0: the item from byte 2 on: invalid JSON at byte 14"},
      {"[{\"a\": 1e999}]",
       "d.json: item 0: the item from byte 2 on: invalid JSON: a number out of range"},
      {std::string("[{\"a\": \"\0\"}]", 12),
       "d.json: item 0: the item from byte 2 on: invalid JSON at byte 8"},
      {"[" + one + ", " + one + "]",
       "d.json: item 1: \"q1\": field 'question_id': expected an id of its own, got that of an "
       "earlier item"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(error_of(text), message) << text;
}

TEST(LongMemEvalFile, BadFieldsAreRefusedWithItemAndField) {
  const std::string date = "expected a date such as \"2023/05/30 (Tue) 23:40\", got ";
  const std::string types =
      "expected one of single-session-user, single-session-assistant, single-session-preference, "
      "multi-session, temporal-reasoning, knowledge-update, got ";
  struct Case {
    std::string path;   // of the value
    std::string value;  // JSON; empty: the field is missing
    std::string message;
    bool id_known = true;
  };
  const std::vector<Case> cases = {
      {"/question_id", "", "field 'question_id': expected a string, got none", false},
      {"/question_id", "7", "field 'question_id': expected a string, got 7", false},
      {"/question_id", "\"\"", "field 'question_id': expected a string, got an empty string",
       false},
      {"/question_type", "", "field 'question_type': " + types + "none"},
      {"/question_type", "\"multi\"", "field 'question_type': " + types + "\"multi\""},
      {"/question_type", "0", "field 'question_type': " + types + "0"},
      {"/question", "", "field 'question': expected a string, got none"},
      {"/question", "[]", "field 'question': expected a string, got an empty list"},
      {"/question", "\"\"", "field 'question': expected a string, got an empty string"},
      {"/question_date", "", "field 'question_date': " + date + "none"},
      {"/question_date", "20230530", "field 'question_date': " + date + "20230530"},
      {"/question_date", "\"2023-05-30\"", "field 'question_date': " + date + "\"2023-05-30\""},
      {"/question_date", "\"2023/02/30 (Thu) 10:00\"",
       "field 'question_date': " + date + "\"2023/02/30 (Thu) 10:00\""},
      {"/question_date", "\"2023/05/30 (Mon) 23:40\"",
       "field 'question_date': " + date + "\"2023/05/30 (Mon) 23:40\""},
      {"/question_date", "\"2023/05/30 (Tue) 24:00\"",
       "field 'question_date': " + date + "\"2023/05/30 (Tue) 24:00\""},
      {"/answer", "", "field 'answer': expected a string or an integer, got none"},
      {"/answer", "null", "field 'answer': expected a string or an integer, got null"},
      {"/answer", "2.5", "field 'answer': expected a string or an integer, got 2.5"},
      {"/answer", "true", "field 'answer': expected a string or an integer, got true"},
      {"/answer", "[\"a\"]", "field 'answer': expected a string or an integer, got a list"},
      {"/answer", "\"\"", "field 'answer': expected a string, got an empty string"},
      {"/haystack_sessions", "",
       "field 'haystack_sessions': expected a list of sessions, got none"},
      {"/haystack_sessions", "{\"a\":1}",
       "field 'haystack_sessions': expected a list of sessions, got an object"},
      {"/haystack_sessions", "[]",
       "field 'haystack_sessions': expected a list of sessions, got an empty list"},
      {"/haystack_sessions/1", "\"text\"",
       "field 'haystack_sessions[1]': expected a list of turns, got \"text\""},
      {"/haystack_sessions/1", "null",
       "field 'haystack_sessions[1]': expected a list of turns, got null"},
      {"/haystack_sessions/0/1", "\"hello\"",
       "field 'haystack_sessions[0][1]': expected an object with role and content, got \"hello\""},
      {"/haystack_sessions/0/1/role", "",
       "field 'haystack_sessions[0][1].role': expected user or assistant, got none"},
      {"/haystack_sessions/0/1/role", "\"system\"",
       "field 'haystack_sessions[0][1].role': expected user or assistant, got \"system\""},
      {"/haystack_sessions/0/1/role", "1",
       "field 'haystack_sessions[0][1].role': expected user or assistant, got 1"},
      {"/haystack_sessions/1/0/content", "",
       "field 'haystack_sessions[1][0].content': expected a string, got none"},
      {"/haystack_sessions/1/0/content", "{}",
       "field 'haystack_sessions[1][0].content': expected a string, got an object"},
      {"/haystack_sessions/1/0/has_answer", "\"yes\"",
       "field 'haystack_sessions[1][0].has_answer': expected true or false, got \"yes\""},
      {"/haystack_sessions/1/0/label", "true",
       "field 'haystack_sessions[1][0].label': expected role, content or has_answer, got an "
       "unknown "
       "field"},
      {"/haystack_dates", "", "field 'haystack_dates': expected a list of dates, got none"},
      {"/haystack_dates", "\"2023\"",
       "field 'haystack_dates': expected a list of dates, got \"2023\""},
      {"/haystack_dates", "[]",
       "field 'haystack_dates': expected a date for each of 2 sessions, got 0"},
      {"/haystack_dates/1", "null", "field 'haystack_dates[1]': " + date + "null"},
      {"/haystack_dates/0", "\"yesterday\"",
       "field 'haystack_dates[0]': " + date + "\"yesterday\""},
      {"/haystack_session_ids", "",
       "field 'haystack_session_ids': expected a list of ids, got none"},
      {"/haystack_session_ids", "[\"answer_7\"]",
       "field 'haystack_session_ids': expected an id for each of 2 sessions, got 1"},
      {"/haystack_session_ids/1", "3", "field 'haystack_session_ids[1]': expected a string, got 3"},
      {"/haystack_session_ids/1", "\"\"",
       "field 'haystack_session_ids[1]': expected a string, got an empty string"},
      {"/answer_session_ids", "",
       "field 'answer_session_ids': expected a list of ids of sessions, got none"},
      {"/answer_session_ids", "\"answer_7\"",
       "field 'answer_session_ids': expected a list of ids of sessions, got \"answer_7\""},
      {"/answer_session_ids", "[]",
       "field 'answer_session_ids': expected an id of a session, at least, got an empty list"},
      {"/answer_session_ids/0", "7", "field 'answer_session_ids[0]': expected a string, got 7"},
      {"/answer_session_ids/0", "\"answer_8\"",
       "field 'answer_session_ids[0]': expected one of haystack_session_ids, got \"answer_8\""},
  };
  for (const Case& bad : cases) {
    json broken = item("bad");
    const json::json_pointer place(bad.path);
    if (bad.value.empty())
      broken.at(place.parent_pointer()).erase(place.back());
    else if (broken.at(place.parent_pointer()).is_array())
      broken.at(place) = json::parse(bad.value);
    else
      broken[place] = json::parse(bad.value);
    EXPECT_EQ(error_of(json::array({item(), broken}).dump()),
              std::string("d.json: item 1: ") + (bad.id_known ? "\"bad\": " : "") + bad.message)
        << bad.path << " " << bad.value;
  }
}

}  // namespace
}  // namespace strata
