#include "tests/crash/tiny_model.h"

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "tests/unit/checkpoint/model_files.h"
#include "tests/unit/tokenizer/toy_tokenizer.h"

namespace strata::testing {
namespace {

constexpr std::int64_t kLayers = 6, kHidden = 32, kHeadDim = 8, kQueryHeads = 4, kKvHeads = 2,
                       kIntermediate = 48, kVocabulary = 266;

TestTensor random_tensor(std::string name, std::vector<std::int64_t> shape, double scale,
                         double mean, Rng& rng) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  std::string bytes;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<float>(mean + scale * rng.normal());
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    bytes.append(raw, sizeof raw);
  }
  return {std::move(name), std::move(shape), "F32", 0, std::move(bytes)};
}

}  // namespace

void write_tiny_model(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  Rng rng(1, "tiny model");
  std::vector<TestTensor> tensors;
  const auto matrix = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
    tensors.push_back(random_tensor(name, {rows, columns}, 0.3, 0, rng));
  };
  const auto norm = [&](const std::string& name) {
    tensors.push_back(random_tensor(name, {kHidden}, 0.1, 1, rng));
  };
  matrix("model.embed_tokens.weight", kVocabulary, kHidden);
  norm("model.norm.weight");
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    norm(prefix + "input_layernorm.weight");
    norm(prefix + "post_attention_layernorm.weight");
    matrix(prefix + "self_attn.q_proj.weight", kQueryHeads * kHeadDim, kHidden);
    matrix(prefix + "self_attn.k_proj.weight", kKvHeads * kHeadDim, kHidden);
    matrix(prefix + "self_attn.v_proj.weight", kKvHeads * kHeadDim, kHidden);
    matrix(prefix + "self_attn.o_proj.weight", kHidden, kQueryHeads * kHeadDim);
    matrix(prefix + "mlp.gate_proj.weight", kIntermediate, kHidden);
    matrix(prefix + "mlp.up_proj.weight", kIntermediate, kHidden);
    matrix(prefix + "mlp.down_proj.weight", kHidden, kIntermediate);
  }
  write_file(folder / "model.safetensors", safetensors_bytes(tensors));
  const nlohmann::json config = {{"model_type", "llama"},
                                 {"architectures", {"LlamaForCausalLM"}},
                                 {"num_hidden_layers", kLayers},
                                 {"hidden_size", kHidden},
                                 {"num_attention_heads", kQueryHeads},
                                 {"num_key_value_heads", kKvHeads},
                                 {"intermediate_size", kIntermediate},
                                 {"vocab_size", kVocabulary},
                                 {"tie_word_embeddings", true},
                                 {"max_position_embeddings", 512},
                                 {"eos_token_id", 264}};
  write_file(folder / "config.json", config.dump());
  write_file(folder / "tokenizer.json", toy::document().dump());
}

void write_questions(const std::filesystem::path& file, int tests, int calibrations) {
  Rng rng(2, "questions");
  std::string lines;
  for (int i = 0; i < tests + calibrations; ++i) {
    std::string prompt;
    const std::int64_t length = rng.between(150, 300);
    for (std::int64_t c = 0; c < length; ++c) prompt += static_cast<char>('a' + rng.below(26));
    lines += nlohmann::json{{"id", "question " + std::to_string(i)},
                            {"prompt", prompt},
                            {"answer", std::string(1, static_cast<char>('A' + rng.below(26))) +
                                           std::string(1, static_cast<char>('A' + i % 26))},
                            {"split", i < tests ? "test" : "calibration"}}
                 .dump() +
             "\n";
  }
  write_file(file, lines);
}

}  // namespace strata::testing
