// The judges' prompts, byte for byte, and how their replies are read.
#include "benchmarks/judge/rubric.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/model_reply.h"
#include "core/sha256.h"

namespace strata::test {
namespace {

using ::testing::HasSubstr;

// SHA-256 of the templates in the original files, and of what the originals make of a question, an
// answer and a response that have slots, quotes and other characters in them.
struct Original {
  const char* type;
  bool abstention;
  RubricSet set;
  const char* name;
  const char* text;
  const char* prompt;
};
constexpr RubricSet kOfficial = RubricSet::kLongMemEval;
constexpr const char* kAnswerText =
    "fba020ba3d57982efdc9a937c1c01f897b789a608c7f88e60244121f6505e5bc";
constexpr const char* kAnswerPrompt =
    "93cb5381da9b4fdd1f7aee53dc5feb64e9f83fd46b1d90020b19f99a8223417c";
constexpr const char* kAbstentionText =
    "5c0b365a1e1d06db36377c735432b56e122ca3c428f89faf61d43a0d5a7e050b";
constexpr const char* kAbstentionPrompt =
    "403c5b6c4a9975aa129aab6df509e122c91399ecd1ddcfa506d1e5d49b47c892";
const Original kOriginals[] = {
    {"single-session-user", false, kOfficial, "longmemeval/answer", kAnswerText, kAnswerPrompt},
    {"single-session-assistant", false, kOfficial, "longmemeval/answer", kAnswerText,
     kAnswerPrompt},
    {"multi-session", false, kOfficial, "longmemeval/answer", kAnswerText, kAnswerPrompt},
    {"temporal-reasoning", false, kOfficial, "longmemeval/temporal-reasoning",
     "8d33a5fdd83afeeb4592454a965eab43d1fcb2dedc042d1d3892f4254be6c273",
     "5a2486e57ca9b5a16f126eb2fe9b5046125ae1078692a5963651f942878d1dbc"},
    {"knowledge-update", false, kOfficial, "longmemeval/knowledge-update",
     "183a9b3a6197ec620940f610cdc1207201ec98c1113dd633ea685cfc322fafac",
     "431fe3f121e5aaac860961f9ddbe9f6d9a513d74ec47c3fedd01cc9947b19c0d"},
    {"single-session-preference", false, kOfficial, "longmemeval/preference",
     "741ee3bcbea7ff5e8ed359acef61d2f8ded3de021bbcff6ee13de455f2e2aa9b",
     "f21614cdba599910b819bd94ed09fdf97f1ff9a75a9913e7c81748f598ab332f"},
    {"multi-session", true, kOfficial, "longmemeval/abstention", kAbstentionText,
     kAbstentionPrompt},
    {"knowledge-update", true, kOfficial, "longmemeval/abstention", kAbstentionText,
     kAbstentionPrompt},
    {"temporal-reasoning", true, RubricSet::kSwaa, "swaa",
     "56ddeefc3ca0b0b3b9b6577422800643de266664d7b93d6336da4d0d3b536ce8",
     "e6ddae96433e84e8b28d4a541e9a5ae816a13600e116d3933fc25907db8e6ac2"},
    {"", false, RubricSet::kNeedle, "needle",
     "27c8e36cd26a4024becc93f1e148a6851ec2873ee69d3569a4e736602a867dc9",
     "a70e9d40921d4c19bac806c5ecc5e43f5370beae9c1cd77ac77519a9506e5b67"}};

TEST(Rubric, IsTheOriginalByteForByte) {
  for (const Original& original : kOriginals) {
    const Result<Rubric> rubric = rubric_for(original.set, original.type, original.abstention);
    ASSERT_TRUE(rubric) << rubric.error().text();
    EXPECT_EQ(rubric->name, original.name);
    EXPECT_EQ(rubric->hash(), original.text) << original.name;
    EXPECT_EQ(sha256_hex(rubric->prompt("Q {} ä?", "A {0}", "R \"{}\"")), original.prompt)
        << original.name;
  }
}

TEST(Rubric, LeavesSlotsInWhatIsPutIn) {
  const Rubric swaa = *rubric_for(RubricSet::kSwaa, "multi-session", false);
  EXPECT_THAT(
      swaa.prompt("{gold_answer}", "{generated_answer}", "{question}\xff"),
      HasSubstr("Question: {gold_answer}\nGold answer: {generated_answer}\nGenerated answer: "
                "{question}\xef\xbf\xbd\n"));
}

TEST(Rubric, OfAnUnknownTypeIsAnError) {
  const Result<Rubric> rubric = rubric_for(kOfficial, "two-hop\n", false);
  ASSERT_FALSE(rubric);
  EXPECT_EQ(rubric.error().text(),
            "question_type: expected one of single-session-user, single-session-assistant, "
            "single-session-preference, multi-session, temporal-reasoning, knowledge-update, got "
            "'two-hop '");
}

TEST(Verdict, OfReasoningIsThatOfWhatFollowsIt) {
  EXPECT_EQ(final_answer(" \n19 days\n").text, "19 days");
  EXPECT_EQ(final_answer("<think>no, yes</think>\n\nNo.").text, "No.");
  EXPECT_EQ(final_answer("it is so</think>yes").text, "yes");
  EXPECT_EQ(final_answer("<think>a</think>b<think>c</think>d").text, "d");
  EXPECT_EQ(final_answer("<think>yes, it").text, "");
  EXPECT_EQ(final_answer("<think>a</think>b <think>c").text, "");
  EXPECT_EQ(final_answer("").text, "");
}

TEST(Verdict, ScoresStandInDoubleBrackets) {
  EXPECT_EQ(bracketed_score("It is all there.\nRating: [[10]]"), 10);
  EXPECT_EQ(bracketed_score("[[1]]"), 1);
  EXPECT_EQ(bracketed_score("<think>[[3]]</think>Rating: [[7]], not [[10]]"), 7);
  for (const char* none : {"", "10", "Rating: 7", "[[0]]", "[[11]]", "[[7.5]]", "[[ 7 ]]", "[[7]",
                           "[[]]", "[[seven]]", "]]7[[", "[[7]]<think>no"})
    EXPECT_EQ(bracketed_score(none), std::nullopt) << none;
  EXPECT_EQ(read_verdict(VerdictRule::kScore, "[[10]]"), (Verdict{true, true}));
  EXPECT_EQ(read_verdict(VerdictRule::kScore, "[[7]]"), (Verdict{false, false}));
  EXPECT_EQ(read_verdict(VerdictRule::kScore, "7"), Verdict{});
}

TEST(Verdict, IsReadAsOfficiallyAndStrictly) {
  const auto read = [](std::string_view reply) { return read_verdict(VerdictRule::kYesNo, reply); };
  const std::optional<bool> none, yes = true, no = false;
  for (const char* reply : {"yes", "Yes.", "**YES**", "  yes, it does", "{\"verdict\": \"yes\"}",
                            "<think>no</think>yes"})
    EXPECT_EQ(read(reply), (Verdict{yes, yes})) << reply;
  for (const char* reply : {"no", "No.", "NO!", "<think>yes</think>no", "no, it doesn't"})
    EXPECT_EQ(read(reply), (Verdict{no, no})) << reply;
  // The official code takes "yes" anywhere, and everything else for a no.
  EXPECT_EQ(read("yes or no? no"), (Verdict{yes, none}));
  EXPECT_EQ(read("as of yesterday"), (Verdict{yes, none}));
  EXPECT_EQ(read("I cannot tell"), (Verdict{no, none}));
  EXPECT_EQ(read("I know nothing"), (Verdict{no, none}));
  for (const char* reply : {"", " \n", "<think>yes", "<think>yes</think>"})
    EXPECT_EQ(read(reply), (Verdict{none, none})) << reply;
}

TEST(Verdict, OfSwaaIsCorrectOrWrong) {
  const auto read = [](std::string_view reply) {
    return read_verdict(VerdictRule::kCorrectWrong, reply);
  };
  const std::optional<bool> none, right = true, wrong = false;
  EXPECT_EQ(read("They agree. CORRECT"), (Verdict{right, right}));
  EXPECT_EQ(read("They differ.\nWRONG"), (Verdict{wrong, wrong}));
  EXPECT_EQ(read("They differ. INCORRECT"), (Verdict{right, none}));  // as SWAA's code has it
  EXPECT_EQ(read("not wrong: CORRECT"), (Verdict{wrong, none}));
  EXPECT_EQ(read("It is a shell necklace."), (Verdict{right, none}));
  EXPECT_EQ(read(""), (Verdict{none, none}));
}

}  // namespace
}  // namespace strata::test
