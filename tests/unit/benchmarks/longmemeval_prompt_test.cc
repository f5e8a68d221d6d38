#include "benchmarks/longmemeval_prompt.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "benchmarks/packed_file.h"
#include "core/sha256.h"

namespace strata {
namespace {

using nlohmann::json;

std::filesystem::path golden(const char* name) {
  const char* source = std::getenv("STRATA_SOURCE_DIR");
  return std::filesystem::path(source == nullptr ? "." : source) / "tests/golden" / name;
}

std::vector<LongMemEvalItem> read_all(const std::filesystem::path& path) {
  auto reader = LongMemEvalReader::open(path);
  STRATA_CHECK(reader.has_value(), "{}", reader.error().text());
  std::vector<LongMemEvalItem> items;
  while (true) {
    auto next = reader->next();
    STRATA_CHECK(next.has_value(), "{}", next.error().text());
    if (!*next) return items;
    items.push_back(**std::move(next));
  }
}

std::string prompt_of(const LongMemEvalItem& item, HistoryFormat format, ReadingStyle style) {
  return reading_prompt(item.history, by_date(item.history), format, style).text;
}

struct Setting {
  HistoryFormat format;
  ReadingStyle style;
  std::string name;
};
const std::vector<Setting> kSettings = {
    {HistoryFormat::kJson, ReadingStyle::kDirect, "json/direct"},
    {HistoryFormat::kJson, ReadingStyle::kCon, "json/con"},
    {HistoryFormat::kNl, ReadingStyle::kDirect, "nl/direct"},
    {HistoryFormat::kNl, ReadingStyle::kCon, "nl/con"}};

void expect_hashes(const std::vector<LongMemEvalItem>& items, const json& expected) {
  for (const Setting& setting : kSettings) {
    Sha256 hash;
    for (const LongMemEvalItem& item : items)
      hash.update(std::string_view(prompt_of(item, setting.format, setting.style)));
    EXPECT_EQ(hash.hex_digest(), expected[setting.name]) << setting.name;
  }
}

// Neither a label nor the id of a session, which tells what is evidence.
void expect_no_labels(const std::filesystem::path& path,
                      const std::vector<LongMemEvalItem>& items) {
  const auto text = read_maybe_gzip(path);
  ASSERT_TRUE(text.has_value());
  const json raw = json::parse(*text);
  ASSERT_EQ(raw.size(), items.size());
  for (std::size_t i = 0; i < items.size(); ++i)
    for (const Setting& setting : kSettings) {
      const std::string prompt = prompt_of(items[i], setting.format, setting.style);
      EXPECT_EQ(prompt.find("has_answer"), std::string::npos) << items[i].id;
      EXPECT_EQ(prompt.find(items[i].id), std::string::npos) << items[i].id;
      for (const json& id : raw[i]["haystack_session_ids"])
        EXPECT_EQ(prompt.find(id.get<std::string>()), std::string::npos) << items[i].id << id;
    }
}

TEST(LongMemEvalPrompt, OwnFileGivesTheHashesThatPythonGives) {
  const auto items = read_all(golden("longmemeval_small.json"));
  ASSERT_EQ(items.size(), 43U);
  expect_hashes(items, json::parse(std::ifstream(golden("longmemeval_hashes.json"))));
}

TEST(LongMemEvalPrompt, OwnFilesLabelsReachNoPrompt) {
  const auto path = golden("longmemeval_small.json");
  expect_no_labels(path, read_all(path));
}

// The hashes of the published code over the published file, 500 prompts each.
TEST(LongMemEvalPrompt, PublishedFileGivesThePublishedPrompts) {
  const char* data = std::getenv("STRATA_DATA");
  if (data == nullptr) GTEST_SKIP() << "set STRATA_DATA to the folder that holds longmemeval/";
  const auto path = std::filesystem::path(data) / "longmemeval/longmemeval_oracle.json.gz";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const auto items = read_all(path);
  ASSERT_EQ(items.size(), 500U);
  expect_hashes(
      items, {{"json/direct", "3389e0d8b900dbe89d84d48b216078fae016cadd420189b2c29b689450df9840"},
              {"json/con", "9f782c60b99c0c369c8114ea7ac31f664961cef50d217dc8c82e9c4adcd83eca"},
              {"nl/direct", "d608d3f5d501571b24bcd9837444bd9c892ace7a0ee08465b0d74153666735b9"},
              {"nl/con", "6c923065ae0efa72ebaf28ff5e756551b00a4431203d77d618c0a686b926f9dc"}});
  expect_no_labels(path, items);
}

TEST(LongMemEvalPrompt, TurnsStandWhereItSays) {
  for (const LongMemEvalItem& item : read_all(golden("longmemeval_small.json"))) {
    const auto order = by_date(item.history);
    const auto json_prompt =
        reading_prompt(item.history, order, HistoryFormat::kJson, ReadingStyle::kDirect);
    const auto plain = reading_prompt(item.history, order, HistoryFormat::kNl, ReadingStyle::kCon);
    for (std::size_t s = 0; s < order.size(); ++s)
      for (std::size_t t = 0; t < item.history.sessions[s].turns.size(); ++t) {
        const std::string& content = item.history.sessions[s].turns[t].content;
        const TurnPlace at = json_prompt.turns[s][t];
        EXPECT_EQ(json::parse(json_prompt.text.substr(at.begin - 1, at.end - at.begin + 2)),
                  content);
        const TurnPlace there = plain.turns[s][t];
        const std::string shown = plain.text.substr(there.begin, there.end - there.begin);
        EXPECT_NE(content.find(shown), std::string::npos);
        EXPECT_EQ(plain.text.substr(there.begin - 2, 2), ": ");
      }
  }
}

TEST(LongMemEvalPrompt, SessionsThatAreNotShownLeaveNothing) {
  const ChatHistory history{"q?",
                            "2023/05/30 (Tue) 23:40",
                            {{"2023/05/21 (Sun) 02:21", {{"user", "late"}}},
                             {"2023/05/20 (Sat) 11:09", {{"user", " early "}}},
                             {"2023/05/20 (Sat) 11:09", {}}}};
  EXPECT_EQ(by_date(history), (std::vector<std::size_t>{1, 2, 0}));
  const std::vector<std::size_t> shown = {1, 2};
  const auto prompt = reading_prompt(history, shown, HistoryFormat::kNl, ReadingStyle::kDirect);
  EXPECT_EQ(prompt.text,
            "I will give you several history chats between you and a user. Please answer the "
            "question based on the relevant chat history.\n\n\nHistory Chats:\n\n"
            "\n### Session 1:\nSession Date: 2023/05/20 (Sat) 11:09\nSession Content:\n"
            "\n\nuser: early\n"
            "\n### Session 2:\nSession Date: 2023/05/20 (Sat) 11:09\nSession Content:\n\n"
            "\n\nCurrent Date: 2023/05/30 (Tue) 23:40\nQuestion: q?\nAnswer:");
  EXPECT_EQ(prompt.turns[0][0].end, 0U);
  const auto as_json = reading_prompt(history, shown, HistoryFormat::kJson, ReadingStyle::kDirect);
  EXPECT_NE(as_json.text.find("Content:\n\n[{\"role\": \"user\", \"content\": \" early \"}]\n"),
            std::string::npos);
  EXPECT_NE(as_json.text.find("Content:\n\n[]\n"), std::string::npos);
}

}  // namespace
}  // namespace strata
