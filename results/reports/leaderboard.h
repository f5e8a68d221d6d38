// The leaderboard: which selection of full-attention units does best at equal budget, and what it
// cost to find.
//
// Built from rows alone. One block for each (model, data set, split, generation, mixer,
// decode rule, granularity, budget); rows of different blocks are never compared. Ranking: share of
// the NLL gap between `none` and `full` that is closed. Full, none, random, periodic offsets and
// inverted stand outside the ranking; `periodic-best` is the offset with the lowest calibration
// NLL, never the best on test.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "results/inference.h"
#include "results/reports/stored_keys.h"
#include "results/statistics.h"
#include "results/store.h"

namespace strata {

inline constexpr const char* kTestSplit = "test";  // what results are claimed on
inline constexpr const char* kDevelopmentSplit = "development";
inline constexpr const char* kPeriodicBest = "periodic-best = ";  // before the offset's name

// What rows of a table have alike, in place of the number of units they keep: plans of heads and of
// layers cannot match both.
enum class MatchOn { kKvBytes, kPrefillFlops };
std::string_view to_string(MatchOn measure);  // "kv_bytes", "prefill_flops"
Result<MatchOn> parse_match_on(std::string_view text);

// Each field that is set must match.
struct LeaderboardRequest {
  std::optional<std::string> model;  // name, or the beginning of the id
  std::optional<std::string> benchmark;
  std::optional<DecodeRule> decode_rule;
  std::optional<std::int64_t> window;
  std::optional<std::int64_t> budget_units;
  std::vector<KeyFilter> where;  // any stored key (stored_keys.h); full and none always stay
  std::vector<std::string> by;   // keys whose values make tables of their own
  std::optional<MatchOn> match;  // tables over all budgets and granularities, within 1 % of it
  std::uint64_t bootstrap_seed = 0;
};

// The share of full attention in each layer, 0 to 1, and units a layer.
struct LayerStrip {
  std::vector<double> kept_share;
  int units_per_layer = 1;
};

// Where a row's numbers come from: ids in the database.
struct RowSource {
  std::string run_id, selection_id, experiment_id;
  // The samples that each execution stands for.
  std::map<std::string, std::vector<std::string>> executions;
};

// kUnmatched: of another number of KV bytes or prefill FLOPs than the block's median row (by more
// than 1 %), so not ranked.
enum class RowKind { kRanked, kUnmatched, kControl, kReference };

struct LeaderboardRow {
  RowKind kind = RowKind::kRanked;
  // Ranked rows with a gap, from 1. With clusters enough for a test: 1 + the rows that are
  // significantly better, so that rows which do not differ share a rank, and rank_last = all −
  // those significantly worse; together a joint 95 % confidence set of the ranks. Else the place by
  // gap, and no rank_last.
  std::optional<int> rank, rank_last;
  // Label, "periodic-best = periodic[2]", "random (20 draws)", "nll_ablate ← niah length=1024".
  std::string name;
  std::size_t draws = 1;  // > 1: value = median, interval = range (5–95 % from 20 draws on)

  std::optional<Estimate> gap_closed;    // 1 = full attention
  std::optional<Estimate> gen_contains;  // 0 to 1, share_estimate()
  std::optional<Estimate> gen_exact;
  std::optional<Estimate> tf_exact;
  std::optional<Estimate> gen_contains_beyond;  // the samples whose needle lies beyond the window
  std::optional<Estimate> answer_nll;  // nats a token, t interval or bootstrap over clusters
  std::optional<Estimate> text_nll_minus_full;  // the harm the same plan does to running text
  std::optional<Estimate> nll_minus_full;       // paired: the harm done
  std::optional<Estimate> nll_minus_periodic_best;
  // How many random draws of the row's granularity have a higher answer NLL, and how many there
  // are.
  std::optional<std::size_t> beats_random;
  std::size_t random_draws = 0;

