// `strata convert` as a person meets it: branches and hybrids made by the real programs out of a
// small model, and evaluated.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/plan.h"
#include "core/rng.h"
#include "tests/behaviour/program.h"
#include "tests/crash/tiny_model.h"
#include "tests/unit/checkpoint/model_files.h"

namespace strata {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::run_strata;

constexpr HeadLayout kLayout{.layers = 6, .query_heads = 4, .kv_heads = 2};

class ConvertTest : public ::testing::Test {
 protected:
  ConvertTest() {
    testing::write_tiny_model(folder() / "model");
    testing::write_questions(folder() / "questions.jsonl", 4, 4);
    fs::create_directories(folder() / "text");
    Rng rng(1, "text");
    for (const char* name : {"a.txt", "b.txt"}) {
      std::string words;
      for (int i = 0; i < 400; ++i) words += fmt::format("word{} ", rng.below(90));
      testing::write_file(folder() / "text" / name, words);
    }
    const AttentionPlan plan = *AttentionPlan::from_cells(
        Granularity::kLayer, kLayout,
        {{FullAttention{}}, {SlidingWindow{16, 2}}, {LinearAttention{LinearKind::kLightning}}},
        {2, 0, 2, 1, 2, 0});
    testing::write_file(folder() / "plan.json", plan.to_json().dump());
  }

  const fs::path& folder() const { return folder_.path(); }
  std::string at(const std::string& name) const { return (folder() / name).string(); }
  Outcome convert(const std::string& out, const std::string& more,
                  const std::string& under = "") const {
    return run_strata(fmt::format("convert -o {} model=directory model.path={} "
                                  "model.chat_template=none threads=1 text.path={} "
                                  "text.max_repeats=20 stage1.length=32 stage1.batch=2 "
                                  "stage2.length=32 stage2.batch=2 stage3.length=64 {}",
                                  at(out), at("model"), at("text"), more),
                      under);
  }
  Outcome run(const std::string& model, const std::string& more) const {
    return run_strata(
        fmt::format("run model=directory model.path={} model.chat_template=none "
                    "benchmark=jsonl benchmark.path={} calibration.samples=4 "
                    "budget.units=2 threads=1 db={} {}",
                    at(model), at("questions.jsonl"), at("results.db"), more));
  }
  nlohmann::json transform(const std::string& out) const {
    return nlohmann::json::parse(testing::read_file(folder() / out / "strata.json"))["transform"];
  }
  std::string files_of(const std::string& out) const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder() / out))
      if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    std::string all;
    for (const fs::path& file : files) all += testing::read_file(file);
    return all;
  }

 private:
  testing::TemporaryDirectory folder_;
};

TEST_F(ConvertTest, BranchesAreMadeOutOfAFolderOfTextAndEvaluated) {
  const Outcome made = convert("out", "stage1.steps=5 peak_flops=1e12");
  ASSERT_EQ(made.code, 0) << made.text;
  EXPECT_THAT(made.text, HasSubstr("linear branches of 6 layers, model "));
  EXPECT_FALSE(fs::exists(folder() / "out.training"));
  const nlohmann::json record = transform("out");
  EXPECT_EQ(record["method"], "strata convert");
  EXPECT_EQ(record["stage1"]["steps"], 5);
  EXPECT_EQ(record["stages"]["stage1"]["curve"].size(), 5);
  EXPECT_EQ(record["stages"]["stage1"]["curve"][0]["loss"].size(), 6);
  EXPECT_EQ(record["stages"]["stage1"]["tokens"], 5 * 2 * 32);
  EXPECT_GT(record["stages"]["stage1"]["tokens_per_second"], 0);
  EXPECT_GT(record["stages"]["stage1"]["share_of_peak_flops"], 0);
  EXPECT_GT(record["stages"]["stage1"]["cost"]["flops"], 0);
  EXPECT_EQ(record["text"]["source"], "folder");
  EXPECT_EQ(record["shortened"], true);

  const Outcome ran =
      run("model", "model.branches=" + at("out") +
                       " strategy=none mixer.kind=linear_attention mixer.linear=lightning");
  EXPECT_EQ(ran.code, 0) << ran.text;
  const Outcome over = convert("out", "stage1.steps=5");
  EXPECT_EQ(over.code, 1);
  EXPECT_THAT(over.text, HasSubstr("expected nothing where the model goes"));
}

