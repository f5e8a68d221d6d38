// Sign-flip (randomisation) tests over whole clusters: exact in level for differences that are
// symmetric about 0 under the hypothesis, whatever their distribution.
//
// Pure functions with fixed seeds, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

namespace strata {

inline constexpr std::size_t kClustersForInference = 20;  // below: no cluster test
inline constexpr std::size_t kClustersForAllFlips = 20;   // up to here every flip is counted

struct InferenceNotSupported {
  std::size_t have = 0, need = 0;  // clusters, or seeds
  bool operator==(const InferenceNotSupported&) const = default;
};
using PValue = std::variant<InferenceNotSupported, double>;

struct SignFlipOptions {
  int flips = 9999;  // drawn, where there are too many for all
  std::uint64_t seed = 0;
};

// Two-sided p that the values (cluster sums) are symmetric about 0: all 2^n flips where n ≤
// kClustersForAllFlips, else p = (1 + flips at least as far from 0) / (1 + flips). n ≥ 1.
double sign_flip(std::span<const double> values, const SignFlipOptions& options = {});

// The same of sums over clusters (empty = every value its own). Needs kClustersForInference
// clusters.
PValue cluster_sign_flip(std::span<const double> differences, std::span<const std::size_t> clusters,
                         const SignFlipOptions& options = {});

// Which of several series over the same clusters differ, all pairs at once: adjusted[a][b] is the
// single-step max-t p-value (Westfall and Young, 1993) of the pair under joint sign flips of whole
// clusters. The family-wise error rate is that of all pairs, without the resolution that a
// p-value a pair would need. sums[series][cluster]; equal lengths, at least one cluster. Equal
// series have p = 1; so has the diagonal.
std::vector<std::vector<double>> all_pairs_sign_flip(const std::vector<std::vector<double>>& sums,
                                                     const SignFlipOptions& options = {});

}  // namespace strata
