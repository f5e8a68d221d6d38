#include "results/store.h"

#include <algorithm>
#include <cctype>

#include "core/plan.h"
#include "results/insert.h"
#include "results/row_values.h"
#include "results/schema.h"
#include "results/writer_lock.h"

namespace strata {
namespace {

constexpr std::string_view kSelectRuns = "SELECT * FROM runs ORDER BY started, id";
constexpr std::string_view kSelectRunsByPrefix =
    "SELECT * FROM runs WHERE substr(id, 1, length(?1)) = ?1 ORDER BY started, id";
constexpr std::string_view kSelectDataItems =
    "SELECT sample_id, cluster FROM data_samples WHERE data_id = ?1 ORDER BY position";
constexpr std::string_view kSelectSamplesOfData =
    "SELECT samples.* FROM data_samples JOIN samples ON samples.id = data_samples.sample_id "
    "WHERE data_samples.data_id = ?1 ORDER BY data_samples.position";
constexpr std::string_view kSelectResponses =
    "SELECT * FROM responses WHERE experiment_id = ?1 ORDER BY sample_id, execution_id";
constexpr std::string_view kSelectJudgements =
    "SELECT * FROM judgements WHERE experiment_id = ?1 ORDER BY judged, id";
constexpr std::string_view kSelectRunsOfConfig =
    "SELECT * FROM runs WHERE config_hash = ?1 ORDER BY started, id";
constexpr std::string_view kSelectExecutionsOfRun =
    "SELECT * FROM executions WHERE run_id = ?1 ORDER BY id";
constexpr std::string_view kSelectAnswered =
    "SELECT DISTINCT sample_id FROM responses JOIN executions ON executions.id = execution_id "
    "WHERE experiment_id = ?1 AND device = ?2 AND threads = ?3 AND dtype = ?4 AND cpu = ?5";
constexpr std::string_view kCountAnswers =
    "SELECT (SELECT count(DISTINCT sample_id) FROM responses WHERE experiment_id = experiments.id),"
    " (SELECT count(*) FROM data_samples WHERE data_id = experiments.data_id) "
    "FROM experiments WHERE id = ?1";
constexpr std::string_view kUpdateRun =
    "UPDATE runs SET finished = ?2, status = ?3, error = ?4, selection_id = ?5, experiment_id = "
    "?6, calibration_nll = ?7, decode_rule = ?8, window = ?9, sinks = ?10 WHERE id = ?1";

template <typename Row>
Status insert(const Connection& connection, std::string_view table, const Row& row) {
  ASSIGN_OR_RETURN(const SqlRow values, to_values(row));
  return insert_row(connection, table_named(table), values);
}

// Fills in an empty id; a wrong one is an error.
Status settle_id(std::string& id, std::string computed, std::string_view what) {
  if (id.empty())
    id = std::move(computed);
  else if (id != computed)
    return fail(ErrorKind::kInvalidArgument, "{}: the row says id {}, its content has {}", what, id,
                computed);
  return {};
}

template <typename Row>
Result<std::vector<Row>> read_rows(const Connection& connection, std::string_view sql,
                                   const SqlRow& parameters) {
  ASSIGN_OR_RETURN(const std::vector<SqlRow> found, connection.query(sql, parameters));
  std::vector<Row> rows(found.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    if (Status status = from_values(found[i], rows[i]); !status)
      return fail(std::move(status).error().at(connection.path()));
  return rows;
}

Error missing(const Connection& connection, std::string_view table, std::string_view id) {
  return make_error(ErrorKind::kNotFound, "table {} has no row {}", table, id)
      .at(connection.path());
}

template <typename Row>
Result<Row> read_row(const Connection& connection, std::string_view table, std::string_view id) {
  ASSIGN_OR_RETURN(
      std::vector<Row> rows,
      read_rows<Row>(connection, table_named(table).select_by_key_sql(), {std::string(id)}));
  if (rows.empty()) return fail(missing(connection, table, id));
  return std::move(rows[0]);
}

// "1395a0c4ffee full, 1395b2…", the first few.
std::string names_of(const std::vector<RunRow>& runs) {
  constexpr std::size_t kShown = 8, kIdDigits = 12;
  std::string out;
  for (std::size_t i = 0; i < std::min(runs.size(), kShown); ++i)
    out +=
        fmt::format("{}{} {}", i == 0 ? "" : ", ", runs[i].id.substr(0, kIdDigits), runs[i].label);
  return out + (runs.size() > kShown ? ", …" : "");
}

}  // namespace

Store::Store(std::string path, Mode mode, std::unique_ptr<Connection> connection)
    : path_(std::move(path)), mode_(mode), connection_(std::move(connection)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Result<std::string> Store::record(const ModelRow& model) {
  RETURN_IF_ERROR(insert(*connection_, "models", model));
  return model.id;
}

Result<std::string> Store::record(const TokenizerRow& tokenizer) {
  RETURN_IF_ERROR(insert(*connection_, "tokenizers", tokenizer));
  return tokenizer.id;
}

Result<std::string> Store::record(const PlanRow& plan) {
  ASSIGN_OR_RETURN(const AttentionPlan parsed, parse_plan(plan));
  std::string id = plan.id;
  RETURN_IF_ERROR(settle_id(id, parsed.id(), "plan"));
  RETURN_IF_ERROR(insert(*connection_, "plans", plan));
  return plan.id;
}

Result<std::string> Store::record(ExperimentRow experiment) {
  RETURN_IF_ERROR(settle_id(experiment.id, experiment_id(experiment), "experiment"));
  RETURN_IF_ERROR(insert(*connection_, "experiments", experiment));
  return experiment.id;
}

Result<std::string> Store::record(SelectionRow selection) {
  RETURN_IF_ERROR(settle_id(selection.id, selection_id(selection), "selection"));
  RETURN_IF_ERROR(insert(*connection_, "selections", selection));
  return selection.id;
}

Result<std::string> Store::record(RunRow run) {
  RETURN_IF_ERROR(settle_id(run.id, run_id(run), "run"));
  RETURN_IF_ERROR(insert(*connection_, "runs", run));
  return run.id;
}

Result<std::string> Store::record(ExecutionRow execution) {
  RETURN_IF_ERROR(settle_id(execution.id, execution_id(execution), "execution"));
  RETURN_IF_ERROR(insert(*connection_, "executions", execution));
  return execution.id;
}

Result<std::string> Store::record(DataRow data, std::span<const SampleRow> samples) {
  RETURN_IF_ERROR(settle_id(data.id, data_id(data), "data set"));
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::begin(*connection_));
  for (const SampleRow& sample : samples) RETURN_IF_ERROR(insert(*connection_, "samples", sample));
  RETURN_IF_ERROR(insert_row(*connection_, table_named("data_sets"), {data.id, data.benchmark}));
  for (std::size_t i = 0; i < data.items.size(); ++i)
    RETURN_IF_ERROR(insert_row(
        *connection_, table_named("data_samples"),
        {data.id, static_cast<std::int64_t>(i), data.items[i].sample_id, data.items[i].cluster}));
  RETURN_IF_ERROR(transaction.commit());
  return data.id;
}

Status Store::record(const ResponseRow& response) {
  return insert(*connection_, "responses", response);
}

Result<std::string> Store::record(JudgementRow judgement) {
  RETURN_IF_ERROR(settle_id(judgement.id, judgement_id(judgement), "judgement"));
  RETURN_IF_ERROR(insert(*connection_, "judgements", judgement));
  return judgement.id;
}

Result<std::string> Store::record(SelectionRow selection, const ScoreTensor* tensor, RunRow& run) {
  ScoreTensorRow evidence;
  if (tensor != nullptr) {
    evidence.tensor = *tensor;
    evidence.id = score_tensor_id(evidence);
    selection.score_tensor_id = evidence.id;
  }
  RETURN_IF_ERROR(settle_id(selection.id, selection_id(selection), "selection"));
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::begin(*connection_));
  if (tensor != nullptr) RETURN_IF_ERROR(insert(*connection_, "score_tensors", evidence));
  RETURN_IF_ERROR(insert(*connection_, "selections", selection));
  run.selection_id = selection.id;
  RETURN_IF_ERROR(update(run));
  RETURN_IF_ERROR(transaction.commit());
  return selection.id;
}

Status Store::update(const RunRow& run) {
  ASSIGN_OR_RETURN(const SqlRow values, to_values(run));
  const Table& table = table_named("runs");
  const auto value = [&](std::string_view column) { return values[table.index_of(column)]; };
  RETURN_IF_ERROR(connection_->query(
      kUpdateRun, {run.id, value("finished"), value("status"), value("error"),
                   value("selection_id"), value("experiment_id"), value("calibration_nll"),
                   value("decode_rule"), value("window"), value("sinks")}));
  if (connection_->changes() != 1) return fail(missing(*connection_, "runs", run.id));
  return {};
}

Result<ModelRow> Store::model(std::string_view id) const {
  return read_row<ModelRow>(*connection_, "models", id);
}

Result<PlanRow> Store::plan(std::string_view id) const {
  return read_row<PlanRow>(*connection_, "plans", id);
}

Result<ExperimentRow> Store::experiment(std::string_view id) const {
  return read_row<ExperimentRow>(*connection_, "experiments", id);
}

Result<SelectionRow> Store::selection(std::string_view id) const {
  return read_row<SelectionRow>(*connection_, "selections", id);
}

Result<ScoreTensorRow> Store::score_tensor(std::string_view id) const {
  return read_row<ScoreTensorRow>(*connection_, "score_tensors", id);
}

Result<ExecutionRow> Store::execution(std::string_view id) const {
  return read_row<ExecutionRow>(*connection_, "executions", id);
}

Result<DataRow> Store::data(std::string_view id) const {
  DataRow data{.id = std::string(id), .benchmark = {}, .items = {}};
  ASSIGN_OR_RETURN(const auto found,
                   connection_->query(table_named("data_sets").select_by_key_sql(), {data.id}));
  if (found.empty()) return fail(missing(*connection_, "data_sets", id));
  const auto text = [&](const SqlRow& row, std::size_t column) {
    return text_of(row, column).map_error([&](Error error) { return std::move(error).at(path_); });
  };
  ASSIGN_OR_RETURN(data.benchmark, text(found[0], 1));
  ASSIGN_OR_RETURN(const auto items, connection_->query(kSelectDataItems, {data.id}));
  for (const SqlRow& item : items) {
    ASSIGN_OR_RETURN(std::string sample, text(item, 0));
    ASSIGN_OR_RETURN(std::string cluster, text(item, 1));
    data.items.push_back({std::move(sample), std::move(cluster)});
  }
  return data;
}

Result<RunRow> Store::run(std::string_view id_or_unique_prefix) const {
  std::string prefix(id_or_unique_prefix);
  std::transform(prefix.begin(), prefix.end(), prefix.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  ASSIGN_OR_RETURN(std::vector<RunRow> found,
                   read_rows<RunRow>(*connection_, kSelectRunsByPrefix, {std::move(prefix)}));
  if (found.empty())
    return fail(make_error(ErrorKind::kNotFound, "no run begins with '{}'", id_or_unique_prefix)
                    .at(path_)
                    .with_hint(fmt::format("'strata report runs db={}' lists them", path_)));
  if (found.size() > 1)
    return fail(make_error(ErrorKind::kInvalidArgument, "{} runs begin with '{}': {}", found.size(),
                           id_or_unique_prefix, names_of(found))
                    .at(path_)
                    .with_hint("give more of the id"));
  return std::move(with_ends(std::move(found))[0]);
}

// Runs as a reader sees them: see runs().
std::vector<RunRow> Store::with_ends(std::vector<RunRow> runs) const {
  const auto is_running = [](const RunRow& run) { return run.status == RunStatus::kRunning; };
  if (mode_ != Mode::kReadOnly || std::none_of(runs.begin(), runs.end(), is_running) ||
      WriterLock::is_held(path_))
    return runs;
  for (RunRow& run : runs)
    if (is_running(run)) {
      run.status = RunStatus::kInterrupted;
      run.error = "its process is gone";
    }
  return runs;
}

Result<std::vector<RunRow>> Store::runs() const {
  ASSIGN_OR_RETURN(std::vector<RunRow> runs, read_rows<RunRow>(*connection_, kSelectRuns, {}));
  return with_ends(std::move(runs));
}

Result<std::vector<SampleRow>> Store::samples_of(std::string_view data_id) const {
  return read_rows<SampleRow>(*connection_, kSelectSamplesOfData, {std::string(data_id)});
}

Result<std::vector<ResponseRow>> Store::responses_of(std::string_view experiment_id) const {
  return read_rows<ResponseRow>(*connection_, kSelectResponses, {std::string(experiment_id)});
}

Result<std::vector<JudgementRow>> Store::judgements_of(std::string_view experiment_id) const {
  return read_rows<JudgementRow>(*connection_, kSelectJudgements, {std::string(experiment_id)});
}

Result<std::vector<RunRow>> Store::runs_of_config(std::string_view config_hash) const {
  return read_rows<RunRow>(*connection_, kSelectRunsOfConfig, {std::string(config_hash)});
}

Result<std::vector<ExecutionRow>> Store::executions() const {
  return read_rows<ExecutionRow>(*connection_, table_named("executions").select_sql(), {});
}

Result<std::vector<ExecutionRow>> Store::executions_of(std::string_view run_id) const {
  return read_rows<ExecutionRow>(*connection_, kSelectExecutionsOfRun, {std::string(run_id)});
}

Result<AnswerCount> Store::answer_count(std::string_view experiment_id) const {
  ASSIGN_OR_RETURN(const auto found,
                   connection_->query(kCountAnswers, {std::string(experiment_id)}));
  if (found.empty()) return fail(missing(*connection_, "experiments", experiment_id));
  return AnswerCount{std::get<std::int64_t>(found[0].at(0)),
                     std::get<std::int64_t>(found[0].at(1))};
}

Result<std::set<std::string>> Store::answered(std::string_view experiment_id,
                                              const ExecutionRow& execution) const {
  ASSIGN_OR_RETURN(
      const auto found,
      connection_->query(kSelectAnswered, {std::string(experiment_id), execution.device,
                                           execution.threads, execution.dtype, execution.cpu}));
  std::set<std::string> samples;
  for (const SqlRow& row : found) samples.insert(printable(row[0]));
  return samples;
}

}  // namespace strata