TEST_F(ConvertTest, AHybridIsTrainedInThreeStagesAndIsAModelOfItsOwn) {
  const Outcome made =
      convert("out", "plan=" + at("plan.json") + " stage1.steps=3 stage2.steps=3 stage3.steps=2");
  ASSERT_EQ(made.code, 0) << made.text;
  EXPECT_THAT(made.text, HasSubstr("hybrid model, model "));
  const nlohmann::json record = transform("out");
  EXPECT_EQ(record["stages"]["stage2"]["curve"].size(), 3);
  EXPECT_EQ(record["stages"]["stage3"]["tokens"], 2 * 64);
  EXPECT_EQ(record["stage3"]["loss"], "nll");
  const Outcome ran = run("out", "strategy=native");
  EXPECT_EQ(ran.code, 0) << ran.text;
  // Among those that were trained alike, by the name of its plan.
  EXPECT_THAT(run_strata("report leaderboard db=" + at("results.db")).text,
              AllOf(HasSubstr("trained from a model that is not recorded: 5 steps of 2 prompts of "
                              "text "),
                    HasSubstr("plan[")));

  // From branches that are there already, and branches alone.
  ASSERT_EQ(convert("branches", "stage1.steps=3").code, 0);
  const Outcome later =
      convert("later", "plan=" + at("plan.json") + " model.branches=" + at("branches") +
                           " stage1.steps=0 stage2.steps=3 stage2.train=branches");
  ASSERT_EQ(later.code, 0) << later.text;
  const auto backbone = [&](const std::string& name) {
    return (*Checkpoint::open(folder() / name, {.cache_model_id = false})).model_id();
  };
  EXPECT_EQ(backbone("later"), backbone("model"));
  EXPECT_NE(backbone("out"), backbone("model"));
}

TEST_F(ConvertTest, AKilledConversionGoesOnToTheSameBytes) {
  const std::string how = "text=teacher text.sample_batch=4 plan=" + at("plan.json") +
                          " stage1.steps=4 stage2.steps=4 checkpoint_seconds=0 text.max_repeats=1";
  const auto convert_it = [&](const std::string& out, const std::string& under) {
    return run_strata(fmt::format("convert -o {} model=directory model.path={} "
                                  "model.chat_template=none threads=1 stage1.length=32 "
                                  "stage1.batch=2 stage2.length=32 stage2.batch=2 {}",
                                  at(out), at("model"), how),
                      under);
  };
  const Outcome whole = convert_it("whole", "");
  ASSERT_EQ(whole.code, 0) << whole.text;
  EXPECT_EQ(transform("whole")["text"]["temperature"], 1.0);
  int kills = 0;
  for (double seconds = 0.05; kills < 100; seconds *= 1.6, ++kills)
    if (convert_it("killed", fmt::format("timeout -s KILL {}", seconds)).code == 0) break;
  EXPECT_GT(kills, 0);
  EXPECT_EQ(files_of("killed"), files_of("whole"));
  EXPECT_EQ(transform("killed")["stages"]["stage1"]["curve"],
            transform("whole")["stages"]["stage1"]["curve"]);
  EXPECT_FALSE(fs::exists(folder() / "killed.training"));
}

TEST_F(ConvertTest, NoStepMakesTheStartOfAConversion) {
  const Outcome made =
      run_strata(fmt::format("convert -o {} model=directory model.path={} model.chat_template=none "
                             "text=teacher stage1.steps=0 layers=[1,4] branch.kind=gla",
                             at("out"), at("model")));
  ASSERT_EQ(made.code, 0) << made.text;
  EXPECT_EQ(transform("out")["layers"], nlohmann::json({1, 4}));
}

TEST_F(ConvertTest, AWindowedControlIsTrainedAlike) {
  const AttentionPlan plan = *AttentionPlan::from_cells(
      Granularity::kLayer, kLayout, {{FullAttention{}}, {SlidingWindow{8, 1}}}, {0, 1, 1, 1, 1, 0});
  testing::write_file(folder() / "windows.json", plan.to_json().dump());
  const Outcome made = convert("out", "stage2.steps=3 plan=" + at("windows.json"));
  ASSERT_EQ(made.code, 0) << made.text;
  EXPECT_FALSE(transform("out")["stages"].contains("stage1"));
  const Outcome ran = run("out", "strategy=native");
  EXPECT_EQ(ran.code, 0) << ran.text;
}

TEST_F(ConvertTest, WhatCannotBeDoneIsRefused) {
  const Outcome few = convert("out", "stage1.steps=5000");
  EXPECT_EQ(few.code, 1);
  EXPECT_THAT(few.text, HasSubstr("more than text.max_repeats=20"));
  EXPECT_THAT(few.text, HasSubstr("hint: text.max_repeats="));
  const Outcome none =
      convert("out", "stage1.steps=0 stage2.steps=1 layers=[0,2] plan=" + at("plan.json"));
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.text, HasSubstr("layer 4 has no trained lightning branch"));
  const Outcome key = convert("out", "branch.kind=lightening");
  EXPECT_EQ(key.code, 1);
  EXPECT_THAT(key.text, HasSubstr("branch.kind"));
  EXPECT_FALSE(fs::exists(folder() / "out"));
}

}  // namespace
}  // namespace strata
