#include "benchmarks/multi_passkey.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "benchmarks/word_lists.h"
#include "fixture.h"

namespace strata {
namespace {

constexpr MultiPasskeyConfig kSmall{.length = 1400, .passkeys = 4, .words = 5};

std::vector<Sample> samples_of(const MultiPasskeyConfig& config, const SampleRequest& request) {
  auto samples = make_multi_passkey(config)->samples(request);
  EXPECT_TRUE(samples.has_value()) << samples.error().text();
  return samples ? *std::move(samples) : std::vector<Sample>{};
}

std::string error_of(const MultiPasskeyConfig& config, const SampleRequest& request) {
  const auto samples = make_multi_passkey(config)->samples(request);
  return samples ? "no error" : samples.error().text();
}

MultiPasskeyConfig changed(void (*change)(MultiPasskeyConfig&)) {
  MultiPasskeyConfig config = kSmall;
  change(config);
  return config;
}

TEST(MultiPasskey, APasskeyIsWhereItsStoredTokensAreAndOnlyThere) {
  const Model model = small_model();
  SampleRequest request = model.request(6);
  request.window = 64;
  for (const Sample& sample : samples_of(kSmall, request)) {
    const auto& data = sample.metadata;
    const auto passkeys = data["passkeys"].get<std::vector<std::string>>();
    ASSERT_EQ(passkeys.size(), 4U);
    ASSERT_EQ(data["needles"].size(), 4U);
    double before = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const auto begin = data["needles"][i][0].get<std::ptrdiff_t>();
      const auto end = data["needles"][i][1].get<std::ptrdiff_t>();
      const Tokens tokens(sample.prompt.begin() + begin, sample.prompt.begin() + end);
      EXPECT_NE(model.tokenizer.decode(tokens).find(passkey_sentence(i, passkeys[i])),
                std::string::npos);
      EXPECT_EQ(sample.prompt_text.find(passkeys[i]), sample.prompt_text.rfind(passkeys[i]));
      const double depth = data["depths"][i];  // in order, the first is the shallowest
      EXPECT_GE(depth, before);
      EXPECT_LT(depth, 0.96);
      before = depth;
    }
    const auto last = static_cast<std::int64_t>(sample.prompt.size()) - 1;
    const auto asked = data["needle"][1].get<std::int64_t>();
    EXPECT_EQ(data["distance"], last - asked);
    EXPECT_EQ(data["beyond_window"], last - asked >= 64);
    EXPECT_EQ(sample.cluster, sample.id);
  }
}

// With the counterfactual's tokens in place, the prompt has other passkeys where they are asked
// for.
TEST(MultiPasskey, CounterfactualsDifferInWhatIsAskedForAlone) {
  const Model model = small_model();
  int found = 0;
  for (const std::int64_t asked : {1, 2}) {
    const MultiPasskeyConfig config{
        .length = 1400, .passkeys = 4, .words = 5, .answer_passkeys = asked};
    for (const Sample& sample : samples_of(config, model.request(4, 1, Split::kCalibration))) {
      if (!sample.metadata.contains("counterfactual")) continue;
      ++found;
      const nlohmann::json& other = sample.metadata["counterfactual"];
      Tokens prompt = sample.prompt;
      for (const nlohmann::json& change : other["tokens"]) prompt[change[0]] = change[1];
      const std::string text = model.tokenizer.decode(prompt);
      const auto answer = model.tokenizer.decode(other["answer"].get<Tokens>());
      EXPECT_EQ(other["answer"].size(), sample.answer.size());
      int kept = 0;
      for (const auto& passkey : sample.metadata["passkeys"])
        kept += text.find(passkey.get<std::string>()) != std::string::npos ? 1 : 0;
      EXPECT_EQ(kept, 4 - asked);
      for (std::size_t i = 0, at = 0; i < static_cast<std::size_t>(asked); ++i) {
        const std::size_t end = std::min(answer.find('\n', at), answer.size());
        const std::string line = answer.substr(at, end - at);
        EXPECT_NE(text.find(line), std::string::npos) << line;
        at = end + 1;
      }
    }
  }
  EXPECT_GE(found, 2);
}

TEST(MultiPasskey, PromptAndGenerationFillTheLengthExactly) {
  const Model model = small_model();
  for (const PasskeyScore score : {PasskeyScore::kAnswer, PasskeyScore::kSuffix})
    for (const std::int64_t answer_passkeys : {1, 4}) {
      MultiPasskeyConfig config = kSmall;
      config.score = score;
      config.answer_passkeys = answer_passkeys;
      config.length = 1600;
      for (const Sample& sample : samples_of(config, model.request(3))) {
        const auto limit = sample.metadata["generation_limit"].get<std::int64_t>();
        EXPECT_EQ(static_cast<std::int64_t>(sample.prompt.size()) + limit +
                      sample.metadata["shortfall"].get<std::int64_t>(),
                  1600);
        EXPECT_EQ(limit, static_cast<std::int64_t>(sample.answer.size()) + 8);
        EXPECT_EQ(make_multi_passkey(config)->generation_limit(sample),
                  score == PasskeyScore::kSuffix ? 0 : limit);
        Tokens both = sample.prompt;
        both.insert(both.end(), sample.answer.begin(), sample.answer.end());
        EXPECT_EQ(model.tokenizer.decode(both),
                  sample.prompt_text + sample.answers[0].substr(sample.answer_given.size()));
      }
    }
}

TEST(MultiPasskey, ThePasskeysAskedForAreTheAnswerInOrder) {
  const Model model = small_model();
  MultiPasskeyConfig config = kSmall;
  for (const Sample& sample : samples_of(config, model.request(3))) {
    const std::string ordinal = sample.metadata["asked"][0];
    EXPECT_NE(sample.prompt_text.find(" </book>.\n\nAccording to the book, what is the " + ordinal +
                                      " passkey to the vault?<|im_end|>"),
              std::string::npos);
    EXPECT_NE(sample.prompt_text.find("it is the " + ordinal +
                                      " passkey to the vault:" + sample.answers[0] + "."),
              std::string::npos);
  }
  config.answer_passkeys = 4;
  for (const Sample& sample : samples_of(config, model.request(3))) {
    const auto passkeys = sample.metadata["passkeys"].get<std::vector<std::string>>();
    EXPECT_EQ(sample.answers[0],
              " " + passkeys[0] + "\n" + passkeys[1] + "\n" + passkeys[2] + "\n" + passkeys[3]);
  }
  config.score = PasskeyScore::kSuffix;
  config.answer_passkeys = 2;
  for (const Sample& sample : samples_of(config, model.request(3))) {
    EXPECT_TRUE(sample.prompt_text.ends_with(" </book>.<|im_end|>\n<|im_start|>assistant\n"));
    std::set<std::string> asked;
    for (const std::string ordinal : sample.metadata["asked"]) {
      EXPECT_NE(
          sample.answers[0].find("what is the " + ordinal + " passkey to the vault?\nPasskey: "),
          std::string::npos);
      asked.insert(ordinal);
    }
    EXPECT_EQ(asked.size(), 2U);
  }
}

TEST(MultiPasskey, WordsBelongToOneSplitEach) {
  for (const PasskeyAlphabet alphabet : {PasskeyAlphabet::kNato, PasskeyAlphabet::kBundled}) {
    std::set<std::string> all;
    std::vector<std::size_t> sizes;
    for (const Split split : {Split::kCalibration, Split::kDevelopment, Split::kTest}) {
      const auto words = passkey_words(alphabet, split);
      sizes.push_back(words.size());
      all.insert(words.begin(), words.end());
    }
    EXPECT_EQ(all.size(), sizes[0] + sizes[1] + sizes[2]);
    if (alphabet == PasskeyAlphabet::kNato) {
      EXPECT_EQ(sizes, (std::vector<std::size_t>{10, 6, 10}));
    }
  }
  const Model model = small_model();
  const auto calibration = samples_of(kSmall, model.request(5, 1, Split::kCalibration));
  const auto test = samples_of(kSmall, model.request(5, 1, Split::kTest));
  EXPECT_TRUE(check_disjoint(calibration, test).has_value());
}

TEST(MultiPasskey, ASharedWordIsRefused) {
  const Model model = small_model();
  const auto calibration = samples_of(kSmall, model.request(3, 1, Split::kCalibration));
  auto test = samples_of(kSmall, model.request(3, 1, Split::kTest));
  const std::string word =
      split_words(calibration[1].metadata["passkeys"][2].get<std::string>()).at(4);
  test[2].metadata["passkeys"][0] = "zulu " + word;
  const Status status = check_disjoint(calibration, test);
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().text().find(fmt::format("share the passkey word '{}'", word)),
            std::string::npos)
      << status.error().text();
}

