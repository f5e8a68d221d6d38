// Rows for tests of the store and the reports: a temporary folder and a small world of one model
// and one data set.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/plan.h"
#include "results/store.h"

namespace strata::test {

// Removed with all its files at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string bytes_of(const std::string& path);

// The value, or a test failure with the error's text (and an abort: the rest would make no sense).
template <typename T>
T must(Result<T> result) {
  if (!result) {
    ADD_FAILURE() << result.error().text();
    std::abort();
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

inline constexpr HeadLayout kLayout{8, 2, 2};
inline constexpr std::int64_t kWindow = 16;
inline constexpr std::int64_t kSinks = 2;

// One row of each kind; children name the parents of the same world.
ModelRow model_row();
TokenizerRow tokenizer_row();
AttentionPlan plan_keeping(const std::vector<int>& layers, DecodeRule rule = DecodeRule::kSame);
PlanRow plan_row(const AttentionPlan& plan);
SampleRow sample_row(int number);
DataRow data_row(int samples);
ExperimentRow experiment_row(const AttentionPlan& plan, const DataRow& data);
SelectionRow selection_row(const AttentionPlan& plan);
ScoreTensor score_tensor();  // three samples of two and three answer positions, eight layers
RunRow run_row(const std::string& label, int second);
ExecutionRow execution_row(const std::string& run_id);
ResponseRow response_row(const std::string& experiment, const std::string& sample,
                         const std::string& execution, double nll);

JudgementRow judgement_row(const ResponseRow& response, int second);

// Opens a new database and records one row of every kind, `responses` answers among them.
struct World {
  Store store;
  DataRow data;
  ExperimentRow experiment;
  SelectionRow selection;
  RunRow run;
  ExecutionRow execution;
  std::vector<ResponseRow> responses;
  JudgementRow judgement;  // of the first response, where there is one
};
World make_world(const std::string& path, int responses = 2);

}  // namespace strata::test
