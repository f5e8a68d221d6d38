#include "results/sqlite.h"

#include <sqlite3.h>

#include <cmath>
#include <utility>

namespace strata {
namespace {

// A writer waits this long for another process's transaction; ours take milliseconds.
constexpr int kBusyTimeoutMs = 10'000;

// Of one value; a prompt of ten million tokens is as long. SQLite allocates what a damaged row says
// that it holds, up to this.
constexpr int kMaxValueBytes = 48 << 20;

constexpr const char* kCheckCells = "PRAGMA cell_size_check = ON";
constexpr const char* kBegin = "BEGIN IMMEDIATE";
constexpr const char* kCommit = "COMMIT";
constexpr const char* kRollback = "ROLLBACK";

struct Explanation {
  ErrorKind kind;
  std::string_view message;
  std::string_view hint;
};

Explanation explain(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return {ErrorKind::kIo,
              "the disk is full; the last row was not recorded, all earlier ones are kept",
              "free some space and run the same command again"};
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return {ErrorKind::kIo, "no permission to write the database or its folder",
              "make both writable, or choose another file with db="};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {ErrorKind::kIo, "another process keeps the database locked",
              "wait for it, or give each process a database and merge them with 'strata db merge'"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {ErrorKind::kInvalidFile, "the database is damaged",
              "'sqlite3 FILE .recover' saves what can be read"};
    case SQLITE_IOERR:
      return {ErrorKind::kIo, "reading or writing the database failed",
              "check the disk; the database must be on a local file system"};
    case SQLITE_CANTOPEN:
      return {ErrorKind::kIo, "cannot open the database", "check the path and its permissions"};
    case SQLITE_TOOBIG:
      return {ErrorKind::kInvalidFile, "a value of a row is longer than 48 MiB", ""};
    default: return {ErrorKind::kInternal, "SQLite refused", ""};
  }
}

// A database may be a stranger's: nothing that its schema says is run, and damage is looked for.
int harden(sqlite3* handle) {
  for (const auto& [option, value] : {std::pair{SQLITE_DBCONFIG_DEFENSIVE, 1},
                                      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                                      {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
                                      {SQLITE_DBCONFIG_ENABLE_VIEW, 0}})
    if (const int code = sqlite3_db_config(handle, option, value, nullptr); code != SQLITE_OK)
      return code;
  sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, kMaxValueBytes);
  sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
  return sqlite3_exec(handle, kCheckCells, nullptr, nullptr, nullptr);
}

Error make(const std::string& path, int code, const char* words) {
  const Explanation explanation = explain(code);
  return make_error(explanation.kind, "{} (SQLite: {})", explanation.message, words)
      .at(path)
      .with_hint(std::string(explanation.hint));
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Status Statement::bind(int parameter, const SqlValue& value) {
  sqlite3_stmt* const handle = statement_.get();
  int code = SQLITE_OK;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    code = sqlite3_bind_int64(handle, parameter, *integer);
  } else if (const auto* real = std::get_if<double>(&value)) {
    STRATA_CHECK(!std::isnan(*real));
    code = sqlite3_bind_double(handle, parameter, *real);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    code = sqlite3_bind_text64(handle, parameter, text->data(), text->size(), SQLITE_TRANSIENT,
                               SQLITE_UTF8);
  } else if (const auto* blob = std::get_if<Blob>(&value)) {
    // A null pointer would bind NULL.
    code = sqlite3_bind_blob64(handle, parameter, blob->bytes.empty() ? "" : blob->bytes.data(),
                               blob->bytes.size(), SQLITE_TRANSIENT);
  } else {
    code = sqlite3_bind_null(handle, parameter);
  }
  if (code != SQLITE_OK) return fail(connection_->error(code));
  return {};
}

Status Statement::bind_all(const SqlRow& values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    RETURN_IF_ERROR(bind(static_cast<int>(i) + 1, values[i]));
  return {};
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return fail(connection_->error(code));
}

SqlRow Statement::row() const {
  sqlite3_stmt* const handle = statement_.get();
  SqlRow out;
  for (int column = 0; column < sqlite3_column_count(handle); ++column) {
    switch (sqlite3_column_type(handle, column)) {
      case SQLITE_INTEGER:
        out.emplace_back(std::int64_t{sqlite3_column_int64(handle, column)});
        break;
      case SQLITE_FLOAT: out.emplace_back(sqlite3_column_double(handle, column)); break;
      case SQLITE_NULL: out.emplace_back(); break;
      default: {
        const auto* bytes = static_cast<const char*>(sqlite3_column_blob(handle, column));
        const auto size = static_cast<std::size_t>(sqlite3_column_bytes(handle, column));
        std::string content = size == 0 ? std::string() : std::string(bytes, size);
        if (sqlite3_column_type(handle, column) == SQLITE_BLOB)
          out.emplace_back(Blob{std::move(content)});
        else
          out.emplace_back(std::move(content));
      }
    }
  }
  return out;
}

Status Statement::reset() {
  // The code repeats the last step's, which was reported then.
  sqlite3_reset(statement_.get());
  return {};
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, Open how) {
  int flags = SQLITE_OPEN_NOMUTEX;
  flags |= how == Open::kReadWrite ? SQLITE_OPEN_READWRITE
           : how == Open::kCreate  ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                   : SQLITE_OPEN_READONLY;
  std::string name = path;
  if (how == Open::kImmutable) {
    // Only as a URI can SQLite be told that no one writes; '?', '#' and '%' of the path are
    // escaped.
    flags |= SQLITE_OPEN_URI;
    name = "file:";
    for (const char c : path)
      name += c == '?' ? "%3f" : c == '#' ? "%23" : c == '%' ? "%25" : std::string(1, c);
    name += "?immutable=1";
  }
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &handle, flags, nullptr);
  auto connection = std::unique_ptr<Connection>(new Connection(path, handle));
  if (code != SQLITE_OK)
    return fail(make(path, code, handle == nullptr ? "out of memory" : sqlite3_errmsg(handle)));
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  if (const int refused = harden(handle); refused != SQLITE_OK)
    return fail(make(path, refused, sqlite3_errmsg(handle)));
  return connection;
}

Connection::~Connection() { sqlite3_close_v2(handle_); }

Result<Statement> Connection::prepare(std::string_view sql) const {
  sqlite3_stmt* statement = nullptr;
  const int code =
      sqlite3_prepare_v2(handle_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (code != SQLITE_OK) return fail(error(code));
  return Statement(this, statement);
}

Status Connection::execute(const std::string& sql) const {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return fail(error(code));
  return {};
}

Result<std::vector<SqlRow>> Connection::query(std::string_view sql,
                                              const SqlRow& parameters) const {
  ASSIGN_OR_RETURN(Statement statement, prepare(sql));
  RETURN_IF_ERROR(statement.bind_all(parameters));
  std::vector<SqlRow> rows;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, statement.step());
    if (!more) return rows;
    rows.push_back(statement.row());
  }
}

std::int64_t Connection::changes() const { return sqlite3_changes64(handle_); }

bool Connection::in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }

Error Connection::error(int code) const { return make(path_, code, sqlite3_errmsg(handle_)); }

Result<Transaction> Transaction::begin(const Connection& connection) {
  RETURN_IF_ERROR(connection.execute(kBegin));
  return Transaction(connection);
}

Transaction::Transaction(Transaction&& other) noexcept
    : connection_(std::exchange(other.connection_, nullptr)) {}

Status Transaction::commit() {
  RETURN_IF_ERROR(connection_->execute(kCommit));
  connection_ = nullptr;
  return {};
}

Transaction::~Transaction() {
  // SQLite may already have rolled back by itself (a full disk does that).
  if (connection_ == nullptr || !connection_->in_transaction()) return;
  const Status ignored = connection_->execute(kRollback);
  static_cast<void>(ignored);
}

}  // namespace strata
