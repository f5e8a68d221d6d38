// Rows of the results database as plain values, and the content ids that are their primary keys.
//
// Fields named …_json hold JSON text (checked and brought to canonical form when recorded); an
// empty string stands for {} . Ids are SHA-256 of canonical content, so equal rows of two databases
// have equal keys. Nothing here touches a database.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/mask.h"
#include "core/mixer_spec.h"
#include "core/score_tensor.h"
#include "core/tokens.h"

namespace strata {

class AttentionPlan;

// id: ModelId, from the weights. name and path_hint are for people; the first recorded ones stay.
struct ModelRow {
  std::string id;
  std::string name;
  std::string path_hint;
  HeadLayout layout;
  std::int64_t parameters = 0;
  bool operator==(const ModelRow&) const = default;
};

struct TokenizerRow {
  std::string id;
  std::string name;
  bool operator==(const TokenizerRow&) const = default;
};

struct PlanRow {
  std::string id;         // AttentionPlan::id()
  std::string plan_json;  // AttentionPlan::to_json()
  bool operator==(const PlanRow&) const = default;
};
// Checks the layout and, where the JSON has one, the id.
Result<AttentionPlan> parse_plan(const PlanRow& row);

// id: Sample::id. metadata holds facts about the sample (needle position, depth); the first
// recorded stays.
struct SampleRow {
  std::string id;
  std::string benchmark;
  std::string prompt_text;
  std::int64_t prompt_tokens = 0;
  std::vector<std::string> answers;
  std::string metadata_json;
  bool operator==(const SampleRow&) const = default;
};

// An ordered set of samples. id = content_id(samples). Clusters belong to the set: which samples
// overlap depends on which samples are in it.
struct DataRow {
  struct Item {
    std::string sample_id;
    std::string cluster;  // "" = a cluster of its own
    bool operator==(const Item&) const = default;
  };
  std::string id;
  std::string benchmark;
  std::vector<Item> items;
  bool operator==(const DataRow&) const = default;
};
std::string data_id(const DataRow& data);  // from the items, equal to content_id of the samples

// What was asked: same id, same numbers (up to the execution).
struct ExperimentRow {
  std::string id;  // experiment_id(*this)
  std::string model_id;
  std::string tokenizer_id;
  std::string plan_id;
  std::string generation_json;
  std::string data_id;
  std::int64_t numerics_version = 0;
  bool operator==(const ExperimentRow&) const = default;
};
std::string experiment_id(const ExperimentRow& experiment);

// The evidence of selections that score units by toggling them. id: score_tensor_id(tensor). Stored
// as little-endian float32; samples are ids of calibration samples, which are no rows of `samples`.
struct ScoreTensorRow {
  std::string id;
  ScoreTensor tensor;
  bool operator==(const ScoreTensorRow&) const = default;
};
std::string score_tensor_id(const ScoreTensorRow& row);

// What a selection cost, as counted by the metered model handle.
struct SelectionCost {
  double forward_tokens = 0;
  double layer_tokens = 0;
  double backward_tokens = 0;
  double flops = 0;
  std::int64_t evaluations = 0;
  double seconds = 0;
  std::int64_t peak_bytes = 0;
  bool operator==(const SelectionCost&) const = default;
};

// One selection that was carried out (its measured seconds are part of it, so two of them are two
// rows).
struct SelectionRow {
  std::string id;  // selection_id(*this)
  std::string strategy;
  std::string config_json;
  std::string model_id;
  std::string plan_id;               // the plan it was made for
  std::string mask_json;             // [[0|1, …] a layer]
  std::string scores_json;           // [[…] a layer]; "null" where the strategy has none
  std::string standard_errors_json;  // the same shape
  SelectionCost cost;
  std::string supervision;     // none, text, answers, spans, pairs
  std::string calibration_id;  // CalibrationSet::id; "" = none
  std::int64_t seed = 0;
  std::string diagnostics_json;
  std::optional<std::string> score_tensor_id;
  std::string training_json = "null";  // [{"step": …, "loss": …, …}, …] where something was learned
  bool operator==(const SelectionRow&) const = default;
};
std::string selection_id(const SelectionRow& selection);

enum class RunStatus { kRunning, kDone, kFailed, kInterrupted };
std::string_view to_string(RunStatus status);
Result<RunStatus> parse_run_status(std::string_view text);

// One job of a sweep. status, finished, error, selection_id, experiment_id and calibration_nll
// change while it runs, and decode_rule, window and sinks where the strategy names the mixers.
struct RunRow {
  std::string id;  // run_id(*this)
  std::string config_hash;
  std::string config_json;
  std::string started;   // UTC, 2025-01-31T12:00:00.123456Z
  std::string finished;  // "" while running
  RunStatus status = RunStatus::kRunning;
  std::string error;
  std::string strategy;  // registry name
  std::string label;     // periodic[1], random[3], nll_guided[restore]
  std::string group;     // periodic, random, full, none, inverted; else the label
  std::optional<std::int64_t>
      budget_units;  // asked for; none where the strategy ignores the budget
  std::optional<double> budget_fraction;
  Granularity granularity = Granularity::kLayer;
  DecodeRule decode_rule = DecodeRule::kSame;
  std::int64_t window = 0;
  std::int64_t sinks = 0;
  std::optional<std::string> selection_id;
  std::optional<std::string> experiment_id;
  std::string benchmark;
  std::string benchmark_config_json;
  std::string seeds_json;
  std::optional<double> calibration_nll;  // answer NLL of the chosen plan on calibration data
  bool operator==(const RunRow&) const = default;
};
// Of config_hash, config_json, label and started: the fields that never change.
std::string run_id(const RunRow& run);

// Where and with what a run computed.
struct ExecutionRow {
  std::string id;  // execution_id(*this)
  std::string run_id;
  std::string build;   // version and commit
  std::string device;  // cpu, cuda:NVIDIA H100
  std::int64_t threads = 1;
  std::string dtype;
  std::string cpu;  // model name, no host name
  bool operator==(const ExecutionRow&) const = default;
};
std::string execution_id(const ExecutionRow& execution);

// The scored answer to one sample. Key: (experiment, sample, execution). Numbers must be finite.
struct ResponseRow {
  std::string experiment_id;
  std::string sample_id;
  std::string execution_id;
  std::string text;                          // generated
  Tokens tokens;                             // generated
  std::vector<double> answer_nll;            // nats at each answer position, EOS excluded
  Tokens argmax;                             // at each answer position, teacher-forced
  std::map<std::string, double> metrics;     // gen_contains, gen_exact, tf_exact, answer_nll
  std::map<std::string, double> timings_ms;  // prefill_ms, decode_ms, …
  double prefill_flops = 0;
  double decode_flops = 0;
  std::int64_t kv_bytes = 0;
  // The most bytes that tensors held at once while its batch was answered, beyond the weights and
  // the prefixes that plans share. None in rows of schema 4 and older.
  std::optional<std::int64_t> peak_bytes;
  bool operator==(const ResponseRow&) const = default;
};

// What a judge's call about a stored response came to; a call that is made again is another row.
// kYes: the response is right (under abstention: it says that the question has no answer).
enum class JudgedAs { kYes, kNo, kUnparsable, kFailed };
std::string_view to_string(JudgedAs verdict);
Result<JudgedAs> parse_judged_as(std::string_view text);

struct JudgementRow {
  std::string id;                                      // judgement_id(*this)
  std::string experiment_id, sample_id, execution_id;  // the response
  std::string judge_model;                             // as it was asked for
  std::string endpoint;        // host and port alone: paths may hold secrets
  std::string settings_json;   // what else changes replies: temperature, max_tokens
  std::string rubric;          // "longmemeval/temporal-reasoning"
  std::string rubric_hash;     // SHA-256 of its text
  std::string prompt_hash;     // SHA-256 of the whole prompt
  std::string reported_model;  // as the endpoint named what answered
  std::string reply;
  JudgedAs verdict = JudgedAs::kFailed;  // by a strict reading of the reply
  std::optional<bool> official;          // by the reading of the rubric's source; none: no verdict
  std::int64_t attempts = 0;             // 0: an empty response, for which nobody is asked
  std::string error;                     // of the last attempt
  double latency_ms = 0;                 // likewise
  std::string judged;                    // UTC, as RunRow::started
  bool operator==(const JudgementRow&) const = default;
};
std::string judgement_id(const JudgementRow& judgement);  // of all its fields

}  // namespace strata