TEST(MultiPasskey, SamplesFollowFromTheSeedAloneWhateverTheirNumber) {
  const Model model = small_model();
  const auto few = samples_of(kSmall, model.request(2, 5));
  const auto many = samples_of(kSmall, model.request(5, 5));
  const auto other = samples_of(kSmall, model.request(2, 6));
  std::set<std::string> passkeys;
  for (const Sample& sample : many)
    for (const std::string passkey : sample.metadata["passkeys"]) passkeys.insert(passkey);
  EXPECT_EQ(passkeys.size(), 20U);
  for (std::size_t i = 0; i < few.size(); ++i) {
    EXPECT_EQ(few[i].id, many[i].id);
    EXPECT_EQ(few[i].metadata, many[i].metadata);
    EXPECT_NE(few[i].id, other[i].id);
  }
}

TEST(MultiPasskey, WhatCannotBeMadeIsRefusedWithFigures) {
  const Model model = small_model();
  const SampleRequest request = model.request(1);
  const std::string small =
      error_of({.length = 1024, .passkeys = 10, .words = 32}, model.request(1));
  EXPECT_TRUE(
      small.starts_with("benchmark.length: expected a haystack of at least as many tokens "
                        "as the passkeys, but 10 passkeys of 32 words take "))
      << small;
  EXPECT_NE(small.find(" of 1024 are left\n  hint: benchmark.length="), std::string::npos) << small;
  // The hint is true.
  const auto enough =
      std::stoll(small.substr(small.find("benchmark.length=", small.find("hint")) + 17));
  EXPECT_EQ(error_of({.length = enough}, request), "no error");
  EXPECT_EQ(error_of(changed([](auto& c) { c.answer_passkeys = 5; }), request),
            "benchmark.answer_passkeys: expected at most 4 (benchmark.passkeys), got 5");
  EXPECT_EQ(error_of(changed([](auto& c) { c.slots = 3; }), request),
            "benchmark.slots: expected at least 4 (benchmark.passkeys), got 3");
  EXPECT_EQ(error_of(changed([](auto& c) { c.words = 1; }), model.request(2)),
            "benchmark.words: 1 words of the 10 that the test split has make too few passkeys for "
            "2 samples of 4\n  hint: raise benchmark.words, or use benchmark.alphabet=bundled");
  EXPECT_EQ(error_of(kSmall, model.request(0)),
            "multi_passkey has no end: expected at least 1 sample, got 0");
}

