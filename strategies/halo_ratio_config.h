// `halo_ratio` (HALO, arXiv 2601.22156): what a layer is worth to recall over what it is worth to
// common sense.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "core/config/fields.h"

namespace strata {

enum class HaloVariant { kPaper, kReleased };
enum class HaloRecall { kAnswerNll, kTfExact };

namespace config {
template <>
struct EnumTable<HaloVariant> {
  static constexpr std::array<std::pair<HaloVariant, std::string_view>, 2> kNames{
      {{HaloVariant::kPaper, "paper"}, {HaloVariant::kReleased, "released"}}};
};
template <>
struct EnumTable<HaloRecall> {
  static constexpr std::array<std::pair<HaloRecall, std::string_view>, 2> kNames{
      {{HaloRecall::kAnswerNll, "answer_nll"}, {HaloRecall::kTfExact, "tf_exact"}}};
};
}  // namespace config

struct HaloRatioConfig {
  static constexpr std::string_view kName = "halo_ratio";
  static constexpr std::string_view kHelp =
      "recall lost over common sense lost when one layer gets the cheap mixer (arXiv 2601.22156), "
      "by "
      "proxies on the calibration prompts";
  HaloVariant variant = HaloVariant::kPaper;
  std::optional<double> eps;
  std::optional<double> cap;
  HaloRecall recall = HaloRecall::kAnswerNll;
  std::int64_t text_tokens = 64;
  bool reuse = true;
  std::int64_t reuse_mib = 4096;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("variant", self.variant, "paper: eps 1e-6, no cap; released: eps 1e-10, cap 50");
    visit("eps", self.eps, "added to the denominator; null = the variant's", config::above(0));
    visit("cap", self.cap, "highest ratio; null = the variant's", config::above(0));
    visit("recall", self.recall,
          "proxy of the paper's SQuAD, FDA and SWDE: minus answer NLL, or tf_exact, the share of "
          "answers that teacher forcing gets right (inferred)");
    visit("text_tokens", self.text_tokens,
          "proxy of the paper's HellaSwag and ARC: minus the NLL of this many last haystack tokens "
          "before the question (inferred)",
          config::at_least(1));
    visit("reuse", self.reuse, "as nll_guided's");
    visit("reuse_mib", self.reuse_mib, "as nll_guided's", config::at_least(0));
  }
};

}  // namespace strata
