#include "results/row_values.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "results/json_text.h"

namespace strata {
namespace {

template <typename T>
SqlValue optional_value(const std::optional<T>& value) {
  return value ? SqlValue(*value) : SqlValue();
}

Error edited(std::string message) {
  return make_error(ErrorKind::kInvalidFile, "{}", message)
      .with_hint("the database was edited or is damaged; see 'strata db check'");
}

// Takes a row's values in order and remembers the first one of a wrong type.
class Reader {
 public:
  explicit Reader(const SqlRow& values) : values_(values) {}

  std::string text() { return take<std::string>("text"); }
  std::int64_t integer() { return take<std::int64_t>("an integer"); }
  int small() {
    const std::int64_t value = integer();
    if (value != static_cast<int>(value)) complain("a smaller integer");
    return static_cast<int>(value);
  }
  double real() { return take<double>("a number"); }
  Blob blob() { return take<Blob>("a blob"); }
  template <typename T>
  std::optional<T> optional() {
    if (next_ < values_.size() && std::holds_alternative<std::monostate>(values_[next_])) {
      ++next_;
      return std::nullopt;
    }
    return take<T>("another type or NULL");
  }
  template <typename T>
  void json(T& out) {
    if (!read_json(text(), out)) complain("JSON of another kind");
  }
  template <typename T>
  T parsed(Result<T> (*parse)(std::string_view)) {
    Result<T> value = parse(text());
    if (!value) complain(value.error().message);
    return value.value_or(T{});
  }
  Status status() const {
    if (error_.empty()) return {};
    return fail(edited(error_));
  }

 private:
  template <typename T>
  T take(std::string_view expected) {
    if (next_ < values_.size())
      if (const auto* value = std::get_if<T>(&values_[next_])) {
        ++next_;
        return *value;
      }
    ++next_;
    complain(expected);
    return T{};
  }
  void complain(std::string_view expected) {
    if (error_.empty()) error_ = fmt::format("column {}: expected {}", next_, expected);
  }

