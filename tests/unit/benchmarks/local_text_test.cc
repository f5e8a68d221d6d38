#include "benchmarks/local_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "core/rng.h"
#include "fixture.h"

namespace strata {
namespace {

std::vector<Sample> samples_of(const LocalTextConfig& config, const SampleRequest& request) {
  auto samples = make_local_text(config)->samples(request);
  EXPECT_TRUE(samples.has_value()) << samples.error().text();
  return samples ? *std::move(samples) : std::vector<Sample>{};
}

std::string error_of(const LocalTextConfig& config, const SampleRequest& request) {
  const auto samples = make_local_text(config)->samples(request);
  return samples ? "no error" : samples.error().text();
}

// Essays of numbered sentences, so that every stretch of text is found once; the other digits are
// random, so that no two files share a span.
class WithEssays : public testing::Test {
 protected:
  WithEssays() {
    Rng rng(1, "essays");
    int sentence = 0;
    for (int file = 0; file < 10; ++file) {
      std::string text;
      for (int i = 0; i < 60; ++i)
        text += fmt::format("The number {} was {} and {}. ", 10'000 + sentence++,
                            rng.between(100'000'000, 999'999'999),
                            rng.between(100'000'000, 999'999'999));
      directory_.write(fmt::format("pg_essays/{}.txt", file), text);
    }
  }
  SampleRequest request(std::int64_t count, Split split = Split::kTest) const {
    SampleRequest request = model_.request(count, 1, split);
    request.data_dir = directory_.path();
    return request;
  }
  const Model model_ = small_model();
  const TempDir directory_;
  const LocalTextConfig config_{.length = 200, .text = TextSource::kEssay};
};

TEST(LocalText, AWindowIsTheTextItselfCutWhereScoringBegins) {
  const Model model = small_model();
  for (const Sample& sample : samples_of({.length = 301, .prompt_tokens = 100}, model.request(4))) {
    EXPECT_EQ(sample.prompt.size(), 100U);
    EXPECT_EQ(sample.answer.size(), 201U);
    Tokens both = sample.prompt;
    both.insert(both.end(), sample.answer.begin(), sample.answer.end());
    const std::string text = sample.prompt_text + sample.answers[0];
    EXPECT_EQ(model.tokenizer.decode(both), text);
    EXPECT_EQ(model.tokenizer.encode_plain(text), both);
    EXPECT_EQ(text.find("<|"), std::string::npos);  // no chat template
  }
  EXPECT_EQ(samples_of({.length = 301}, model.request(1)).at(0).prompt.size(), 150U);
}

TEST(LocalText, NothingIsGeneratedAndOnlyLikelihoodsAreScored) {
  const Model model = small_model();
  const auto benchmark = make_local_text({.length = 100});
  const Sample sample = samples_of({.length = 100}, model.request(1)).at(0);
  EXPECT_EQ(benchmark->generation_limit(sample), 0);
  std::vector<double> nll(50, 1.0);
  nll[0] = 3.5;
  const auto scores = benchmark->score(sample, {{}, {}, nll, sample.answer});
  EXPECT_EQ(scores.size(), 2U);
  EXPECT_DOUBLE_EQ(scores.at("answer_nll"), 1.05);
  EXPECT_DOUBLE_EQ(scores.at("perplexity"), std::exp(1.05));
}

TEST(LocalText, SamplesFollowFromTheSeedAndAreClustersOfTheirOwn) {
  const Model model = small_model();
  const auto few = samples_of({.length = 120}, model.request(2, 5));
  const auto many = samples_of({.length = 120}, model.request(6, 5));
  const auto other = samples_of({.length = 120}, model.request(2, 6));
  std::set<std::string> clusters;
  for (const Sample& sample : many) clusters.insert(sample.cluster);
  EXPECT_EQ(clusters.size(), 6U);
  for (std::size_t i = 0; i < few.size(); ++i) {
    EXPECT_EQ(few[i].id, many[i].id);
    EXPECT_NE(few[i].id, other[i].id);
  }
}

TEST(LocalText, SplitsShareNoText) {
  const Model model = small_model();
  const auto calibration = samples_of({.length = 400}, model.request(6, 1, Split::kCalibration));
  auto test = samples_of({.length = 400}, model.request(6, 2, Split::kTest));
  EXPECT_TRUE(check_disjoint(calibration, test).has_value());
  // Scored text counts as much as the prompt.
  std::copy_n(calibration[1].answer.begin() + 60, 13, test[3].answer.begin() + 40);
  const Status status = check_disjoint(calibration, test);
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().text().find("13 tokens of haystack text (at tokens 260 and 240)"),
            std::string::npos)
      << status.error().text();
}

TEST_F(WithEssays, WindowsOfEssaysDoNotOverlap) {
  const auto samples = samples_of(config_, request(0));
  ASSERT_GT(samples.size(), 3U);
  std::set<std::string> numbers;
  std::size_t all = 0;
  for (const Sample& sample : samples) {
    const std::string text = sample.prompt_text + sample.answers[0];
    for (auto at = text.find("number "); at != std::string::npos;
         at = text.find("number ", at + 1)) {
      const auto end = text.find(" was", at);
      if (end == std::string::npos) break;
      numbers.insert(text.substr(at, end - at));
      ++all;
    }
  }
  EXPECT_EQ(numbers.size(), all);
  EXPECT_GT(all, samples.size());
}

TEST_F(WithEssays, MoreWindowsThanTheSplitHasAreRefused) {
  const auto all = static_cast<std::int64_t>(samples_of(config_, request(0)).size());
  EXPECT_EQ(error_of(config_, request(all)), "no error");
  EXPECT_EQ(error_of(config_, request(all + 1)),
            fmt::format("benchmark.samples: the test split has {} windows of 200 tokens that do "
                        "not overlap, got {}\n  hint: lower benchmark.samples or benchmark.length, "
                        "or 0 for all",
                        all, all + 1));
  const std::string longer = error_of({.length = 100'000, .text = TextSource::kEssay}, request(1));
  EXPECT_TRUE(longer.starts_with(
      "benchmark.length: expected 100000 tokens of text, but the test split has "))
      << longer;
}

TEST(LocalText, WhatCannotBeMadeIsRefusedWithFigures) {
  const Model model = small_model();
  SampleRequest request = model.request(1);
  EXPECT_EQ(error_of({.length = 100, .prompt_tokens = 100}, request),
            "benchmark.prompt_tokens: expected 1 to 99 (the prompt begins with 0 of the "
            "checkpoint's own, and a token of benchmark.length is scored), got 100");
  request.max_positions = 64;
  EXPECT_EQ(error_of({.length = 100}, request),
            "benchmark.length: expected at most 64 (the model's positions), got 100");
  EXPECT_EQ(error_of({.length = 100}, model.request(0)),
            "bundled text has no end: expected at least 1 sample, got 0");
}

TEST(LocalText, DataIdFollowsConfigNotSeedOrSplit) {
  const Model model = small_model();
  const auto id = [&](const LocalTextConfig& config, const SampleRequest& request) {
    return make_local_text(config)->data_id(request).value();
  };
  EXPECT_EQ(id({}, model.request(1)), id({}, model.request(7, 9, Split::kCalibration)));
  EXPECT_NE(id({}, model.request(1)), id({.length = 1025}, model.request(1)));
}

}  // namespace
}  // namespace strata
