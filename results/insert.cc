#include "results/insert.h"

#include <algorithm>
#include <cmath>

#include "results/rows.h"

namespace strata {
namespace {

constexpr std::size_t kShown = 80;

std::string shown(const SqlValue& value) {
  std::string text = printable(value);
  if (text.size() > kShown) text = text.substr(0, kShown) + "…";
  return text;
}

// Nothing where it is no text, as a foreign database may have it.
std::string_view text_of(const SqlValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text == nullptr ? std::string_view() : *text;
}

// The further a run has come, the higher.
int progress_of(const SqlValue& status) {
  const Result<RunStatus> parsed = parse_run_status(text_of(status));
  switch (parsed.value_or(RunStatus::kRunning)) {
    case RunStatus::kRunning: return 0;
    case RunStatus::kInterrupted: return 1;
    case RunStatus::kFailed: return 2;
    case RunStatus::kDone: return 3;
  }
  return 0;
}

Error conflict(const Connection& connection, const Table& table, const Column& column,
               const SqlRow& recorded, const SqlRow& offered) {
  const std::size_t i = table.index_of(column.name);
  return make_error(ErrorKind::kInvalidFile,
                    "table {}, row {}: the same id with other content: {} is {} in the database, "
                    "{} in the "
                    "new row",
                    table.name, shown(recorded[0]), column.name, shown(recorded[i]),
                    shown(offered[i]))
      .at(connection.path())
      .with_hint(
          "equal ids mean equal content; one of the two databases was edited or its build has a "
          "bug");
}

Status advance_run(const Connection& connection, const Table& table, const SqlRow& values) {
  std::string sql = fmt::format("UPDATE {} SET ", table.name);
  bool first = true;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (table.columns[i].keep != Keep::kProgress) continue;
    sql += fmt::format("{}{} = ?{}", first ? "" : ", ", table.columns[i].name, i + 1);
    first = false;
  }
  sql += " WHERE id = ?1";
  ASSIGN_OR_RETURN(Statement statement, connection.prepare(sql));
  for (std::size_t i = 0; i < table.columns.size(); ++i)
    if (i == 0 || table.columns[i].keep == Keep::kProgress)
      RETURN_IF_ERROR(statement.bind(static_cast<int>(i) + 1, values[i]));
  ASSIGN_OR_RETURN(const bool row, statement.step());
  STRATA_CHECK(!row);
  return {};
}

}  // namespace

std::string printable(const SqlValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *integer);
  if (const auto* real = std::get_if<double>(&value)) return fmt::format("{}", *real);
  if (const auto* blob = std::get_if<Blob>(&value)) {
    std::string hex = "x'";
    for (const char byte : blob->bytes)
      hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    return hex + "'";
  }
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return "\\N";
  std::string out;
  for (const char c : *text) {
    switch (c) {
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      case '\r': out += "\\r"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else
          out += c;
    }
  }
  return out;
}

Status insert_row(const Connection& connection, const Table& table, const SqlRow& values) {
  STRATA_CHECK(values.size() == table.columns.size(), "{}", table.name);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (const auto* real = std::get_if<double>(&values[i]);
        real != nullptr && !std::isfinite(*real))
      return fail(ErrorKind::kInvalidArgument,
                  "table {}, column {}: expected a finite number, got {}", table.name,
                  table.columns[i].name, *real);

  ASSIGN_OR_RETURN(Statement insert, connection.prepare(table.insert_sql()));
  RETURN_IF_ERROR(insert.bind_all(values));
  ASSIGN_OR_RETURN(const bool row, insert.step());
  STRATA_CHECK(!row);
  if (connection.changes() == 1) return {};

  const SqlRow key(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(table.keys));
  ASSIGN_OR_RETURN(const std::vector<SqlRow> found,
                   connection.query(table.select_by_key_sql(), key));
  STRATA_CHECK(found.size() == 1, "{}", table.name);
  const SqlRow& recorded = found[0];
  const Column* differing_progress = nullptr;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (recorded[i] == values[i]) continue;
    const Column& column = table.columns[i];
    if (column.keep == Keep::kContent)
      return fail(conflict(connection, table, column, recorded, values));
    if (column.keep == Keep::kProgress) differing_progress = &column;
  }
  if (differing_progress == nullptr) return {};
  const std::size_t status = table.index_of("status");
  const int here = progress_of(recorded[status]);
  const int there = progress_of(values[status]);
  if (there == here && here == progress_of(SqlValue(std::string("done"))))
    return fail(conflict(connection, table, *differing_progress, recorded, values));
  // Of two attempts that came equally far the later one counts: its error is what is wrong now.
  const std::size_t finished = table.index_of("finished");
  const bool later = there == here && text_of(recorded[finished]) < text_of(values[finished]);
  return there > here || later ? advance_run(connection, table, values) : Status{};
}

}  // namespace strata
