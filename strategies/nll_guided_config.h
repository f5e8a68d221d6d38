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
enum class NllSearcher { kTopK, kGreedy };

namespace config {
template <>
struct EnumTable<NllMode> {
  static constexpr std::array<std::pair<NllMode, std::string_view>, 2> kNames{
      {{NllMode::kRestore, "restore"}, {NllMode::kAblate, "ablate"}}};
};
template <>
struct EnumTable<NllSearcher> {
  static constexpr std::array<std::pair<NllSearcher, std::string_view>, 2> kNames{
      {{NllSearcher::kTopK, "top_k"}, {NllSearcher::kGreedy, "greedy"}}};
};
}  // namespace config

struct NllGuidedConfig {
  static constexpr std::string_view kName = "nll_guided";
  static constexpr std::string_view kHelp = "answer NLL with one unit toggled (arXiv 2606.27791)";
  NllMode mode = NllMode::kRestore;
  NllSearcher searcher = NllSearcher::kTopK;
  bool reuse = true;
  std::int64_t reuse_mib = 4096;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("mode", self.mode,
          "restore: one unit full among windowed ones; ablate: one windowed among full ones (the "
          "paper's wording "
          "fits both; restore is inferred)");
    visit("searcher", self.searcher,
          "top_k: the K best single scores (the paper); greedy: re-scored after each choice (K "
          "rounds)");
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