  const SqlRow& values_;
  std::size_t next_ = 0;
  std::string error_;
};

// The numbers of a stored tensor, if there are as many as its samples, units and positions ask for.
Status fill_tensor(const std::vector<double>& positions, std::string_view context_nll,
                   std::string_view gains, ScoreTensorRow& row) {
  constexpr double kMostPositions = 1 << 20;  // of one answer
  ScoreTensor& tensor = row.tensor;
  std::size_t all = 0;
  tensor.positions.clear();
  for (const double count : positions) {
    if (!(count >= 1 && count <= kMostPositions && count == std::floor(count)))
      return fail(ErrorKind::kInvalidFile,
                  "score tensor {}: expected 1 to {} answer positions, got {}", row.id,
                  kMostPositions, count);
    tensor.positions.push_back(static_cast<std::size_t>(count));
    all += tensor.positions.back();
  }
  const std::size_t samples = positions.size();
  if (samples == 0 || tensor.samples.size() != samples || tensor.clusters.size() != samples ||
      context_nll.size() != all * sizeof(float) ||
      gains.size() != all * tensor.units() * sizeof(float))
    return fail(
        make_error(ErrorKind::kInvalidFile,
                   "score tensor {}: {} samples, {} clusters, {} lengths, {} and {} bytes do "
                   "not fit each other",
                   row.id, tensor.samples.size(), tensor.clusters.size(), samples,
                   context_nll.size(), gains.size())
            .with_hint("the database was edited or is damaged; see 'strata db check'"));
  tensor.context_nll = float32_values(context_nll);
  tensor.gains = float32_values(gains);
  return {};
}

Status all_finite(const std::map<std::string, double>& values, std::string_view what) {
  for (const auto& [name, value] : values)
    if (!std::isfinite(value))
      return fail(ErrorKind::kInvalidArgument, "{} '{}': expected a finite number, got {}", what,
                  name, value);
  return {};
}

}  // namespace

Result<std::string> text_of(const SqlRow& values, std::size_t column) {
  if (const auto* text = std::get_if<std::string>(&values[column])) return *text;
  return fail(edited(fmt::format("column {}: expected text", column + 1)));
}

Result<SqlRow> to_values(const ModelRow& row) {
  return SqlRow{row.id,
                row.name,
                row.path_hint,
                std::int64_t{row.layout.layers},
                std::int64_t{row.layout.query_heads},
                std::int64_t{row.layout.kv_heads},
                row.parameters};
}

Status from_values(const SqlRow& values, ModelRow& row) {
  Reader in(values);
  row.id = in.text();
  row.name = in.text();
  row.path_hint = in.text();
  row.layout.layers = in.small();
  row.layout.query_heads = in.small();
  row.layout.kv_heads = in.small();
  row.parameters = in.integer();
  return in.status();
}

Result<SqlRow> to_values(const TokenizerRow& row) { return SqlRow{row.id, row.name}; }

Result<SqlRow> to_values(const PlanRow& row) {
  ASSIGN_OR_RETURN(std::string plan, canonical_json(row.plan_json, "plan"));
  return SqlRow{row.id, std::move(plan)};
}

Status from_values(const SqlRow& values, PlanRow& row) {
  Reader in(values);
  row.id = in.text();
  row.plan_json = in.text();
  return in.status();
}

Result<SqlRow> to_values(const SampleRow& row) {
  ASSIGN_OR_RETURN(std::string metadata, canonical_json(row.metadata_json, "sample metadata"));
  return SqlRow{row.id,
                row.benchmark,
                row.prompt_text,
                row.prompt_tokens,
                json_of(row.answers),
                std::move(metadata)};
}

Status from_values(const SqlRow& values, SampleRow& row) {
  Reader in(values);
  row.id = in.text();
  row.benchmark = in.text();
  row.prompt_text = in.text();
  row.prompt_tokens = in.integer();
  in.json(row.answers);
  row.metadata_json = in.text();
  return in.status();
}

Result<SqlRow> to_values(const ExperimentRow& row) {
  ASSIGN_OR_RETURN(std::string generation, canonical_json(row.generation_json, "generation spec"));
  return SqlRow{
      row.id,      row.model_id,        row.tokenizer_id, row.plan_id, std::move(generation),
      row.data_id, row.numerics_version};
}

Status from_values(const SqlRow& values, ExperimentRow& row) {
  Reader in(values);
  row.id = in.text();
  row.model_id = in.text();
  row.tokenizer_id = in.text();
  row.plan_id = in.text();
  row.generation_json = in.text();
  row.data_id = in.text();
  row.numerics_version = in.integer();
  return in.status();
}

Result<SqlRow> to_values(const ScoreTensorRow& row) {
  const ScoreTensor& tensor = row.tensor;
  const auto json_list = [](const auto& values) { return nlohmann::json(values).dump(); };
  return SqlRow{row.id,
                context_json(tensor),
                json_of(tensor.samples),
                json_of(tensor.clusters),
                json_list(tensor.positions),
                Blob{float32_bytes(tensor.context_nll)},
                Blob{float32_bytes(tensor.gains)}};
}

Status from_values(const SqlRow& values, ScoreTensorRow& row) {
  Reader in(values);
  row.id = in.text();
  const std::string context = in.text();
  in.json(row.tensor.samples);
  in.json(row.tensor.clusters);
  std::vector<double> positions;
  in.json(positions);
  const Blob context_nll = in.blob(), gains = in.blob();
  RETURN_IF_ERROR(in.status());
  RETURN_IF_ERROR(read_context(context, "score tensor " + row.id, row.tensor));
  return fill_tensor(positions, context_nll.bytes, gains.bytes, row);
}

Result<SqlRow> to_values(const SelectionRow& row) {
  ASSIGN_OR_RETURN(std::string config, canonical_json(row.config_json, "strategy config"));
  ASSIGN_OR_RETURN(std::string mask, canonical_json(row.mask_json, "mask"));
  ASSIGN_OR_RETURN(std::string scores, canonical_json(row.scores_json, "scores"));
  ASSIGN_OR_RETURN(std::string errors, canonical_json(row.standard_errors_json, "standard errors"));
  ASSIGN_OR_RETURN(std::string diagnostics, canonical_json(row.diagnostics_json, "diagnostics"));
  ASSIGN_OR_RETURN(std::string training, canonical_json(row.training_json, "training"));
  return SqlRow{row.id,
                row.strategy,
                std::move(config),
                row.model_id,
                row.plan_id,
                std::move(mask),
                std::move(scores),
                std::move(errors),
                row.cost.forward_tokens,
                row.cost.layer_tokens,
                row.cost.flops,
                row.cost.evaluations,
                row.cost.seconds,
                row.cost.peak_bytes,
                row.supervision,
                row.calibration_id,
                row.seed,
                std::move(diagnostics),
                optional_value(row.score_tensor_id),
                row.cost.backward_tokens,
                std::move(training)};
}

Status from_values(const SqlRow& values, SelectionRow& row) {
  Reader in(values);
  row.id = in.text();
  row.strategy = in.text();
  row.config_json = in.text();
  row.model_id = in.text();
  row.plan_id = in.text();
  row.mask_json = in.text();
  row.scores_json = in.text();
  row.standard_errors_json = in.text();
  row.cost.forward_tokens = in.real();
  row.cost.layer_tokens = in.real();
  row.cost.flops = in.real();
  row.cost.evaluations = in.integer();
  row.cost.seconds = in.real();
  row.cost.peak_bytes = in.integer();
  row.supervision = in.text();
  row.calibration_id = in.text();
  row.seed = in.integer();
  row.diagnostics_json = in.text();
  row.score_tensor_id = in.optional<std::string>();
  row.cost.backward_tokens = in.real();
  row.training_json = in.text();
  return in.status();
}

Result<SqlRow> to_values(const RunRow& row) {
  ASSIGN_OR_RETURN(std::string config, canonical_json(row.config_json, "run config"));
  ASSIGN_OR_RETURN(std::string benchmark,
                   canonical_json(row.benchmark_config_json, "benchmark config"));
  ASSIGN_OR_RETURN(std::string seeds, canonical_json(row.seeds_json, "seeds"));
  return SqlRow{row.id,
                row.config_hash,
                std::move(config),
                row.started,
                row.finished,
                std::string(to_string(row.status)),
                row.error,
                row.strategy,
                row.label,
                row.group,
                optional_value(row.budget_units),
                optional_value(row.budget_fraction),
                std::string(to_string(row.granularity)),
                std::string(to_string(row.decode_rule)),
                row.window,
                row.sinks,
                optional_value(row.selection_id),
                optional_value(row.experiment_id),
                row.benchmark,
                std::move(benchmark),
                std::move(seeds),
                optional_value(row.calibration_nll)};
}

Status from_values(const SqlRow& values, RunRow& row) {
  Reader in(values);
  row.id = in.text();
  row.config_hash = in.text();
  row.config_json = in.text();
  row.started = in.text();
  row.finished = in.text();
  row.status = in.parsed(parse_run_status);
  row.error = in.text();
  row.strategy = in.text();
  row.label = in.text();
  row.group = in.text();
  row.budget_units = in.optional<std::int64_t>();
  row.budget_fraction = in.optional<double>();
  row.granularity = in.parsed(parse_granularity);
  row.decode_rule = in.parsed(parse_decode_rule);
  row.window = in.integer();
  row.sinks = in.integer();
  row.selection_id = in.optional<std::string>();
  row.experiment_id = in.optional<std::string>();
  row.benchmark = in.text();
  row.benchmark_config_json = in.text();
  row.seeds_json = in.text();
  row.calibration_nll = in.optional<double>();
  return in.status();
}

Result<SqlRow> to_values(const ExecutionRow& row) {
  return SqlRow{row.id, row.run_id, row.build, row.device, row.threads, row.dtype, row.cpu};
}

Status from_values(const SqlRow& values, ExecutionRow& row) {
  Reader in(values);
  row.id = in.text();
  row.run_id = in.text();
  row.build = in.text();
  row.device = in.text();
  row.threads = in.integer();
  row.dtype = in.text();
  row.cpu = in.text();
  return in.status();
}

Result<SqlRow> to_values(const ResponseRow& row) {
  for (std::size_t i = 0; i < row.answer_nll.size(); ++i)
    if (!std::isfinite(row.answer_nll[i]))
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "answer NLL at position {}: expected a finite number, got {}", i,
                             row.answer_nll[i])
                      .with_hint("the model's logits overflowed; try dtype=float32"));
  RETURN_IF_ERROR(all_finite(row.metrics, "metric"));
  RETURN_IF_ERROR(all_finite(row.timings_ms, "timing"));
  return SqlRow{row.experiment_id,
                row.sample_id,
                row.execution_id,
                row.text,
                json_of(row.tokens),
                json_of(row.answer_nll),
                json_of(row.argmax),
                json_of(row.metrics),
                json_of(row.timings_ms),
                row.prefill_flops,
                row.decode_flops,
                row.kv_bytes,
                optional_value(row.peak_bytes)};
}

