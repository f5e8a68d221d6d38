// A small random model for path patching, and its slow twin: every row of every layer with dense
// attention in float64, one patch at a time, frozen by using what the clean run gave.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/decoder/weights.h"
#include "models/mixers/linear_branch.h"
#include "models/path_patch.h"
#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/device_test.h"
#include "tests/unit/models/linear_oracle.h"

namespace strata::testing {

inline constexpr int kLayers = 4, kHeads = 4, kKvHeads = 2;
inline constexpr std::int64_t kPrompt = 17, kAnswer = 3, kText = kPrompt + kAnswer - 1;
inline constexpr double kTolerance = 1e-9, kDecay = 0.8;
inline constexpr double kUnseen = -std::numeric_limits<double>::infinity();

inline std::size_t head_at(int layer, int head) {
  return static_cast<std::size_t>(layer) * kHeads + static_cast<std::size_t>(head);
}

// Legend: N tokens, C hidden, H heads, G KV heads, D head size.
class PathTwin {
 public:
  PathTwin(Architecture architecture, Weights weights)
      : a_(std::move(architecture)), w_(std::move(weights)) {}

  struct Run {
    std::vector<at::Tensor> in_NC, heads_NHD;
    at::Tensor out_NC;
    // Where a patch puts heads in by weights of their own in place of the layer's o, [C, H·D] of
    // each layer; and how much of the way to the patched value a patch goes.
    std::vector<at::Tensor> o = {};
    double share = 1;
  };
  using Rows = std::set<std::int64_t>;  // that may change

  at::Tensor heads(int layer, const at::Tensor& x_NC, const PaletteEntry& entry) const {
    const LayerWeights& w = w_.layers[static_cast<std::size_t>(layer)];
    const at::Tensor normed = norm(x_NC, w.input_norm);
    const std::int64_t tokens = x_NC.size(0), group = a_.query_heads / a_.kv_heads;
    at::Tensor out = at::zeros({tokens, a_.query_heads, a_.head_dim}, at::kDouble);
    at::Tensor unseen = at::zeros({tokens, tokens}, at::kDouble);
    for (std::int64_t i = 0; i < tokens; ++i)
      for (std::int64_t j = 0; j < tokens; ++j)
        if (!oracle_sees(entry, i, j, kPrompt))
          unseen.mutable_data_ptr<double>()[i * tokens + j] = kUnseen;
    for (std::int64_t head = 0; head < a_.query_heads; ++head) {
      const auto part = [&](const at::Tensor& weight, std::int64_t at) {
        return at::matmul(normed, weight.narrow(0, at * a_.head_dim, a_.head_dim).t());
      };
      const at::Tensor q = turned(part(w.q, head)), k = turned(part(w.k, head / group)),
                       v = part(w.v, head / group);
      at::Tensor score =
          at::matmul(q, k.t()) / std::sqrt(static_cast<double>(a_.head_dim)) + unseen;
      if (a_.sink_logits) score = at::cat({score, w.sink_logits[head].expand({tokens, 1})}, 1);
      out.select(1, head).copy_(at::matmul(at::softmax(score, 1).narrow(1, 0, tokens), v));
    }
    return out;
  }

  // added_NC: what comes to the mixer's output besides, where given.
  at::Tensor close(int layer, const at::Tensor& x_NC, const at::Tensor& heads_NHD,
                   const at::Tensor& added_NC = {}) const {
    const LayerWeights& w = w_.layers[static_cast<std::size_t>(layer)];
    at::Tensor x = x_NC + at::matmul(heads_NHD.flatten(1), w.o.t());
    if (added_NC.defined()) x = x + added_NC;
    const at::Tensor normed = norm(x, w.mlp_norm);
    const at::Tensor gate = at::matmul(normed, w.gate.t());
    return x + at::matmul(gate * at::sigmoid(gate) * at::matmul(normed, w.up.t()), w.down.t());
  }

  Run run(const Tokens& tokens, const PaletteEntry& entry = {}) const {
    Run out;
    std::vector<std::int64_t> ids(tokens.begin(), tokens.end());
    at::Tensor x = w_.embedding.index_select(0, at::tensor(ids, at::kLong));
    for (int layer = 0; layer < a_.layers; ++layer) {
      out.in_NC.push_back(x);
      out.heads_NHD.push_back(heads(layer, x, entry));
      x = close(layer, x, out.heads_NHD.back());
    }
    out.out_NC = x;
    return out;
  }

