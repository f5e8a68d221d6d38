// RULER's scores, its keys, and what its data id follows.
#include "benchmarks/registry.h"
#include "ruler_fixture.h"

namespace strata {
namespace {

Sample answered_by(std::vector<std::string> references) {
  Sample sample;
  sample.answers = std::move(references);
  return sample;
}

std::map<std::string, double> scores(RulerTask task, RulerVariant variant, const Sample& sample,
                                     std::string text) {
  RulerConfig config = bundled_ruler(task, 1000);
  config.variant = variant;
  return make_ruler(config)->score(sample, {std::move(text), {}, {}, {}});
}

TEST(RulerScores, StringMatchAllIsTheShareOfReferencesInBothVariants) {
  const Sample sample = answered_by({"Alpha", "beta", "gamma", "delta"});
  for (const RulerVariant variant : {RulerVariant::kRuler, RulerVariant::kLmEval}) {
    const auto half = scores(RulerTask::kVt, variant, sample, "ALPHA and then Delta.");
    EXPECT_EQ(half,
              (std::map<std::string, double>{{"gen_contains", 0}, {"string_match_all", 0.5}}));
    const auto all = scores(RulerTask::kVt, variant, sample, "alphabetagammadelta");
    EXPECT_EQ(all, (std::map<std::string, double>{{"gen_contains", 1}, {"string_match_all", 1}}));
  }
}

TEST(RulerScores, StringMatchPartIsAnyReferenceInRulerAndTheShareInLmEval) {
  const Sample sample = answered_by({"Denver Broncos", "Broncos", "the Broncos"});
  const std::string text = "It was Broncos country";
  const auto ruler = scores(RulerTask::kQa1, RulerVariant::kRuler, sample, text);
  EXPECT_EQ(ruler.at("string_match_part"), 1.0);
  EXPECT_EQ(ruler.at("gen_contains"), 1.0);
  EXPECT_FALSE(ruler.contains("string_match_all"));
  const auto lm_eval = scores(RulerTask::kQa2, RulerVariant::kLmEval, sample, text);
  EXPECT_DOUBLE_EQ(lm_eval.at("string_match_part"), 1.0 / 3);
  EXPECT_EQ(lm_eval.at("gen_contains"), 1.0);
  EXPECT_EQ(scores(RulerTask::kQa1, RulerVariant::kRuler, sample, "")["string_match_part"], 0.0);
}

// RULER replaces control characters by newlines, so that a value broken by one is not found.
TEST(RulerScores, PredictionsAreCleanedAsInRuler) {
  const Sample sample = answered_by({"1234567"});
  EXPECT_EQ(scores(RulerTask::kNiahSingle1, RulerVariant::kRuler, sample,
                   "\x01\n 1234567\n")["string_match_all"],
            1.0);
  EXPECT_EQ(scores(RulerTask::kNiahSingle1, RulerVariant::kRuler, sample,
                   "123\t4567")["string_match_all"],
            0.0);
}

TEST(RulerScores, WhatWasMovedIntoThePromptCountsAsSaid) {
  Sample sample = answered_by({"AB CD"});
  sample.answer_given = "AB";
  EXPECT_EQ(scores(RulerTask::kVt, RulerVariant::kRuler, sample, " CD")["string_match_all"], 1.0);
}

TEST(Ruler, KeysBindAndUnknownTasksAreRefusedWithTheNames) {
  config::Map keys;
  keys.set("task", "niah_multikey_3");
  keys.set("variant", "lm_eval");
  const auto made = make_benchmark("ruler", config::Value(keys));
  ASSERT_TRUE(made.has_value()) << made.error().text();
  EXPECT_EQ((*made)->name(), "ruler");
  keys.set("task", "niah_multikey_4");
  const auto none = make_benchmark("ruler", config::Value(keys));
  ASSERT_FALSE(none.has_value());
  EXPECT_NE(none.error().text().find("niah_multikey_3"), std::string::npos) << none.error().text();
}

TEST(Ruler, DataIdFollowsConfigAndSourcesNotSeedOrSplit) {
  const Model model = small_model();
  const auto id = [&](const RulerConfig& config, const SampleRequest& request) {
    return make_ruler(config)->data_id(request).value();
  };
  RulerConfig config = bundled_ruler(RulerTask::kNiahSingle2, 1000);
  const std::string base = id(config, model.request(1));
  EXPECT_EQ(base.size(), 64U);
  EXPECT_EQ(base, id(config, model.request(7, 9, Split::kCalibration)));
  config.length = 1001;
  EXPECT_NE(base, id(config, model.request(1)));
  config = bundled_ruler(RulerTask::kNiahSingle3, 1000);
  EXPECT_NE(base, id(config, model.request(1)));
}

}  // namespace
}  // namespace strata
