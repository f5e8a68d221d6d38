// JSON text of a stranger to nlohmann's tree, within limits: depth (what walks a tree recurses),
// and memory (a byte of text can become forty of tree). Every JSON file and column is read by this.
//
// Refused besides what is no JSON: a name twice in one object (readers differ in which counts) and
// a zero byte (nlohmann's end of input). Pure; no exception leaves it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

#include "core/result.h"

namespace strata {

inline constexpr int kMaxJsonDepth = 128;

// What the tree of a text may take in memory while it is built, used and destroyed: with the text,
// twice its size and 64 MiB. (Llama 3's tokenizer.json, with merges as pairs, takes 80 of the 83 MB
// that its 17 MB allow.)
constexpr std::size_t max_tree_bytes(std::size_t text_bytes) {
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  return text_bytes + std::min(text_bytes, 18 * kMiB) + 46 * kMiB;
}

struct JsonLimits {
  int depth = kMaxJsonDepth;
  std::optional<std::size_t> tree_bytes;  // none: what max_tree_bytes() says
};

// Errors: kInvalidFile. "invalid JSON at byte 7" (counted from 1), "invalid JSON: a number out of
// range", "expected at most 128 levels of nesting, got more", "field 'a': expected the field once,
// got it twice", "expected JSON that takes at most N bytes of memory, got more".
Result<nlohmann::json> parse_json(std::string_view text, JsonLimits limits = {});

// What a tree counts against max_tree_bytes(), itself without the place that holds it.
std::size_t tree_bytes(const nlohmann::json& tree);

}  // namespace strata