  double margin(const at::Tensor& x_NC, const Tokens& right, const Tokens& wrong) const {
    const at::Tensor logits = at::matmul(norm(x_NC, w_.final_norm), w_.lm_head.t());
    double sum = 0, weights = 0;
    for (std::size_t j = 0; j < right.size(); ++j) {
      const at::Tensor row = logits[kPrompt - 1 + static_cast<std::int64_t>(j)];
      const double weight = std::pow(kDecay, static_cast<double>(j));
      sum += weight * (row[right[j]].item<double>() - row[wrong[j]].item<double>());
      weights += weight;
    }
    return sum / weights;
  }

  // A layer where one head is patched, at the rows given (none: all).
  at::Tensor close_patched(int layer, const at::Tensor& x_NC, at::Tensor heads_NHD,
                           const Run& other, std::int64_t head, const Rows& rows = {}) const {
    const auto i = static_cast<std::size_t>(layer);
    const at::Tensor own = heads_NHD.select(1, head),
                     given = other.heads_NHD[i].select(1, head) * other.share;
    at::Tensor at_rows = at::ones({own.size(0), 1}, at::kDouble);
    if (!rows.empty()) {
      at_rows.zero_();
      for (const std::int64_t row : rows) at_rows[row].fill_(1);
    }
    own.mul_(1 - other.share * at_rows);
    if (other.o.empty()) {
      own.add_(given * at_rows);
      return close(layer, x_NC, heads_NHD);
    }
    const at::Tensor o_CD = other.o[i].narrow(1, head * a_.head_dim, a_.head_dim);
    return close(layer, x_NC, heads_NHD, at::matmul(given * at_rows, o_CD.t()));
  }

  // The readout's input where a head is replaced at all rows and all attention above is frozen.
  at::Tensor direct(const Run& clean, const Run& other, int layer, int head) const {
    at::Tensor x = clean.in_NC[static_cast<std::size_t>(layer)];
    for (int at = layer; at < a_.layers; ++at) {
      const at::Tensor heads = clean.heads_NHD[static_cast<std::size_t>(at)].clone();
      x = at == layer ? close_patched(at, x, heads, other, head) : close(at, x, heads);
    }
    return x;
  }

  at::Tensor through(const Run& clean, const Run& other, std::size_t sender,
                     const std::vector<std::size_t>& receivers, const Rows& rows) const {
    const int layer = static_cast<int>(sender) / kHeads;
    const auto put = [&](at::Tensor& into, std::size_t head, const at::Tensor& from) {
      for (const std::int64_t row : rows)
        into[row][static_cast<std::int64_t>(head) % kHeads].copy_(
            from[row][static_cast<std::int64_t>(head) % kHeads]);
    };
    std::vector<at::Tensor> seen = clean.heads_NHD;
    at::Tensor x = clean.in_NC[static_cast<std::size_t>(layer)];
    for (int at = layer; at < a_.layers; ++at) {
      const auto i = static_cast<std::size_t>(at);
      at::Tensor heads_here = clean.heads_NHD[i].clone();
      for (const std::size_t receiver : receivers)
        if (static_cast<int>(receiver) / kHeads == at && at > layer)
          put(heads_here, receiver, heads(at, x, {}));
      seen[i] = heads_here.clone();  // the receivers' outputs alone
      x = at == layer ? close_patched(at, x, heads_here, other,
                                      static_cast<std::int64_t>(sender) % kHeads, rows)
                      : close(at, x, heads_here);
    }
    x = clean.in_NC[0];
    for (int at = 0; at < a_.layers; ++at) x = close(at, x, seen[static_cast<std::size_t>(at)]);
    return x;
  }

  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const {
    return x / at::sqrt((x * x).mean(-1, /*keepdim=*/true) + a_.rms_norm_eps) * weight;
  }

 private:
  // The model's angles are float32.
  at::Tensor turned(const at::Tensor& x_ND) const {
    const std::int64_t half = x_ND.size(1) / 2;
    const at::Tensor angle =
        at::outer(at::arange(x_ND.size(0), at::kFloat), w_.inverse_frequencies).to(at::kDouble);
    const at::Tensor a = x_ND.narrow(1, 0, half), b = x_ND.narrow(1, half, half);
    return at::cat({a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()}, 1);
  }

