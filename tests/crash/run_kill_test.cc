// `strata run`, killed and interrupted: repeating the command gives the rows of a run that nobody
// disturbed. Runs the real programs on a small model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <sstream>
#include <thread>

#include "core/rng.h"
#include "results/store.h"
#include "tests/crash/tiny_model.h"
#include "tests/unit/checkpoint/model_files.h"

namespace strata {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kKills = 60;  // at least
constexpr int kInterrupted = 130;

std::string environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

class RunKillTest : public ::testing::Test {
 protected:
  RunKillTest() {
    testing::write_tiny_model(folder() / "model");
    testing::write_questions(folder() / "few.jsonl", 24, 4);
    testing::write_questions(folder() / "many.jsonl", 400, 4);
  }

  const fs::path& folder() const { return folder_.path(); }
  std::string db(const std::string& name) const { return (folder() / name).string(); }

  std::vector<std::string> words(const std::string& questions, const std::string& database,
                                 const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"run",
                                    "model=directory",
                                    "model.path=" + (folder() / "model").string(),
                                    "model.chat_template=none",
                                    "benchmark=jsonl",
                                    "benchmark.path=" + (folder() / questions).string(),
                                    "calibration.samples=4",
                                    "mixer.window=16",
                                    "mixer.sinks=2",
                                    "budget.units=2",
                                    "batch=2",
                                    "threads=1",
                                    "db=" + database};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::vector<std::string> sweep(const std::string& database) const {
    return words("few.jsonl", database,
                 {"-m", "strategy=full,none,periodic,random,nll_restore,inverted"});
  }
  std::vector<std::string> one_long_run(const std::string& database,
                                        const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = words("many.jsonl", database, more);
    all.emplace_back("strategy=nll_restore");
    return all;
  }

  // Starts build/strata-engine; what it says goes to output().
  pid_t start(const std::vector<std::string>& arguments) {
    const std::string program = environment("STRATA_BINARY_DIR", "build") + "/strata-engine";
    const std::string log = (folder() / "output").string();
    std::vector<char*> argv{const_cast<char*>(program.c_str())};
    for (const std::string& word : arguments) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
      const int file = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      ::dup2(file, STDOUT_FILENO);
      ::dup2(file, STDERR_FILENO);
      ::execv(program.c_str(), argv.data());
      ::_exit(127);
    }
    return child;
  }
  std::string output() const { return testing::read_file(folder() / "output"); }

