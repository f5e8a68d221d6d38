// `strata train` as a person meets it: models trained under a mask, evaluated as models of their
// own; and selections that train. Runs the real programs on a small model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/behaviour/program.h"
#include "tests/crash/tiny_model.h"
#include "tests/unit/checkpoint/model_files.h"

namespace strata {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Outcome;
using testing::run_strata;

class TrainTest : public ::testing::Test {
 protected:
  TrainTest() {
    testing::write_tiny_model(folder() / "model");
    testing::write_questions(folder() / "questions.jsonl", 4, 4);
  }

  const fs::path& folder() const { return folder_.path(); }
  // `command` of build/strata on a model and the small problem.
  Outcome strata(const std::string& command, const std::string& model, const std::string& more,
                 const std::string& questions = "questions.jsonl",
                 const std::string& under = "") const {
    return run_strata(
        fmt::format(
            "{} model=directory model.path={} model.chat_template=none benchmark=jsonl "
            "benchmark.path={} calibration.samples=4 mixer.window=16 mixer.sinks=2 budget.units=2 "
            "threads=1 db={} {}",
            command, (folder() / model).string(), (folder() / questions).string(),
            (folder() / "results.db").string(), more),
        under);
  }
  Outcome train(const std::string& out, const std::string& more) const {
    return strata("train -o " + (folder() / out).string(), "model", more);
  }
  std::string file(const std::string& name) const { return testing::read_file(folder() / name); }
  std::string id_of(const std::string& model) const {
    return (*Checkpoint::open(folder() / model, {.cache_model_id = false})).model_id();
  }

