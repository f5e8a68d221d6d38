// What Store::open makes of every kind of path, and what a full or read-only disk leaves behind.
#include <sqlite3.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <utility>
#include <vector>

#include "full_disk.h"
#include "results/sqlite.h"
#include "rows_fixture.h"

namespace strata::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

void run_sql(const std::string& path, const std::string& sql) {
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &handle), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(handle);
  sqlite3_close(handle);
}

std::string error_of(const std::string& path, Store::Mode mode) {
  const Result<Store> store = Store::open(path, mode);
  return store ? "opened" : store.error().text();
}

void expect_refused_and_untouched(const std::string& path, const std::string& message) {
  const std::string before = bytes_of(path);
  const auto files = [&] {
    return std::distance(fs::directory_iterator(fs::path(path).parent_path()),
                         fs::directory_iterator());
  };
  const auto files_before = files();
  for (const Store::Mode mode : {Store::Mode::kReadOnly, Store::Mode::kReadWrite})
    EXPECT_EQ(error_of(path, mode), fmt::format("{}: {}", path, message));
  EXPECT_EQ(bytes_of(path), before);
  EXPECT_EQ(files(), files_before);
}

TEST(StoreOpen, RefusesAFileThatIsNoSqliteAndLeavesItAlone) {
  const TemporaryFolder folder;
  write(folder.file("a.db"), std::string("PK\x03\x04") + std::string(5000, 'x'));
  expect_refused_and_untouched(
      folder.file("a.db"),
      "expected a strata results database, got a file that is no SQLite database (it begins with "
      "'PK\\x03\\x04xxxx')\n  hint: the file was left as it is; choose another path with db=");
  write(folder.file("short.db"), std::string("SQLite format 3\0", 16));
  expect_refused_and_untouched(
      folder.file("short.db"),
      "expected a strata results database, got a file that is no SQLite database (it begins with "
      "'SQLite f')\n  hint: the file was left as it is; choose another path with db=");
}

TEST(StoreOpen, RefusesADatabaseOfAnotherProgramAndLeavesItAlone) {
  const TemporaryFolder folder;
  run_sql(folder.file("a.db"),
          "PRAGMA application_id = 1196444487; CREATE TABLE t (x); INSERT INTO t VALUES (1)");
  expect_refused_and_untouched(folder.file("a.db"),
                               "expected a strata results database (application id 0x73747274), "
                               "got an SQLite database of another program "
                               "(application id 0x47504b47)\n  hint: the file was left as it is; "
                               "choose another path with db=");
}

TEST(StoreOpen, RefusesANewerSchemaAndLeavesItAlone) {
  const TemporaryFolder folder;
  { const World world = make_world(folder.file("a.db")); }
  run_sql(folder.file("a.db"), "PRAGMA user_version = 7");
  expect_refused_and_untouched(
      folder.file("a.db"),
      "expected schema version 5 or older, got 7\n  hint: a newer strata wrote this "
      "database; use that one");
}

std::map<std::string, std::int64_t> rows_by_table(const std::string& path) {
  const auto connection = must(Connection::open(path, Connection::Open::kReadOnly));
  std::map<std::string, std::int64_t> counts;
  for (const SqlRow& table :
       must(connection->query("SELECT name FROM sqlite_master WHERE type = 'table'"))) {
    const std::string& name = std::get<std::string>(table[0]);
    const std::vector<SqlRow> count =
        must(connection->query(fmt::format("SELECT count(*) FROM \"{}\"", name)));
    counts[name] = std::get<std::int64_t>(count[0][0]);
  }
  return counts;
}

// tests/golden/schema_N.sql is what older releases wrote.
class OldSchema : public testing::TestWithParam<int> {};

TEST_P(OldSchema, IsReadAfterMigrationWithAllItsRows) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.db");
  const char* root = std::getenv("STRATA_SOURCE_DIR");
  run_sql(path, bytes_of(fmt::format("{}/tests/golden/schema_{}.sql", root == nullptr ? "." : root,
                                     GetParam())));
  EXPECT_EQ(error_of(path, Store::Mode::kReadOnly),
            fmt::format("{}: expected schema version 5, got {}\n  hint: bring it up to date with "
                        "'strata db migrate'",
                        path, GetParam()));
  const std::map<std::string, std::int64_t> before = rows_by_table(path);
  EXPECT_EQ(before.at("responses"), 2);
  { const Store migrated = must(Store::open(path, Store::Mode::kReadWrite)); }
  std::map<std::string, std::int64_t> after = rows_by_table(path);
  for (const auto& [table, count] : before) EXPECT_EQ(after[table], count) << table;
  const Store store = must(Store::open(path, Store::Mode::kReadOnly));
  EXPECT_THAT(must(store.check()), testing::IsEmpty());
  const RunRow run = must(store.runs()).at(0);
  EXPECT_EQ(run.status, RunStatus::kDone);
  const SelectionRow selection = must(store.selection(*run.selection_id));
  EXPECT_EQ(selection.score_tensor_id, std::nullopt);
  EXPECT_EQ(selection.cost.backward_tokens, 0);
  EXPECT_EQ(selection.training_json, "null");
  const std::vector<ResponseRow> responses = must(store.responses_of(*run.experiment_id));
  ASSERT_EQ(responses.size(), 2U);
  for (const ResponseRow& response : responses) EXPECT_EQ(response.peak_bytes, std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Schemas, OldSchema, testing::Values(1, 2, 3, 4));