  static int wait(pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
  }
  int run(const std::vector<std::string>& arguments) {
    const int status = wait(start(arguments));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  // All rows as text, without measured times.
  static std::string rows_of(const std::string& database) {
    const Result<Store> store = Store::open(database, Store::Mode::kReadOnly);
    EXPECT_TRUE(store) << store.error().text();
    std::ostringstream out;
    EXPECT_TRUE(store->canonical_dump(out, Store::Timings::kExclude));
    return out.str();
  }
  // Equality of long texts, of which only the first differing line is shown.
  static void expect_same_rows(const std::string& rows, const std::string& expected) {
    if (rows == expected) return;
    std::istringstream left(rows), right(expected);
    std::string a, b;
    do {
      std::getline(left, a);
      std::getline(right, b);
    } while (a == b);
    ADD_FAILURE() << "got       " << a.substr(0, 2000) << "\nexpected  " << b.substr(0, 2000);
  }
  static std::size_t answers_in(const std::string& database) {
    std::size_t count = 0;
    const Result<Store> store = Store::open(database, Store::Mode::kReadOnly);
    if (!store) return 0;
    for (const RunRow& row : store->runs().value_or(std::vector<RunRow>{}))
      if (row.experiment_id) count += store->responses_of(*row.experiment_id)->size();
    return count;
  }
  void wait_for_answers(const std::string& database) {
    const auto end = Clock::now() + std::chrono::seconds(60);
    while (answers_in(database) == 0 && Clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ASSERT_GT(answers_in(database), 0U) << output();
  }
  static void expect_sound(const std::string& database) {
    const Result<Store> store = Store::open(database, Store::Mode::kReadOnly);
    ASSERT_TRUE(store) << store.error().text();
    EXPECT_THAT(*store->check(), IsEmpty());
  }
  static RunRow only_run(const std::string& database) {
    const Result<Store> store = Store::open(database, Store::Mode::kReadOnly);
    EXPECT_TRUE(store) << store.error().text();
    const std::vector<RunRow> runs = *store->runs();
    EXPECT_EQ(runs.size(), 1U);
    return runs.at(0);
  }

 private:
  testing::TemporaryDirectory folder_;
};

TEST_F(RunKillTest, AKilledSweepGivesTheRowsOfAnUndisturbedOneWhenItIsRepeated) {
  const std::string undisturbed = db("undisturbed.db");
  const auto began = Clock::now();
  ASSERT_EQ(run(sweep(undisturbed)), 0) << output();
  const auto whole = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - began);
  const std::string expected = rows_of(undisturbed);
  ASSERT_THAT(expected, HasSubstr("status=done"));

  constexpr std::uint64_t kSeed = 20261124;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  Rng rng(kSeed, "run_kill_test");
  int kills = 0, databases = 0, kills_with_answers = 0;
  while (kills < kKills) {
    const std::string database = db("killed-" + std::to_string(databases++) + ".db");
    for (bool finished = false; !finished;) {
      const pid_t child = start(sweep(database));
      // From the start on; the first half, since what is carried on takes less than the whole.
      std::this_thread::sleep_for(
          std::chrono::microseconds(rng.below(static_cast<std::uint64_t>(whole.count()) / 2)));
      ::kill(child, SIGKILL);
      const int status = wait(child);
      finished = WIFEXITED(status);
      if (finished) {
        ASSERT_EQ(WEXITSTATUS(status), 0) << output();
        break;
      }
      ++kills;
      if (!fs::exists(database)) continue;
      kills_with_answers += answers_in(database) > 0 ? 1 : 0;
      expect_sound(database);
    }
    SCOPED_TRACE("database " + std::to_string(databases - 1));
    expect_same_rows(rows_of(database), expected);
    expect_sound(database);
  }
  std::printf(
      "%d kills in %d databases, %d of them with answers recorded; a whole sweep takes "
      "%.2f s\n",
      kills, databases, kills_with_answers, static_cast<double>(whole.count()) * 1e-6);
  EXPECT_GT(kills_with_answers, kKills / 4);
}

TEST_F(RunKillTest, FullDiagnosticsCheckARecordedRunAgainAndCountForOneThatAsksForLess) {
  const std::string database = db("checked.db");
  const auto job = [&](const char* diagnostics) {
    return words("few.jsonl", database,
                 {"strategy=gradient_attribution", std::string("diagnostics=") + diagnostics});
  };
  for (const auto& [diagnostics, says, runs] :
       {std::tuple{"basic", "1 run recorded", 1u}, std::tuple{"full", "1 run recorded", 2u},
        std::tuple{"basic", "1 were there already", 2u},
        std::tuple{"full", "1 were there already", 2u}}) {
    ASSERT_EQ(run(job(diagnostics)), 0) << output();
    EXPECT_THAT(output(), HasSubstr(says));
    EXPECT_THAT(output(), Not(HasSubstr("sign of a bug")));
    EXPECT_EQ(Store::open(database, Store::Mode::kReadOnly)->runs()->size(), runs);
  }
  const Result<Store> store = Store::open(database, Store::Mode::kReadOnly);
  const std::vector<RunRow> runs = *store->runs();
  EXPECT_EQ(runs[0].config_hash, runs[1].config_hash);
  SelectionCost cost[2];
  for (std::size_t i = 0; i < 2; ++i) {
    const SelectionRow selection = *store->selection(*runs[i].selection_id);
    cost[i] = selection.cost;
    cost[i].seconds = 0;
    cost[i].peak_bytes = 0;
    const auto has = [&](const char* words) {
      return selection.diagnostics_json.find(words) != std::string::npos;
    };
    EXPECT_TRUE(has("numbers among the scores"));
    EXPECT_EQ(has("patching clean by clean"), i == 1);
    EXPECT_EQ(has("checks_cost"), i == 1);
  }
  EXPECT_EQ(cost[0], cost[1]);  // the checks are metered apart
}

TEST_F(RunKillTest, OneInterruptFinishesTheSampleAndTheSameCommandCarriesOn) {
  const std::string database = db("a.db");
  const pid_t child = start(one_long_run(database));
  wait_for_answers(database);
  ::kill(child, SIGINT);
  const int status = wait(child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), kInterrupted) << output();
  EXPECT_THAT(output(), HasSubstr("stopped by the user; what was finished is kept"));
  EXPECT_THAT(output(), HasSubstr("the same command carries on where it stopped"));
  EXPECT_EQ(only_run(database).status, RunStatus::kInterrupted);
  expect_sound(database);
  const std::size_t answered = answers_in(database);
  EXPECT_LT(answered, 400U);

  ASSERT_EQ(run(one_long_run(database)), 0) << output();
  EXPECT_THAT(output(),
              HasSubstr("(" + std::to_string(answered) + " of 400 samples were answered before)"));
  EXPECT_EQ(only_run(database).status, RunStatus::kDone);
  ASSERT_EQ(run(one_long_run(db("undisturbed.db"))), 0) << output();
  expect_same_rows(rows_of(database), rows_of(db("undisturbed.db")));
}

