// How a layer's attention becomes linear attention. What the papers leave open is an option here,
// whose help says that its default is inferred.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/config/fields.h"
#include "core/mixer_spec.h"
#include "models/linear_parts.h"

namespace strata {

namespace config {
template <>
struct EnumTable<LinearKind> {
  static constexpr auto kNames = kLinearKinds;
};
}  // namespace config

// How the heads of a layer come together where only some are linear.
enum class HeadFusion { kNone, kNorm };
namespace config {
template <>
struct EnumTable<HeadFusion> {
  static constexpr std::array<std::pair<HeadFusion, std::string_view>, 2> kNames{
      {{HeadFusion::kNone, "none"}, {HeadFusion::kNorm, "norm"}}};
};
}  // namespace config

struct LinearBranchConfig {
  LinearKind kind = LinearKind::kLightning;
  bool expand_kv_heads = true;
  bool rope = true;
  bool scale_query = true;
  bool output_norm = true;
  bool output_gate = true;
  double start_gate = 0.99;
  double start_decay = 0.99;
  bool layer_decay = false;
  std::int64_t gate_rank = 16;
  double gate_divisor = 16;
  std::int64_t conv_width = 4;
  double max_beta = 1;
  std::uint64_t seed = 0;
  HeadFusion fusion = HeadFusion::kNone;
  double start_gain = 1;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("kind", self.kind, "what the state does at a token");
    visit("expand_kv_heads", self.expand_kv_heads,
          "keys and values of its own for each query head, copied from its group's (HALO, "
          "FlashMorph, HydraHead); false: shared by the group as before");
    visit("rope", self.rope,
          "turn q and k as the layer's attention does (HypeNet, HydraHead); false: no positions");
    visit("scale_query", self.scale_query,
          "divide what is read by √head_dim (HypeNet; flash-linear-attention)");
    visit("output_norm", self.output_norm, "RMSNorm over what each head reads");
    visit("output_gate", self.output_gate,
          "multiply each channel by a sigmoid of the layer's input (HypeNet)");
    visit("start_gate", self.start_gate,
          "what the output gate starts as, whatever the input (HydraHead: about 1; the value is "
          "inferred)",
          config::between(1e-3, 1 - 1e-6));
    visit("start_decay", self.start_decay,
          "gla, gated_deltanet: what the state is multiplied by at a token, whatever the input, at "
          "the start (inferred)",
          config::between(1e-3, 1 - 1e-6));
    visit("layer_decay", self.layer_decay,
          "lightning: the slope of layer l of L times 1 - l / (L - 1) + 1e-5, as TransNormerLLM "
          "has it (inferred: false)");
    visit("gate_rank", self.gate_rank, "gla: rank of the product that makes its gates",
          config::between(1, 4096));
    visit("gate_divisor", self.gate_divisor, "gla: log gates are divided by it",
          config::between(1e-3, 1e6));
    visit("conv_width", self.conv_width,
          "gated_deltanet: taps of the short convolution behind q, k and v; 0 = none",
          config::between(0, 64));
    visit("max_beta", self.max_beta,
          "gated_deltanet: write strengths are below it (2: HypeNet; they start at its half)",
          config::between(1e-3, 2));
    visit("seed", self.seed, "gla: of the random half of the gates' product (the other is zero)");
    visit("fusion", self.fusion,
          "layers where only some heads are linear: none, their outputs go through o as they are; "
          "norm, RMSNorm over each softmax head's output (linear heads have output_norm), then "
          "each head of both kinds times a factor of its own (HydraHead, Eq. 13-14)");
    visit("start_gain", self.start_gain,
          "fusion=norm: what these factors start as (inferred: what keeps an attention's own scale "
          "depends on data)",
          config::between(1e-6, 1e6));
  }
};

// As far as the cost depends on the options.
constexpr LinearParts linear_parts(const LinearBranchConfig& config) {
  LinearParts parts = linear_parts(config.kind);
  if (config.kind == LinearKind::kGla) parts.decay_rank = config.gate_rank;
  if (config.kind == LinearKind::kGatedDeltaNet) parts.conv_taps = config.conv_width;
  parts.output_gate = config.output_gate;
  parts.expands_kv = config.expand_kv_heads;
  return parts;
}

}  // namespace strata