TEST(MultiPasskey, ScoresCountWordsAtTheirPlace) {
  const Model model = small_model();
  const auto benchmark = make_multi_passkey(kSmall);
  const Sample sample = samples_of(kSmall, model.request(1)).at(0);
  auto words = split_words(sample.answers[0]);
  const auto text = [&] { return fmt::format("{}.", fmt::join(words, " ")); };
  EXPECT_EQ(
      benchmark->score(sample, {text(), {}, {}, {}}),
      (std::map<std::string, double>{{"gen_contains", 1}, {"gen_exact", 1}, {"gen_words", 1}}));
  words[1] = "wrong";
  EXPECT_EQ(
      benchmark->score(sample, {text(), {}, {}, {}}),
      (std::map<std::string, double>{{"gen_contains", 0}, {"gen_exact", 0}, {"gen_words", 0.8}}));
  EXPECT_EQ(benchmark->score(sample, {}), (std::map<std::string, double>{}));
}

TEST(MultiPasskey, SmolLm2TakesTenPasskeysOfThirtyTwoWords) {
  SKIP_WITHOUT_SMOLLM2(model);
  for (const Sample& sample : samples_of({.length = 2048}, model->request(2))) {
    EXPECT_EQ(sample.metadata["needles"].size(), 10U);
    EXPECT_EQ(sample.answer_given, "");
  }
}

}  // namespace
}  // namespace strata