  Architecture a_;
  Weights w_;
};

class PathPatchFixture : public DeviceTest {
 protected:
  void make(bool sink_logits = false, at::ScalarType dtype = at::kDouble) {
    Rng rng(11, "path patch");
    architecture_ = tiny_architecture(kLayers, kHeads, kKvHeads);
    architecture_.sink_logits = sink_logits;
    weights_ = random_weights(architecture_, rng, at::kDouble);
    Weights of_model = weights_;
    if (dtype != at::kDouble) {
      Rng again(11, "path patch");  // the same numbers
      of_model = random_weights(architecture_, again, dtype);
    }
    of_model = to_device(of_model, device());
    std::vector<LayerBranch> branches;  // of random weights
    for (int layer = 0; layer < kLayers; ++layer) {
      branches.push_back(LayerBranch::initial(architecture_, of_model, layer, {.kind = kind_}));
      Rng numbers(static_cast<std::uint64_t>(layer), "branch");
      for (const BranchPart& part : branches.back().parts())
        part.tensor->copy_(
            random_tensor(part.tensor->sizes(), numbers, [](Rng& r) { return 0.3 * r.normal(); }));
    }
    model_ = Model::in_memory("tiny", architecture_, of_model, std::move(branches));
    prompt_.clear();
    for (std::int64_t i = 0; i < kPrompt; ++i)
      prompt_.push_back(static_cast<TokenId>(rng.below(11)));
    other_prompt_ = prompt_;
    for (const std::size_t row : {5U, 6U, 10U}) other_prompt_[row] = (prompt_[row] + 3) % 11;
    answer_ = {1, 2, 3};
    other_answer_ = {4, 2, 9};
    twin_.emplace(architecture_, weights_);
    clean_ = twin_->run(text(prompt_, answer_));
  }

  static Tokens text(Tokens prompt, const Tokens& answer) {
    prompt.insert(prompt.end(), answer.begin(), answer.end() - 1);
    return prompt;
  }
  PatchPair pair() const { return {prompt_, answer_, other_prompt_, other_answer_}; }
  double margin(const at::Tensor& x) const { return twin_->margin(x, answer_, other_answer_); }
  static std::vector<std::size_t> all_heads() {
    std::vector<std::size_t> heads(head_at(kLayers, 0));
    for (std::size_t i = 0; i < heads.size(); ++i) heads[i] = i;
    return heads;
  }

  static PathTwin::Rows rows_from(std::int64_t first) {
    PathTwin::Rows rows;
    for (std::int64_t row = first; row < kText; ++row) rows.insert(row);
    return rows;
  }

  // What linear heads make of the clean run's inputs, and of a text that they run alone.
  PathTwin::Run linear_run() const {
    PathTwin::Run out;
    at::Tensor x = clean_.in_NC[0];
    for (int layer = 0; layer < kLayers; ++layer) {
      const LayerBranch& branch = *model_->decoder().branch(layer);
      const at::Tensor& weight = weights_.layers[static_cast<std::size_t>(layer)].input_norm;
      const auto given = [&](const at::Tensor& x_NC) {
        return twin_->norm(x_NC, weight).unsqueeze(0).to(device());
      };
      out.heads_NHD.push_back(
          branch.read(given(clean_.in_NC[static_cast<std::size_t>(layer)]), branch.make_state(1))
              .heads_BNHD.squeeze(0)
              .cpu());
      out.o.push_back(branch.weights().o.cpu());
      x = twin_->close(layer, x, at::zeros_like(out.heads_NHD.back()),
                       branch.forward(given(x), branch.make_state(1)).out_BNC.squeeze(0).cpu());
    }
    out.out_NC = x;
    return out;
  }
  AttentionPlan all_linear() const {
    return *AttentionPlan::from_mask(Mask(Granularity::kLayer, model_->layout(), false),
                                     FullAttention{}, LinearAttention{kind_}, DecodeRule::kSame);
  }

  LinearKind kind_ = LinearKind::kLightning;
  Architecture architecture_;
  Weights weights_;
  std::unique_ptr<Model> model_;
  Tokens prompt_, other_prompt_, answer_, other_answer_;
  std::optional<PathTwin> twin_;
  PathTwin::Run clean_;
};

}  // namespace strata::testing
