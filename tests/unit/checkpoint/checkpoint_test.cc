#include "models/checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/unit/checkpoint/model_files.h"

namespace strata {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::error_text;
using testing::llama_tensors;
using testing::safetensors_bytes;
using testing::TestTensor;
using testing::write_file;

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() { write_file(dir() / "config.json", testing::llama_config()); }

  const fs::path& dir() const { return folder_.path(); }

  void write_model(const std::vector<TestTensor>& tensors,
                   const json& config_patch = json::object()) {
    json config = json::parse(testing::llama_config());
    config.merge_patch(config_patch);
    write_file(dir() / "config.json", config.dump());
    write_file(dir() / "model.safetensors", safetensors_bytes(tensors));
  }

  void write_index(const json& weight_map) {
    write_file(dir() / "model.safetensors.index.json", json{{"weight_map", weight_map}}.dump());
  }

  Result<Checkpoint> open() const { return Checkpoint::open(dir(), {.cache_model_id = false}); }
  std::string open_error() const { return error_text(open(), dir()); }

  std::string validation(const std::vector<TestTensor>& tensors,
                         const json& config_patch = json::object()) {
    write_model(tensors, config_patch);
    const auto checkpoint = open();
    EXPECT_EQ(error_text(checkpoint), "no error");
    return error_text(validate_tensors(*checkpoint), dir());
  }

 private:
  testing::TemporaryDirectory folder_;
};

std::vector<TestTensor> without(std::vector<TestTensor> tensors, const std::string& name) {
  std::erase_if(tensors, [&](const TestTensor& tensor) { return tensor.name == name; });
  return tensors;
}

std::vector<TestTensor> with(std::vector<TestTensor> tensors, const TestTensor& added) {
  tensors = without(std::move(tensors), added.name);
  tensors.push_back(added);
  return tensors;
}

TEST_F(CheckpointTest, AModelInOneFileOpens) {
  write_model(llama_tensors());
  const auto checkpoint = open();
  ASSERT_EQ(error_text(checkpoint), "no error");
  EXPECT_EQ(checkpoint->architecture().layers, 2);
  EXPECT_EQ(checkpoint->tensors().size(), 21U);
  EXPECT_EQ(checkpoint->tensor("model.norm.weight").shape, std::vector<std::int64_t>{8});
  EXPECT_EQ(checkpoint->find("model.norm"), nullptr);
  // Embedding, head, norm; a layer: 2 norms, q and o 64 each, k and v 32 each, three MLP matrices
  // of 48.
  EXPECT_EQ(checkpoint->parameter_bytes(), 4U * (40 + 40 + 8 + 2 * (16 + 128 + 64 + 144)));
  EXPECT_EQ(checkpoint->model_id().size(), 64U);
  EXPECT_EQ(error_text(validate_tensors(*checkpoint)), "no error");
}

TEST_F(CheckpointTest, RequireNamesTensorAndBothShapes) {
  write_model(llama_tensors());
  const auto checkpoint = open();
  ASSERT_TRUE(checkpoint);
  const std::vector<std::int64_t> shape{5, 8}, other{8, 5};
  EXPECT_EQ(*checkpoint->require("lm_head.weight", shape), checkpoint->find("lm_head.weight"));
  EXPECT_EQ(error_text(checkpoint->require("lm_head.weight", other), dir()),
            "DIR: tensor 'lm_head.weight': expected shape [8, 5], got [5, 8]");
  EXPECT_EQ(error_text(checkpoint->require("nope", other), dir()),
            "DIR: tensor 'nope': expected shape [8, 5], got no such tensor");
}

