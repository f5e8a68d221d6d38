// What a block says of selectors rather than of masks: the gap closed over calibration seeds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "results/reports/leaderboard_block.h"
#include "results/reports/text_table.h"

namespace strata {

struct SelectorRuns {
  std::string label;  // with the beginning of its first run's id where settings share it
  std::string strategy, calibration;     // the settings' keys as JSON, seeds apart
  std::vector<const Evaluation*> seeds;  // at least one, all with a selection and an answer NLL
};

// One for each label and setting whose selection looked at calibration data, in the order of their
// first run; its seeds are the runs on different calibration data, the latest on each.
std::vector<SelectorRuns> selector_runs(const std::vector<const Evaluation*>& evaluations);

// The share of the gap that each of selector_runs() closes. None where the gap has no value
// (gap_closed()).
std::vector<SelectorClaim> selector_claims(const BlockMembers& members,
                                           const std::vector<std::size_t>& clusters,
                                           std::uint64_t bootstrap_seed);

// A row for each claim over two seeds or more; empty where there is none.
TextTable claims_table(const std::vector<SelectorClaim>& claims);
// "1 seed: a, b; …", "" where every claim has more.
std::string single_seed_note(const std::vector<SelectorClaim>& claims);

}  // namespace strata
