// One block of the leaderboard: the runs that may be compared with each other, as rows with their
// statistics.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "results/reports/do_no_harm.h"
#include "results/reports/leaderboard_data.h"

namespace strata {

inline constexpr double kMatchTolerance = 0.01;  // of KV bytes and prefill FLOPs in a table

// What rows of one table share. Full attention is the same under every mixer and rule, `none` at
// every budget. model_id: of plans with weights of their own, what these have in common
// (Evaluation::training).
struct BlockKey {
  std::string model_id, tokenizer_id, generation, data_id, split;
  std::int64_t numerics_version = 0, window = 0, sinks = 0;
  std::string linear;  // linear_of
  DecodeRule decode_rule = DecodeRule::kSame;
  Granularity granularity = Granularity::kLayer;
  std::int64_t budget = 0;
  std::string by;                // Evaluation::by; full and none belong to every group
  std::optional<MatchOn> match;  // then granularity is kLayer and budget the band's number, from 1
  auto operator<=>(const BlockKey&) const = default;

  bool same_task(const BlockKey& other) const {
    return std::tie(model_id, tokenizer_id, generation, data_id, split, numerics_version) ==
           std::tie(other.model_id, other.tokenizer_id, other.generation, other.data_id,
                    other.split, other.numerics_version);
  }
  // The same question, whatever the samples: the benchmark's settings are not in the key.
  bool same_setting(const BlockKey& other) const {
    return std::tie(model_id, tokenizer_id, numerics_version, window, sinks, linear, decode_rule,
                    granularity, budget,
                    by) == std::tie(other.model_id, other.tokenizer_id, other.numerics_version,
                                    other.window, other.sinks, other.linear, other.decode_rule,
                                    other.granularity, other.budget, other.by);
  }
  bool same_mixer(const BlockKey& other) const {
    return same_task(other) &&
           std::tie(window, sinks, linear, decode_rule) ==
               std::tie(other.window, other.sinks, other.linear, other.decode_rule);
  }
};

BlockKey key_of(const Evaluation& evaluation);

struct BlockMembers {
  std::vector<const Evaluation*> budgeted;
  const Evaluation* full = nullptr;  // the references; may be missing
  const Evaluation* none = nullptr;
  std::vector<const Evaluation*> development;  // of a test block: the same setting's runs there
};

// What the blocks of a table share.
struct BlockTools {
  const HarmToText& harm;
  std::map<std::size_t, ClusterDraws>& draws;  // by clusters; filled as needed
  std::uint64_t bootstrap_seed = 0;
};

// At least one member.
LeaderboardBlock build_block(const LeaderboardData& data, const BlockKey& key,
                             const BlockMembers& members, const BlockTools& tools);

// leaderboard() of rows that were read already. Errors: no finished run matches.
Result<LeaderboardTable> leaderboard_of(const LeaderboardData& data,
                                        const LeaderboardRequest& request);

}  // namespace strata
