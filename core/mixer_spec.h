// MixerSpec: what mixes tokens in one cell (layer × unit) of a plan, as a closed variant, and what
// each can do.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "core/mask.h"
#include "core/result.h"

namespace strata {

struct FullAttention {
  auto operator<=>(const FullAttention&) const = default;
};

// Key j is visible to query i ≥ j iff i − j < window (the window counts the query's own token) or j
// < sinks (absolute positions: BOS and the chat header are among them). window ≥ 1, sinks ≥ 0, in
// tokens.
struct SlidingWindow {
  std::int64_t window = 0;
  std::int64_t sinks = 0;
  auto operator<=>(const SlidingWindow&) const = default;
};

// A state of fixed size a head in place of keys: lightning (decay fixed a head), gla (gated linear
// attention: decay by channel, from the input), gated_deltanet (gated delta rule). Its weights are
// of their own and are trained; a plan names the kind alone.
enum class LinearKind { kLightning, kGla, kGatedDeltaNet };
inline constexpr std::array kLinearKinds = {
    std::pair{LinearKind::kLightning, std::string_view("lightning")},
    std::pair{LinearKind::kGla, std::string_view("gla")},
    std::pair{LinearKind::kGatedDeltaNet, std::string_view("gated_deltanet")}};
std::string_view to_string(LinearKind kind);
Result<LinearKind> parse_linear_kind(std::string_view text);

using MixerSpec = std::variant<FullAttention, SlidingWindow>;

// What queries at positions ≥ prompt length see: kFull, every earlier key ("FA decode"); kSame, the
// mixer's own rule.
enum class DecodeRule { kSame, kFull };
std::string_view to_string(DecodeRule rule);
Result<DecodeRule> parse_decode_rule(std::string_view text);

struct MixerTraits {
  Granularity finest = Granularity::kLayer;
  bool needs_trained_weights = false;
  bool supports_full_decode = false;  // softmax attention over the same K/V
  bool has_recurrent_state = false;
  bool cost_depends_on_data = false;
};

MixerTraits traits_of(const MixerSpec& mixer);
std::string_view name_of(const MixerSpec& mixer);  // "full", "sliding_window"
Status validate(const MixerSpec& mixer);           // window ≥ 1, sinks ≥ 0

nlohmann::json to_json(
    const MixerSpec& mixer);  // {"kind": "sliding_window", "window": 128, "sinks": 4}
Result<MixerSpec> mixer_from_json(const nlohmann::json& json);

}  // namespace strata
