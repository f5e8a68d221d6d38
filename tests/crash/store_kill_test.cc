// A writer that is killed at any moment loses nothing that it acknowledged, and leaves a sound
// database.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "core/plan.h"
#include "core/rng.h"
#include "core/sha256.h"
#include "results/store.h"

namespace strata {
namespace {

constexpr int kKills = 64;
constexpr int kRoundsPerDatabase =
    8;  // the first round of each kills while the database is being made
constexpr int kSamples = 1024;
constexpr HeadLayout kLayout{2, 1, 1};

SampleRow sample(int number) {
  return {sha256_hex(std::to_string(number)), "crash", "prompt", 1, {"answer"}, "{}"};
}

struct Ids {
  std::string experiment, execution;
};

// Everything that responses refer to; recording it again is a no-op.
Result<Ids> record_parents(Store& store) {
  const AttentionPlan plan = AttentionPlan::full(kLayout);
  ASSIGN_OR_RETURN(const std::string model, store.record(ModelRow{"model", "m", "", kLayout, 1}));
  ASSIGN_OR_RETURN(const std::string tokenizer, store.record(TokenizerRow{"tokenizer", "t"}));
  RETURN_IF_ERROR(store.record(PlanRow{plan.id(), plan.to_json().dump()}));
  std::vector<SampleRow> samples;
  DataRow data{.id = {}, .benchmark = "crash", .items = {}};
  for (int i = 0; i < kSamples; ++i) {
    samples.push_back(sample(i));
    data.items.push_back({samples.back().id, ""});
  }
  ASSIGN_OR_RETURN(const std::string data_set, store.record(data, samples));
  ExperimentRow experiment{.id = {},
                           .model_id = model,
                           .tokenizer_id = tokenizer,
                           .plan_id = plan.id(),
                           .generation_json = {},
                           .data_id = data_set,
                           .numerics_version = 1};
  RunRow run;
  run.label = run.started = "crash";
  ASSIGN_OR_RETURN(const std::string run_id, store.record(run));
  ExecutionRow execution{.id = {},
                         .run_id = run_id,
                         .build = "b",
                         .device = "cpu",
                         .threads = 1,
                         .dtype = "f",
                         .cpu = {}};
  Ids ids;
  ASSIGN_OR_RETURN(ids.experiment, store.record(experiment));
  ASSIGN_OR_RETURN(ids.execution, store.record(execution));
  return ids;
}

ResponseRow response(const Ids& ids, int number) {
  return {.experiment_id = ids.experiment,
          .sample_id = sample(number).id,
          .execution_id = ids.execution,
          .text = std::string(static_cast<std::size_t>(1 + number * 37 % 9000),
                              static_cast<char>('a' + number % 26)),
          .tokens = Tokens(static_cast<std::size_t>(number % 50), number),
          .answer_nll = {0.5 * number},
          .argmax = {number},
          .metrics = {{"gen_contains", number % 2}},
          .timings_ms = {{"prefill_ms", 1.0}},
          .prefill_flops = 1,
          .decode_flops = 1,
          .kv_bytes = number};
}

// The child: records responses from `first` on and tells each number only when it is recorded.
[[noreturn]] void write_until_killed(const std::string& path, int first, int pipe) {
  Result<Store> store = Store::open(path, Store::Mode::kReadWrite);
  if (!store) ::_exit(2);
  const Result<Ids> ids = record_parents(*store);
  if (!ids) ::_exit(3);
  for (int number = first; number < kSamples; ++number) {
    if (!store->record(response(*ids, number))) ::_exit(4);
    if (::write(pipe, &number, sizeof number) != sizeof number) ::_exit(5);
  }
  ::_exit(0);
}

// Kills a new writer after `acknowledgements` and then `delay_us`; returns how many it
// acknowledged.
int kill_one(const std::string& path, int first, int acknowledgements, useconds_t delay_us) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    write_until_killed(path, first, ends[1]);
  }
  ::close(ends[1]);
  int count = 0;
  int number = 0;
  while (count < acknowledgements && ::read(ends[0], &number, sizeof number) == sizeof number)
    ++count;
  ::usleep(delay_us);
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status))
      << "the writer failed by itself with code " << WEXITSTATUS(status);
  while (::read(ends[0], &number, sizeof number) == sizeof number) ++count;
  ::close(ends[0]);
  if (count > 0) {
    EXPECT_EQ(number, first + count - 1);
  }
  return count;
}

TEST(StoreKill, AKilledWriterLosesNoAcknowledgedResponseAndLeavesASoundDatabase) {
  std::string folder = (std::filesystem::temp_directory_path() / "strata-crash-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  constexpr std::uint64_t kSeed = 20250131;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  Rng rng(kSeed, "store_kill_test");
  std::string path;
  int recorded = 0;
  int acknowledged_in_all = 0;
  for (int kill = 0; kill < kKills; ++kill) {
    if (kill % kRoundsPerDatabase == 0) {
      path = folder + "/" + std::to_string(kill) + ".db";
      recorded = 0;
      recorded = kill_one(path, 0, 0, static_cast<useconds_t>(rng.below(60'000)));
      // Either nothing is there or a whole database.
      if (std::filesystem::exists(path)) {
        const Result<Store> found = Store::open(path, Store::Mode::kReadOnly);
        ASSERT_TRUE(found) << found.error().text();
      }
    } else {
      const int wanted = static_cast<int>(rng.between(1, 30));
      const int count = kill_one(path, recorded, wanted, static_cast<useconds_t>(rng.below(3'000)));
      EXPECT_GE(count, wanted);
      recorded += count;
      acknowledged_in_all += count;
    }
    Result<Store> store = Store::open(path, Store::Mode::kReadWrite);
    ASSERT_TRUE(store) << store.error().text();
    const Result<Ids> ids = record_parents(*store);
    ASSERT_TRUE(ids) << ids.error().text();
    const auto problems = store->check();
    ASSERT_TRUE(problems) << problems.error().text();
    EXPECT_THAT(*problems, testing::IsEmpty()) << "kill " << kill;
    const auto rows = store->responses_of(ids->experiment);
    ASSERT_TRUE(rows) << rows.error().text();
    std::map<std::string, ResponseRow> by_sample;
    for (const ResponseRow& row : *rows) by_sample[row.sample_id] = row;
    // What was recorded but not yet acknowledged may be there too, whole; the kill leaves at most
    // one such a round.
    const int found = static_cast<int>(by_sample.size());
    EXPECT_GE(found, recorded) << "kill " << kill;
    if (kill % kRoundsPerDatabase != 0) {
      EXPECT_LE(found, recorded + 1) << "kill " << kill;
    }
    for (int number = 0; number < found; ++number)
      ASSERT_EQ(by_sample[sample(number).id], response(*ids, number)) << "kill " << kill;
    recorded = found;
  }
  EXPECT_GT(acknowledged_in_all, kKills);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace strata
