// Configs for tests, as changes of one small Llama's.
#pragma once

#include <nlohmann/json.hpp>

#include "models/checkpoint/hf_config.h"
#include "tests/unit/checkpoint/model_files.h"

namespace strata::testing {

inline nlohmann::json base() { return nlohmann::json::parse(llama_config()); }

// The base with a JSON merge patch over it (null removes a field).
inline Result<Architecture> parse_with(const nlohmann::json& patch) {
  nlohmann::json config = base();
  config.merge_patch(patch);
  return parse_architecture(config.dump(), "config.json");
}

// A patch that makes the base a model of this family.
inline nlohmann::json of(std::string_view model_type, nlohmann::json patch) {
  patch["model_type"] = model_type;
  if (!patch.contains("architectures")) patch["architectures"] = nullptr;
  return patch;
}

// A gpt_oss of four experts, two a token.
inline nlohmann::json gpt_oss(const nlohmann::json& patch) {
  nlohmann::json out = of("gpt_oss", {{"num_local_experts", 4}, {"num_experts_per_tok", 2}});
  out.update(patch);
  return out;
}

}  // namespace strata::testing