TEST_F(RunKillTest, TwoInterruptsStopAtOnce) {
  const std::string database = db("a.db");
  // A batch of all samples, on one thread: to finish it would take the whole run.
  const pid_t child = start(one_long_run(database, {"batch=400"}));
  const auto end = Clock::now() + std::chrono::seconds(60);
  while (Clock::now() < end) {
    const Result<Store> store = Store::open(database, Store::Mode::kReadOnly);
    if (store && !store->runs()->empty() && !store->executions_of(store->runs()->at(0).id)->empty())
      break;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  // The execution is recorded right before the batch begins; an interrupt in between would find
  // nothing to finish.
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  ::kill(child, SIGINT);
  ::kill(child, SIGINT);
  // A second signal of one kind is dropped while the first is pending: repeat it until it arrives.
  int status = 0;
  const auto asked = Clock::now();
  while (::waitpid(child, &status, WNOHANG) == 0) {
    ::kill(child, SIGINT);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_LT(Clock::now() - asked, std::chrono::milliseconds(500));
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), kInterrupted);
  EXPECT_EQ(answers_in(database), 0U);
  EXPECT_EQ(only_run(database).status, RunStatus::kInterrupted);  // for readers: no time to say so
  expect_sound(database);
}

TEST_F(RunKillTest, AChangedConfigurationIsARunBesideTheOldOne) {
  const std::string database = db("a.db");
  const std::vector<std::string> few = words("few.jsonl", database, {"strategy=full"});
  ASSERT_EQ(run(few), 0) << output();
  std::vector<std::string> changed = few;
  changed.emplace_back("benchmark.generation_limit=3");
  ASSERT_EQ(run(changed), 0) << output();
  const Store store = *Store::open(database, Store::Mode::kReadOnly);
  const std::vector<RunRow> runs = *store.runs();
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_NE(runs[0].experiment_id, runs[1].experiment_id);
  EXPECT_EQ(store.responses_of(*runs[0].experiment_id)->size(), 24U);
  EXPECT_EQ(store.responses_of(*runs[1].experiment_id)->size(), 24U);
}

TEST_F(RunKillTest, ResumeCarriesOnByTheRecordedConfigurationOrSaysWhatDiffers) {
  const std::string database = db("a.db");
  const pid_t child = start(one_long_run(database));
  wait_for_answers(database);
  ::kill(child, SIGKILL);
  wait(child);
  const std::string id = only_run(database).id;
  const std::vector<std::string> resume = {"run", "--resume", id.substr(0, 12), "db=" + database};

  std::vector<std::string> other = one_long_run(database, {"--resume", id, "mixer.window=17"});
  EXPECT_EQ(run(other), 2);
  EXPECT_THAT(output(), HasSubstr("--resume takes the recorded configuration; expected db= alone"));

  fs::copy_file(folder() / "many.jsonl", folder() / "kept.jsonl");
  testing::write_questions(folder() / "many.jsonl", 399, 4);
  EXPECT_EQ(run(resume), 1);
  EXPECT_THAT(output(), HasSubstr("run " + id.substr(0, 12) +
                                  " (nll_restore): it cannot be carried on: not what it was "
                                  "(recorded → now)\n  samples: "));
  EXPECT_THAT(output(), Not(HasSubstr("model:")));

  fs::copy_file(folder() / "kept.jsonl", folder() / "many.jsonl",
                fs::copy_options::overwrite_existing);
  ASSERT_EQ(run(resume), 0) << output();
  EXPECT_THAT(output(), HasSubstr("samples were answered before)"));
  ASSERT_EQ(run(one_long_run(db("undisturbed.db"))), 0) << output();
  expect_same_rows(rows_of(database), rows_of(db("undisturbed.db")));
  EXPECT_EQ(run(resume), 0);
  EXPECT_THAT(output(), HasSubstr("is finished; there is nothing to carry on"));
}

TEST_F(RunKillTest, ASecondProcessIsToldThatTheDatabaseIsInUse) {
  const std::string database = db("a.db");
  const pid_t child = start(one_long_run(database));
  wait_for_answers(database);
  EXPECT_EQ(run(words("few.jsonl", database, {"strategy=full"})), 1);
  EXPECT_THAT(output(), HasSubstr("another strata run (process " + std::to_string(child) +
                                  ") is writing to this database"));
  ::kill(child, SIGKILL);
  wait(child);
  // The lock ends with its process, however that ends.
  ASSERT_EQ(run(words("few.jsonl", database, {"strategy=full"})), 0) << output();
  EXPECT_FALSE(fs::exists(database + "-lock"));
}

}  // namespace
}  // namespace strata