TEST_F(CheckpointTest, MissingFilesAreNamed) {
  EXPECT_EQ(open_error(),
            "DIR: expected model.safetensors or model.safetensors.index.json, got neither\n"
            "  hint: weights in other formats are not read");
  fs::remove(dir() / "config.json");
  EXPECT_EQ(open_error(), "DIR/config.json: there is no such file");
  EXPECT_EQ(error_text(Checkpoint::open(dir() / "none"), dir()),
            "DIR/none: expected a model directory, got nothing there\n"
            "  hint: it holds config.json, model.safetensors and tokenizer.json");
  write_file(dir() / "file", "x");
  EXPECT_EQ(error_text(Checkpoint::open(dir() / "file"), dir()),
            "DIR/file: expected a model directory, got something else\n"
            "  hint: it holds config.json, model.safetensors and tokenizer.json");
}

TEST_F(CheckpointTest, ATruncatedFileIsNamedWithWhatIsMissing) {
  write_model(llama_tensors());
  fs::resize_file(dir() / "model.safetensors", fs::file_size(dir() / "model.safetensors") - 100);
  EXPECT_EQ(open_error(),
            "DIR/model.safetensors: expected 3168 bytes behind the header, as the tensors need, "
            "got 3068\n"
            "  hint: the file is cut off: get it again");
}

TEST_F(CheckpointTest, AModelInSeveralFilesIsTheSameModel) {
  auto tensors = llama_tensors();
  write_model(tensors);
  const auto single = open();
  ASSERT_TRUE(single);
  fs::remove(dir() / "model.safetensors");
  const auto middle = tensors.begin() + 9;
  write_file(dir() / "b.safetensors", safetensors_bytes({tensors.begin(), middle}));
  write_file(dir() / "a.safetensors", safetensors_bytes({middle, tensors.end()}));
  json weight_map;
  for (auto tensor = tensors.begin(); tensor != tensors.end(); ++tensor)
    weight_map[tensor->name] = tensor < middle ? "b.safetensors" : "a.safetensors";
  write_index(weight_map);
  const auto several = open();
  ASSERT_EQ(error_text(several), "no error");
  EXPECT_EQ(several->model_id(), single->model_id());
  EXPECT_EQ(several->tensors().size(), 21U);
  EXPECT_EQ(error_text(validate_tensors(*several)), "no error");
}

TEST_F(CheckpointTest, ATensorThatTheIndexDoesNotListCountsAndAFileThatItDoesNotListIsNotOpened) {
  write_file(dir() / "a.safetensors", safetensors_bytes({{"x", {1}}, {"y", {2}}}));
  write_file(dir() / "unlisted.safetensors", "this is no safetensors file");
  write_index({{"x", "a.safetensors"}});
  const auto checkpoint = open();
  ASSERT_EQ(error_text(checkpoint), "no error");
  EXPECT_NE(checkpoint->find("y"), nullptr);
}

TEST_F(CheckpointTest, ABadIndexIsAnError) {
  write_file(dir() / "a.safetensors", safetensors_bytes({{"x", {1}}}));
  write_file(dir() / "b.safetensors", safetensors_bytes({{"x", {1}}, {"z", {1}}}));
  const std::string index = "DIR/model.safetensors.index.json: ";
  const std::string map = index + "field 'weight_map': ";
  const auto error_of = [&](const json& weight_map) {
    write_index(weight_map);
    return open_error();
  };
  for (const char* name :
       {"../a.safetensors", "sub/a.safetensors", "/etc/passwd", "..", ".", "", "a\\b"})
    EXPECT_EQ(error_of({{"x", name}}),
              map + "'x': expected the name of a file beside the index, got " + json(name).dump());
  EXPECT_EQ(error_of({{"x", 1}}), map + "'x': expected the name of a file beside the index, got 1");
  EXPECT_EQ(error_of(json::object()),
            map + "expected an object of tensor names and file names, got an object");
  EXPECT_EQ(error_of({{"x", "c.safetensors"}}),
            "DIR/c.safetensors: cannot open: No such file or directory");
  EXPECT_EQ(error_of({{"y", "a.safetensors"}}),
            map + "expected tensor 'y' in a.safetensors, which has none");
  EXPECT_EQ(error_of({{"z", "a.safetensors"}, {"x", "b.safetensors"}}),
            map + "expected tensor 'z' in a.safetensors, which has none");
  EXPECT_EQ(error_of({{"x", "a.safetensors"}, {"z", "b.safetensors"}}),
            "DIR: tensor 'x': expected it in one file, got it in a.safetensors and b.safetensors");
  write_file(dir() / "model.safetensors.index.json", "{");
  EXPECT_EQ(open_error(), index + "invalid JSON at byte 2");
  write_file(dir() / "model.safetensors.index.json", "{}");
  EXPECT_EQ(open_error(), map + "expected an object of tensor names and file names, got nothing");
}