  double kv_share = 0;                         // kept full-attention KV cells
  std::optional<double> prefill_flops_share;   // of full attention's
  double kv_bytes = 0;                         // mean a sample
  std::optional<double> kv_saved;              // share of full attention's bytes
  double prefill_flops = 0, decode_flops = 0;  // mean a sample
  std::optional<double> prefill_ms;            // median a sample
  std::optional<double> decode_ms;             // likewise, all generated tokens
  std::size_t timed_samples = 0;
  std::optional<double> peak_bytes;  // the largest of a sample; none where a sample has none
  std::set<std::string> devices;     // that the times and the memory were measured on
  SelectionCost selection_cost;      // total over draws
  std::string supervision;
  std::optional<LayerStrip> strip;  // none for several draws
  std::vector<std::string> run_ids;
  std::vector<RowSource> sources;  // in the order of run_ids
};

// A selector over calibration seeds; a row is one of its masks.
struct SelectorClaim {
  std::string label;             // with the beginning of its first run's id where settings share it
  SeedEstimate gap_closed;       // none and full taken as they are
  std::vector<RowSource> seeds;  // one a seed's mean
};

// A selector against a reference, over the calibration sets that both looked at.
struct ReferenceClaim {
  std::string label;
  // NLL(selector) − NLL(reference), mean over the samples; one a calibration set.
  std::vector<double> differences;
  std::vector<std::pair<RowSource, RowSource>> sources;  // of these, selector's and reference's
  std::size_t same_plans = 0;  // calibration sets on which both chose one plan
  // None below kSeedsForClaim seeds or kClustersForInference clusters.
  std::optional<NonInferiority> non_inferiority;
  std::optional<double> holm_p;
  std::optional<EquivalenceTest> equivalence;
  std::optional<double> sign_flip_p;  // two-sided, of the mean over seeds
  std::optional<double> flops_share;  // of toggling every unit as the reference does, without reuse

  double mean() const;
  std::optional<double> between_seed_sd() const;
  std::optional<bool> non_inferior() const;  // by the adjusted p
};

struct ReferenceComparison {
  std::string reference;
  std::string chosen;                           // how it was, for people
  std::string calibration;                      // "16 calibration prompts", or ""
  std::optional<double> reference_flops_share;  // as in its claims
  std::size_t clusters = 0;
  std::size_t family = 0;              // tests that Holm's correction is over
  std::vector<ReferenceClaim> claims;  // the lowest difference first
};

struct LeaderboardBlock {
  std::string model_name, model_id;
  std::string benchmark, benchmark_config_json;
  std::string by;     // the values of the keys that are grouped by
  std::string split;  // test or development
  std::string data_id;
  std::size_t samples = 0, clusters = 0, beyond_window = 0;
  std::int64_t prompt_tokens_min = 0, prompt_tokens_max = 0;
  std::int64_t window = 0, sinks = 0;  // 0 and 0 without a window
  std::string linear;                  // linear attention: "lightning"; "" = none
  DecodeRule decode_rule = DecodeRule::kSame;
  Granularity granularity = Granularity::kLayer;
  std::int64_t budget_units = 0, units = 0;  // 0 of them: only reference rows
  std::optional<MatchOn> match;              // then granularity and units say nothing
  double matched = 0;                        // the median row's bytes or FLOPs a sample
  std::size_t rank_tests = 0;        // pairs of ranked rows that the correction is over; 0: no test
  std::vector<std::string> devices;  // "cpu, 1 thread, float32 (model name)"
  std::vector<LeaderboardRow> rows;  // ranked by gap, controls, references
  std::vector<SelectorClaim> claims;  // the largest gap closed first
  std::vector<ReferenceComparison> comparisons;
  bool generated = false;          // a row has generated text; else only likelihoods are shown
  bool needles = false;            // the samples say where a needle is
  std::vector<std::string> marks;  // floor, ceiling, too easy, … with the reason
  std::vector<std::string> signs;  // of a bug, by selection: "inverted: NLL: expected …, found …"
  std::size_t suspects = 0;        // selections that show one
  std::vector<std::string> notes;  // oracle, unmatched rows, executions that disagree
};

struct LeaderboardTable {
  std::vector<LeaderboardBlock> blocks;
  std::vector<std::string> notes;  // runs that are not shown, and why
};

// Errors: no finished run matches; the database cannot be read.
Result<LeaderboardTable> leaderboard(const Store& store, const LeaderboardRequest& request);

enum class ReportFormat { kText, kMarkdown, kCsv, kLatex, kHtml };
Result<ReportFormat> parse_report_format(
    std::string_view text);  // text, md or markdown, csv, latex, html

struct RenderOptions {
  ReportFormat format = ReportFormat::kText;
  bool utf8 = true;  // false: plain ASCII (csv always is, html never)
};
// Text is at most 160 columns wide; masks that do not fit follow the table.
std::string render(const LeaderboardTable& table, const RenderOptions& options);
// How each number of a table follows from the rows of the database: the ids behind it, and a query
// that gives it.
struct TracedNumber {
  std::string strategy, number;
  double value = 0;
  std::vector<RowSource> sources;
  std::string sql;
};
std::vector<TracedNumber> traced_numbers(const LeaderboardBlock& block);
// csv: strategy, number, value, ids, query; else a paragraph a number.
std::string render_trace(const LeaderboardTable& table, const RenderOptions& options);

// What the blocks say of selectors alone: the gap closed over calibration seeds, and the tables
// against a reference, which are what csv holds.
std::string render_claims(const LeaderboardTable& table, const RenderOptions& options);

}  // namespace strata
