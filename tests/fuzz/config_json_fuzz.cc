// A config.json that is taken gives an architecture whose sizes fit together.
#include "models/checkpoint/hf_config.h"
#include "tests/fuzz/target.h"

namespace strata {
namespace {

void check_sane(const Architecture& a) {
  STRATA_CHECK(a.layers >= 1 && a.query_heads >= 1 && a.kv_heads >= 1);
  STRATA_CHECK(a.query_heads % a.kv_heads == 0, "{} {}", a.query_heads, a.kv_heads);
  STRATA_CHECK(a.hidden >= 1 && a.intermediate >= 1 && a.vocabulary >= 1 && a.max_positions >= 1);
  STRATA_CHECK(a.head_dim >= 2 && a.head_dim % 2 == 0, "{}", a.head_dim);
  const auto layers = static_cast<std::size_t>(a.layers);
  STRATA_CHECK(a.ropes.empty() || a.ropes.size() == layers, "{}", a.ropes.size());
  STRATA_CHECK(a.windows.empty() || a.windows.size() == layers, "{}", a.windows.size());
  for (const std::int64_t window : a.windows) STRATA_CHECK(window >= 0, "{}", window);
  STRATA_CHECK(a.rope_theta > 0 && a.rms_norm_eps >= 0);
  STRATA_CHECK(!a.bos_token || (*a.bos_token >= 0 && *a.bos_token < a.vocabulary));
  for (const TokenId token : a.eos_tokens) STRATA_CHECK(token >= 0 && token < a.vocabulary);
  STRATA_CHECK(a.native_plan().layout() == a.layout());
  STRATA_CHECK(!a.fingerprint().empty());
}

}  // namespace

const fuzz::Format fuzz::kFormat{
    .name = "config_json",
    .tokens = R"("num_hidden_layers":2, "hidden_size":8, "head_dim":4, "sliding_window":7, )"
              R"("layer_types":["full_attention"], "rope_scaling":{"rope_type":"llama3"}, )"
              R"("use_sliding_window":true, "eos_token_id":[1,2], "no_rope_layers":[1,0], )"
              R"("rope_parameters":{"rope_theta":1e4}, "num_key_value_heads":null, null true -1 )"
              R"("model_type":"qwen2", "model_type":"gemma3_text",)"};

}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata;
  const auto architecture =
      parse_architecture({reinterpret_cast<const char*>(data), size}, "config.json");
  if (!architecture) {
    STRATA_CHECK(!architecture.error().text().empty());
    return 0;
  }
  fuzz::accepted = true;
  check_sane(*architecture);
  return 0;
}
