// Keys of benchmark=local_text: the likelihood of running text, the do-no-harm axis.
#pragma once

#include <cstdint>

#include "benchmarks/text_source.h"
#include "core/config/fields.h"

namespace strata {

struct LocalTextConfig {
  std::int64_t length = 1024;
  std::int64_t prompt_tokens = 0;
  TextSource text = TextSource::kBundled;

  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("length", self.length, "tokens of a window of text, prompt and scored ones together",
          config::between(2, 1 << 24));
    visit("prompt_tokens", self.prompt_tokens,
          "first tokens, not scored; 0: half of the length. Under decode_rule=full only these are "
          "windowed and the scored tokens see everything; under same all are windowed",
          config::between(0, 1 << 24));
    visit("text", self.text,
          "bundled: generated English, low in entropy; essay: $STRATA_DATA/pg_essays/*.txt, by "
          "split, in windows that do not overlap");
  }
};

}  // namespace strata
