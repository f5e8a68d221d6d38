// A job on a small random model, in a folder of its own, and what its database holds of it.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "core/result.h"
#include "results/sqlite.h"
#include "results/store.h"
#include "tests/behaviour/program.h"
#include "tests/crash/tiny_model.h"
#include "tests/unit/checkpoint/model_files.h"

namespace strata::testing {

class SmallJob {
 public:
  static constexpr int kQuestions = 6;

  SmallJob() {
    write_tiny_model(folder() / "model");
    write_questions(folder() / "questions.jsonl", kQuestions, 2);
  }

  const std::filesystem::path& folder() const { return folder_.path(); }
  std::string path(const std::string& name) const { return (folder() / name).string(); }

  // `command` of build/strata on the model and its questions.
  Outcome strata(const std::string& command, const std::string& more = "",
                 const std::string& database = "a.db") const {
    return run_strata(
        fmt::format("{} model=directory model.path={} model.chat_template=none benchmark=jsonl "
                    "benchmark.path={} benchmark.generation_limit=4 calibration.samples=2 "
                    "mixer.window=16 mixer.sinks=2 budget.units=2 threads=1 batch=2 db={} {}",
                    command, path("model"), path("questions.jsonl"), path(database), more));
  }

  std::vector<RunRow> runs(const std::string& database = "a.db") const {
    const Result<Store> store = Store::open(path(database), Store::Mode::kReadOnly);
    EXPECT_TRUE(store) << error_text(store);
    return store ? *store->runs() : std::vector<RunRow>();
  }

  // The answers that a run computed itself, by sample.
  std::map<std::string, ResponseRow> answers(const RunRow& run,
                                             const std::string& database = "a.db") const {
    std::map<std::string, ResponseRow> found;
    const Result<Store> store = Store::open(path(database), Store::Mode::kReadOnly);
    EXPECT_TRUE(store) << error_text(store);
    const std::vector<ExecutionRow> executions = *store->executions_of(run.id);
    const std::vector<ResponseRow> responses = *store->responses_of(*run.experiment_id);
    for (const ResponseRow& response : responses)
      for (const ExecutionRow& execution : executions)
        if (response.execution_id == execution.id) found.emplace(response.sample_id, response);
    return found;
  }

  // By hand, past all checks of ours.
  void edit(const std::string& sql, const std::string& database = "a.db") const {
    const auto connection = Connection::open(path(database), Connection::Open::kReadWrite);
    ASSERT_TRUE(connection) << error_text(connection);
    const Status done = (*connection)->execute(sql);
    ASSERT_TRUE(done) << error_text(done);
  }

 private:
  TemporaryDirectory folder_;
};

}  // namespace strata::testing
