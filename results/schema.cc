#include "results/schema.h"

#include <array>
#include <map>
#include <utility>

#include "results/insert.h"

namespace strata {
namespace {

// Never edit a migration that was released: add the next one.
constexpr std::string_view kMigration1 = R"sql(
CREATE TABLE models (
  id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, path_hint TEXT NOT NULL, layers INTEGER NOT NULL,
  query_heads INTEGER NOT NULL, kv_heads INTEGER NOT NULL, parameters INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tokenizers (id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE plans (id TEXT PRIMARY KEY NOT NULL, plan_json TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE samples (
  id TEXT PRIMARY KEY NOT NULL, benchmark TEXT NOT NULL, prompt_text TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, answers_json TEXT NOT NULL, metadata_json TEXT NOT NULL);
CREATE TABLE data_sets (id TEXT PRIMARY KEY NOT NULL, benchmark TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE data_samples (
  data_id TEXT NOT NULL REFERENCES data_sets (id), position INTEGER NOT NULL,
  sample_id TEXT NOT NULL REFERENCES samples (id), cluster TEXT NOT NULL,
  PRIMARY KEY (data_id, position)) WITHOUT ROWID;
CREATE TABLE selections (
  id TEXT PRIMARY KEY NOT NULL, strategy TEXT NOT NULL, config_json TEXT NOT NULL,
  model_id TEXT NOT NULL REFERENCES models (id), plan_id TEXT NOT NULL REFERENCES plans (id),
  mask_json TEXT NOT NULL, scores_json TEXT NOT NULL, standard_errors_json TEXT NOT NULL,
  forward_tokens REAL NOT NULL, layer_tokens REAL NOT NULL, flops REAL NOT NULL, evaluations INTEGER NOT NULL,
  seconds REAL NOT NULL, peak_bytes INTEGER NOT NULL, supervision TEXT NOT NULL, calibration_id TEXT NOT NULL,
  seed INTEGER NOT NULL, diagnostics_json TEXT NOT NULL);
CREATE TABLE experiments (
  id TEXT PRIMARY KEY NOT NULL, model_id TEXT NOT NULL REFERENCES models (id),
  tokenizer_id TEXT NOT NULL REFERENCES tokenizers (id), plan_id TEXT NOT NULL REFERENCES plans (id),
  generation_json TEXT NOT NULL, data_id TEXT NOT NULL REFERENCES data_sets (id),
  numerics_version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
  id TEXT PRIMARY KEY NOT NULL, config_hash TEXT NOT NULL, config_json TEXT NOT NULL, started TEXT NOT NULL,
  finished TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed', 'interrupted')),
  error TEXT NOT NULL, strategy TEXT NOT NULL, label TEXT NOT NULL, group_name TEXT NOT NULL, budget_units INTEGER,
  budget_fraction REAL, granularity TEXT NOT NULL, decode_rule TEXT NOT NULL, window INTEGER NOT NULL,
  sinks INTEGER NOT NULL, selection_id TEXT REFERENCES selections (id),
  experiment_id TEXT REFERENCES experiments (id), benchmark TEXT NOT NULL, benchmark_config_json TEXT NOT NULL,
  seeds_json TEXT NOT NULL, calibration_nll REAL);
CREATE TABLE executions (
  id TEXT PRIMARY KEY NOT NULL, run_id TEXT NOT NULL REFERENCES runs (id), build TEXT NOT NULL,
  device TEXT NOT NULL, threads INTEGER NOT NULL, dtype TEXT NOT NULL, cpu TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE responses (
  experiment_id TEXT NOT NULL REFERENCES experiments (id), sample_id TEXT NOT NULL REFERENCES samples (id),
  execution_id TEXT NOT NULL REFERENCES executions (id), text TEXT NOT NULL, tokens_json TEXT NOT NULL,
  answer_nll_json TEXT NOT NULL, argmax_json TEXT NOT NULL, metrics_json TEXT NOT NULL, timings_json TEXT NOT NULL,
  prefill_flops REAL NOT NULL, decode_flops REAL NOT NULL, kv_bytes INTEGER NOT NULL,
  PRIMARY KEY (experiment_id, sample_id, execution_id));
)sql";

constexpr std::string_view kMigration2 = R"sql(
CREATE TABLE score_tensors (
  id TEXT PRIMARY KEY NOT NULL, context_json TEXT NOT NULL, samples_json TEXT NOT NULL, clusters_json TEXT NOT NULL,
  positions_json TEXT NOT NULL, context_nll BLOB NOT NULL, gains BLOB NOT NULL);
ALTER TABLE selections ADD COLUMN score_tensor_id TEXT REFERENCES score_tensors (id);
)sql";

constexpr std::string_view kMigration3 = R"sql(
ALTER TABLE selections ADD COLUMN backward_tokens REAL NOT NULL DEFAULT 0;
ALTER TABLE selections ADD COLUMN training_json TEXT NOT NULL DEFAULT 'null';
)sql";

constexpr std::string_view kMigration4 = R"sql(
CREATE TABLE judgements (
  id TEXT PRIMARY KEY NOT NULL, experiment_id TEXT NOT NULL, sample_id TEXT NOT NULL, execution_id TEXT NOT NULL,
  judge_model TEXT NOT NULL, endpoint TEXT NOT NULL, settings_json TEXT NOT NULL, rubric TEXT NOT NULL,
  rubric_hash TEXT NOT NULL, prompt_hash TEXT NOT NULL, reported_model TEXT NOT NULL, reply TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('yes', 'no', 'unparsable', 'failed')),
  official INTEGER CHECK (official IN (0, 1)), attempts INTEGER NOT NULL, error TEXT NOT NULL,
  latency_ms REAL NOT NULL, judged TEXT NOT NULL,
  FOREIGN KEY (experiment_id, sample_id, execution_id)
    REFERENCES responses (experiment_id, sample_id, execution_id));
CREATE INDEX judgements_of_responses ON judgements (experiment_id, sample_id, execution_id);
)sql";

constexpr std::string_view kMigration5 = R"sql(
ALTER TABLE responses ADD COLUMN peak_bytes INTEGER;
)sql";

constexpr std::array<std::string_view, 5> kMigrations = {kMigration1, kMigration2, kMigration3,
                                                         kMigration4, kMigration5};

constexpr bool kMeasured = true;

std::vector<Table> make_tables() {
  using enum Keep;
  std::vector<Table> tables;
  tables.push_back({"models",
                    1,
                    {{"id"},
                     {"name", kHint},
                     {"path_hint", kHint},
                     {"layers"},
                     {"query_heads"},
                     {"kv_heads"},
                     {"parameters"}}});
  tables.push_back({"tokenizers", 1, {{"id"}, {"name", kHint}}});
  tables.push_back({"plans", 1, {{"id"}, {"plan_json"}}});
  tables.push_back({"samples",
                    1,
                    {{"id"},
                     {"benchmark"},
                     {"prompt_text"},
                     {"prompt_tokens"},
                     {"answers_json"},
                     {"metadata_json", kHint}}});
  tables.push_back({"data_sets", 1, {{"id"}, {"benchmark"}}});
  tables.push_back({"data_samples", 2, {{"data_id"}, {"position"}, {"sample_id"}, {"cluster"}}});
  tables.push_back({"score_tensors",
                    1,
                    {{"id"},
                     {"context_json"},
                     {"samples_json"},
                     {"clusters_json"},
                     {"positions_json"},
                     {"context_nll"},
                     {"gains"}}});
  tables.push_back({"selections",
                    1,
                    {{"id", kContent, kMeasured},
                     {"strategy"},
                     {"config_json"},
                     {"model_id"},
                     {"plan_id"},
                     {"mask_json"},
                     {"scores_json"},
                     {"standard_errors_json"},
                     {"forward_tokens"},
                     {"layer_tokens"},
                     {"flops"},
                     {"evaluations"},
                     {"seconds", kContent, kMeasured},
                     {"peak_bytes", kContent, kMeasured},
                     {"supervision"},
                     {"calibration_id"},
                     {"seed"},
                     {"diagnostics_json"},
                     {"score_tensor_id"},
                     {"backward_tokens"},
                     {"training_json"}}});
  tables.push_back({"experiments",
                    1,
                    {{"id"},
                     {"model_id"},
                     {"tokenizer_id"},
                     {"plan_id"},
                     {"generation_json"},
                     {"data_id"},
                     {"numerics_version"}}});
  tables.push_back({"runs",
                    1,
                    {{"id", kContent, kMeasured},
                     {"config_hash"},
                     {"config_json"},
                     {"started", kContent, kMeasured},
                     {"finished", kProgress, kMeasured},
                     {"status", kProgress},
                     {"error", kProgress},
                     {"strategy"},
                     {"label"},
                     {"group_name"},
                     {"budget_units"},
                     {"budget_fraction"},
                     {"granularity"},
                     {"decode_rule", kProgress},
                     {"window", kProgress},
                     {"sinks", kProgress},
                     {"selection_id", kProgress, kMeasured},
                     {"experiment_id", kProgress},
                     {"benchmark"},
                     {"benchmark_config_json"},
                     {"seeds_json"},
                     {"calibration_nll", kProgress}}});
  tables.push_back({"executions",
                    1,
                    {{"id", kContent, kMeasured},
                     {"run_id", kContent, kMeasured},
                     {"build"},
                     {"device"},
                     {"threads"},
                     {"dtype"},
                     {"cpu"}}});
  tables.push_back({"responses",
                    3,
                    {{"experiment_id"},
                     {"sample_id"},
                     {"execution_id", kContent, kMeasured},
                     {"text"},
                     {"tokens_json"},
                     {"answer_nll_json"},
                     {"argmax_json"},
                     {"metrics_json"},
                     {"timings_json", kContent, kMeasured},
                     {"prefill_flops"},
                     {"decode_flops"},
                     {"kv_bytes"},
                     {"peak_bytes", kContent, kMeasured}}});
  tables.push_back({"judgements",
                    1,
                    {{"id", kContent, kMeasured},
                     {"experiment_id"},
                     {"sample_id"},
                     {"execution_id", kContent, kMeasured},
                     {"judge_model"},
                     {"endpoint"},
                     {"settings_json"},
                     {"rubric"},
                     {"rubric_hash"},
                     {"prompt_hash"},
                     {"reported_model"},
                     {"reply"},
                     {"verdict"},
                     {"official"},
                     {"attempts", kContent, kMeasured},
                     {"error"},
                     {"latency_ms", kContent, kMeasured},
                     {"judged", kContent, kMeasured}}});
  return tables;
}

std::string key_condition(const Table& table) {
  std::string out;
  for (std::size_t i = 0; i < table.keys; ++i)
    out += fmt::format("{}{} = ?{}", i == 0 ? "" : " AND ", table.columns[i].name, i + 1);
  return out;
}

std::string joined_names(const Table& table, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) out += ", ";
    out += table.columns[i].name;
  }
  return out;
}

