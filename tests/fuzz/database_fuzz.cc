// A database of any bytes is refused, complained about or sound; a sound one can be merged into a
// new one, which then holds the same rows.
#include <sqlite3.h>

#include <sstream>

#include "results/reports/html_leaderboard.h"
#include "results/reports/leaderboard.h"
#include "results/reports/memory_report.h"
#include "results/reports/run_report.h"
#include "results/store.h"
#include "tests/fuzz/allocation_meter.h"
#include "tests/fuzz/scratch_folder.h"
#include "tests/fuzz/target.h"

namespace strata {
namespace {

// SQLite's allocations are malloc's: they pass through the meter.
sqlite3_mem_methods original;

void* take(int bytes) {
  if (!fuzz::AllocationMeter::take(static_cast<std::size_t>(bytes))) return nullptr;
  fuzz::AllocationMeter::give_back(static_cast<std::size_t>(bytes));
  void* const block = original.xMalloc(bytes);
  if (block != nullptr)
    fuzz::AllocationMeter::take(static_cast<std::size_t>(original.xSize(block)));
  return block;
}
void give_back(void* block) {
  if (block != nullptr)
    fuzz::AllocationMeter::give_back(static_cast<std::size_t>(original.xSize(block)));
  original.xFree(block);
}
void* resize(void* block, int bytes) {
  const auto before = static_cast<std::size_t>(original.xSize(block));
  void* const moved = original.xRealloc(block, bytes);
  if (moved == nullptr) return nullptr;
  fuzz::AllocationMeter::give_back(before);
  fuzz::AllocationMeter::take(static_cast<std::size_t>(original.xSize(moved)));
  return moved;
}

bool meter_sqlite() {  // before anything initialises SQLite
  STRATA_CHECK(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &original) == SQLITE_OK);
  sqlite3_mem_methods metered = original;
  metered.xMalloc = take;
  metered.xFree = give_back;
  metered.xRealloc = resize;
  STRATA_CHECK(sqlite3_config(SQLITE_CONFIG_MALLOC, &metered) == SQLITE_OK);
  return true;
}
const bool kMetered = meter_sqlite();

std::string dump_of(const Store& store) {
  std::ostringstream out;
  const Status status = store.canonical_dump(out, Store::Timings::kInclude);
  return status ? out.str() : status.error().text();
}

void remove_database(const fuzz::ScratchFolder& folder, const std::string& name) {
  for (const char* tail : {"", "-wal", "-shm", "-journal"}) folder.remove(name + tail);
}

void read_everything(const Store& store) {
  const auto table = leaderboard(store, {});
  if (table) {
    static_cast<void>(render(*table, {}));
    static_cast<void>(render_claims(*table, {}));
  }
  static_cast<void>(html_leaderboard(store, {}));
  if (const auto blocks = memory_report(store, {}))
    static_cast<void>(render(memory_page(*blocks, ReportFormat::kText), {}));
  const auto runs = store.runs();
  if (!runs) return;
  for (const RunRow& run : *runs) {
    static_cast<void>(run_report(store, run.id, {}));
    if (!run.experiment_id) continue;
    static_cast<void>(store.responses_of(*run.experiment_id));
    static_cast<void>(store.judgements_of(*run.experiment_id));
    const auto experiment = store.experiment(*run.experiment_id);
    if (!experiment) continue;
    static_cast<void>(store.data(experiment->data_id));
    static_cast<void>(store.samples_of(experiment->data_id));
    static_cast<void>(store.plan(experiment->plan_id));
    static_cast<void>(store.model(experiment->model_id));
  }
}

}  // namespace

const fuzz::Format fuzz::kFormat{.name = "database", .shape = Shape::kPages, .tokens = "x"};

}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata;
  STRATA_CHECK(kMetered);
  static const fuzz::ScratchFolder folder;
  remove_database(folder, "input");
  folder.write("input", {reinterpret_cast<const char*>(data), size});
  auto input = Store::open(folder.file("input"), Store::Mode::kReadOnly);
  if (!input) {
    STRATA_CHECK(!input.error().text().empty());
    return 0;
  }
  const auto problems = input->check();
  read_everything(*input);
  const std::string dump = dump_of(*input);
  remove_database(folder, "new");
  auto fresh = Store::open(folder.file("new"), Store::Mode::kReadWrite);
  STRATA_CHECK(fresh.has_value(), "{}", fresh.error().text());
  const Status merged = fresh->merge(*input);
  if (problems && problems->empty()) {
    fuzz::accepted = true;
    STRATA_CHECK(merged.has_value(), "{}", merged.error().text());
    STRATA_CHECK(dump_of(*fresh) == dump, "{}", dump);
    const auto again = fresh->check();
    STRATA_CHECK(again && again->empty());
  }
  return 0;
}
