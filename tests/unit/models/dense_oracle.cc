#include "tests/unit/models/dense_oracle.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>

#include "tests/unit/models/branch_oracle.h"

namespace strata::testing {
namespace {

Matrix to_matrix(const at::Tensor& tensor) {
  const at::Tensor t = tensor.to(at::kDouble).contiguous();
  const std::int64_t columns = t.size(-1), rows = t.numel() / columns;
  const double* data = t.const_data_ptr<double>();
  Matrix out;
  for (std::int64_t r = 0; r < rows; ++r)
    out.emplace_back(data + r * columns, data + (r + 1) * columns);
  return out;
}

std::vector<double> times(const Matrix& weight, const std::vector<double>& x) {
  std::vector<double> out;
  for (const auto& row : weight) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += row[i] * x[i];
    out.push_back(sum);
  }
  return out;
}

std::vector<double> rms_norm(const std::vector<double>& x, const std::vector<double>& weight,
                             double eps) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(x.size()) + eps);
  std::vector<double> out;
  for (std::size_t i = 0; i < x.size(); ++i) out.push_back(x[i] * scale * weight[i]);
  return out;
}

void rotate(std::vector<double>& x, std::size_t head_dim, std::int64_t position,
            const std::vector<double>& frequencies) {
  const std::size_t half = head_dim / 2;
  for (std::size_t head = 0; head < x.size() / head_dim; ++head)
    for (std::size_t i = 0; i < half; ++i) {
      // The model's tables are float32, as the reference implementation's are.
      const auto angle = static_cast<float>(position) * static_cast<float>(frequencies[i]);
      const double cosine = std::cos(static_cast<double>(angle));
      const double sine = std::sin(static_cast<double>(angle));
      double& a = x[head * head_dim + i];
      double& b = x[head * head_dim + half + i];
      const double turned = a * cosine - b * sine;
      b = b * cosine + a * sine;
      a = turned;
    }
}

std::vector<double> mlp(const LayerWeights& w, const std::vector<double>& x) {
  const std::vector<double> gates = times(to_matrix(w.gate), x), ups = times(to_matrix(w.up), x);
  std::vector<double> inner(gates.size());
  for (std::size_t c = 0; c < inner.size(); ++c)
    inner[c] = gates[c] / (1.0 + std::exp(-gates[c])) * ups[c];
  return times(to_matrix(w.down), inner);
}

// weight is [inputs][outputs].
std::vector<double> transposed_times(const Matrix& weight, const std::vector<double>& x,
                                     std::vector<double> bias) {
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t o = 0; o < bias.size(); ++o) bias[o] += x[i] * weight[i][o];
  return bias;
}

// What one expert makes of x.
std::vector<double> expert_mlp(const ExpertMixture& mixture, const ExpertWeights& w,
                               std::size_t index, const std::vector<double>& x) {
  const auto expert = static_cast<std::int64_t>(index);
  const std::vector<double> both =
      transposed_times(to_matrix(w.gate_up.select(0, expert)), x, to_matrix(w.gate_up_bias)[index]);
  std::vector<double> inner;
  for (std::size_t c = 0; c < both.size(); c += 2) {
    const double gate = std::min(both[c], mixture.limit);
    const double up = std::min(std::max(both[c + 1], -mixture.limit), mixture.limit);
    inner.push_back(gate / (1.0 + std::exp(-mixture.gate_slope * gate)) * (up + 1.0));
  }
  return transposed_times(to_matrix(w.down.select(0, expert)), inner,
                          to_matrix(w.down_bias)[index]);
}

std::vector<double> mixture_of_experts(const ExpertMixture& mixture, const ExpertWeights& w,
                                       const std::vector<double>& x) {
  std::vector<double> scores = times(to_matrix(w.router), x);
  const std::vector<double> bias = to_matrix(w.router_bias)[0];
  for (std::size_t e = 0; e < scores.size(); ++e) scores[e] += bias[e];
  std::vector<bool> chosen(scores.size(), false);
  double total = 0;
  for (std::int64_t turn = 0; turn < mixture.per_token; ++turn) {
    std::size_t best = scores.size();
    for (std::size_t e = 0; e < scores.size(); ++e)
      if (!chosen[e] && (best == scores.size() || scores[e] > scores[best])) best = e;
    chosen[best] = true;
    total += std::exp(scores[best]);
  }
  std::vector<double> out(x.size(), 0.0);
  for (std::size_t e = 0; e < scores.size(); ++e) {
    if (!chosen[e]) continue;
    const std::vector<double> part = expert_mlp(mixture, w, e, x);
    for (std::size_t c = 0; c < out.size(); ++c) out[c] += std::exp(scores[e]) / total * part[c];
  }
  return out;
}

