// Made-up sweeps for the tests of reports.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "results/reports/leaderboard.h"
#include "rows_fixture.h"

namespace strata::test {

// A run with its answers. NLLs may be fewer than the samples: the rest is unanswered.
struct Entry {
  std::string label;
  std::string group;  // "" = the label
  std::vector<int> layers;
  std::vector<double> nll;
  std::vector<double> contains;  // gen_contains; empty = all wrong
  std::vector<double> exact;     // tf_exact; empty = all wrong
  DecodeRule rule = DecodeRule::kSame;
  std::int64_t window = kWindow;
  std::optional<LinearKind> linear = {};  // in place of the window
  std::int64_t budget = 1;                // 0 = the strategy ignores it
  std::int64_t kv_bytes = 1750;
  double prefill_flops = 7e8;
  std::optional<double> calibration_nll = {};
  RunStatus status = RunStatus::kDone;
  std::string device = "cpu";
  bool with_selection = false;
  std::string calibration = {};                   // of the selection; "" = the fixture's
  std::string config_json = {};                   // of the run; "" = the fixture's
  std::string diagnostics_json = {};              // of the selection; "" = the fixture's
  std::string benchmark_json = {};                // of the run; "" = the fixture's
  bool generated = true;                          // false: the answers were only teacher-forced
  Granularity granularity = Granularity::kLayer;  // that the run says it selected by
  std::string benchmark = {};                     // of the run; "" = the fixture's
  std::string model = {};                         // that answers; "" = the fixture's
  std::vector<std::optional<std::int64_t>> peak_bytes =
      {};  // of each sample; empty = the fixture's
};

class Board {
 public:
  Board(const std::string& path, int samples, const std::vector<std::string>& clusters = {});
  void add(const Entry& entry);
  void add_text(Entry entry);  // an answer to running text: likelihoods alone
  // Entries added from here on answer samples [first, first + count): a data set of its own.
  // metadata: one JSON text a sample; empty = the fixture's.
  void use_samples(int first, int count, const std::vector<std::string>& clusters = {},
                   const std::vector<std::string>& metadata = {});
  // full: NLL .1 each; none: 2, 2.2, 2, 2.2, …
  void add_references(const std::vector<double>& full_contains = {1, 1, 1, 1},
                      const std::vector<double>& none_contains = {0, 0, 0, 0},
                      const std::string& benchmark_json = {});

  Store& store() { return store_; }
  const Store& store() const { return store_; }
  LeaderboardTable table() const;
  LeaderboardBlock only_block() const;

 private:
  Store store_;
  DataRow data_;
  int runs_ = 0;
};

// The sweep that the hand-worked figures are of: restore, two periodic offsets, three random draws,
// inverted.
class Small {
 public:
  explicit Small(const TemporaryFolder& folder);
  LeaderboardTable table() const { return board_.table(); }
  LeaderboardBlock only_block() const { return board_.only_block(); }
  Store& store() { return board_.store(); }

 private:
  Board board_;
};

}  // namespace strata::test
