// Store::merge, canonical_dump and check: a database as a whole.
#include <algorithm>
#include <ostream>

#include "core/plan.h"
#include "results/insert.h"
#include "results/row_values.h"
#include "results/schema.h"
#include "results/store.h"

namespace strata {
namespace {

constexpr std::string_view kIntegrityCheck = "PRAGMA integrity_check";
constexpr std::string_view kForeignKeyCheck = "PRAGMA foreign_key_check";
constexpr std::string_view kUnansweredSamples =
    "SELECT runs.id, count(*) FROM runs JOIN experiments ON experiments.id = runs.experiment_id "
    "JOIN data_samples USING (data_id) WHERE runs.status = 'done' AND NOT EXISTS (SELECT 1 FROM "
    "responses "
    "WHERE responses.experiment_id = experiments.id AND responses.sample_id = "
    "data_samples.sample_id) "
    "GROUP BY runs.id ORDER BY runs.id";
constexpr std::string_view kSelectDataIds = "SELECT id FROM data_sets ORDER BY id";

// Every row of a table, one at a time (prompts and answers of a large database do not fit memory
// twice).
template <typename Use>
Status for_each_row(const Connection& connection, const Table& table, Use&& use) {
  ASSIGN_OR_RETURN(Statement statement, connection.prepare(table.select_sql()));
  while (true) {
    ASSIGN_OR_RETURN(const bool more, statement.step());
    if (!more) return {};
    RETURN_IF_ERROR(use(statement.row()));
  }
}

std::string dump_line(const Table& table, const SqlRow& row, bool with_measured) {
  std::string line(table.name);
  for (std::size_t i = 0; i < row.size(); ++i)
    if (with_measured || !table.columns[i].measured)
      line += fmt::format("\t{}={}", table.columns[i].name, printable(row[i]));
  return line;
}

// The id that a row's content has, or the reason why it has none.
template <typename Row>
Result<std::string> recomputed(const SqlRow& values, std::string (*id_of)(const Row&)) {
  Row row;
  RETURN_IF_ERROR(from_values(values, row));
  return id_of(row);
}

Result<std::string> recomputed_plan(const SqlRow& values) {
  PlanRow row;
  RETURN_IF_ERROR(from_values(values, row));
  ASSIGN_OR_RETURN(const AttentionPlan plan, parse_plan(row));
  return plan.id();
}

Result<std::string> recomputed_id(std::string_view table, const SqlRow& values) {
  if (table == "plans") return recomputed_plan(values);
  if (table == "experiments") return recomputed<ExperimentRow>(values, experiment_id);
  if (table == "score_tensors") return recomputed<ScoreTensorRow>(values, score_tensor_id);
  if (table == "selections") return recomputed<SelectionRow>(values, selection_id);
  if (table == "runs") return recomputed<RunRow>(values, run_id);
  if (table == "executions") return recomputed<ExecutionRow>(values, execution_id);
  if (table == "judgements") return recomputed<JudgementRow>(values, judgement_id);
  if (table == "responses") {  // its key is not derived, but its fields must be readable
    ResponseRow row;
    RETURN_IF_ERROR(from_values(values, row));
  }
  if (table == "models") {
    ModelRow row;
    RETURN_IF_ERROR(from_values(values, row));
  }
  if (table == "samples") {
    SampleRow row;
    RETURN_IF_ERROR(from_values(values, row));
  }
  return text_of(values, 0);
}

}  // namespace

Status Store::merge(const Store& other) {
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::begin(*connection_));
  for (const Table& table : all_tables())
    RETURN_IF_ERROR(for_each_row(*other.connection_, table, [&](const SqlRow& row) {
      return insert_row(*connection_, table, row);
    }));
  return transaction.commit();
}

Status Store::canonical_dump(std::ostream& out, Timings timings) const {
  const bool with_measured = timings == Timings::kInclude;
  for (const Table& table : all_tables()) {
    std::vector<std::string> lines;
    RETURN_IF_ERROR(for_each_row(*connection_, table, [&](const SqlRow& row) {
      lines.push_back(dump_line(table, row, with_measured));
      return Status();
    }));
    std::sort(lines.begin(), lines.end());
    // Without timings, two executions that agree are one line.
    lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
    for (const std::string& line : lines) out << line << '\n';
  }
  if (!out) return fail(make_error(ErrorKind::kIo, "writing the dump failed").at(path_));
  return {};
}

Result<std::vector<std::string>> Store::check() const {
  std::vector<std::string> problems;
  ASSIGN_OR_RETURN(const auto integrity, connection_->query(kIntegrityCheck));
  for (const SqlRow& row : integrity)
    if (const std::string text = printable(row[0]); text != "ok")
      problems.push_back("integrity: " + text);
  ASSIGN_OR_RETURN(const auto dangling, connection_->query(kForeignKeyCheck));
  for (const SqlRow& row : dangling)
    problems.push_back(fmt::format("table {}: a row refers to a row of {} that is not there",
                                   printable(row[0]), printable(row[2])));
  for (const Table& table : all_tables())
    RETURN_IF_ERROR(for_each_row(*connection_, table, [&](const SqlRow& row) {
      const Result<std::string> id = recomputed_id(table.name, row);
      if (!id)
        problems.push_back(
            fmt::format("table {}, row {}: {}", table.name, printable(row[0]), id.error().message));
      else if (SqlValue(*id) != row[0])
        problems.push_back(fmt::format("table {}, row {}: its content has id {}", table.name,
                                       printable(row[0]), *id));
      return Status();
    }));
  ASSIGN_OR_RETURN(const auto data_ids, connection_->query(kSelectDataIds));
  for (const SqlRow& row : data_ids) {
    const std::string id = printable(row[0]);
    const auto found =
        text_of(row, 0).and_then([&](const std::string& text) { return data(text); });
    if (!found)
      problems.push_back(fmt::format("table data_sets, row {}: {}", id, found.error().message));
    else if (const std::string computed = data_id(*found); computed != found->id)
      problems.push_back(
          fmt::format("table data_sets, row {}: its content has id {}", id, computed));
  }
  ASSIGN_OR_RETURN(const auto unanswered, connection_->query(kUnansweredSamples));
  for (const SqlRow& row : unanswered)
    problems.push_back(fmt::format("run {} is done, but {} samples have no response",
                                   printable(row[0]), printable(row[1])));
  return problems;
}

}  // namespace strata