Status from_values(const SqlRow& values, ResponseRow& row) {
  Reader in(values);
  row.experiment_id = in.text();
  row.sample_id = in.text();
  row.execution_id = in.text();
  row.text = in.text();
  in.json(row.tokens);
  in.json(row.answer_nll);
  in.json(row.argmax);
  in.json(row.metrics);
  in.json(row.timings_ms);
  row.prefill_flops = in.real();
  row.decode_flops = in.real();
  row.kv_bytes = in.integer();
  row.peak_bytes = in.optional<std::int64_t>();
  return in.status();
}

Result<SqlRow> to_values(const JudgementRow& row) {
  ASSIGN_OR_RETURN(const std::string settings, canonical_json(row.settings_json, "settings"));
  return SqlRow{row.id,
                row.experiment_id,
                row.sample_id,
                row.execution_id,
                row.judge_model,
                row.endpoint,
                settings,
                row.rubric,
                row.rubric_hash,
                row.prompt_hash,
                row.reported_model,
                row.reply,
                std::string(to_string(row.verdict)),
                row.official ? SqlValue(std::int64_t{*row.official}) : SqlValue(),
                row.attempts,
                row.error,
                row.latency_ms,
                row.judged};
}

Status from_values(const SqlRow& values, JudgementRow& row) {
  Reader in(values);
  row.id = in.text();
  row.experiment_id = in.text();
  row.sample_id = in.text();
  row.execution_id = in.text();
  row.judge_model = in.text();
  row.endpoint = in.text();
  row.settings_json = in.text();
  row.rubric = in.text();
  row.rubric_hash = in.text();
  row.prompt_hash = in.text();
  row.reported_model = in.text();
  row.reply = in.text();
  row.verdict = in.parsed(parse_judged_as);
  const auto official = in.optional<std::int64_t>();
  row.official = official ? std::optional(*official != 0) : std::nullopt;
  row.attempts = in.integer();
  row.error = in.text();
  row.latency_ms = in.real();
  row.judged = in.text();
  return in.status();
}

}  // namespace strata
