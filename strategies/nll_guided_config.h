// `nll_guided` (arXiv 2606.27791) and `inverted`, its control: units scored by answer NLL, one
// toggled at a time.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/config/fields.h"

namespace strata {

enum class NllMode { kRestore, kAblate };
enum class NllSearcher { kTopK, kGreedy, kBeam, kBidirectional, kSwap, kRacing };
enum class ScoreAverage { kNats, kRanks };

namespace config {
template <>
struct EnumTable<NllMode> {
  static constexpr std::array<std::pair<NllMode, std::string_view>, 2> kNames{
      {{NllMode::kRestore, "restore"}, {NllMode::kAblate, "ablate"}}};
};
template <>
struct EnumTable<NllSearcher> {
  static constexpr std::array<std::pair<NllSearcher, std::string_view>, 6> kNames{
      {{NllSearcher::kTopK, "top_k"},
       {NllSearcher::kGreedy, "greedy"},
       {NllSearcher::kBeam, "beam"},
       {NllSearcher::kBidirectional, "bidirectional"},
       {NllSearcher::kSwap, "swap"},
       {NllSearcher::kRacing, "racing"}}};
};
template <>
struct EnumTable<ScoreAverage> {
  static constexpr std::array<std::pair<ScoreAverage, std::string_view>, 2> kNames{
      {{ScoreAverage::kNats, "nats"}, {ScoreAverage::kRanks, "ranks"}}};
};
}  // namespace config

struct NllGuidedConfig {
  static constexpr std::string_view kName = "nll_guided";
  static constexpr std::string_view kHelp = "answer NLL with one unit toggled (arXiv 2606.27791)";
  NllMode mode = NllMode::kRestore;
  NllSearcher searcher = NllSearcher::kTopK;
  std::int64_t beam_width = 4;
  ScoreAverage average = ScoreAverage::kNats;
  std::int64_t swap_candidates = 3;
  std::int64_t swap_rounds = 2;
  double swap_errors = 1;
  std::int64_t swap_stages = 1;
  std::int64_t racing_stages = 3;
  bool reuse = true;
  std::int64_t reuse_mib = 4096;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("mode", self.mode,
          "restore: one unit full among windowed ones; ablate: one windowed among full ones (the "
          "paper's wording "
          "fits both; restore is inferred)");
    visit(
        "searcher", self.searcher,
        "top_k: the K best single scores (the paper); greedy: re-scored after each choice (K "
        "rounds); beam: greedy with the beam_width best sets; bidirectional: K best by the average "
        "of restore and ablate (mode=restore); swap: top_k, then exchanges of weak kept units for "
        "strong dropped ones; racing: greedy on growing shares of the prompts. Ablate drops units "
        "from everything where restore adds them to nothing");
    visit("beam_width", self.beam_width, "beam: sets kept a round", config::at_least(1));
    visit(
        "average", self.average,
        "bidirectional: nats averages the scores, exact where units interact in pairs alone; ranks "
        "averages the places, whatever the scale of either");
    visit("swap_candidates", self.swap_candidates,
          "swap: so many weakest kept times so many strongest dropped units are tried a round",
          config::at_least(1));
    visit("swap_rounds", self.swap_rounds, "swap: rounds, of one exchange each",
          config::at_least(1));
    visit("swap_errors", self.swap_errors, "swap: standard errors that the paired gain must exceed",
          config::at_least(0));
    visit("swap_stages", self.swap_stages,
          "swap: stages of a round; 1 = every exchange on all prompts, 3 = all on a quarter, the "
          "better half on half, the best quarter on all",
          config::between(1, 16));
    visit("racing_stages", self.racing_stages, "racing: stages of a round, as swap_stages",
          config::between(1, 16));
    visit("reuse", self.reuse,
          "resume each toggle at its layer from stored activations; same scores, about half the "
          "cost");
    visit("reuse_mib", self.reuse_mib,
          "memory for stored activations, MiB; what does not fit is computed a second time",
          config::at_least(0));
  }
};

struct InvertedConfig {
  static constexpr std::string_view kName = "inverted";
  static constexpr std::string_view kHelp =
      "the K lowest-scored units of nll_guided: a control that must do badly";
  NllMode mode = NllMode::kRestore;
  bool reuse = true;
  std::int64_t reuse_mib = 4096;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("mode", self.mode, "whose scores are inverted: nll_guided's restore or ablate");
    visit("reuse", self.reuse, "as nll_guided's");
    visit("reuse_mib", self.reuse_mib, "as nll_guided's", config::at_least(0));
  }
};

}  // namespace strata