constexpr std::string_view kSelectObjects =
    "SELECT type, name, tbl_name || ': ' || ifnull(sql, '') FROM sqlite_schema "
    "WHERE type <> 'view' AND name NOT LIKE 'sqlite\\_stat_' ESCAPE '\\'";

// (type, name) -> its table and SQL.
using Objects = std::map<std::pair<std::string, std::string>, std::string>;

Result<Objects> objects_of(const Connection& connection) {
  ASSIGN_OR_RETURN(const std::vector<SqlRow> rows, connection.query(kSelectObjects));
  Objects objects;
  for (const SqlRow& row : rows)
    objects[{printable(row[0]), printable(row[1])}] = printable(row[2]);
  return objects;
}

Result<Objects> expected_objects() {
  ASSIGN_OR_RETURN(const auto memory, Connection::open(":memory:", Connection::Open::kCreate));
  for (const std::string_view migration : kMigrations)
    RETURN_IF_ERROR(memory->execute(std::string(migration)));
  return objects_of(*memory);
}

}  // namespace

std::size_t Table::index_of(std::string_view column) const {
  for (std::size_t i = 0; i < columns.size(); ++i)
    if (columns[i].name == column) return i;
  STRATA_CHECK(false, "table {} has no column {}", name, column);
  return 0;
}