// What a layer's linear heads add to each row, and what their presence does to the other heads.
struct LinearOutputs {
  Matrix added;                    // empty: no head is linear
  std::vector<double> norm, gain;  // of softmax heads beside linear ones, where there is fusion
  std::vector<bool> is_linear;
  double epsilon = 0;

  void fuse_softmax(std::vector<double>& heads) const {
    if (norm.empty()) return;
    for (std::size_t h = 0; h < is_linear.size(); ++h) {
      if (is_linear[h]) continue;
      double* const of_head = heads.data() + h * norm.size();
      const std::vector<double> normed = rms_norm({of_head, of_head + norm.size()}, norm, epsilon);
      for (std::size_t d = 0; d < norm.size(); ++d) of_head[d] = normed[d] * gain[h];
    }
  }
};

LinearOutputs linear_outputs(const Architecture& a, const Weights& weights,
                             const AttentionPlan& plan, int layer,
                             std::span<const LayerBranch> branches, const Matrix& inputs) {
  LinearOutputs out{
      .added = {}, .norm = {}, .gain = {}, .is_linear = {}, .epsilon = a.rms_norm_eps};
  for (int head = 0; head < a.query_heads; ++head)
    out.is_linear.push_back(std::holds_alternative<LinearAttention>(plan.entry(layer, head).mixer));
  const auto count = std::count(out.is_linear.begin(), out.is_linear.end(), true);
  if (count == 0) return out;
  const auto branch = std::find_if(branches.begin(), branches.end(),
                                   [&](const LayerBranch& one) { return one.layer() == layer; });
  const BranchWeights& w = branch->weights();
  const bool mixed = count < a.query_heads;
  if (mixed && w.softmax_norm.defined()) {
    out.norm = to_matrix(w.softmax_norm)[0];
    out.gain = to_matrix(w.head_gain)[0];
  }
  const auto d = static_cast<std::size_t>(a.head_dim);
  const Matrix o = to_matrix(w.o);
  for (std::vector<double>& row : branch_heads_oracle(a, weights, *branch, inputs)) {
    for (std::size_t h = 0; h < out.is_linear.size(); ++h)
      for (std::size_t i = h * d; i < (h + 1) * d; ++i)
        row[i] *= !out.is_linear[h] ? 0 : out.gain.empty() ? 1 : out.gain[h];
    out.added.push_back(times(o, row));
  }
  return out;
}

}  // namespace

bool oracle_sees(const PaletteEntry& entry, std::int64_t query, std::int64_t key,
                 std::int64_t prompt_length) {
  if (key > query) return false;
  if (std::holds_alternative<FullAttention>(entry.mixer)) return true;
  const auto& sliding = std::get<SlidingWindow>(entry.mixer);
  const bool in_window = query - key < sliding.window;
  const bool is_sink = key < sliding.sinks;
  const bool full_decode = entry.rule == DecodeRule::kFull && query >= prompt_length;
  return in_window || is_sink || full_decode;
}

Architecture tiny_architecture(int layers, int query_heads, int kv_heads, std::int64_t head_dim) {
  Architecture a;
  a.layers = layers;
  a.query_heads = query_heads;
  a.kv_heads = kv_heads;
  a.head_dim = head_dim;
  a.hidden = 12;
  a.intermediate = 10;
  a.vocabulary = 11;
  a.max_positions = 512;
  a.rope_theta = 100.0;
  a.rms_norm_eps = 1e-5;
  a.tie_word_embeddings = false;
  return a;
}

