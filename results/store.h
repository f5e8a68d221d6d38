// Store: the results database. Every answer is on disk, durably, before its record_… call returns.
//
// SQLite in WAL mode with synchronous=FULL; one process may write while others read. Primary keys
// are content ids, so recording the same row again is a no-op, and the same id with other content
// is an error. A Store belongs to one thread. A file that is something else is never written to.
// WAL is unsafe on network file systems: keep a database on a local disk and merge.
#pragma once

#include <iosfwd>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "results/rows.h"

namespace strata {

class Connection;

struct AnswerCount {
  std::int64_t answered = 0, samples = 0;  // of an experiment, by whichever execution
};

class Store {
 public:
  enum class Mode { kReadOnly, kReadWrite };

  // kReadWrite creates a missing file (not its folder) and migrates an older schema; kReadOnly does
  // neither. Errors: missing file or folder, a file that is not ours or is newer than this build,
  // no permission.
  static Result<Store> open(const std::string& path, Mode mode);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  // Each is one durable transaction. An empty `id` of experiment, selection, run, execution and
  // judgement rows is filled in; a wrong one is an error. All return the id.
  Result<std::string> record(const ModelRow& model);
  Result<std::string> record(const TokenizerRow& tokenizer);
  Result<std::string> record(const PlanRow& plan);
  Result<std::string> record(ExperimentRow experiment);
  Result<std::string> record(SelectionRow selection);
  Result<std::string> record(RunRow run);
  Result<std::string> record(ExecutionRow execution);
  Result<std::string> record(DataRow data, std::span<const SampleRow> samples);
  Status record(const ResponseRow& response);
  Result<std::string> record(JudgementRow judgement);
  // Records the selection that a run made with its evidence (may be null) and writes the run's
  // changed fields, all or nothing.
  Result<std::string> record(SelectionRow selection, const ScoreTensor* tensor, RunRow& run);
  // Writes the fields of a recorded run that may change (see RunRow).
  Status update(const RunRow& run);

  // One row by id; kNotFound where there is none.
  Result<ModelRow> model(std::string_view id) const;
  Result<PlanRow> plan(std::string_view id) const;
  Result<ExperimentRow> experiment(std::string_view id) const;
  Result<SelectionRow> selection(std::string_view id) const;
  Result<ScoreTensorRow> score_tensor(std::string_view id) const;
  Result<ExecutionRow> execution(std::string_view id) const;
  Result<DataRow> data(std::string_view id) const;
  // Upper case counts as lower case. Errors: no run, or several, which are named.
  Result<RunRow> run(std::string_view id_or_unique_prefix) const;

  // By start. Whoever only reads is told that a run is interrupted where its row says that it is
  // running and nobody has the writer's lock: its process is gone and could not say so.
  Result<std::vector<RunRow>> runs() const;
  Result<std::vector<SampleRow>> samples_of(std::string_view data_id) const;  // in the set's order
  Result<std::vector<ResponseRow>> responses_of(std::string_view experiment_id) const;
  // Of an experiment's responses, by time.
  Result<std::vector<JudgementRow>> judgements_of(std::string_view experiment_id) const;
  Result<std::vector<ExecutionRow>> executions() const;  // by id
  // Runs of one configuration, by start.
  Result<std::vector<RunRow>> runs_of_config(std::string_view config_hash) const;
  Result<std::vector<ExecutionRow>> executions_of(std::string_view run_id) const;
  Result<AnswerCount> answer_count(std::string_view experiment_id) const;
  // The samples of an experiment that have been answered on this device (with these threads, in
  // this dtype, on this processor), whichever run that was: what no further run asks again. Model,
  // tokenizer, plan, samples, generation and numerics are the experiment's.
  Result<std::set<std::string>> answered(std::string_view experiment_id,
                                         const ExecutionRow& execution) const;

  // Inserts every row of `other`, in one transaction; nothing is kept where a row conflicts. Doing
  // it again changes nothing. A run that is unfinished here and finished there becomes finished.
  Status merge(const Store& other);

  // All rows as sorted text, one line a row: equal databases give equal text. Without timings: no
  // measured times (nor the ids of selections that contain them).
  enum class Timings { kInclude, kExclude };
  Status canonical_dump(std::ostream& out, Timings timings) const;

  // SQLite's integrity and foreign-key checks, and every id that can be recomputed from its row.
  // One line a problem; empty = sound.
  Result<std::vector<std::string>> check() const;

  const std::string& path() const { return path_; }

 private:
  Store(std::string path, Mode mode, std::unique_ptr<Connection> connection);
  std::vector<RunRow> with_ends(std::vector<RunRow> runs) const;

  std::string path_;
  Mode mode_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace strata
