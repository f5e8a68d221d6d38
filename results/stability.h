// How much of a selection is the calibration prompts' doing: the same prompts halved and resampled,
// from the stored gains of each prompt alone. Pure functions with a fixed seed; no model.
// Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace strata {

struct StabilityOptions {
  int half_splits = 200;       // the protocol asks for at least 100
  int bootstrap_draws = 1000;  // of the prompts, whole clusters
  std::uint64_t seed = 0;
};

inline constexpr double kStableJaccard = 0.5;  // below, "not stable"

struct Stability {
  // Mean overlap |A ∩ B| / |A ∪ B| of the sets that the two halves of the prompts select.
  double jaccard = 0;
  // Rank correlation of the halves' scores, averaged over the splits and corrected to the full
  // length by Spearman–Brown, 2r / (1 + r). None where a half scores all units alike, or r ≤ −1.
  std::optional<double> rank_correlation;
  std::vector<double> inclusion;  // [unit] share of the resamples that select it

  bool stable() const { return jaccard >= kStableJaccard; }
};

enum class SelectedEnd { kTop, kBottom };  // K units of the highest or of the lowest score

// gains[sample][unit]: a selection is the K units whose mean over the samples is highest (lowest).
// NaN = the unit was not scored on the sample; where it was on none of them, it comes last.
// clusters: a number for each sample. None below four clusters: halves of one prompt say nothing.
std::optional<Stability> stability_of(const std::vector<std::vector<double>>& gains,
                                      std::span<const std::size_t> clusters, std::size_t k,
                                      SelectedEnd end, const StabilityOptions& options = {});

}  // namespace strata
