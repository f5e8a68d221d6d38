// What a sweep says of its keys: main effects and interactions, Pareto fronts, budget curves and
// how many units are needed, how far selections agree, and what calibrating elsewhere costs. Built
// from rows alone, of the test split.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/reports/leaderboard_block.h"
#include "results/reports/page.h"

namespace strata {

// A setting that a value of a key changes: the mean over the settings that are the same in every
// other key. The interval is t over these settings: how far the effect varies, not the error of
// sampling.
struct Effect {
  std::string key, value, reference;
  std::size_t settings = 0;
  Estimate gap_closed;        // of value − of reference, 1 = all of the gap
  std::optional<double> nll;  // nats a token, where the samples are the same
};

// Whether the effect of one key depends on another: its effect at `with` − at `without`.
struct Interaction {
  std::string key, value, reference, other_key, with, without;
  std::size_t settings = 0;
  Estimate gap_closed;
};

// Of selectors: the best of many draws or offsets on the test samples is an oracle.
struct ParetoPoint {
  std::size_t setting = 0;
  std::string name;
  std::string budget;  // "7 of 30 layers"
  double nll = 0;
  double kv_bytes = 0, flops = 0;  // mean a sample; flops: prefill and decode
  bool on_flops_front = false, on_kv_front = false;
};

struct CurvePoint {
  std::int64_t units = 0, of = 0;
  std::size_t seeds = 0;
  double nll = 0;
  Estimate nll_minus_full;
  EquivalenceTest equivalence;  // over clusters, of the mean over seeds, ±kNllMargin
};

struct BudgetCurve {
  std::size_t setting = 0;
  std::string name, unit;
  std::vector<CurvePoint> points;  // by units
  // "7", "at most 7 (fewer: inconclusive)", "more than 15", "inconclusive".
  std::string needed;
};

// Of one selector over calibration seeds, and with the other selectors of the table.
struct Agreement {
  std::size_t setting = 0;
  std::string name;
  std::int64_t units = 0;  // kept
  std::size_t seeds = 0, different_sets = 0;
  std::optional<double> jaccard, lowest_jaccard, spearman;  // over pairs of seeds
  std::string nearest;  // the selector whose set is most alike, on the first seed
  std::optional<double> nearest_jaccard, nearest_spearman;
  double chance_jaccard = 0;  // of two random sets of this size
};

struct Transfer {
  std::size_t setting = 0;
  std::string name, calibrated_on;
  std::size_t seeds = 0;
  double own_nll = 0, transferred_nll = 0;
  Estimate regret;          // paired: transferred − calibrated on what is evaluated
  std::optional<double> p;  // sign flip over clusters
  std::optional<double> q;  // Benjamini and Hochberg over all transfers that have a p
};

// A run that the tables are of.
struct UsedRun {
  RowSource source;
  std::string name;
  std::size_t setting = 0;
  double nll = 0;
  std::optional<double> gap_closed;
};

struct Ablation {
  std::vector<std::string> swept;     // "window: 128, 512"
  std::vector<std::string> settings;  // what the numbers of settings below stand for, from 0
  std::vector<Effect> effects;
  std::vector<Interaction> interactions;
  std::vector<ParetoPoint> pareto;
  std::vector<BudgetCurve> curves;
  std::vector<Agreement> agreements;
  std::vector<Transfer> transfers;
  std::vector<UsedRun> runs;
  std::vector<std::string> notes;
};

// request.by: further keys to treat as swept (strategy.steps). Errors as leaderboard().
Result<Ablation> ablation(const Store& store, const LeaderboardRequest& request);
ReportPage ablation_page(const Ablation& ablation);
// Every run behind it, with its experiment (whose responses `strata report leaderboard --trace`
// queries).
ReportPage ablation_trace(const Ablation& ablation);

// ---- its parts

// A finished run on the test split with its references; full and none are not among them.
struct AblationRun {
  const Evaluation* evaluation = nullptr;
  const Evaluation* full = nullptr;
  const Evaluation* none = nullptr;
  BlockKey key;
  // Random and periodic without their number; "… steps=500": what tells settings of a selector
  // apart; "… @16": calibration prompts.
  std::string name;
  std::string differing = {};  // " steps=500"
  std::size_t setting = 0;     // of Ablation::settings: benchmark, mixer, rule
  std::map<std::string, std::string> factors;
  std::span<const std::size_t> clusters;  // of the samples

  std::optional<double> gap() const;
};
using AblationRuns = std::vector<AblationRun>;

void find_effects(const AblationRuns& runs, Ablation& out);
void find_fronts(const AblationRuns& runs, Ablation& out);
void find_curves(const AblationRuns& runs, std::uint64_t seed, Ablation& out);
void find_agreement(const AblationRuns& runs, Ablation& out);
void find_transfers(const AblationRuns& runs, std::uint64_t seed, Ablation& out);

}  // namespace strata