 private:
  testing::TemporaryDirectory folder_;
};

TEST_F(TrainTest, AControlIsAModelOfItsOwnWithItsParentRecorded) {
  const Outcome trained = train("out", "strategy=periodic strategy.offset=1 --steps 3 --batch 2");
  ASSERT_EQ(trained.code, 0) << trained.text;
  EXPECT_THAT(trained.text, HasSubstr("model " + id_of("out").substr(0, 12) + " written to"));
  const auto origin = nlohmann::json::parse(file("out/strata.json"));
  EXPECT_EQ(origin["parents"], nlohmann::json::array({id_of("model")}));
  EXPECT_EQ(origin["transform"]["steps"], 3);
  EXPECT_EQ(origin["transform"]["training"].size(), 3u);
  EXPECT_EQ(origin["transform"]["samples"].size(), 4u);
  EXPECT_EQ(file("out/tokenizer.json"), file("model/tokenizer.json"));
  EXPECT_FALSE(fs::exists(folder() / "out.training"));

  // Its plan, on its own weights.
  const Outcome run = strata(
      "run", "out", "strategy=file strategy.path=" + (folder() / "out/strata.json").string());
  EXPECT_EQ(run.code, 0) << run.text;
  EXPECT_THAT(file("results.db"), HasSubstr(id_of("out")));
  // The parent is no model that answered.
  EXPECT_THAT(run_strata("report leaderboard db=" + (folder() / "results.db").string()).text,
              AllOf(HasSubstr("trained from a model that is not recorded: 3 steps of "
                              "2 prompts of text "),
                    HasSubstr("periodic[1]"), Not(HasSubstr("file["))));

  // The same again ends at the same bytes, and nothing is overwritten.
  ASSERT_EQ(train("again", "strategy=periodic strategy.offset=1 --steps 3 --batch 2").code, 0);
  EXPECT_EQ(file("again/model.safetensors"), file("out/model.safetensors"));
  const Outcome over = train("out", "strategy=periodic strategy.offset=1 --steps 3 --batch 2");
  EXPECT_EQ(over.code, 1);
  EXPECT_THAT(over.text, HasSubstr("expected nothing where the model goes, got something"));
}

TEST_F(TrainTest, ConsaTrainsMasksAndWeightsTogetherAndGoesOnUnderItsMask) {
  const std::string consa =
      "strategy=consa strategy.loss=lm strategy.train_weights=true strategy.training.steps=6";
  const Outcome joint = train("joint", consa);
  ASSERT_EQ(joint.code, 0) << joint.text;
  const Outcome both = train("both", consa + " --steps 2");
  ASSERT_EQ(both.code, 0) << both.text;
  EXPECT_NE(id_of("joint"), id_of("model"));
  EXPECT_NE(id_of("both"), id_of("joint"));
  const auto of_joint = nlohmann::json::parse(file("joint/strata.json"))["transform"];
  const auto of_both = nlohmann::json::parse(file("both/strata.json"))["transform"];
  EXPECT_EQ(of_joint["strategy_steps"], 6);
  EXPECT_EQ(of_joint["selection"]["diagnostics"]["weights"], "trained");
  EXPECT_EQ(of_both["strategy_steps"], 6);
  EXPECT_EQ(of_both["plan"], of_joint["plan"]);
  EXPECT_TRUE(of_joint["selection"]["training"][0].contains("gradient_norm"));
}

TEST_F(TrainTest, AKilledTrainingGoesOnToTheSameBytes) {
  const std::string how =
      "strategy=consa strategy.loss=lm strategy.train_weights=true strategy.training.steps=6 "
      "strategy.training.checkpoint_seconds=0 --steps 6 --checkpoint-seconds 0";
  ASSERT_EQ(train("whole", how).code, 0);
  int kills = 0;
  for (double seconds = 0.05; kills < 100; seconds *= 1.6, ++kills)
    if (const Outcome tried = strata("train -o " + (folder() / "killed").string(), "model", how,
                                     "questions.jsonl", fmt::format("timeout -s KILL {}", seconds));
        tried.code == 0)
      break;
  EXPECT_GT(kills, 0);
  EXPECT_EQ(file("killed/model.safetensors"), file("whole/model.safetensors"));
  EXPECT_FALSE(fs::exists(folder() / "killed.training"));
}

// Rounds of all layers' trainings, whose state lies in files between them.
TEST_F(TrainTest, AKilledSelectionByKlLsGoesOnToTheSameBytes) {
  const std::string how =
      "strategy=kl_ls strategy.train=all strategy.length=64 strategy.batch=1 strategy.steps=12 "
      "strategy.stop_round=2 strategy.stop_window=2 strategy.checkpoint_seconds=0";
  const auto select = [&](const std::string& name, const std::string& under) {
    const std::string place = (folder() / name).string();
    return strata("select -o " + place + ".json --selection " + place + ".selection.json", "model",
                  how, "questions.jsonl", under);
  };
  const auto selection = [&](const std::string& name) {
    auto json = nlohmann::json::parse(file(name + ".selection.json"));
    json["cost"].erase("seconds");
    return json;
  };
  const Outcome whole = select("whole", "");
  ASSERT_EQ(whole.code, 0) << whole.text;
  int kills = 0;
  for (double seconds = 0.05; kills < 100; seconds *= 1.4, ++kills)
    if (select("killed", fmt::format("timeout -s KILL {}", seconds)).code == 0) break;
  EXPECT_GT(kills, 0);
  EXPECT_EQ(file("killed.json"), file("whole.json"));
  EXPECT_EQ(selection("killed"), selection("whole"));
  EXPECT_TRUE(selection("whole")["diagnostics"]["early_stop"].contains("jaccard"));
  EXPECT_FALSE(fs::exists(folder() / "killed.json.training"));
  // A run has its place beside the database, and leaves nothing there either.
  const Outcome run = strata("run", "model", how);
  EXPECT_EQ(run.code, 0) << run.text;
  EXPECT_THAT(run.text, HasSubstr("kl_ls[all,early_stop]"));
  EXPECT_FALSE(fs::exists(folder() / "results.db-training"));
}

TEST_F(TrainTest, WhatCannotBeTrainedIsRefused) {
  const Outcome nowhere =
      strata("run", "model", "strategy=consa strategy.loss=lm strategy.train_weights=true");
  EXPECT_EQ(nowhere.code, 1);
  EXPECT_THAT(nowhere.text, HasSubstr("strata train -o DIR"));
  const Outcome loss = train("out", "strategy=consa strategy.train_weights=true");
  EXPECT_EQ(loss.code, 1);
  EXPECT_THAT(loss.text, HasSubstr("strategy.loss is answer; weights are trained by loss=lm"));
  const Outcome still = train("out", "strategy=full");
  EXPECT_EQ(still.code, 1);
  EXPECT_THAT(still.text, HasSubstr("no step to train"));
  const Outcome less = train("out", "strategy=full --steps -3");
  EXPECT_EQ(less.code, 2);
  EXPECT_THAT(less.text, HasSubstr("--steps: expected a number of at least 0, got '-3'"));
  EXPECT_FALSE(fs::exists(folder() / "out"));
}

TEST_F(TrainTest, AModelIsNotEvaluatedOnItsTrainingText) {
  ASSERT_EQ(train("out", "strategy=full --steps 1").code, 0);
  // The same questions; those that were for calibration are now asked.
  testing::write_questions(folder() / "shifted.jsonl", 8, 4);
  const Outcome run = strata("run", "out", "strategy=full benchmark.samples=8", "shifted.jsonl");
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(run.text, HasSubstr("the model was trained on evaluated sample"));
  EXPECT_EQ(strata("run", "model", "strategy=full benchmark.samples=8", "shifted.jsonl").code, 0);
}

}  // namespace
}  // namespace strata
