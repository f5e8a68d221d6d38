// Path patching of a small random model against a twin that runs every row of every layer with
// dense attention, one patch at a time, and freezes by using what the clean run gave.
#include "models/path_patch.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "models/cost.h"
#include "models/decoder/weights.h"
#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/device_test.h"

namespace strata {
namespace {

constexpr int kLayers = 4, kHeads = 4, kKvHeads = 2;
constexpr std::int64_t kPrompt = 17, kAnswer = 3, kText = kPrompt + kAnswer - 1;
constexpr double kTolerance = 1e-9, kDecay = 0.8;
constexpr double kUnseen = -std::numeric_limits<double>::infinity();

std::size_t head_at(int layer, int head) {
  return static_cast<std::size_t>(layer) * kHeads + static_cast<std::size_t>(head);
}

// Legend: N tokens, C hidden, H heads, G KV heads, D head size.
class Twin {
 public:
  Twin(Architecture architecture, Weights weights)
      : a_(std::move(architecture)), w_(std::move(weights)) {}

  struct Run {
    std::vector<at::Tensor> in_NC, heads_NHD;
    at::Tensor out_NC;
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
        if (!testing::oracle_sees(entry, i, j, kPrompt))
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

  at::Tensor close(int layer, const at::Tensor& x_NC, const at::Tensor& heads_NHD) const {
    const LayerWeights& w = w_.layers[static_cast<std::size_t>(layer)];
    const at::Tensor x = x_NC + at::matmul(heads_NHD.flatten(1), w.o.t());
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

  // The readout's input where a head is replaced at all rows and all attention above is frozen.
  at::Tensor direct(const Run& clean, const at::Tensor& other_NHD, int layer, int head) const {
    at::Tensor x = clean.in_NC[static_cast<std::size_t>(layer)];
    for (int at = layer; at < a_.layers; ++at) {
      at::Tensor heads = clean.heads_NHD[static_cast<std::size_t>(at)].clone();
      if (at == layer) heads.select(1, head).copy_(other_NHD.select(1, head));
      x = close(at, x, heads);
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
      if (at == layer) put(heads_here, sender, other.heads_NHD[i]);
      x = close(at, x, heads_here);
    }
    x = clean.in_NC[0];
    for (int at = 0; at < a_.layers; ++at) x = close(at, x, seen[static_cast<std::size_t>(at)]);
    return x;
  }

 private:
  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const {
    return x / at::sqrt((x * x).mean(-1, /*keepdim=*/true) + a_.rms_norm_eps) * weight;
  }
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

class PathPatchTest : public testing::DeviceTest {
 protected:
  void make(bool sink_logits = false) {
    Rng rng(11, "path patch");
    architecture_ = testing::tiny_architecture(kLayers, kHeads, kKvHeads);
    architecture_.sink_logits = sink_logits;
    weights_ = testing::random_weights(architecture_, rng, at::kDouble);
    model_ = Model::in_memory("tiny", architecture_, testing::to_device(weights_, device()));
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

  void expect_direct(const PatchSetting& setting, const Twin::Run& other) {
    MeteredModel model(*model_);
    const PatchEffects found = *direct_effects(model, pair(), setting);
    EXPECT_NEAR(found.margin, margin(clean_.out_NC), kTolerance);
    EXPECT_NEAR(found.other_margin, margin(other.out_NC), kTolerance);
    for (int layer = 0; layer < kLayers; ++layer)
      for (int head = 0; head < kHeads; ++head)
        EXPECT_NEAR(found.effects[head_at(layer, head)],
                    margin(clean_.out_NC) -
                        margin(twin_->direct(
                            clean_, other.heads_NHD[static_cast<std::size_t>(layer)], layer, head)),
                    kTolerance)
            << layer << "." << head;
  }

  void expect_through(const PatchSetting& setting, const Twin::Run& other,
                      const std::vector<std::size_t>& receivers, const Twin::Rows& rows) {
    MeteredModel model(*model_);
    const PatchEffects found = *path_effects(model, pair(), setting, all_heads(), receivers);
    double largest = 0;
    for (const std::size_t sender : all_heads()) {
      EXPECT_NEAR(
          found.effects[sender],
          margin(clean_.out_NC) - margin(twin_->through(clean_, other, sender, receivers, rows)),
          kTolerance)
          << sender;
      largest = std::max(largest, std::abs(found.effects[sender]));
    }
    EXPECT_GT(largest, 0.01);
  }

  static Twin::Rows rows_from(std::int64_t first) {
    Twin::Rows rows;
    for (std::int64_t row = first; row < kText; ++row) rows.insert(row);
    return rows;
  }

  Architecture architecture_;
  Weights weights_;
  std::unique_ptr<Model> model_;
  Tokens prompt_, other_prompt_, answer_, other_answer_;
  std::optional<Twin> twin_;
  Twin::Run clean_;
};

TEST_P(PathPatchTest, DirectEffectsAreThoseOfFrozenAttention) {
  for (const bool sink_logits : {false, true}) {
    make(sink_logits);
    expect_direct({.decay = kDecay}, twin_->run(text(other_prompt_, other_answer_)));
    expect_direct({.decay = kDecay, .own_answer = false}, twin_->run(text(other_prompt_, answer_)));
  }
}

TEST_P(PathPatchTest, EffectsThroughReceiversAreTheirsAlone) {
  for (const bool sink_logits : {false, true}) {
    make(sink_logits);
    const Twin::Run other = twin_->run(text(other_prompt_, other_answer_));
    // Chains, two heads of one layer, and receivers of the lowest layer, which no sender reaches.
    expect_through({.decay = kDecay}, other, {head_at(3, 2)}, rows_from(5));
    expect_through({.decay = kDecay}, other,
                   {head_at(0, 1), head_at(1, 0), head_at(1, 3), head_at(2, 2), head_at(3, 1)},
                   rows_from(5));
  }
}

TEST_P(PathPatchTest, ChangedRowsAloneAreCarriedWhereAsked) {
  make();
  const Twin::Run other = twin_->run(text(other_prompt_, other_answer_));
  expect_through({.decay = kDecay, .sender_rows = SenderRows::kChanged}, other,
                 {head_at(1, 1), head_at(2, 0), head_at(3, 3)}, {5, 6, 7, 10, 11, 16, 17, 18});
}

TEST_P(PathPatchTest, CheapHeadsSeeTheCleanRunsOwnKeys) {
  make();
  for (const DecodeRule rule : {DecodeRule::kSame, DecodeRule::kFull}) {
    const PaletteEntry window{SlidingWindow{4, 2}, rule};
    const AttentionPlan cheap = *AttentionPlan::from_mask(
        Mask(Granularity::kLayer, model_->layout(), false), FullAttention{}, window.mixer, rule);
    Twin::Run other = twin_->run(text(prompt_, answer_), window);
    for (int layer = 0; layer < kLayers; ++layer)
      other.heads_NHD[static_cast<std::size_t>(layer)] =
          twin_->heads(layer, clean_.in_NC[static_cast<std::size_t>(layer)], window);
    expect_direct({.decay = kDecay, .cheap = &cheap}, other);
    expect_through({.decay = kDecay, .cheap = &cheap}, other, {head_at(1, 1), head_at(3, 0)},
                   rows_from(0));
  }
}

TEST_P(PathPatchTest, CleanByCleanChangesNothing) {
  make();
  other_prompt_ = prompt_;  // read against another answer, so that there is something to change
  MeteredModel model(*model_);
  const PatchSetting setting{.decay = kDecay, .own_answer = false};
  const PatchEffects direct = *direct_effects(model, pair(), setting);
  EXPECT_EQ(direct.margin, direct.other_margin);
  EXPECT_NE(direct.margin, 0);
  const PatchEffects through =
      *path_effects(model, pair(), setting, all_heads(), std::vector{head_at(2, 0), head_at(3, 1)});
  constexpr double kLastPlaces = 4e-15;  // of margins near 1
  for (const std::size_t head : all_heads()) {
    EXPECT_NEAR(direct.effects[head], 0, kLastPlaces) << head;
    EXPECT_NEAR(through.effects[head], 0, kLastPlaces) << head;
  }
}

TEST_P(PathPatchTest, BatchesOfAnySizeGiveTheSameEffects) {
  make();
  MeteredModel narrow(*model_, {.batch_rows = 1}), wide(*model_, {.batch_rows = 4096});
  const auto a = direct_effects(narrow, pair(), {})->effects;
  const auto b = direct_effects(wide, pair(), {})->effects;
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], kTolerance);
}

// By hand: two texts in full without the LM head, and MLP and output projection of the answer's
// rows, for each head from its layer on, and once a batch for the sequence in which nothing is
// patched.
TEST_P(PathPatchTest, DirectEffectsCostNoAttention) {
  make();
  MeteredModel model(*model_, {.batch_rows = 4096});
  ASSERT_TRUE(direct_effects(model, pair(), {}).has_value());
  const ModelShape& shape = model_->shape();
  const double lm_head = 2.0 * 12 * 11 * kAnswer;
  const double text = forced_flops(AttentionPlan::full(shape.heads), shape, kPrompt, kAnswer);
  // The top layer's own attention is run for the answer's rows alone, as there.
  const double row = 2.0 * 12 * 4 * 4 + 3 * 2.0 * 12 * 10;  // C · H · D, 3 · C · inner
  const double sequence_layers = kHeads * (4 + 3 + 2 + 1) + kLayers;
  const double readouts = (2 + kLayers * kHeads + 1) * 2.0 * kAnswer * 12;
  EXPECT_DOUBLE_EQ(model.meter().flops,
                   2 * (text - lm_head) + sequence_layers * kAnswer * row + readouts);
  EXPECT_EQ(model.meter().forward_tokens, 2.0 * kText);
  EXPECT_EQ(model.meter().evaluations, 2);
}

// By hand: one sender of layer 2 into one receiver of layer 3.
TEST_P(PathPatchTest, APathCostsItsReceiversAttentionAlone) {
  make();
  MeteredModel model(*model_);
  ASSERT_TRUE(
      path_effects(model, pair(), {}, std::vector{head_at(2, 0)}, std::vector{head_at(3, 0)})
          .has_value());
  const ModelShape& shape = model_->shape();
  const double lm_head = 2.0 * 12 * 11 * kAnswer;
  const double texts =
      2 * (forced_flops(AttentionPlan::full(shape.heads), shape, kPrompt, kAnswer) - lm_head);
  const double close = 2.0 * 12 * 16 + 3 * 2.0 * 12 * 10, q = 2.0 * 12 * 16, kv = 2.0 * 12 * 16;
  const double carried = kText - 5;
  const double pairs = 17 + 18 + 19;  // keys that the answer's rows see
  EXPECT_DOUBLE_EQ(model.meter().flops - texts,
                   2 * (carried * close +                               // layer 2
                        carried * kv + kAnswer * q + 4.0 * 4 * pairs +  // the receiver
                        kAnswer * close) +                              // the readout's layer 3
                       (2 + 2) * 2.0 * kAnswer * 12);                   // readouts
}

TEST_P(PathPatchTest, PairsOfUnequalLengthAreRefused) {
  make();
  MeteredModel model(*model_);
  other_prompt_.pop_back();
  EXPECT_NE(direct_effects(model, pair(), {})
                .error()
                .text()
                .find("the prompts of a pair differ in length: clean 17 tokens, corrupted 16"),
            std::string::npos);
  other_prompt_ = prompt_;
  other_answer_.pop_back();
  EXPECT_NE(direct_effects(model, pair(), {}).error().text().find("the answers of a pair differ"),
            std::string::npos);
  answer_.clear();
  EXPECT_NE(direct_effects(model, pair(), {}).error().text().find("the answer is empty"),
            std::string::npos);
}

STRATA_ON_EVERY_DEVICE(PathPatchTest);

}  // namespace
}  // namespace strata
