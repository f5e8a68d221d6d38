// What a repeated `strata run` takes for answered: recorded answers stand for a job only while
// nothing that they were computed with has changed. Runs the real programs on a small model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/behaviour/small_job.h"

namespace strata {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::read_file;
using testing::SmallJob;
using testing::write_file;

constexpr const char* kReused = "0 runs recorded";
constexpr const char* kComputed = "1 run recorded";

class ReuseTest : public ::testing::Test {
 protected:
  // A finished run, and the proof that it is reused while nothing changes.
  void answer_once(const std::string& more) {
    expect_says(more, kComputed);
    expect_says(more, kReused);
    ASSERT_EQ(job_.runs().size(), 1U);
  }
  // The same command once more leads to a second run with answers of its own to all questions.
  void expect_new_answers(const std::string& more) {
    expect_says(more, kComputed);
    const std::vector<RunRow> runs = job_.runs();
    ASSERT_EQ(runs.size(), 2U);
    for (const RunRow& run : runs) EXPECT_EQ(job_.answers(run).size(), SmallJob::kQuestions);
    expect_says(more, kReused);
  }
  void expect_says(const std::string& more, const char* words) const {
    const Outcome outcome = job_.strata("run", more);
    ASSERT_EQ(outcome.code, 0) << outcome.text;
    ASSERT_THAT(outcome.text, HasSubstr(words));
  }
  void stop_after_two_answers() const {
    job_.edit("UPDATE runs SET status = 'interrupted', finished = ''");
    job_.edit(
        "DELETE FROM responses WHERE sample_id IN (SELECT sample_id FROM data_samples WHERE "
        "position >= 2)");
  }

  SmallJob job_;
};

// The best known failure of caches of model answers: their key is the model's name, or its path.
TEST_F(ReuseTest, WeightsRewrittenInPlaceUnderTheSameNameDoNotGetTheOldAnswers) {
  answer_once("strategy=full");
  const fs::path weights = job_.folder() / "model" / "model.safetensors";
  const auto written = fs::last_write_time(weights);
  std::string bytes = read_file(weights);
  // The last matrix's last weights: same file, same size, same time.
  for (std::size_t i = bytes.size() - 64; i < bytes.size(); i += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, &bytes[i], sizeof value);
    value += 4;
    std::memcpy(&bytes[i], &value, sizeof value);
  }
  write_file(weights, bytes);
  fs::last_write_time(weights, written);

  expect_new_answers("strategy=full");
  const std::vector<RunRow> runs = job_.runs();
  EXPECT_EQ(runs[0].config_hash, runs[1].config_hash);
  EXPECT_NE(runs[0].experiment_id, runs[1].experiment_id);
  const auto old_answers = job_.answers(runs[0]);
  const auto new_answers = job_.answers(runs[1]);
  ASSERT_EQ(job_.strata("run", "strategy=full", "fresh.db").code, 0);
  const auto fresh = job_.answers(job_.runs("fresh.db").at(0), "fresh.db");
  for (const auto& [sample, answer] : new_answers) {
    EXPECT_NE(answer.answer_nll, old_answers.at(sample).answer_nll);
    EXPECT_EQ(answer.answer_nll, fresh.at(sample).answer_nll);
    EXPECT_EQ(answer.tokens, fresh.at(sample).tokens);
  }
}

TEST_F(ReuseTest, AStoppedRunOfOtherWeightsIsNotCarriedOn) {
  answer_once("strategy=full");
  stop_after_two_answers();
  const fs::path weights = job_.folder() / "model" / "model.safetensors";
  std::string bytes = read_file(weights);
  bytes[bytes.size() - 2] ^= 1;
  write_file(weights, bytes);
  expect_says("strategy=full", kComputed);
  const std::vector<RunRow> runs = job_.runs();
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(job_.answers(runs[0]).size(), 2U);
  EXPECT_EQ(job_.answers(runs[1]).size(), SmallJob::kQuestions);
}

TEST_F(ReuseTest, AnotherTokenizerMeansNewAnswers) {
  answer_once("strategy=full");
  const fs::path file = job_.folder() / "model" / "tokenizer.json";
  write_file(file, read_file(file) + "\n");
  expect_new_answers("strategy=full");
}

TEST_F(ReuseTest, EveryAnswerSaysWhatMemoryItTook) {
  answer_once("strategy=full");
  const auto answers = job_.answers(job_.runs().at(0));
  EXPECT_EQ(answers.size(), SmallJob::kQuestions);
  for (const auto& [sample, answer] : answers) {
    ASSERT_TRUE(answer.peak_bytes);
    EXPECT_GE(*answer.peak_bytes, answer.kv_bytes);
  }
}