std::string Table::insert_sql() const {
  std::string places;
  for (std::size_t i = 0; i < columns.size(); ++i) places += i == 0 ? "?" : ", ?";
  return fmt::format("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO NOTHING", name,
                     joined_names(*this, columns.size()), places, joined_names(*this, keys));
}

std::string Table::select_sql() const {
  return fmt::format("SELECT {} FROM {} ORDER BY {}", joined_names(*this, columns.size()), name,
                     joined_names(*this, keys));
}

std::string Table::select_by_key_sql() const {
  return fmt::format("SELECT {} FROM {} WHERE {}", joined_names(*this, columns.size()), name,
                     key_condition(*this));
}

std::span<const Table> all_tables() {
  static const std::vector<Table> kTables = make_tables();
  return kTables;
}

const Table& table_named(std::string_view name) {
  for (const Table& table : all_tables())
    if (table.name == name) return table;
  STRATA_CHECK(false, "no table {}", name);
  return all_tables()[0];
}

std::span<const std::string_view> migrations() { return kMigrations; }

Status check_schema(const Connection& connection) {
  static const Result<Objects> kExpected = expected_objects();
  if (!kExpected) return fail(kExpected.error());
  ASSIGN_OR_RETURN(const Objects found, objects_of(connection));
  const auto wrong = [&](std::string_view what, const Objects::value_type& object) {
    return fail(make_error(ErrorKind::kInvalidFile, "expected the schema of version {}, {} {} '{}'",
                           migrations().size(), what, object.first.first, object.first.second)
                    .at(connection.path())
                    .with_hint("tables, indexes and triggers of your own belong in another "
                               "database, which can attach this one"));
  };
  for (const auto& object : found) {
    const auto expected = kExpected->find(object.first);
    if (expected == kExpected->end()) return wrong("which does not have the", object);
    if (expected->second != object.second) return wrong("which has another", object);
  }
  for (const auto& object : *kExpected)
    if (!found.contains(object.first)) return wrong("got one without the", object);
  return {};
}

}  // namespace strata
