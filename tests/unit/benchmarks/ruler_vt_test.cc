// Variable tracking: texts byte for byte, the chain, the worked example, lengths.
#include "benchmarks/ruler_vt.h"

#include "benchmarks/needles.h"
#include "models/tokenizer/tokenizer.h"
#include "ruler_fixture.h"

namespace strata {
namespace {

RulerConfig vt(std::int64_t length, RulerVariant variant = RulerVariant::kRuler) {
  RulerConfig config = bundled_ruler(RulerTask::kVt, length);
  config.variant = variant;
  return config;
}

// Example and question: each begins with the template's first words.
std::array<std::string, 2> parts_of(const Sample& sample) {
  const std::string message = user_message(sample);
  const auto second = message.find(kVtHead, 1);
  EXPECT_NE(second, std::string::npos);
  return {message.substr(0, second), message.substr(second)};
}

TEST(RulerVt, TextsAreRulersByteForByte) {
  EXPECT_EQ(kVtHead,
            "Memorize and track the chain(s) of variable assignment hidden in the following "
            "text.\n\n");
  EXPECT_EQ(vt_question("12345"),
            "\nQuestion: Find all variables that are assigned the value 12345 in the text above.");
  EXPECT_EQ(vt_answer_prefix(RulerVariant::kRuler, "12345"),
            " Answer: According to the chain(s) of variable assignment in the text above, 5 "
            "variables are assigned the value 12345, they are: ");
  EXPECT_EQ(vt_answer_prefix(RulerVariant::kLmEval, "12345"),
            " Answer: According to the chain(s) of variable assignment in the text above, 5 "
            "variables are assgined the value 12345, they are: ");
  EXPECT_EQ(vt_statements({{"AB", "CD", "EF"}, "54321"}),
            (std::vector<std::string>{"VAR AB = 54321", "VAR CD = VAR AB ", "VAR EF = VAR CD "}));
}

TEST(RulerVt, TheHaystackIsNoiseWithOneChainInItsOrder) {
  const Model model = small_model();
  for (const Sample& sample : ruler_samples(vt(2500), model.request(6))) {
    const std::string question = parts_of(sample)[1];
    ASSERT_EQ(sample.answers.size(), 5U);
    const std::string value = sample.metadata["value"];
    const auto statements = vt_statements({sample.answers, value});
    std::size_t next = 0;
    std::int64_t noise = 0;
    const auto end = question.rfind(vt_question(value));
    for (const std::string& line :
         split_text(question.substr(kVtHead.size(), end - kVtHead.size()), '\n')) {
      if (line == kNoiseUnit)
        ++noise;
      else
        EXPECT_EQ(line, next < 5 ? statements[next++] : "nothing");
    }
    EXPECT_EQ(next, 5U);
    EXPECT_EQ(noise, sample.metadata["units"]);
    EXPECT_EQ(question.substr(end), vt_question(value));
    for (const std::string& name : sample.answers) EXPECT_EQ(name.size(), 5U);
    EXPECT_EQ(assistant_part(sample), vt_answer_prefix(RulerVariant::kRuler, value));
    EXPECT_EQ(model.tokenizer.decode(sample.answer),
              fmt::format(" {}", fmt::join(sample.answers, " ")));
  }
}

TEST(RulerVt, DistractorsAreChainsOfTheirOwnEachInItsOrder) {
  const Model model = small_model();
  RulerConfig config = vt(2500);
  config.distractors = 2;
  bool mixed = false;
  for (const Sample& sample : ruler_samples(config, model.request(6))) {
    const std::string question = parts_of(sample)[1];
    const std::string asked = sample.metadata["value"];
    std::map<std::string, std::string> value_of;             // by variable
    std::map<std::string, std::vector<std::string>> chains;  // by value
    std::vector<std::string> order;
    const auto end = question.rfind(vt_question(asked));
    for (const std::string& line :
         split_text(question.substr(kVtHead.size(), end - kVtHead.size()), '\n')) {
      if (line == kNoiseUnit) continue;
      const std::vector<std::string> words = split_words(line);  // VAR name = [VAR] value
      ASSERT_GE(words.size(), 4U) << line;
      const bool first = words.size() == 4;
      ASSERT_TRUE(first || value_of.contains(words[4])) << line << ": not in order";
      const std::string value = first ? words[3] : value_of.at(words[4]);
      value_of[words[1]] = value;
      chains[value].push_back(words[1]);
      order.push_back(value);
    }
    ASSERT_EQ(chains.size(), 3U);
    for (const auto& [value, names] : chains) EXPECT_EQ(names.size(), 5U);
    EXPECT_EQ(chains.at(asked), sample.answers);
    mixed = mixed || std::count(order.begin(), order.begin() + 5, order[0]) < 5;
    EXPECT_EQ(sample.metadata["needles"].size(), 15U);
    std::size_t place = 0;
    for (const std::size_t needle : sample.metadata["asked_needles"]) {
      EXPECT_EQ(order[needle], asked);
      ++place;
    }
    EXPECT_EQ(place, 5U);
  }
  EXPECT_TRUE(mixed) << "chains stand one behind the other";
}

TEST(RulerVt, TheWorkedExampleHasItsAnswerAndAtMostFiveHundredTokens) {
  const Model model = small_model();
  for (const Sample& sample : ruler_samples(vt(2500), model.request(6))) {
    const std::string example = parts_of(sample)[0];
    ASSERT_TRUE(example.ends_with("\n\n"));
    const auto answer = example.rfind("they are: ") + std::string("they are: ").size();
    const auto names = split_words(example.substr(answer));
    ASSERT_EQ(names.size(), 5U);
    const auto value_at = example.find(" = ") + 3;
    const std::string value = example.substr(value_at, 5);
    std::size_t at = 0;
    for (const std::string& statement : vt_statements({names, value})) {
      at = example.find("\n" + statement + "\n", at);
      EXPECT_NE(at, std::string::npos) << statement;
    }
    for (const std::string& name : names) EXPECT_EQ(name.size(), 3U);
    EXPECT_NE(value, sample.metadata["value"]);
    const auto tokens = model.tokenizer.encode_plain(example.substr(0, answer)).size();
    EXPECT_LE(tokens, 500U);
    const auto noise = model.tokenizer.encode_plain("\n" + std::string(kNoiseUnit)).size();
    EXPECT_GT(tokens + noise, 500U);  // a line more would be too long
  }
}

TEST(RulerVt, LmEvalJoinsBySpacesAndStripsThePrefix) {
  const Model model = small_model();
  for (const Sample& sample : ruler_samples(vt(2500, RulerVariant::kLmEval), model.request(3))) {
    expect_within(model, vt(2500, RulerVariant::kLmEval), sample, 30);
    const auto [example, question] = parts_of(sample);
    EXPECT_TRUE(example.ends_with("\n\n\n\n"));
    EXPECT_NE(question.find(std::string(kNoiseUnit) + "\n " + std::string(kNoiseUnit) + "\n"),
              std::string::npos);
    EXPECT_TRUE(assistant_part(sample).starts_with("Answer: According"));
    EXPECT_TRUE(assistant_part(sample).ends_with("they are:"));
    EXPECT_NE(assistant_part(sample).find("are assgined the value"), std::string::npos);
  }
}

void expect_lengths(const Model& model, const std::vector<std::int64_t>& lengths) {
  for (const std::int64_t length : lengths)
    for (const Sample& sample : ruler_samples(vt(length), model.request(4))) {
      expect_within(model, vt(length), sample, 30);
      EXPECT_LT(sample.metadata["shortfall"], 40);  // less than a line
      EXPECT_EQ(sample.metadata["needles"].size(), 5U);
      for (std::size_t i = 0; i < 5; ++i) {
        const auto span = sample.metadata["needles"][i].get<std::array<std::int64_t, 2>>();
        const std::string text = model.tokenizer.decode(
            Tokens(sample.prompt.begin() + span[0], sample.prompt.begin() + span[1]));
        EXPECT_NE(text.find("VAR " + sample.answers[i] + " = "), std::string::npos) << text;
      }
    }
}

TEST(RulerVt, PromptAndGenerationFitTheLengthToALine) {
  expect_lengths(small_model(), {1500, 2049, 4096});
}

TEST(RulerVt, PromptAndGenerationFitTheLengthToALineWithSmolLm2) {
  SKIP_WITHOUT_SMOLLM2(model);
  expect_lengths(*model, {1024, 4096, 16384});
}

TEST(RulerVt, SamplesFollowFromTheSeedAndShareNothingBetweenSplits) {
  expect_own_and_repeatable(small_model(), vt(1500));
}

TEST(RulerVt, WhatIsTooShortIsRefusedWithTheSmallestLengthThatWorks) {
  expect_smallest_length(small_model(), vt(100), 100);
}

}  // namespace
}  // namespace strata