Weights random_weights(const Architecture& a, Rng& rng, at::ScalarType dtype) {
  const auto random = [&](const std::vector<std::int64_t>& shape, double scale, double mean = 0.0) {
    at::Tensor t = at::empty(shape, at::kDouble);
    for (std::int64_t i = 0; i < t.numel(); ++i)
      t.mutable_data_ptr<double>()[i] = mean + scale * rng.normal();
    // Rounded to float32 first, so that float32 and float64 models hold the same numbers.
    return t.to(at::kFloat).to(dtype);
  };
  Weights w;
  w.embedding = random({a.vocabulary, a.hidden}, 1.0);
  w.final_norm = random({a.hidden}, 0.1, 1.0);
  w.lm_head = random({a.vocabulary, a.hidden}, 0.7);
  w.inverse_frequencies = at::empty({a.head_dim / 2}, at::kFloat);
  for (std::int64_t i = 0; i < a.head_dim / 2; ++i)
    w.inverse_frequencies.mutable_data_ptr<float>()[i] = static_cast<float>(
        std::pow(a.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(a.head_dim)));
  for (int layer = 0; layer < a.layers; ++layer) {
    LayerWeights& l = w.layers.emplace_back();
    l.input_norm = random({a.hidden}, 0.1, 1.0);
    l.mlp_norm = random({a.hidden}, 0.1, 1.0);
    l.q = random({a.query_heads * a.head_dim, a.hidden}, 0.6);
    l.k = random({a.kv_heads * a.head_dim, a.hidden}, 0.6);
    l.v = random({a.kv_heads * a.head_dim, a.hidden}, 0.5);
    l.o = random({a.hidden, a.query_heads * a.head_dim}, 0.5);
    if (a.sink_logits) l.sink_logits = random({a.query_heads}, 1.0, 1.0);
    if (a.experts) {
      const std::int64_t count = a.experts->count;
      l.experts = {.router = random({count, a.hidden}, 0.6),
                   .router_bias = random({count}, 0.3),
                   .gate_up = random({count, a.hidden, 2 * a.intermediate}, 0.4),
                   .gate_up_bias = random({count, 2 * a.intermediate}, 0.3),
                   .down = random({count, a.intermediate, a.hidden}, 0.4),
                   .down_bias = random({count, a.hidden}, 0.3)};
      continue;
    }
    l.gate = random({a.intermediate, a.hidden}, 0.4);
    l.up = random({a.intermediate, a.hidden}, 0.4);
    l.down = random({a.hidden, a.intermediate}, 0.4);
  }
  return w;
}

