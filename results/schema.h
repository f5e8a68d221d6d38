// The schema: numbered migrations, and for each table its columns in one list, from which inserts,
// comparisons, merging and dumps derive.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/sqlite.h"

namespace strata {

// "strt": what makes a SQLite file ours.
inline constexpr std::int64_t kApplicationId = 0x73747274;

// What happens to a column when its row is recorded again or merged.
enum class Keep {
  kContent,   // must be equal
  kHint,      // for people; the first one stays
  kProgress,  // of a run: may change until the run has finished
};

struct Column {
  std::string_view name;
  Keep keep = Keep::kContent;
  bool measured = false;  // a measured time or memory, or an id that covers one
};

struct Table {
  std::string_view name;
  std::size_t keys = 1;  // the first columns are the primary key
  std::vector<Column> columns;

  std::size_t index_of(std::string_view column) const;
  std::string insert_sql() const;         // all columns; a row that exists is left alone
  std::string select_sql() const;         // all columns, by key
  std::string select_by_key_sql() const;  // all columns of one row
};

// Parents before children.
std::span<const Table> all_tables();
const Table& table_named(std::string_view name);

// user_version after migration i (counted from 1) is i.
std::span<const std::string_view> migrations();

// The tables, indexes and triggers are those that the migrations make, word for word: a schema can
// carry code (triggers, computed columns, checks, indexes of expressions), and none but ours runs.
// Views and SQLite's own statistics are allowed, because nothing of ours reads them.
Status check_schema(const Connection& connection);

}  // namespace strata
