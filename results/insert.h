// Inserting one row by content id: new rows are added, equal rows left alone, conflicting ones
// refused.
#pragma once

#include "results/schema.h"
#include "results/sqlite.h"

namespace strata {

// `values` in the table's column order. Statement-level atomic; takes part in an open transaction.
Status insert_row(const Connection& connection, const Table& table, const SqlRow& values);

// Short printable form for errors and dumps: backslash escapes, NULL as \N.
std::string printable(const SqlValue& value);

}  // namespace strata