TEST(StoreOpen, RefusesASchemaWithAnythingThatIsNotOurs) {
  const std::string hint =
      "\n  hint: tables, indexes and triggers of your own belong in another database, which can "
      "attach this one";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM models; END",
       "which does not have the trigger 't'"},
      {"CREATE INDEX i ON models (length(hex(zeroblob(1000))))",
       "which does not have the index 'i'"},
      {"CREATE TABLE other (x)", "which does not have the table 'other'"},
      {"ALTER TABLE models ADD COLUMN x TEXT AS (hex(zeroblob(1000)))",
       "which has another table 'models'"},
      {"DROP TABLE responses", "got one without the index 'sqlite_autoindex_responses_1'"},
      {"DROP INDEX judgements_of_responses",
       "got one without the index 'judgements_of_responses'"}};
  for (const auto& [sql, message] : cases) {
    const TemporaryFolder folder;
    { const World world = make_world(folder.file("a.db")); }
    run_sql(folder.file("a.db"), sql);
    for (const Store::Mode mode : {Store::Mode::kReadOnly, Store::Mode::kReadWrite})
      EXPECT_EQ(error_of(folder.file("a.db"), mode),
                fmt::format("{}: expected the schema of version 5, {}{}", folder.file("a.db"),
                            message, hint));
  }
}

TEST(StoreOpen, AllowsViewsAndStatistics) {
  const TemporaryFolder folder;
  { const World world = make_world(folder.file("a.db")); }
  run_sql(folder.file("a.db"), "CREATE VIEW mine AS SELECT id FROM runs; ANALYZE");
  const Store store = must(Store::open(folder.file("a.db"), Store::Mode::kReadWrite));
  EXPECT_THAT(must(store.check()), IsEmpty());
}

TEST(StoreOpen, RefusesSmallPages) {
  const TemporaryFolder folder;
  { const World world = make_world(folder.file("a.db")); }
  run_sql(folder.file("a.db"), "PRAGMA journal_mode = DELETE; PRAGMA page_size = 512; VACUUM");
  EXPECT_EQ(error_of(folder.file("a.db"), Store::Mode::kReadOnly),
            folder.file("a.db") +
                ": expected pages of at least 1024 bytes, got 512\n  hint: 'PRAGMA page_size = "
                "4096; VACUUM' in another journal mode than WAL changes it");
}

TEST(StoreOpen, RefusesAFolder) {
  const TemporaryFolder folder;
  EXPECT_EQ(error_of(folder.path().string(), Store::Mode::kReadWrite),
            folder.path().string() +
                ": expected a database file, got a folder\n  hint: choose another path with db=");
}

TEST(StoreOpen, SaysWhichFolderIsMissing) {
  const TemporaryFolder folder;
  EXPECT_EQ(error_of(folder.file("no/such/a.db"), Store::Mode::kReadWrite),
            folder.file("no/such/a.db") + ": the folder '" + folder.file("no/such") +
                "' does not exist\n  hint: create it, or choose another path with db=");
}

TEST(StoreOpen, ReadsOnlyWhatIsThere) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.db");
  EXPECT_EQ(error_of(path, Store::Mode::kReadOnly),
            path +
                ": expected a strata results database, got no file\n  hint: 'strata run' makes "
                "one; db= names it");
  EXPECT_FALSE(fs::exists(path));
  { const World world = make_world(path); }
  Store store = must(Store::open(path, Store::Mode::kReadOnly));
  const auto result = store.record(TokenizerRow{"new", ""});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().text(),
            path +
                ": no permission to write the database or its folder (SQLite: attempt to "
                "write a readonly database)\n  hint: make both writable, or choose another "
                "file with db=");
}

