// How a layer's attention becomes linear attention. What the papers leave open is an option here,
// whose help says that its default is inferred.
#pragma once

#include <cstdint>

#include "core/config/fields.h"
#include "core/mixer_spec.h"

namespace strata {

namespace config {
template <>
struct EnumTable<LinearKind> {
  static constexpr auto kNames = kLinearKinds;
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
  }
};

}  // namespace strata
