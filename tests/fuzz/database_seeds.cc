// A database of the current schema with a row of every kind, in small pages.
#include <sqlite3.h>

#include "tests/fuzz/seeds.h"
#include "tests/unit/results/rows_fixture.h"

namespace strata::fuzz {

std::vector<std::string> made_seeds() {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("seed");
  { const test::World world = test::make_world(path); }
  sqlite3* handle = nullptr;
  STRATA_CHECK(sqlite3_open(path.c_str(), &handle) == SQLITE_OK);
  const int code =
      sqlite3_exec(handle, "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM", nullptr,
                   nullptr, nullptr);
  STRATA_CHECK(code == SQLITE_OK, "{}", sqlite3_errmsg(handle));
  sqlite3_close(handle);
  return {test::bytes_of(path)};
}

}  // namespace strata::fuzz