TEST(StoreOpen, MakesADatabaseOfAnEmptyFileInWalModeWithOurId) {
  const TemporaryFolder folder;
  write(folder.file("a.db"), "");
  { const World world = make_world(folder.file("a.db")); }
  const std::string bytes = bytes_of(folder.file("a.db"));
  ASSERT_GT(bytes.size(), 100U);
  EXPECT_EQ(bytes.substr(68, 4), "strt");
  EXPECT_EQ(bytes[18], 2) << "file format write version 2 is WAL";
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1)
      << "nothing left over";
}

TEST(StoreOpen, RefusesALogWithoutItsDatabase) {
  const TemporaryFolder folder;
  write(folder.file("a.db-wal"), "a log that belongs to something");
  EXPECT_EQ(error_of(folder.file("a.db"), Store::Mode::kReadWrite),
            folder.file("a.db") + ": expected no '" + folder.file("a.db") +
                "-wal' without its database\n  hint: move the database back beside it, or remove "
                "the -wal file");
  EXPECT_EQ(bytes_of(folder.file("a.db-wal")), "a log that belongs to something");
}

TEST(StoreOpen, OneWritesWhileAnotherReads) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"));
  const Store reader = must(Store::open(folder.file("a.db"), Store::Mode::kReadOnly));
  must(world.store.record(run_row("later", 30)));
  EXPECT_EQ(must(reader.runs()).size(), 2U);
}

// As another user, because root may write everywhere.
class AsNobody {
 public:
  AsNobody() : worked_(::geteuid() != 0 || ::seteuid(65534) == 0) {}
  ~AsNobody() {
    if (::getuid() == 0 && ::seteuid(0) != 0) std::abort();
  }
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;
  bool worked() const { return worked_; }

 private:
  bool worked_;
};

TEST(StoreOpen, AReadOnlyFolderCanBeReadAndSaysWhyItCannotBeWritten) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.db");
  std::string experiment;
  {
    const World world = make_world(path);
    experiment = world.experiment.id;
  }
  fs::permissions(path, fs::perms(0444));
  fs::permissions(folder.path(), fs::perms(0555));
  {
    const AsNobody nobody;
    if (!nobody.worked()) GTEST_SKIP() << "cannot become another user";
    const Store store = must(Store::open(path, Store::Mode::kReadOnly));
    EXPECT_EQ(must(store.responses_of(experiment)).size(), 2U);
    EXPECT_THAT(error_of(path, Store::Mode::kReadWrite),
                HasSubstr(path + ": no permission to write the database"));
    EXPECT_THAT(error_of(folder.file("b.db"), Store::Mode::kReadWrite),
                HasSubstr(folder.file("b.db") + ": cannot open the database"));
  }
  fs::permissions(folder.path(), fs::perms(0755));
}

TEST(StoreOpen, AFullDiskLosesNothingThatWasRecordedAtAnyWrite) {
  FullDisk::install();
  int failures = 0;
  for (int writes = 0;; ++writes) {
    const TemporaryFolder folder;
    const std::string path = folder.file("a.db");
    World world = make_world(path);
    const RunRow run = run_row("on a full disk", 10);
    Result<std::string> recorded;
    {
      const FullDisk disk(writes);
      recorded = world.store.record(run);
      if (!FullDisk::was_hit()) break;  // there was room for all of it
    }
    ++failures;
    ASSERT_FALSE(recorded) << "a write failed unnoticed";
    EXPECT_EQ(recorded.error().text(),
              path +
                  ": the disk is full; the last row was not recorded, all earlier ones are kept "
                  "(SQLite: database or "
                  "disk is full)\n  hint: free some space and run the same command again");
    EXPECT_EQ(must(world.store.runs()).size(), 1U);
    EXPECT_EQ(must(world.store.responses_of(world.experiment.id)).size(), 2U);
    EXPECT_THAT(must(world.store.check()), IsEmpty());
    must(world.store.record(run));  // with room again
    EXPECT_EQ(must(world.store.runs()).size(), 2U);
  }
  EXPECT_GT(failures, 0);
}

TEST(StoreOpen, AFullDiskLeavesNoHalfMadeDatabase) {
  FullDisk::install();
  for (int writes = 0;; ++writes) {
    const TemporaryFolder folder;
    const std::string path = folder.file("a.db");
    {
      const FullDisk disk(writes);
      const std::string error = error_of(path, Store::Mode::kReadWrite);
      if (!FullDisk::was_hit()) break;
      EXPECT_THAT(error, HasSubstr("the disk is full")) << "after " << writes << " writes";
    }
    EXPECT_EQ(error_of(path, Store::Mode::kReadWrite), "opened") << "after " << writes << " writes";
  }
}

}  // namespace
}  // namespace strata::test
