#include "tests/unit/checkpoint/model_files.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace strata::testing {

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "strata_checkpoint_XXXXXX").string();
  STRATA_CHECK(::mkdtemp(name.data()) != nullptr);
  path_ = std::filesystem::canonical(name);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code code;
  std::filesystem::remove_all(path_, code);
}

std::string safetensors_bytes(const std::vector<TestTensor>& tensors) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const TestTensor& tensor : tensors) {
    std::size_t size = bits_per_element(*parse_dtype(tensor.dtype)) / 8;
    for (const std::int64_t dimension : tensor.shape) size *= static_cast<std::size_t>(dimension);
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {data.size(), data.size() + size}}};
    STRATA_CHECK(tensor.bytes.empty() || tensor.bytes.size() == size, "{}", tensor.name);
    data += tensor.bytes.empty() ? std::string(size, tensor.fill) : tensor.bytes;
  }
  const std::string text = header.dump();
  std::string out;
  for (unsigned shift = 0; shift < 64; shift += 8)
    out += static_cast<char>(std::uint64_t{text.size()} >> shift & 0xff);
  return out + text + data;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  std::ofstream stream(path, std::ios::binary);
  stream.write(content.data(), static_cast<std::streamsize>(content.size()));
  stream.close();
  ASSERT_TRUE(stream) << path;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream out;
  out << stream.rdbuf();
  EXPECT_TRUE(stream) << path;
  return out.str();
}

std::string llama_config() {
  return R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2,
             "hidden_size": 8, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 6,
             "vocab_size": 5, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2})";
}

std::vector<TestTensor> llama_tensors() {
  std::vector<TestTensor> out{{"model.embed_tokens.weight", {5, 8}},
                              {"model.norm.weight", {8}},
                              {"lm_head.weight", {5, 8}}};
  for (const std::string layer : {"model.layers.0.", "model.layers.1."})
    for (const TestTensor& tensor :
         std::vector<TestTensor>{{"input_layernorm.weight", {8}},
                                 {"post_attention_layernorm.weight", {8}},
                                 {"self_attn.q_proj.weight", {8, 8}},
                                 {"self_attn.k_proj.weight", {4, 8}},
                                 {"self_attn.v_proj.weight", {4, 8}},
                                 {"self_attn.o_proj.weight", {8, 8}},
                                 {"mlp.gate_proj.weight", {6, 8}},
                                 {"mlp.up_proj.weight", {6, 8}},
                                 {"mlp.down_proj.weight", {8, 6}}})
      out.push_back({layer + tensor.name, tensor.shape});
  return out;
}

}  // namespace strata::testing
