#include "benchmarks/niah_grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "fixture.h"

namespace strata {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

NiahGridConfig small_grid() {
  NiahGridConfig config;
  config.min_length = 600;
  config.max_length = 900;
  config.lengths = 2;
  config.depths = 3;
  config.generation_limit = 60;
  return config;
}

std::vector<Sample> samples_of(const NiahGridConfig& config, const SampleRequest& request) {
  auto samples = make_niah_grid(config)->samples(request);
  EXPECT_TRUE(samples.has_value()) << samples.error().text();
  return samples ? *std::move(samples) : std::vector<Sample>{};
}

std::string error_of(const NiahGridConfig& config, const SampleRequest& request) {
  const auto samples = make_niah_grid(config)->samples(request);
  return samples ? "no error" : samples.error().text();
}

std::string text_between(const Model& model, const Sample& sample, const nlohmann::json& span) {
  return model.tokenizer.decode(Tokens(sample.prompt.begin() + span[0].get<std::ptrdiff_t>(),
                                       sample.prompt.begin() + span[1].get<std::ptrdiff_t>()));
}

// numpy.round(numpy.linspace(1000, 16000, 35)) and the same of depths, as the original makes them.
TEST(NiahGrid, TheGridIsThePublishedOne) {
  NiahGridConfig config;
  config.max_length = 16000;
  config.lengths = 35;
  config.depths = 35;
  const auto lengths = grid_lengths(config);
  EXPECT_EQ(lengths.size(), 35U);
  EXPECT_THAT(std::vector(lengths.begin(), lengths.begin() + 4),
              ElementsAre(1000, 1441, 1882, 2324));
  EXPECT_EQ(lengths.back(), 16000);
  const auto depths = grid_depths(config);
  EXPECT_THAT(std::vector(depths.begin(), depths.begin() + 4), ElementsAre(0, 3, 6, 9));
  EXPECT_EQ(depths.back(), 100);
  config.depths = 5;
  config.depth_spacing = DepthSpacing::kSigmoid;
  EXPECT_THAT(grid_depths(config), ElementsAre(0, DoubleEq(92.414), 50, DoubleEq(7.586), 100));
  config.depths = config.lengths = 1;
  EXPECT_THAT(grid_lengths(config), ElementsAre(1000));
  EXPECT_THAT(grid_depths(config), ElementsAre(0));
}

TEST(NiahGrid, ACellHasItsContextItsDepthAndItsNeedleBehindASentence) {
  const Model model = small_model();
  SampleRequest request = model.request(0);
  request.window = 64;
  const auto samples = samples_of(small_grid(), request);
  ASSERT_EQ(samples.size(), 6U);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto& data = samples[i].metadata;
    EXPECT_EQ(data["cell"]["length"], i < 3 ? 600 : 900);
    EXPECT_EQ(data["cell"]["depth"], 50 * (i % 3));
    const auto begin = data["haystack_tokens"][0].get<std::int64_t>();
    const auto end = data["haystack_tokens"][1].get<std::int64_t>();
    EXPECT_LE(std::abs(end - begin - (i < 3 ? 400 : 700)), 3) << "tokens merge at its ends";
    EXPECT_THAT(text_between(model, samples[i], data["needle"]), HasSubstr("sit in Dolores Park"));
    const std::string& text = samples[i].prompt_text;
    const std::size_t at = text.find("\nThe best thing to do in San Francisco is");
    ASSERT_NE(at, std::string::npos);
    EXPECT_EQ(at, text.rfind("\nThe best thing to do in San Francisco is"));
    const std::string before = text.substr(0, at);
    if (i % 3 != 0) {  // in the middle, behind a sentence; at the end, behind what is cut
      EXPECT_THAT(before, EndsWith(i % 3 == 2 ? " " : ". "));
    }
    EXPECT_NEAR(data["depth"], static_cast<double>(i % 3) / 2, 0.15);  // the needle is 50 tokens
    const auto last = static_cast<std::int64_t>(samples[i].prompt.size()) - 1;
    EXPECT_EQ(data["distance"], last - data["needle"][1].get<std::int64_t>());
    EXPECT_EQ(data["beyond_window"], data["distance"].get<std::int64_t>() >= 64);
    EXPECT_THAT(text, HasSubstr("What is the best thing to do in San Francisco? Don't give "
                                "information outside the document or repeat your findings"));
    EXPECT_THAT(text, HasSubstr("You are a helpful AI bot"));
  }
}

TEST(NiahGrid, SeveralNeedlesStandEvenlyBehindTheFirst) {
  const Model model = small_model();
  NiahGridConfig config = small_grid();
  config.needles = {"One is red.", "Two is blue.", "Three is green."};
  config.answer = "red, blue, green";
  config.keywords = {"red", "blue", "green"};
  const auto samples = samples_of(config, model.request(0));
  ASSERT_EQ(samples.size(), 6U);
  const auto& data = samples[3].metadata;  // 900 tokens, from the beginning
  const auto context = data["haystack_tokens"];
  for (std::size_t i = 0; i < 3; ++i) {
    const auto away = data["needles"][i][0].get<double>() - context[0].get<double>();
    EXPECT_NEAR(away / (context[1].get<double>() - context[0].get<double>()),
                static_cast<double>(i) / 3, 0.06);
  }
  EXPECT_EQ(data["distance"], static_cast<std::int64_t>(samples[3].prompt.size()) - 1 -
                                  data["needles"][2][1].get<std::int64_t>());
}

