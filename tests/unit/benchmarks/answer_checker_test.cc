#include "benchmarks/answer_checker.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "benchmarks/answer_quantity.h"
#include "benchmarks/answer_text.h"
#include "benchmarks/longmemeval_file.h"

namespace strata {
namespace {

struct AnswerCase {
  int line = 0;
  std::string verdict;
  AnswerKey key;
  std::string response;
};

std::vector<AnswerCase> read_cases() {
  static const std::map<std::string, QuestionType> kTypes = {
      {"user", QuestionType::kSingleSessionUser},
      {"assistant", QuestionType::kSingleSessionAssistant},
      {"preference", QuestionType::kSingleSessionPreference},
      {"multi", QuestionType::kMultiSession},
      {"temporal", QuestionType::kTemporalReasoning},
      {"update", QuestionType::kKnowledgeUpdate}};
  const char* source = std::getenv("STRATA_SOURCE_DIR");
  std::ifstream file(std::filesystem::path(source == nullptr ? "." : source) /
                     "tests/golden/answer_cases.txt");
  std::vector<AnswerCase> cases;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> fields;
    for (std::size_t begin = 0; fields.size() < 5;) {
      const auto end = fields.size() == 4 ? line.size() : line.find(" | ", begin);
      STRATA_CHECK(end != std::string::npos && begin <= line.size(), "line {}", number);
      fields.push_back(line.substr(begin, end - begin));
      begin = end + 3;
    }
    AnswerCase& added = cases.emplace_back();
    added.line = number;
    added.verdict = fields[0];
    const auto plus = fields[1].find("+abs");
    added.key = {kTypes.at(fields[1].substr(0, plus)), plus != std::string::npos, fields[2],
                 fields[3]};
    added.response = fields[4];
    for (auto at = added.response.find("\\n"); at != std::string::npos;
         at = added.response.find("\\n", at))
      added.response.replace(at, 2, "\n");
  }
  return cases;
}

std::string name_of(Verdict verdict) {
  return verdict == Verdict::kRight ? "right" : verdict == Verdict::kWrong ? "wrong" : "unscored";
}

TEST(AnswerChecker, SaysOfEachResponseWhatAPersonSays) {
  const std::vector<AnswerCase> cases = read_cases();
  EXPECT_GE(cases.size(), 150U);
  for (const AnswerCase& each : cases)
    EXPECT_EQ(name_of(check_answer(each.key, each.response)), each.verdict)
        << "answer_cases.txt:" << each.line << ": " << each.key.answer << " <- " << each.response;
}

TEST(AnswerChecker, ListsTheAnswersThatAnAnswerNames) {
  using List = std::vector<std::string>;
  EXPECT_EQ(listed_answers("7 days. 8 days (including the last day) is also acceptable."),
            (List{"7 days", "8 days"}));
  EXPECT_EQ(listed_answers("11 days (or 12 days, if April 15th to 22nd is considered as 8 days)"),
            (List{"11 days", "12 days"}));
  EXPECT_EQ(listed_answers("University of California, Los Angeles (UCLA)"),
            (List{"University of California, Los Angeles", "UCLA"}));
  EXPECT_EQ(listed_answers("One week. Answers ranging from 7 days to 10 days are also acceptable."),
            (List{"One week", "Answers ranging from 7 days to 10 days"}));
  EXPECT_EQ(listed_answers("4 days."), (List{"4 days"}));
  EXPECT_EQ(listed_answers("Mindful.org."), (List{"Mindful.org"}));
  EXPECT_TRUE(listed_answers("").empty());
}

TEST(AnswerChecker, ReadsNumbersHoweverTheyAreWritten) {
  const auto first = [](std::string_view text) {
    const auto found = quantities_of(words_of(text));
    return found.empty() ? -1.0 : found[0].value;
  };
  EXPECT_EQ(first("twenty-one"), 21);
  EXPECT_EQ(first("two hundred and five"), 205);
  EXPECT_EQ(first("three thousand two hundred"), 3200);
  EXPECT_EQ(first("2.5 million"), 2.5e6);
  EXPECT_EQ(first("12,000"), 12000);
  EXPECT_EQ(first(".75"), 0.75);
  EXPECT_EQ(first("a dozen"), 12);
  EXPECT_EQ(first("2 dozen"), 24);
  EXPECT_EQ(first("the 14th"), -1);
  EXPECT_EQ(first("May 20"), -1);
  EXPECT_EQ(first("2023/05/20"), -1);
  EXPECT_EQ(first("2023-05-20"), -1);
  EXPECT_EQ(first("nothing"), -1);
}

// Every published answer is right as a response to itself; but of preferences none is scored.
TEST(AnswerChecker, TakesEveryPublishedAnswer) {
  const char* data = std::getenv("STRATA_DATA");
  if (data == nullptr) GTEST_SKIP() << "set STRATA_DATA to the folder that holds longmemeval/";
  const auto path = std::filesystem::path(data) / "longmemeval/longmemeval_oracle.json.gz";
  auto reader = LongMemEvalReader::open(path);
  if (!reader) GTEST_SKIP() << reader.error().text();
  std::map<std::string, int> verdicts;
  int nothing = 0;
  while (true) {
    const auto item = reader->next();
    ASSERT_TRUE(item.has_value()) << item.error().text();
    if (!*item) break;
    const AnswerKey key{(*item)->type, (*item)->abstention, (*item)->history.question,
                        (*item)->answer};
    const std::string main = listed_answers(key.answer).front();
    const std::string verdict = name_of(check_answer(key, key.abstention ? key.answer : main));
    ++verdicts[verdict];
    EXPECT_NE(verdict, "wrong") << (*item)->id << ": " << main;
    const std::string other = "The purple elephant sang to 987654 zebras.";
    if (check_answer(key, other) == Verdict::kRight) {
      ++nothing;
      EXPECT_TRUE(key.answer.starts_with("Yes")) << (*item)->id << ": " << key.answer;
    }
  }
  EXPECT_EQ(verdicts["unscored"], 30);
  EXPECT_EQ(verdicts["right"], 470);
  EXPECT_LE(nothing, 6);  // a plain statement counts as yes
}

}  // namespace
}  // namespace strata
