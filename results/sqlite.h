// A thin RAII layer over SQLite: connection, prepared statement, transaction. No SQL of its own but
// BEGIN and COMMIT.
//
// Errors carry the database's path, what was being done and SQLite's words, with a hint where we
// know one. Owned by one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace strata {

struct Blob {
  std::string bytes;
  bool operator==(const Blob&) const = default;
};

// NULL, INTEGER, REAL, TEXT, BLOB. REAL is never NaN (SQLite would store NULL).
using SqlValue = std::variant<std::monostate, std::int64_t, double, std::string, Blob>;
using SqlRow = std::vector<SqlValue>;

class Statement {
 public:
  // Parameters are numbered from 1.
  Status bind(int parameter, const SqlValue& value);
  Status bind_all(const SqlRow& values);
  // True: a row is there. False: done.
  Result<bool> step();
  SqlRow row() const;
  Status reset();

 private:
  friend class Connection;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  Statement(const class Connection* connection, sqlite3_stmt* statement)
      : connection_(connection), statement_(statement) {}

  const Connection* connection_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

class Connection {
 public:
  enum class Open { kReadOnly, kImmutable, kReadWrite, kCreate };
  static Result<std::unique_ptr<Connection>> open(const std::string& path, Open how);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  Result<Statement> prepare(std::string_view sql) const;
  // One or more statements, rows dropped.
  Status execute(const std::string& sql) const;
  // All rows of one statement.
  Result<std::vector<SqlRow>> query(std::string_view sql, const SqlRow& parameters = {}) const;
  // Rows changed by the last insert, update or delete.
  std::int64_t changes() const;
  bool in_transaction() const;
  // The connection's last error, as ours.
  Error error(int code) const;

  const std::string& path() const { return path_; }

 private:
  Connection(std::string path, sqlite3* handle) : path_(std::move(path)), handle_(handle) {}

  std::string path_;
  sqlite3* handle_;
};

// Rolled back unless committed.
class Transaction {
 public:
  static Result<Transaction> begin(const Connection& connection);
  Status commit();
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

 private:
  explicit Transaction(const Connection& connection) : connection_(&connection) {}
  const Connection* connection_;
};

}  // namespace strata
