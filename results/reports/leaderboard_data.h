// What the leaderboard reads from the store: each finished run with its plan, its selection and one
// response to each sample, as plain vectors. No statistics here.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/plan.h"
#include "results/reports/leaderboard.h"

namespace strata {

// A run and the answers to its experiment, in the order of the data set.
struct Evaluation {
  RunRow run;
  std::string split;     // evaluated_split() of the run
  std::string transfer;  // transfer_of() the run
  ExperimentRow experiment;
  AttentionPlan plan;
  std::optional<SelectionRow> selection;
  bool shown = true;  // false: a filter leaves it out; kept for the harm to running text alone
  std::string by;     // "calibration.samples=16": the values of the keys that are grouped by
  // Of weights that were trained for the plan: what equally trained models have in common, as JSON;
  // label, group and supervision are then those of the strategy that they were trained under. Else
  // "".
  std::string training;
  // A metric is empty where a sample lacks it.
  std::vector<double> nll;  // mean over answer positions
  std::vector<double> gen_contains;
  std::vector<double> gen_exact;
  std::vector<double> string_match;  // RULER's: string_match_all, or else string_match_part
  std::vector<double> tf_exact;
  std::vector<double> prefill_flops;
  std::vector<double> decode_flops;
  std::vector<double> kv_bytes;
  std::vector<double> prefill_ms;                              // of the samples that were timed
  std::vector<double> decode_ms;                               // likewise
  std::vector<double> peak_bytes;                              // of the samples that have one
  std::vector<std::string> environments;                       // device, threads, dtype, processor
  std::map<std::string, std::vector<std::string>> executions;  // as PickedResponses has them

  // The label, with what it was calibrated on where that is another setting:
  // "nll_ablate ← niah length=1024".
  std::string name() const;
  RowSource source() const;
};

struct DataFacts {
  DataRow row;
  std::vector<SampleRow> samples;
  std::vector<std::size_t> clusters;  // number of each sample's cluster
};

struct LeaderboardData {
  std::vector<Evaluation> evaluations;     // by start
  std::map<std::string, ModelRow> models;  // by id; of equally trained ones, by their training
  std::map<std::string, DataFacts> data;
  std::vector<std::string> notes;
};

// A group of many draws or offsets, and one that no selector competes with either.
bool is_drawn(const Evaluation& evaluation);    // random, periodic
bool is_control(const Evaluation& evaluation);  // those and inverted

// Running text: what is asked of it is the harm that a plan does (benchmarks/local_text).
inline constexpr const char* kRunningText = "local_text";

// Of two runs with one label, one calibration setting, one experiment, one split and one
// calibration set, the later. Of several executions of an experiment, the one that answered most
// samples (of those, the latest); runs with unanswered samples are left out with a note.
Result<LeaderboardData> load_leaderboard_data(const Store& store,
                                              const LeaderboardRequest& request);

// The split that a run's samples come from, by its benchmark's configuration; "test" where that
// names none.
std::string evaluated_split(const RunRow& run);
// The benchmark that a run calibrated on, by its configuration; null where that names none.
nlohmann::json calibration_benchmark(const RunRow& run);
// Where the calibration was of another setting than the evaluated one: the benchmark, and those of
// its keys that both have and that differ ("niah length=1024"). Empty where it was of the same, or
// where the run looked at none.
std::string transfer_of(const RunRow& run, const std::optional<SelectionRow>& selection);
// "nll_ablate ← niah length=1024"; the label alone where there is no transfer.
std::string with_transfer(const std::string& label, const std::string& transfer);
// The linear attention of a run, in the order of core/mixer_spec.h ("lightning, gla"): its plan's,
// or its configuration's where there is no plan (null) or it keeps everything; "" = none.
std::string linear_of(const RunRow& run, const AttentionPlan* plan);
// Kept units of a plan, counted at a granularity: all of a unit's query heads have full attention.
std::int64_t kept_units(const AttentionPlan& plan, Granularity granularity);
// Share of full-attention KV cells; a KV head's cells are kept where any of its query heads is.
double kv_share(const AttentionPlan& plan);
LayerStrip strip_of(const AttentionPlan& plan);
// Whether the needle lies outside the window of the first informative query; none where the sample
// does not say, or there is no window (0).
std::optional<bool> is_beyond_window(const SampleRow& sample, std::int64_t window);
// Whether a model's name is this, or its id begins with it.
bool names_model(const ModelRow& model, std::string_view text);

}  // namespace strata
