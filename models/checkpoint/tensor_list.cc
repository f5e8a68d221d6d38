#include "models/checkpoint/tensor_list.h"

#include <algorithm>

#include "models/checkpoint/checkpoint.h"

namespace strata {
namespace {

constexpr std::string_view kEmbedding = "model.embed_tokens.weight";
constexpr std::string_view kHead = "lm_head.weight";

void add_layer(const Architecture& a, int layer, std::vector<ExpectedTensor>& out) {
  const std::int64_t query_width = a.query_heads * a.head_dim, kv_width = a.kv_heads * a.head_dim;
  const auto add = [&](std::string_view name, std::vector<std::int64_t> shape) {
    out.push_back({fmt::format("model.layers.{}.{}", layer, name), std::move(shape)});
  };
  add("input_layernorm.weight", {a.hidden});
  add("post_attention_layernorm.weight", {a.hidden});
  if (a.sandwich_norms) {
    add("pre_feedforward_layernorm.weight", {a.hidden});
    add("post_feedforward_layernorm.weight", {a.hidden});
  }
  add("self_attn.q_proj.weight", {query_width, a.hidden});
  add("self_attn.k_proj.weight", {kv_width, a.hidden});
  add("self_attn.v_proj.weight", {kv_width, a.hidden});
  add("self_attn.o_proj.weight", {a.hidden, query_width});
  if (a.qkv_bias) {
    add("self_attn.q_proj.bias", {query_width});
    add("self_attn.k_proj.bias", {kv_width});
    add("self_attn.v_proj.bias", {kv_width});
  }
  if (a.o_bias) add("self_attn.o_proj.bias", {a.hidden});
  if (a.qk_norm) {
    add("self_attn.q_norm.weight", {a.head_dim});
    add("self_attn.k_norm.weight", {a.head_dim});
  }
  if (a.sink_logits) add("self_attn.sinks", {a.query_heads});
  if (a.experts) {
    const std::int64_t count = a.experts->count;
    add("mlp.router.weight", {count, a.hidden});
    add("mlp.router.bias", {count});
    add("mlp.experts.gate_up_proj", {count, a.hidden, 2 * a.intermediate});
    add("mlp.experts.gate_up_proj_bias", {count, 2 * a.intermediate});
    add("mlp.experts.down_proj", {count, a.intermediate, a.hidden});
    add("mlp.experts.down_proj_bias", {count, a.hidden});
    return;
  }
  add("mlp.gate_proj.weight", {a.intermediate, a.hidden});
  add("mlp.up_proj.weight", {a.intermediate, a.hidden});
  add("mlp.down_proj.weight", {a.hidden, a.intermediate});
}

bool is_floating(DType dtype) {
  return dtype == DType::kF64 || dtype == DType::kF32 || dtype == DType::kF16 ||
         dtype == DType::kBF16;
}

Status check_expected(const Checkpoint& checkpoint, const ExpectedTensor& expected) {
  ASSIGN_OR_RETURN(const TensorView* tensor, checkpoint.require(expected.name, expected.shape));
  if (is_floating(tensor->dtype)) return {};
  return fail(make_error(ErrorKind::kUnsupported,
                         "tensor '{}': expected dtype F64, F32, F16 or BF16, got {}", tensor->name,
                         to_string(tensor->dtype))
                  .at(checkpoint.directory().string()));
}

// mxfp4 stores each matrix of the experts as two tensors.
Status refuse_mxfp4(const Checkpoint& checkpoint) {
  if (!checkpoint.architecture().experts) return {};
  for (const TensorView* tensor : checkpoint.tensors())
    if (tensor->name.ends_with("_proj_blocks") || tensor->name.ends_with("_proj_scales"))
      return fail(make_error(ErrorKind::kUnsupported,
                             "tensor '{}': expected weights as floating-point numbers, got mxfp4",
                             tensor->name)
                      .at(checkpoint.directory().string())
                      .with_hint(std::string(kDequantiseHint)));
  return {};
}

Status check_tied_head(const Checkpoint& checkpoint) {
  const TensorView* head = checkpoint.find(kHead);
  if (!checkpoint.architecture().tie_word_embeddings || head == nullptr) return {};
  const TensorView& embedding = checkpoint.tensor(kEmbedding);
  if (head->dtype == embedding.dtype && head->shape == embedding.shape &&
      std::equal(head->bytes.begin(), head->bytes.end(), embedding.bytes.begin()))
    return {};
  return fail(make_error(ErrorKind::kInvalidFile,
                         "tensor '{}': expected the values of '{}', since config.json has "
                         "tie_word_embeddings, got "
                         "others",
                         kHead, kEmbedding)
                  .at(checkpoint.directory().string())
                  .with_hint("with tie_word_embeddings false in config.json the model uses both"));
}

}  // namespace

std::vector<ExpectedTensor> expected_tensors(const Architecture& a) {
  std::vector<ExpectedTensor> out;
  out.push_back({std::string(kEmbedding), {a.vocabulary, a.hidden}});
  out.push_back({"model.norm.weight", {a.hidden}});
  if (!a.tie_word_embeddings) out.push_back({std::string(kHead), {a.vocabulary, a.hidden}});
  for (int layer = 0; layer < a.layers; ++layer) add_layer(a, layer, out);
  std::sort(out.begin(), out.end(),
            [](const ExpectedTensor& x, const ExpectedTensor& y) { return x.name < y.name; });
  return out;
}

bool is_passed_over(const Architecture& architecture, std::string_view name) {
  return name.find("rotary_emb.inv_freq") != std::string_view::npos ||
         (architecture.tie_word_embeddings && name == kHead);
}

Status validate_tensors(const Checkpoint& checkpoint) {
  const Architecture& a = checkpoint.architecture();
  RETURN_IF_ERROR(refuse_mxfp4(checkpoint));
  const auto expected = expected_tensors(a);
  for (const ExpectedTensor& tensor : expected) RETURN_IF_ERROR(check_expected(checkpoint, tensor));
  auto next = expected.begin();
  for (const TensorView* tensor : checkpoint.tensors()) {
    if (next != expected.end() && next->name == tensor->name) {
      ++next;
    } else if (!is_passed_over(a, tensor->name)) {
      return fail(make_error(ErrorKind::kInvalidFile,
                             "tensor '{}' of shape {}: expected no such tensor in this {} model",
                             tensor->name, shape_text(tensor->shape), to_string(a.family))
                      .at(checkpoint.directory().string())
                      .with_hint("does config.json belong to these weights?"));
    }
  }
  return check_tied_head(checkpoint);
}

}  // namespace strata
