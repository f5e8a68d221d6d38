#include "benchmarks/niah.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "benchmarks/needles.h"
#include "benchmarks/registry.h"
#include "benchmarks/word_lists.h"
#include "fixture.h"

namespace strata {
namespace {

std::vector<Sample> samples_of(const NiahConfig& config, const SampleRequest& request) {
  auto samples = make_niah(config)->samples(request);
  EXPECT_TRUE(samples.has_value()) << samples.error().text();
  return samples ? *std::move(samples) : std::vector<Sample>{};
}

std::string error_of(const NiahConfig& config, const SampleRequest& request) {
  const auto samples = make_niah(config)->samples(request);
  return samples ? "no error" : samples.error().text();
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

// RULER's general template and its rules for one key and one value, applied as RULER does.
std::string ruler_singular(std::string text) {
  replace_all(text, "Some", "A");
  replace_all(text, "are all", "is");
  replace_all(text, "are", "is");
  replace_all(text, "{type_v}", "number");
  return text;
}

TEST(Niah, TemplatesAreRulersInTheSingularForm) {
  EXPECT_EQ(
      std::string(kNiahInstruction),
      ruler_singular(
          "Some special magic {type_v} are hidden within the following text. Make sure to memorize "
          "it. I will quiz you about the {type_v} afterwards."));
  std::string question = ruler_singular(
      "What are all the special magic {type_v} for {query} mentioned in the provided text?");
  std::string prefix =
      ruler_singular(" The special magic {type_v} for {query} mentioned in the provided text are");
  replace_all(question, "{query}", "calm-otter");
  replace_all(prefix, "{query}", "calm-otter");
  EXPECT_EQ(niah_question("calm-otter"), question);
  EXPECT_EQ(niah_answer_prefix("calm-otter"), prefix);
  EXPECT_EQ(needle_sentence({"calm-otter", "1234567"}),
            "One of the special magic numbers for calm-otter is: 1234567.");
}

// With the counterfactual's tokens in place, the prompt reads as it would with another value.
TEST(Niah, CounterfactualsDifferInTheValueAlone) {
  for (const bool whole_numbers : {false, true})
    for (const NiahTask task : {NiahTask::kSingle, NiahTask::kMultikey}) {
      const Model model = small_model(whole_numbers);
      int found = 0;
      for (const Sample& sample :
           samples_of({.task = task, .length = 900}, model.request(6, 1, Split::kCalibration))) {
        if (!sample.metadata.contains("counterfactual")) continue;
        ++found;
        const nlohmann::json& other = sample.metadata["counterfactual"];
        Tokens prompt = sample.prompt;
        for (const nlohmann::json& change : other["tokens"]) {
          const auto at = change[0].get<std::size_t>();
          EXPECT_NE(prompt[at], change[1].get<TokenId>());
          EXPECT_GE(at, sample.metadata["needle"][0].get<std::size_t>());
          EXPECT_LT(at, sample.metadata["needle"][1].get<std::size_t>());
          prompt[at] = change[1];
        }
        const auto answer = other["answer"].get<Tokens>();
        EXPECT_EQ(answer.size(), sample.answer.size());
        EXPECT_NE(answer, sample.answer);
        const std::string value = model.tokenizer.decode(answer);
        std::string text = model.tokenizer.decode(sample.prompt);
        replace_all(text, sample.metadata["value"].get<std::string>(),
                    value.substr(value.find_first_not_of(' ')));
        EXPECT_EQ(model.tokenizer.decode(prompt), text);
      }
      EXPECT_GE(found, whole_numbers ? 1 : 6);
      for (const Sample& sample : samples_of({.task = task, .length = 900}, model.request(2)))
        EXPECT_FALSE(sample.metadata.contains("counterfactual"));
    }
}

TEST(Niah, ANoisePromptReadsLineByLineAsInRuler) {
  const Model model = small_model();
  NiahConfig config{.haystack = NiahHaystack::kNoise, .length = 300};
  for (const Sample& sample : samples_of(config, model.request(5))) {
    const std::string key = sample.metadata["key"];
    const auto lines = split_text(sample.prompt_text, '\n');
    ASSERT_GE(lines.size(), 9U);
    EXPECT_EQ(lines[0], "<|im_start|>system");
    EXPECT_EQ(lines[2], "<|im_start|>user");
    EXPECT_EQ(lines[3], kNiahInstruction);
    EXPECT_EQ(lines[lines.size() - 3], niah_question(key) + "<|im_end|>");
    EXPECT_EQ(lines[lines.size() - 2], "<|im_start|>assistant");
    EXPECT_EQ(lines.back(), niah_answer_prefix(key) + " ");  // the blank is the first answer token
    int needles = 0;
    int cut = 0;
    for (std::size_t i = 4; i + 3 < lines.size(); ++i) {
      const bool needle = lines[i] == needle_sentence({key, sample.metadata["value"]});
      needles += needle;
      if (needle || lines[i] == kNoiseUnit) continue;
      EXPECT_TRUE(kNoiseUnit.starts_with(lines[i])) << lines[i];
      ++cut;
    }
    EXPECT_EQ(needles, 1);
    EXPECT_LE(cut, 1);
  }
}

void expect_exact(const Model& model, const NiahConfig& config, const SampleRequest& request,
                  int& exact, int& all) {
  for (const Sample& sample : samples_of(config, request)) {
    const auto limit = sample.metadata["generation_limit"].get<std::int64_t>();
    const auto shortfall = sample.metadata["shortfall"].get<std::int64_t>();
    EXPECT_EQ(static_cast<std::int64_t>(sample.prompt.size()) + limit + shortfall, config.length);
    EXPECT_GE(shortfall, 0);
    EXPECT_LT(shortfall, 16);
    EXPECT_EQ(limit, static_cast<std::int64_t>(sample.answer.size()) + 8);
    // The prompt is the tokenizer's own encoding of the whole text, and so is the answer after it.
    const std::string value = sample.metadata["value"];
    Tokens both = sample.prompt;
    both.insert(both.end(), sample.answer.begin(), sample.answer.end());
    EXPECT_EQ(model.tokenizer.encode(sample.prompt_text + value), both);
    exact += shortfall == 0;
    ++all;
  }
}

void expect_exact_everywhere(const Model& model, const std::vector<std::int64_t>& lengths) {
  int exact = 0;
  int all = 0;
  for (const auto haystack : {NiahHaystack::kBundled, NiahHaystack::kNoise, NiahHaystack::kNeedle})
    for (const auto task : {NiahTask::kSingle, NiahTask::kMultikey})
      for (const std::int64_t length : lengths)
        for (const std::uint64_t seed : {1U, 2U, 3U}) {
          SCOPED_TRACE(fmt::format("haystack {} length {} seed {}", config::enum_name(haystack),
                                   length, seed));
          expect_exact(model, {.task = task, .haystack = haystack, .length = length},
                       model.request(3, seed), exact, all);
        }
  EXPECT_GE(exact, all * 9 / 10) << exact << " of " << all;  // the others are short by a stored few
}

TEST(Niah, PromptAndGenerationFillTheLengthExactly) {
  expect_exact_everywhere(small_model(), {301, 350, 512, 640, 777, 1024});
}

TEST(Niah, PromptAndGenerationFillTheLengthExactlyWithSmolLm2) {
  SKIP_WITHOUT_SMOLLM2(model);
  expect_exact_everywhere(*model, {256, 257, 258, 259, 511, 512, 1000, 2048});
}

TEST(Niah, TheStoredPlaceOfTheNeedleIsWhereItsTokensAre) {
  const Model model = small_model();
  NiahConfig config{.task = NiahTask::kMultikey, .length = 700, .keys = 3};
  SampleRequest request = model.request(20);
  request.window = 64;
  for (const Sample& sample : samples_of(config, request)) {
    const auto& data = sample.metadata;
    ASSERT_EQ(data["needles"].size(), 3U);
    EXPECT_EQ(data["needles"][0], data["needle"]);
    std::vector<Needle> told;
    for (const auto& span : data["needles"]) {
      const Tokens tokens(sample.prompt.begin() + span[0].get<std::int64_t>(),
                          sample.prompt.begin() + span[1].get<std::int64_t>());
      const auto needles = find_needles(model.tokenizer.decode(tokens));
      ASSERT_EQ(needles.size(), 1U) << model.tokenizer.decode(tokens);
      told.push_back(needles[0]);
    }
    EXPECT_EQ(told[0], (Needle{data["key"], data["value"]}));
    EXPECT_EQ(find_needles(sample.prompt_text).size(), 3U);
    const auto last = static_cast<std::int64_t>(sample.prompt.size()) - 1;
    EXPECT_EQ(data["first_informative_query"], last);
    EXPECT_EQ(data["distance"], last - data["needle"][1].get<std::int64_t>());
    // Slowly: no token of the needle is within the window of the query.
    for (auto token = data["needle"][0].get<std::int64_t>(); token < data["needle"][1]; ++token)
      EXPECT_GE(last - token, 64);
    EXPECT_EQ(data["beyond_window"], true);
    EXPECT_EQ(data["first_answer_token"], sample.answer.front());
  }
}

TEST(Niah, WithoutADistanceNeedlesStandEverywhereAndMembershipIsStored) {
  const Model model = small_model();
  SampleRequest request = model.request(120);
  request.window = 150;
  int beyond = 0;
  int first_quarter = 0;
  int last_quarter = 0;
  for (const Sample& sample : samples_of({.length = 600, .min_distance = 0}, request)) {
    const auto distance = sample.metadata["distance"].get<std::int64_t>();
    EXPECT_EQ(sample.metadata["beyond_window"], distance >= 150);
    beyond += distance >= 150;
    const double depth = sample.metadata["depth"];
    first_quarter += depth < 0.25;
    last_quarter += depth >= 0.75;
  }
  EXPECT_GT(beyond, 30);
  EXPECT_LT(beyond, 119);
  EXPECT_GT(first_quarter, 15);
  EXPECT_GT(last_quarter, 15);
}

TEST(Niah, SamplesFollowFromTheSeedAloneWhateverTheirNumber) {
  const Model model = small_model();
  for (const auto haystack : {NiahHaystack::kBundled, NiahHaystack::kNeedle}) {
    const NiahConfig config{.task = NiahTask::kMultikey, .haystack = haystack, .length = 600};
    const auto few = samples_of(config, model.request(3, 5));
    const auto many = samples_of(config, model.request(9, 5));
    const auto other = samples_of(config, model.request(3, 6));
    ASSERT_EQ(few.size(), 3U);
    ASSERT_EQ(many.size(), 9U);
    for (std::size_t i = 0; i < few.size(); ++i) {
      EXPECT_EQ(few[i].id, many[i].id);
      EXPECT_EQ(few[i].prompt, many[i].prompt);
      EXPECT_EQ(few[i].metadata, many[i].metadata);
      EXPECT_NE(few[i].id, other[i].id);
    }
  }
}

TEST(Niah, NoTwoSamplesAskForTheSameKeyOrValue) {
  const Model model = small_model();
  std::set<std::string> seen;
  const auto samples =
      samples_of({.haystack = NiahHaystack::kNoise, .length = 256}, model.request(300));
  for (const Sample& sample : samples) {
    seen.insert(sample.metadata["key"].get<std::string>());
    seen.insert(sample.metadata["value"].get<std::string>());
    EXPECT_EQ(sample.cluster, sample.id);
  }
  EXPECT_EQ(seen.size(), 600U);
}

TEST(Niah, ABlankFirstAnswerTokenMovesIntoThePromptAndNoOther) {
  const Model digits = small_model(false);
  const Sample moved = samples_of({.length = 300}, digits.request(1)).at(0);
  const std::string value = moved.metadata["value"];
  EXPECT_EQ(moved.answer_given, " ");
  EXPECT_EQ(moved.answer.size(), 7U);
  EXPECT_EQ(moved.answers, std::vector<std::string>{" " + value});
  EXPECT_EQ(digits.tokenizer.decode(moved.answer), value);
  EXPECT_TRUE(moved.prompt_text.ends_with(" is "));

  const Model whole = small_model(true);
  const Sample kept = samples_of({.length = 300}, whole.request(1)).at(0);
  EXPECT_EQ(kept.answer_given, "");
  EXPECT_EQ(whole.tokenizer.decode(kept.answer), kept.answers[0]);
  EXPECT_TRUE(kept.prompt_text.ends_with(" is"));
}

TEST(Niah, SmolLm2SplitsTheAnswerIntoABlankAndSevenDigits) {
  SKIP_WITHOUT_SMOLLM2(model);
  for (const Sample& sample : samples_of({.length = 512}, model->request(8))) {
    EXPECT_EQ(sample.answer_given, " ");
    EXPECT_EQ(sample.answer.size(), 7U);
    EXPECT_EQ(make_niah({})->generation_limit(sample), 15);
  }
}

TEST(Niah, RulerStartReadsOneTextAndRandomStartOneForEachSample) {
  const Model model = small_model();
  const auto first_sentence = [](const Sample& sample) {
    std::string text = sample.prompt_text.substr(sample.prompt_text.find("afterwards.\n") + 12);
    replace_all(text, needle_sentence({sample.metadata["key"], sample.metadata["value"]}) + " ",
                "");
    return text.substr(0, text.find('.'));
  };
  NiahConfig config{.length = 500, .haystack_start = HaystackStart::kRuler};
  std::set<std::string> starts;
  std::set<std::string> clusters;
  for (const Sample& sample : samples_of(config, model.request(6)))
    starts.insert(first_sentence(sample)), clusters.insert(sample.cluster);
  EXPECT_EQ(starts.size(), 1U);
  EXPECT_EQ(clusters.size(), 1U);
  config.haystack_start = HaystackStart::kRandom;
  starts.clear();
  for (const Sample& sample : samples_of(config, model.request(6)))
    starts.insert(first_sentence(sample));
  EXPECT_EQ(starts.size(), 6U);
}

TEST(Niah, WhatCannotBeMadeIsRefusedWithFigures) {
  const Model model = small_model();
  SampleRequest request = model.request(1);
  EXPECT_EQ(error_of({.haystack = NiahHaystack::kNoise, .length = 120}, request).substr(0, 84),
            "benchmark.length: expected room for a haystack, but template, needles and generation");
  request.window = 900;
  const std::string close = error_of({.haystack = NiahHaystack::kNoise, .length = 500}, request);
  EXPECT_TRUE(close.starts_with(
      "benchmark.length: expected room for a needle 900 tokens before the question, but at "
      "length 500 it can stand at most "))
      << close;
  EXPECT_TRUE(close.ends_with(
      " before\n  hint: raise benchmark.length, or lower mixer.window or benchmark.min_distance"))
      << close;
  request.window = 0;
  request.max_positions = 256;
  EXPECT_EQ(error_of({.length = 512}, request),
            "benchmark.length: expected at most 256 (the model's positions), got 512");
  request.max_positions = 0;
  EXPECT_EQ(error_of({.length = 512, .generation_limit = 3}, request),
            "benchmark.generation_limit: expected at least 7 (the answer's tokens), got 3");
  EXPECT_EQ(error_of({.haystack = NiahHaystack::kEssay}, request),
            "pg_essays: expected essays (*.txt), but STRATA_DATA is not set\n  hint: set "
            "STRATA_DATA to the folder "
            "that holds pg_essays/, or use benchmark.haystack=bundled");
  EXPECT_EQ(error_of({.words = KeyWordSource::kWonderwords}, request),
            "wonderwords/adjectivelist.txt: expected a file here, found none\n  hint: set "
            "STRATA_DATA to the folder "
            "that holds wonderwords/, or use benchmark.words=bundled");
  EXPECT_EQ(error_of({}, model.request(0)), "niah has no end: expected at least 1 sample, got 0");
}

TEST(Niah, ScoresCountTheValueWhetherOrNotItsBlankIsGenerated) {
  const Model model = small_model();
  const auto benchmark = make_niah({.length = 300});
  const Sample sample = samples_of({.length = 300}, model.request(1)).at(0);
  const std::string value = sample.metadata["value"];
  const auto scores = benchmark->score(sample, {value + ". And", {}, {}, {}});
  EXPECT_EQ(scores, (std::map<std::string, double>{
                        {"gen_contains", 1}, {"gen_exact", 1}, {"string_match_all", 1}}));
  const auto late = benchmark->score(sample, {"It is " + value, {}, {}, {}});
  EXPECT_EQ(late.at("gen_contains"), 1);
  EXPECT_EQ(late.at("gen_exact"), 0);
}

TEST(Niah, DataIdFollowsConfigAndSourcesNotSeedOrSplit) {
  const Model model = small_model();
  const auto id = [&](const NiahConfig& config, const SampleRequest& request) {
    return make_niah(config)->data_id(request).value();
  };
  const std::string base = id({}, model.request(1));
  EXPECT_EQ(base.size(), 64U);
  EXPECT_EQ(base, id({}, model.request(7, 9, Split::kCalibration)));
  EXPECT_NE(base, id({.length = 1025}, model.request(1)));
  EXPECT_NE(base, id({.haystack = NiahHaystack::kNoise}, model.request(1)));
}

TEST(Registry, BindsKeysAndRefusesWhatItDoesNotKnow) {
  config::Map keys;
  keys.set("length", 300);
  keys.set("task", "multikey");
  const auto made = make_benchmark("niah", config::Value(keys));
  ASSERT_TRUE(made.has_value()) << made.error().text();
  EXPECT_EQ((*made)->name(), "niah");
  keys.set("lenght", 5);
  const auto typo = make_benchmark("niah", config::Value(keys));
  ASSERT_FALSE(typo.has_value());
  EXPECT_NE(typo.error().text().find("lenght"), std::string::npos) << typo.error().text();
  EXPECT_NE(typo.error().hint.find("length"), std::string::npos) << typo.error().text();
  const auto none = make_benchmark("nia", {});
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().text(),
            "benchmark: expected one of jsonl, local_text, longmemeval, multi_passkey, niah, "
            "niah_grid, ruler, got 'nia'\n  hint: "
            "did you mean 'niah'?");
}

}  // namespace
}  // namespace strata