TEST(NiahGrid, CellsReadTextsOfTheirOwnUnlessAskedToBeginAlike) {
  const Model model = small_model();
  NiahGridConfig config = small_grid();
  const auto beginning = [&](const Sample& sample) {
    const auto begin = sample.metadata["haystack_tokens"][0].get<std::ptrdiff_t>();
    return Tokens(sample.prompt.begin() + begin, sample.prompt.begin() + begin + 60);
  };
  const auto own = samples_of(config, model.request(0));
  EXPECT_NE(beginning(own[2]), beginning(own[5]));
  config.haystack_start = HaystackStart::kRuler;
  const auto alike = samples_of(config, model.request(0));
  EXPECT_EQ(beginning(alike[2]), beginning(alike[5]));
}

TEST(NiahGrid, TheFirstCellsAreTheSameHoweverManyAreAskedFor) {
  const Model model = small_model();
  const auto all = samples_of(small_grid(), model.request(0)),
             some = samples_of(small_grid(), model.request(4));
  ASSERT_EQ(some.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(some[i].id, all[i].id);
  EXPECT_NE(samples_of(small_grid(), model.request(1, 2))[0].id, all[0].id);
}

TEST(NiahGrid, TheOtherPromptBeginsTheAnswer) {
  const Model model = small_model();
  NiahGridConfig config = small_grid();
  config.prompt = GridPrompt::kAnthropic;
  const Sample sample = samples_of(config, model.request(1)).at(0);
  EXPECT_THAT(sample.prompt_text, HasSubstr("<context>\n"));
  EXPECT_THAT(sample.prompt_text, HasSubstr("\n</context>\n\nWhat is"));
  EXPECT_THAT(sample.prompt_text, HasSubstr("Here is the most relevant sentence in the context:"));
  EXPECT_THAT(sample.prompt_text, ::testing::Not(HasSubstr("helpful AI bot")));
}

TEST(NiahGrid, AnAnswerIsRightWhereItHoldsAllKeywords) {
  const Model model = small_model();
  const auto grid = make_niah_grid(small_grid());
  const Sample sample = samples_of(small_grid(), model.request(1)).at(0);
  const auto score = [&](std::string text) {
    Response response;
    response.text = std::move(text);
    const auto scores = grid->score(sample, response);
    return std::pair(scores.at("gen_contains"), scores.at("string_match_all"));
  };
  EXPECT_EQ(score("You should EAT A SANDWICH in\tDolores Park."), std::pair(1.0, 1.0));
  EXPECT_EQ(score("Eat a sandwich."), std::pair(0.0, 0.5));
  EXPECT_EQ(score(""), std::pair(0.0, 0.0));
}

TEST(NiahGrid, WhatCannotBeIsSaid) {
  const Model model = small_model();
  const NiahGridConfig config = small_grid();
  EXPECT_THAT(error_of(config, model.request(7)),
              HasSubstr("benchmark.samples: expected at most 6"));
  EXPECT_THAT(error_of(config, model.request(0, 1, Split::kCalibration)),
              HasSubstr("calibration=niah"));
  SampleRequest request = model.request(0);
  request.max_positions = 700;
  EXPECT_THAT(error_of(config, request), HasSubstr("benchmark.max_length: expected at most 700"));
  NiahGridConfig other = config;
  other.min_length = 1000;
  EXPECT_THAT(error_of(other, model.request(0)),
              HasSubstr("benchmark.min_length: expected at most 900"));
  other = config;
  other.buffer = 590;
  EXPECT_THAT(error_of(other, model.request(0)), HasSubstr("benchmark.min_length: expected more"));
  for (const auto& [key, change] : {std::pair<std::string, void (*)(NiahGridConfig&)>{
                                        "needles", [](NiahGridConfig& c) { c.needles.clear(); }},
                                    {"keywords", [](NiahGridConfig& c) { c.keywords.clear(); }},
                                    {"answer", [](NiahGridConfig& c) { c.answer.clear(); }}}) {
    other = config;
    change(other);
    EXPECT_THAT(error_of(other, model.request(0)),
                HasSubstr("benchmark." + key + ": expected at least one, got none"));
  }
}

TEST(NiahGrid, EssaysFromTheirBeginning) {
  const char* data = std::getenv("STRATA_DATA");
  if (data == nullptr) GTEST_SKIP() << "no essays: set STRATA_DATA";
  const Model model = small_model();
  NiahGridConfig config = small_grid();
  config.haystack = TextSource::kEssay;
  config.haystack_start = HaystackStart::kRuler;
  SampleRequest request = model.request(0);
  request.data_dir = data;
  const auto samples = samples_of(config, request);
  ASSERT_EQ(samples.size(), 6U);
  for (const Sample& sample : samples) EXPECT_EQ(sample.cluster, samples[0].cluster);
}

}  // namespace
}  // namespace strata