TEST_F(CheckpointTest, TensorsThatDoNotFitTheArchitectureAreErrors) {
  const auto llama = llama_tensors();
  const std::string hint = "\n  hint: does config.json belong to these weights?";
  const std::string q = "model.layers.1.self_attn.q_proj.";
  EXPECT_EQ(validation(without(llama, "model.norm.weight")),
            "DIR: tensor 'model.norm.weight': expected shape [8], got no such tensor");
  EXPECT_EQ(validation(with(llama, {q + "weight", {8, 4}})),
            "DIR: tensor '" + q + "weight': expected shape [8, 8], got [8, 4]");
  EXPECT_EQ(validation(with(llama, {q + "weight", {64}})),
            "DIR: tensor '" + q + "weight': expected shape [8, 8], got [64]");
  EXPECT_EQ(validation(with(llama, {q + "weight", {8, 8}, "I8"})),
            "DIR: tensor '" + q + "weight': expected dtype F64, F32, F16 or BF16, got I8");
  EXPECT_EQ(validation(with(llama, {q + "bias", {8}})),
            "DIR: tensor '" + q +
                "bias' of shape [8]: expected no such tensor in this llama model" + hint);
  EXPECT_EQ(validation(llama, {{"num_hidden_layers", 1}}),
            "DIR: tensor 'model.layers.1.input_layernorm.weight' of shape [8]: expected no such "
            "tensor in this llama "
            "model" +
                hint);
  EXPECT_EQ(validation(with(llama, {"zzz", {1}})),
            "DIR: tensor 'zzz' of shape [1]: expected no such tensor in this llama model" + hint);
  EXPECT_EQ(
      validation(llama, {{"attention_bias", true}}),
      "DIR: tensor 'model.layers.0.self_attn.k_proj.bias': expected shape [4], got no such tensor");
  EXPECT_EQ(validation(without(llama, "lm_head.weight")),
            "DIR: tensor 'lm_head.weight': expected shape [5, 8], got no such tensor");
}

TEST_F(CheckpointTest, OldRotaryBuffersArePassedOver) {
  const auto tensors = with(llama_tensors(), {"model.layers.0.self_attn.rotary_emb.inv_freq", {1}});
  EXPECT_EQ(validation(tensors), "no error");
  const std::string id = open()->model_id();
  write_model(llama_tensors());
  EXPECT_EQ(open()->model_id(), id);
}

TEST_F(CheckpointTest, ATiedModelNeedsNoHeadOrAnEqualOne) {
  const json tied = {{"tie_word_embeddings", true}};
  EXPECT_EQ(validation(without(llama_tensors(), "lm_head.weight"), tied), "no error");
  const std::string id = open()->model_id();
  EXPECT_EQ(validation(llama_tensors(), tied), "no error");
  EXPECT_EQ(open()->model_id(), id);
  for (const TestTensor& head : std::vector<TestTensor>{{"lm_head.weight", {5, 8}, "F32", 2},
                                                        {"lm_head.weight", {8, 5}},
                                                        {"lm_head.weight", {5, 8}, "BF16"}})
    EXPECT_EQ(validation(with(llama_tensors(), head), tied),
              "DIR: tensor 'lm_head.weight': expected the values of 'model.embed_tokens.weight', "
              "since config.json has "
              "tie_word_embeddings, got others\n"
              "  hint: with tie_word_embeddings false in config.json the model uses both");
}