// Where answers end is said in a file that is no part of the tokenizer's id.
TEST_F(ReuseTest, AnotherStopTokenMeansNewAnswers) {
  answer_once("strategy=full");
  write_file(job_.folder() / "model" / "generation_config.json", R"({"eos_token_id": [3, 7]})");
  expect_new_answers("strategy=full");
}

TEST_F(ReuseTest, APlanFileOfOtherContentMeansNewAnswers) {
  const auto select = [&](const char* offset) {
    const Outcome outcome = job_.strata("select -o " + job_.path("plan.json"),
                                        std::string("strategy=periodic strategy.offset=") + offset);
    ASSERT_EQ(outcome.code, 0) << outcome.text;
  };
  const std::string file = "strategy=file strategy.path=" + job_.path("plan.json");
  select("0");
  answer_once(file);
  std::filesystem::remove(job_.path("plan.json"));
  select("1");
  expect_new_answers(file);
  const std::vector<RunRow> runs = job_.runs();
  EXPECT_NE(runs[0].experiment_id, runs[1].experiment_id);
  EXPECT_NE(job_.answers(runs[0]).begin()->second.answer_nll,
            job_.answers(runs[1]).begin()->second.answer_nll);
}

TEST_F(ReuseTest, OtherPromptsUnderTheSameIdsMeanNewAnswers) {
  answer_once("strategy=full");
  const fs::path file = job_.folder() / "questions.jsonl";
  std::string text = read_file(file);
  const std::size_t prompt = text.find("\"prompt\":\"") + std::strlen("\"prompt\":\"");
  text[prompt] = text[prompt] == 'a' ? 'b' : 'a';
  write_file(file, text);
  expect_new_answers("strategy=full");
}

class ReuseSettingTest : public ReuseTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(ReuseSettingTest, AnotherSettingMeansNewAnswers) {
  answer_once("strategy=full");
  expect_new_answers(std::string("strategy=full ") + GetParam());
}

INSTANTIATE_TEST_SUITE_P(ReuseTest, ReuseSettingTest,
                         ::testing::Values("benchmark.generation_limit=3", "dtype=float64",
                                           "dtype=bfloat16", "model.chat_template=chatml"),
                         [](const auto& setting) {
                           std::string name = setting.param;
                           for (char& c : name)
                             if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           return name;
                         });

// What this machine cannot change is changed in what was recorded, with its id, to one that no
// content has.
constexpr const char* kAnotherDevice =
    "PRAGMA foreign_keys = OFF;"
    "UPDATE executions SET device = 'cuda:NVIDIA Another GPU', id = 'x' || substr(id, 2);"
    "UPDATE responses SET execution_id = 'x' || substr(execution_id, 2);";
constexpr const char* kAnotherDtype =
    "PRAGMA foreign_keys = OFF;"
    "UPDATE executions SET dtype = 'bfloat16', id = 'y' || substr(id, 2);"
    "UPDATE responses SET execution_id = 'y' || substr(execution_id, 2);";
constexpr const char* kAnotherNumerics =
    "PRAGMA foreign_keys = OFF;"
    "UPDATE experiments SET numerics_version = numerics_version - 1, id = 'z' || substr(id, 2);"
    "UPDATE runs SET experiment_id = 'z' || substr(experiment_id, 2);"
    "UPDATE responses SET experiment_id = 'z' || substr(experiment_id, 2);";

TEST_F(ReuseTest, AnotherDeviceMeansNewAnswers) {
  answer_once("strategy=full");
  job_.edit(kAnotherDevice);
  expect_new_answers("strategy=full");
}

TEST_F(ReuseTest, AnotherRecordedDtypeMeansNewAnswers) {
  answer_once("strategy=full");
  job_.edit(kAnotherDtype);
  expect_new_answers("strategy=full");
}

TEST_F(ReuseTest, AnotherNumericsVersionMeansNewAnswers) {
  answer_once("strategy=full");
  job_.edit(kAnotherNumerics);
  expect_new_answers("strategy=full");
}

TEST_F(ReuseTest, AStoppedRunIsCarriedOnOnTheSameDeviceOnly) {
  answer_once("strategy=full");
  stop_after_two_answers();
  const Outcome same = job_.strata("run", "strategy=full");
  EXPECT_THAT(same.text, HasSubstr("(2 of 6 samples were answered before)"));
  EXPECT_EQ(job_.runs().size(), 1U);
  stop_after_two_answers();
  job_.edit(kAnotherDevice);
  expect_says("strategy=full", kComputed);
  EXPECT_EQ(job_.runs().size(), 2U);
}

}  // namespace
}  // namespace strata
