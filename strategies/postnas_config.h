// `postnas`: beam search over sets of kept layers in a supernet of linear branches (PostNAS of
// Jet-Nemotron, arXiv 2508.15884), in its cheapest form.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/config/fields.h"

namespace strata {

enum class PostNasObjective { kNll, kAccuracy };

namespace config {
template <>
struct EnumTable<PostNasObjective> {
  static constexpr std::array<std::pair<PostNasObjective, std::string_view>, 2> kNames{
      {{PostNasObjective::kNll, "nll"}, {PostNasObjective::kAccuracy, "accuracy"}}};
};
}  // namespace config

struct PostNasConfig {
  static constexpr std::string_view kName = "postnas";
  static constexpr std::string_view kHelp =
      "linear branches trained on random paths through a supernet, then beam search by answer NLL "
      "or right answers (PostNAS, arXiv 2508.15884); steps=0: branches as they are";
  std::int64_t steps = 100;
  std::int64_t batch = 4;
  std::int64_t length = 512;
  double full = 0.5;
  double rate = 1e-4;
  PostNasObjective objective = PostNasObjective::kNll;
  std::int64_t width = 3;
  bool reuse = true;
  std::int64_t reuse_mib = 4096;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("steps", self.steps,
          "training steps of the supernet, each on a path of its own (the paper: 50B tokens); 0: "
          "none, which a sliding window needs, as it has nothing to train",
          config::at_least(0));
    visit("batch", self.batch, "texts a step (inferred)", config::at_least(1));
    visit("length", self.length,
          "tokens of a text: calibration prompts are cut into such pieces (inferred)",
          config::at_least(1));
    visit("full", self.full,
          "probability with which a layer of a path keeps its softmax attention (inferred)",
          config::between(0, 0.99));
    visit("rate", self.rate, "AdamW's first rate, which falls to its tenth (inferred)",
          config::above(0));
    visit(
        "objective", self.objective,
        "nll: least loss of the right answer (the paper: MMLU); accuracy: most calibration answers "
        "all of whose tokens are the likeliest ones (the paper: mathematics, retrieval), "
        "teacher-forced and not generated, of equally many the least NLL (both inferred)");
    visit("width", self.width, "sets kept a round of the search (inferred: a re-implementation's)",
          config::at_least(1));
    visit("reuse", self.reuse, "as nll_guided's");
    visit("reuse_mib", self.reuse_mib, "as nll_guided's", config::at_least(0));
  }
};

}  // namespace strata