Matrix oracle_logits(const Architecture& a, const Weights& weights,
                     const std::vector<TokenId>& tokens, const AttentionPlan& plan,
                     std::int64_t prompt_length, std::vector<OracleQk>* layers,
                     std::span<const LayerBranch> branches) {
  const auto head_dim = static_cast<std::size_t>(a.head_dim);
  const std::vector<double> frequencies = to_matrix(weights.inverse_frequencies)[0];
  const Matrix embedding = to_matrix(weights.embedding);
  Matrix x;
  for (const TokenId token : tokens) x.push_back(embedding[static_cast<std::size_t>(token)]);
  const std::size_t length = tokens.size();
  const auto heads = static_cast<std::size_t>(a.query_heads);
  const std::size_t group = heads / static_cast<std::size_t>(a.kv_heads);
  for (int layer = 0; layer < a.layers; ++layer) {
    const LayerWeights& w = weights.layers[static_cast<std::size_t>(layer)];
    const Matrix wq = to_matrix(w.q), wk = to_matrix(w.k), wv = to_matrix(w.v), wo = to_matrix(w.o);
    const Matrix sink_logits = a.sink_logits ? to_matrix(w.sink_logits) : Matrix{};
    const auto input_norm = to_matrix(w.input_norm)[0], mlp_norm = to_matrix(w.mlp_norm)[0];
    Matrix q, k, v, inputs;
    for (std::size_t i = 0; i < length; ++i) {
      const auto normed = rms_norm(x[i], input_norm, a.rms_norm_eps);
      inputs.push_back(normed);
      q.push_back(times(wq, normed));
      k.push_back(times(wk, normed));
      v.push_back(times(wv, normed));
      rotate(q[i], head_dim, static_cast<std::int64_t>(i), frequencies);
      rotate(k[i], head_dim, static_cast<std::int64_t>(i), frequencies);
    }
    if (layers != nullptr) layers->push_back({q, k});
    const LinearOutputs linear = linear_outputs(a, weights, plan, layer, branches, inputs);
    for (std::size_t i = 0; i < length; ++i) {
      std::vector<double> mixed(heads * head_dim, 0.0);
      for (std::size_t head = 0; head < heads; ++head) {
        const PaletteEntry& entry = plan.entry(layer, static_cast<int>(head));
        if (std::holds_alternative<LinearAttention>(entry.mixer)) continue;
        const std::size_t kv = head / group;
        double total = a.sink_logits ? std::exp(sink_logits[0][head]) : 0.0;
        std::vector<double> weight(i + 1, 0.0);
        for (std::size_t j = 0; j <= i; ++j) {
          if (!oracle_sees(entry, static_cast<std::int64_t>(i), static_cast<std::int64_t>(j),
                           prompt_length))
            continue;
          double dot = 0;
          for (std::size_t d = 0; d < head_dim; ++d)
            dot += q[i][head * head_dim + d] * k[j][kv * head_dim + d];
          weight[j] = std::exp(dot / std::sqrt(static_cast<double>(head_dim)));
          total += weight[j];
        }
        for (std::size_t j = 0; j <= i; ++j)
          for (std::size_t d = 0; d < head_dim; ++d)
            mixed[head * head_dim + d] += weight[j] / total * v[j][kv * head_dim + d];
      }
      linear.fuse_softmax(mixed);
      const auto projected = times(wo, mixed);
      for (std::size_t c = 0; c < projected.size(); ++c)
        x[i][c] += projected[c] + (linear.added.empty() ? 0 : linear.added[i][c]);
      const auto normed = rms_norm(x[i], mlp_norm, a.rms_norm_eps);
      const auto out =
          a.experts ? mixture_of_experts(*a.experts, w.experts, normed) : mlp(w, normed);
      for (std::size_t c = 0; c < out.size(); ++c) x[i][c] += out[c];
    }
  }
  const Matrix head = to_matrix(weights.lm_head);
  const auto final_norm = to_matrix(weights.final_norm)[0];
  Matrix logits;
  for (const auto& row : x)
    logits.push_back(times(head, rms_norm(row, final_norm, a.rms_norm_eps)));
  return logits;
}

double oracle_mass(const Architecture& a, const OracleQk& layer, int head, std::size_t row,
                   const std::set<std::size_t>& keys) {
  const auto head_dim = static_cast<std::size_t>(a.head_dim);
  const auto kv = static_cast<std::size_t>(head / (a.query_heads / a.kv_heads));
  double inside = 0, total = 0;
  for (std::size_t j = 0; j < layer.k.size(); ++j) {
    double dot = 0;
    for (std::size_t d = 0; d < head_dim; ++d)
      dot += layer.q[row][static_cast<std::size_t>(head) * head_dim + d] *
             layer.k[j][kv * head_dim + d];
    const double weight = std::exp(dot / std::sqrt(static_cast<double>(head_dim)));
    if (j <= row) total += weight;
    if (keys.contains(j)) inside += weight;
  }
  return inside / total;
}

AttentionPlan random_plan(const HeadLayout& layout, Rng& rng, std::int64_t max_window,
                          std::int64_t max_sinks) {
  const auto granularity = static_cast<Granularity>(rng.below(3));
  std::vector<PaletteEntry> palette = {{FullAttention{}, DecodeRule::kSame}};
  const std::uint64_t windows = 1 + rng.below(2);
  for (std::uint64_t i = 0; i < windows; ++i)
    palette.push_back({SlidingWindow{rng.between(1, max_window), rng.between(0, max_sinks)},
                       rng.below(2) == 0 ? DecodeRule::kSame : DecodeRule::kFull});
  std::vector<int> cells(
      static_cast<std::size_t>(layout.layers * layout.units_per_layer(granularity)));
  for (int& cell : cells) cell = static_cast<int>(rng.below(palette.size()));
  return *AttentionPlan::from_cells(granularity, layout, palette, cells);
}

}  // namespace strata::testing