TEST_F(CheckpointTest, Qwen2NeedsBiasesAndQwen3HeadNorms) {
  auto qwen2 = llama_tensors(), qwen3 = llama_tensors();
  for (const std::string layer : {"model.layers.0.self_attn.", "model.layers.1.self_attn."}) {
    qwen2.push_back({layer + "q_proj.bias", {8}});
    qwen2.push_back({layer + "k_proj.bias", {4}});
    qwen2.push_back({layer + "v_proj.bias", {4}});
    qwen3.push_back({layer + "q_norm.weight", {2}});
    qwen3.push_back({layer + "k_norm.weight", {2}});
  }
  const json type2 = {{"model_type", "qwen2"}, {"architectures", nullptr}};
  const json type3 = {{"model_type", "qwen3"}, {"architectures", nullptr}, {"head_dim", 2}};
  EXPECT_EQ(validation(qwen2, type2), "no error");
  EXPECT_EQ(validation(qwen3, type3), "no error");
  EXPECT_EQ(
      validation(llama_tensors(), type2),
      "DIR: tensor 'model.layers.0.self_attn.k_proj.bias': expected shape [4], got no such tensor");
  EXPECT_EQ(validation(qwen2, type3),
            "DIR: tensor 'model.layers.0.self_attn.k_norm.weight': expected shape [2], got no such "
            "tensor");
}

// A gpt_oss of the Llama's sizes, 3 experts, without attention biases.
std::vector<TestTensor> gpt_oss_tensors() {
  std::vector<TestTensor> out;
  for (const TestTensor& tensor : llama_tensors())
    if (tensor.name.find(".mlp.") == std::string::npos) out.push_back(tensor);
  for (const std::string layer : {"model.layers.0.", "model.layers.1."})
    for (const TestTensor& tensor :
         std::vector<TestTensor>{{"self_attn.sinks", {4}},
                                 {"mlp.router.weight", {3, 8}},
                                 {"mlp.router.bias", {3}},
                                 {"mlp.experts.gate_up_proj", {3, 8, 12}},
                                 {"mlp.experts.gate_up_proj_bias", {3, 12}},
                                 {"mlp.experts.down_proj", {3, 6, 8}},
                                 {"mlp.experts.down_proj_bias", {3, 8}}})
      out.push_back({layer + tensor.name, tensor.shape});
  return out;
}

const json kGptOss = {{"model_type", "gpt_oss"}, {"architectures", nullptr},
                      {"head_dim", 2},           {"attention_bias", false},
                      {"num_local_experts", 3},  {"num_experts_per_tok", 2}};

TEST_F(CheckpointTest, AGptOssNeedsSinksRouterAndExperts) {
  EXPECT_EQ(validation(gpt_oss_tensors(), kGptOss), "no error");
  for (const std::string name :
       {"self_attn.sinks", "mlp.router.bias", "mlp.experts.gate_up_proj_bias"}) {
    const std::string full = "model.layers.1." + name;
    EXPECT_NE(validation(without(gpt_oss_tensors(), full), kGptOss).find("got no such tensor"),
              std::string::npos)
        << name;
  }
}

TEST_F(CheckpointTest, Mxfp4ExpertsAreRefusedWithTheWayToDequantiseThem) {
  const std::string matrix = "model.layers.0.mlp.experts.down_proj";
  const auto quantised =
      with(with(without(gpt_oss_tensors(), matrix), {matrix + "_blocks", {3, 8, 1, 16}, "U8"}),
           {matrix + "_scales", {3, 8, 1}, "U8"});
  EXPECT_EQ(validation(quantised, kGptOss),
            "DIR: tensor '" + matrix +
                "_blocks': expected weights as floating-point numbers, got mxfp4\n"
                "  hint: dequantise it first: transformers loads it with "
                "Mxfp4Config(dequantize=True), and save_pretrained writes what strata reads");
}

}  // namespace
}  // namespace strata
