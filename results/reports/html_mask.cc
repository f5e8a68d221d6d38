#include "results/reports/html_mask.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/mask.h"
#include "results/reports/format.h"
#include "results/reports/html_page.h"

namespace strata {
namespace {

constexpr std::size_t kMaxSpans = 24;  // of layers, in words
constexpr int kLayerWidth = 5;         // CSS pixels

// "0, 3–5, 9": runs of layers.
std::string spans_of(const std::vector<int>& layers) {
  std::string out;
  std::size_t spans = 0;
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t last = i;
    while (last + 1 < layers.size() && layers[last + 1] == layers[last] + 1) ++last;
    if (spans++ == kMaxSpans) return out + ", …";
    out += fmt::format("{}{}", out.empty() ? "" : ", ", layers[i]);
    if (last > i) out += fmt::format("–{}", layers[last]);
    i = last + 1;
  }
  return out;
}

}  // namespace

std::string mask_words(const AttentionPlan& plan) {
  const Mask mask = full_attention_of(plan);
  std::vector<int> layers;
  std::size_t kept = 0;
  for (int layer = 0; layer < mask.layers(); ++layer) {
    std::size_t here = 0;
    for (int unit = 0; unit < mask.units(); ++unit) here += mask(layer, unit) ? 1U : 0U;
    kept += here;
    if (here > 0) layers.push_back(layer);
  }
  const std::string units = std::string(unit_name(mask.granularity())) + "s";
  if (kept == 0) return fmt::format("full attention in none of {} {}", mask.size(), units);
  if (kept == mask.size()) return fmt::format("full attention in all {} {}", kept, units);
  return fmt::format("full attention in {} of {} {}{}: {}", kept, mask.size(), units,
                     mask.units() > 1 ? ", of layers" : "", spans_of(layers));
}

std::string mask_svg(const AttentionPlan& plan) {
  const Mask mask = full_attention_of(plan);
  // Runs of kept heads of a layer are one rectangle of the path; a gap between layers counts them.
  std::string path;
  for (int layer = 0; layer < mask.layers(); ++layer)
    for (int unit = 0; unit < mask.units(); ++unit) {
      if (!mask(layer, unit)) continue;
      int end = unit;
      while (end + 1 < mask.units() && mask(layer, end + 1)) ++end;
      path += fmt::format("M{} {}h8v{}h-8z", layer * 10 + 1, unit * 10, (end - unit + 1) * 10);
      unit = end;
    }
  const std::string words = html_text(mask_words(plan));
  return fmt::format(
      "<svg class=\"mask{}\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {} {}\" width=\"{}\" "
      "preserveAspectRatio=\"none\"><title>{}</title><rect width=\"100%\" height=\"100%\"/>"
      "<path d=\"{}\"/></svg>",
      mask.units() > 1 ? " heads" : "", words, mask.layers() * 10, mask.units() * 10,
      mask.layers() * kLayerWidth, words, path);
}

}  // namespace strata
