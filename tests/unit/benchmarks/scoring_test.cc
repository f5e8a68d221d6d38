#include "benchmarks/scoring.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

struct Case {
  std::string text;
  std::vector<std::string> answers;
  bool contains;
  bool exact;
};

TEST(Scoring, TextIsComparedAsTheTableSays) {
  const std::vector<Case> cases = {
      {"1234567", {"1234567"}, true, true},
      {" 1234567", {"1234567"}, true, true},
      {"1234567", {" 1234567"}, true, true},  // white space around either side never counts
      {"\n\n1234567\n", {"1234567"}, true, true},
      {"1234567.", {"1234567"}, true, true},
      {"1234567. Anything", {"1234567"}, true, true},
      {"1234567\nUser:", {"1234567"}, true, true},
      {"1234567\x01 tail", {"1234567"}, true, true},  // a control character is a newline
      {"1234567 and", {"1234567"}, true, false},
      {"1234567,", {"1234567"}, true, false},
      {"12345678", {"1234567"}, true, false},  // RULER's containment is this loose
      {"It is 1234567", {"1234567"}, true, false},
      {"123456", {"1234567"}, false, false},
      {"123 4567", {"1234567"}, false, false},
      {"", {"1234567"}, false, false},
      {"paris", {"Paris"}, true, false},
      {"PARIS.", {"Paris", "PARIS"}, true, true},  // any answer counts
      {"\u00c9cole", {"\u00e9cole"}, true, false},
      {"\u0141\u00f3d\u017a", {"\u0142\u00d3D\u0179"}, true, false},
      {"\u039c\u039f\u03a3\u03a7\u0391", {"\u03bc\u03bf\u03c3\u03c7\u03b1"}, true, false},
      {"\u041c\u043e\u0441\u043a\u0432\u0430 \u0401",
       {"\u043c\u043e\u0441\u043a\u0432\u0430 \u0451"},
       true,
       false},
      {"\u6771\u4eac\u3002", {"\u6771\u4eac"}, true, false},
      {"3.14", {"3.14"}, true, true},  // a period inside the answer is the answer's
      {"3.145", {"3.14"}, true, false},
      {"a\tb", {"a\nb"}, true, true},
      {"anything", {" "}, false, false},  // an answer of white space matches nothing
  };
  for (const Case& c : cases) {
    EXPECT_EQ(contains_any(c.text, c.answers), c.contains) << c.text;
    EXPECT_EQ(begins_with_any(c.text, c.answers), c.exact) << c.text;
  }
}

TEST(Scoring, StringMatchAllIsTheShareOfReferencesContained) {
  const std::vector<std::string> references = {"one", "TWO", "three", "four"};
  EXPECT_EQ(string_match_all("Two, three and one", references), 0.75);
  EXPECT_EQ(string_match_all("", references), 0.0);
  EXPECT_EQ(string_match_all("four three two one", references), 1.0);
}

TEST(Scoring, TeacherForcedMetricsNeedEveryTokenAndAverageNats) {
  Sample sample;
  sample.answer = {5, 6, 7, 8};
  sample.answers = {"x"};
  EXPECT_EQ(score_answer(sample, {std::nullopt, {}, {0.5, 0.25, 0.25, 1.0}, {5, 6, 7, 8}}),
            (std::map<std::string, double>{{"answer_nll", 0.5}, {"tf_exact", 1.0}}));
  EXPECT_EQ(score_answer(sample, {std::nullopt, {}, {}, {5, 6, 9, 8}}),
            (std::map<std::string, double>{{"tf_exact", 0.0}}));
}

TEST(Scoring, AnEmptyGenerationIsWrongAndNoGenerationIsNoMetric) {
  Sample sample;
  sample.answers = {"x"};
  EXPECT_EQ(score_answer(sample, {"", {}, {}, {}}),
            (std::map<std::string, double>{{"gen_contains", 0.0}, {"gen_exact", 0.0}}));
  EXPECT_TRUE(score_answer(sample, {}).empty());
}

TEST(Scoring, TheMovedPartOfTheAnswerIsReadBeforeTheGeneratedText) {
  Sample sample;
  sample.answers = {" 1234567"};
  sample.answer_given = " ";
  EXPECT_EQ(score_answer(sample, {"1234567", {}, {}, {}}).at("gen_exact"), 1.0);
  EXPECT_EQ(score_answer(sample, {" 1234567", {}, {}, {}}).at("gen_exact"), 1.0);
}

}  // namespace
}  // namespace strata
