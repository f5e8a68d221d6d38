#include "models/path_patch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "models/cost.h"
#include "models/forward.h"

namespace strata {
namespace {

// Legend: N tokens of a text, n carried rows, A answer rows (the last of them), B sequences,
// C hidden size, H query heads, G KV heads, D head size, h heads of a layer that are recomputed.

// Sequences beside the unpatched one, where the limit on rows would leave fewer: it costs an
// eighth.
constexpr std::int64_t kFewest = 7;

struct RowRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

// What is kept of a layer. The top layer's heads are kept at the answer rows alone.
struct KeptLayer {
  at::Tensor x_nC, mixed_nHD, other_nHD;
  at::Tensor k_NGD, v_NGD;  // where senders are asked for
};

struct Texts {
  std::int64_t prompt = 0, answer = 0, tokens = 0;
  std::vector<RowRange> carried;  // ascending; the last ends with the text and has the answer rows
  bool keys = false;              // kept

  std::int64_t rows() const {
    std::int64_t total = 0;
    for (const RowRange& range : carried) total += range.size();
    return total;
  }
};

Tokens forced(std::span<const TokenId> prompt, std::span<const TokenId> answer) {
  Tokens tokens(prompt.begin(), prompt.end());
  tokens.insert(tokens.end(), answer.begin(), answer.end() - 1);
  return tokens;
}

// Rows where a sender can differ, or those few of them that are asked for.
std::vector<RowRange> sender_ranges(const Tokens& clean, const Tokens& other,
                                    const PatchSetting& setting, std::int64_t prompt) {
  const auto end = static_cast<std::int64_t>(clean.size());
  const RowRange answer{prompt - 1, end};
  if (setting.cheap != nullptr)
    return {{std::min(shared_prefix(*setting.cheap), answer.begin), end}};
  std::vector<RowRange> ranges;
  for (std::int64_t row = 0; row < answer.begin; ++row) {
    const auto i = static_cast<std::size_t>(row);
    if (clean[i] == other[i]) continue;
    if (setting.sender_rows == SenderRows::kAll) return {{row, end}};
    const std::int64_t behind = std::min(row + 2, answer.begin);
    if (!ranges.empty() && ranges.back().end >= row)
      ranges.back().end = behind;
    else
      ranges.push_back({row, behind});
  }
  ranges.push_back(answer);
  return ranges;
}

// Rows of `of` within t, which holds the rows [end − size, end).
at::Tensor rows_of(const at::Tensor& t, const RowRange& of, std::int64_t end) {
  return t.narrow(0, of.begin - (end - t.size(0)), of.size());
}

at::Tensor last_rows(const at::Tensor& t, std::int64_t count) {
  return t.narrow(0, t.size(0) - count, count);
}

at::Tensor repeated(const at::Tensor& t, std::int64_t batch) {
  std::vector<std::int64_t> sizes = t.sizes().vec();
  sizes.insert(sizes.begin(), batch);
  return t.unsqueeze(0).expand(sizes);
}

// Both texts of a pair, run and kept, and what passes over the kept rows share.
class Patcher {
 public:
  Patcher(MeteredModel& model, const PatchPair& pair, const PatchSetting& setting, bool senders)
      : model_(model),
        decoder_(model.model().decoder()),
        device_(decoder_.options().device()),
        setting_(setting),
        heads_(model.layout().query_heads),
        full_(AttentionPlan::full(model.layout())) {
    texts_.prompt = static_cast<std::int64_t>(pair.prompt.size());
    texts_.answer = static_cast<std::int64_t>(pair.answer.size());
    texts_.tokens = texts_.prompt + texts_.answer - 1;
    texts_.keys = senders;
    clean_ = forced(pair.prompt, pair.answer);
    other_ = setting.cheap != nullptr
                 ? clean_
                 : forced(pair.other_prompt, setting.own_answer ? pair.other_answer : pair.answer);
    texts_.carried = senders ? sender_ranges(clean_, other_, setting, texts_.prompt)
                             : std::vector<RowRange>{{texts_.prompt - 1, texts_.tokens}};
    make_readout(pair);
  }

  PatchEffects run_texts();
  std::vector<double> direct();
  std::vector<double> through(std::span<const std::size_t> senders,
                              std::span<const std::size_t> receivers);

 private:
  using Heads = std::vector<std::int64_t>;  // of one layer

  void make_readout(const PatchPair& pair);
  std::vector<double> margins(const at::Tensor& x_BAC);
  double run_text(const Tokens& tokens, const AttentionPlan& plan, bool other);
  void keep(int layer, const ForwardHooks& hooks, bool other);
  at::Tensor carried(const at::Tensor& t) const;
  at::Tensor cheap_heads(int layer, const at::Tensor& q, const at::Tensor& k_NGD,
                         const at::Tensor& v_NGD);
  at::Tensor close(const at::Tensor& x_BnC, const at::Tensor& mixed_BnHD, int layer);
  at::Tensor recompute(const at::Tensor& x_BnC, int layer, const Heads& heads, bool answer_alone);
  std::vector<double> through_batch(int layer, std::span<const std::size_t> senders,
                                    const std::map<int, Heads>& receivers);
  KeptLayer& kept(int layer) { return layers_[static_cast<std::size_t>(layer)]; }
  std::int64_t batch_of(std::int64_t rows) const {
    return std::max(kFewest, model_.limits().batch_rows / rows - 1);
  }

  MeteredModel& model_;
  const Decoder& decoder_;
  at::Device device_;
  const PatchSetting& setting_;
  int heads_;
  AttentionPlan full_;
  Texts texts_;
  Tokens clean_, other_;
  at::Tensor readout_AC_;  // float64: decay^j / Z · (W[a⁺_j] − W[a⁻_j])
  std::vector<KeptLayer> layers_;

 public:
  Meter meter;
};

void Patcher::make_readout(const PatchPair& pair) {
  const auto rows = [&](std::span<const TokenId> tokens) {
    return decoder_.weights()
        .lm_head.index_select(0, token_tensor(tokens, device_))
        .to(at::kDouble);
  };
  at::Tensor weight_A = at::pow(setting_.decay, at::arange(texts_.answer, at::kDouble)).to(device_);
  weight_A /= weight_A.sum();
  readout_AC_ = (rows(pair.answer) - rows(pair.other_answer)) * weight_A.unsqueeze(1);
}

// Two rows of the LM head are read, not the vocabulary.
std::vector<double> Patcher::margins(const at::Tensor& x_BAC) {
  meter.flops += 2.0 * static_cast<double>(x_BAC.numel());
  const at::Tensor product_BAC =
      (decoder_.final_norm(x_BAC).to(at::kDouble) * readout_AC_).cpu().contiguous();
  const double* values = product_BAC.const_data_ptr<double>();
  const std::int64_t of_one = readout_AC_.numel();
  std::vector<double> m;
  // Summed here, in one order whatever the batch.
  for (std::int64_t i = 0; i < x_BAC.size(0); ++i, values += of_one)
    m.push_back(std::accumulate(values, values + of_one, 0.0));
  return m;
}

at::Tensor Patcher::carried(const at::Tensor& t) const {
  if (t.size(0) == texts_.answer) return t.clone();  // a top layer's
  std::vector<at::Tensor> parts;
  for (const RowRange& range : texts_.carried) parts.push_back(rows_of(t, range, texts_.tokens));
  return at::cat(parts, 0);
}

// The heads' outputs under the cheap plan at the rows of q, the last of the text.
at::Tensor Patcher::cheap_heads(int layer, const at::Tensor& q, const at::Tensor& k_NGD,
                                const at::Tensor& v_NGD) {
  const auto first_heads = [](const at::Tensor& x) { return x.unsqueeze(0).transpose(1, 2); };
  const at::Tensor out = at::empty_like(q, at::MemoryFormat::Contiguous);
  const std::int64_t begin = texts_.tokens - q.size(0), group = q.size(1) / k_NGD.size(1);
  const at::Tensor& sinks = decoder_.sink_logits(layer);
  for (std::int64_t head = 0; head < q.size(1); ++head) {
    const PaletteEntry& entry = setting_.cheap->entry(layer, static_cast<int>(head));
    const auto one = [&](const at::Tensor& x, std::int64_t at) {
      return first_heads(x).narrow(1, at, 1);
    };
    const KeyView view{.tail_k_BGMD = one(k_NGD, head / group),
                       .tail_v_BGMD = one(v_NGD, head / group)};
    attend(one(q, head), begin, view, entry, texts_.prompt, one(out, head),
           sinks.defined() ? sinks.narrow(0, head, 1) : sinks);
    meter.flops += 4.0 * static_cast<double>(q.size(2)) *
                   visible_pairs(entry, begin, texts_.tokens, texts_.prompt);
  }
  return out;
}

void Patcher::keep(int layer, const ForwardHooks& hooks, bool other) {
  const auto& captures = hooks.captures;
  if (other) {
    kept(layer).other_nHD = carried(captures[0].value);
    return;
  }
  KeptLayer out{.x_nC = carried(captures[1].value), .mixed_nHD = carried(captures[0].value)};
  if (texts_.keys) {
    out.k_NGD = captures[2].value;
    out.v_NGD = captures[3].value;
  }
  if (setting_.cheap != nullptr) {
    const std::int64_t first = texts_.carried.front().begin;
    const at::Tensor& q = captures[4].value;
    const at::Tensor q_rows = last_rows(q, std::min(q.size(0), texts_.tokens - first));
    out.other_nHD = carried(cheap_heads(layer, q_rows, captures[2].value, captures[3].value));
  }
  meter.peak_bytes +=
      out.x_nC.nbytes() + 2 * out.mixed_nHD.nbytes() + (texts_.keys ? 2 * out.k_NGD.nbytes() : 0);
  layers_.push_back(std::move(out));
}

// Runs a text, keeps what is needed of it and gives its margin.
double Patcher::run_text(const Tokens& tokens, const AttentionPlan& plan, bool other) {
  const Chunk chunk{.begin = 0,
                    .end = texts_.tokens,
                    .prompt_length = texts_.prompt,
                    .first_read = texts_.prompt - 1,
                    .retain = false};
  const std::vector<LayerRows> rows = all_rows(plan, chunk);
  Segment segment{chunk,
                  std::make_shared<const BoundPlan>(plan, at::TensorOptions().device(device_)),
                  nullptr,
                  {}};
  const bool keep_other = other && setting_.cheap == nullptr;
  at::Tensor x_NC = decoder_.embed(token_tensor(tokens, device_));
  for (int layer = 0; layer < model_.layout().layers; ++layer) {
    segment.rows = {rows[static_cast<std::size_t>(layer)]};
    ForwardHooks hooks;
    if (keep_other) hooks.captures = {{Site::kHeadOut, layer, {}, {}}};
    if (!other)
      for (const Site site : {Site::kHeadOut, Site::kResidIn, Site::kK, Site::kV, Site::kQ})
        hooks.captures.push_back({site, layer, {}, {}});
    x_NC = decoder_.run_layers(std::move(x_NC), layer, layer + 1, std::span(&segment, 1), &hooks);
    if (!hooks.captures.empty()) keep(layer, hooks, other);
  }
  segment.rows = rows;
  const RunCost cost = run_cost(plan, model_.model().shape(), chunk, rows, 0);
  meter.flops += cost.flops.linear + cost.flops.attention;  // no LM head
  meter.layer_tokens += cost.layer_tokens;
  meter.forward_tokens += static_cast<double>(texts_.tokens);
  ++meter.evaluations;
  return margins(x_NC.unsqueeze(0))[0];
}

PatchEffects Patcher::run_texts() {
  PatchEffects out;
  out.margin = run_text(clean_, full_, /*other=*/false);
  out.other_margin =
      run_text(other_, setting_.cheap != nullptr ? *setting_.cheap : full_, /*other=*/true);
  return out;
}

at::Tensor Patcher::close(const at::Tensor& x_BnC, const at::Tensor& mixed_BnHD, int layer) {
  const auto rows = static_cast<double>(x_BnC.size(0) * x_BnC.size(1));
  meter.flops += rows * row_flops(model_.model().shape()).o_mlp;
  meter.layer_tokens += rows;
  return decoder_.close_layer(x_BnC.flatten(0, 1), mixed_BnHD.flatten(0, 1), layer)
      .view(x_BnC.sizes());
}

std::vector<double> Patcher::direct() {
  const int layers = model_.layout().layers;
  const std::int64_t all = std::int64_t{layers} * heads_;
  std::vector<double> effects;
  const std::int64_t most = batch_of(texts_.answer);
  for (std::int64_t first = 0; first < all; first += most) {
    const std::int64_t end = std::min(all, first + most);
    at::Tensor x_BAC;
    std::int64_t joined = 0;
    for (int layer = static_cast<int>(first / heads_); layer < layers; ++layer) {
      const KeptLayer& here = kept(layer);
      // Heads of this layer join the batch here, as the unpatched sequence is by now.
      const std::int64_t until = std::min(end, std::int64_t{layer + 1} * heads_) - first;
      if (!x_BAC.defined()) x_BAC = repeated(last_rows(here.x_nC, texts_.answer), 1);
      const std::int64_t joining = std::max<std::int64_t>(0, until - joined);
      if (joining > 0) x_BAC = at::cat({x_BAC, repeated(x_BAC[0], joining)}, 0);
      const at::Tensor mixed_BAHD =
          repeated(last_rows(here.mixed_nHD, texts_.answer), x_BAC.size(0)).clone();
      const at::Tensor other_AHD = last_rows(here.other_nHD, texts_.answer);
      for (; joined < until; ++joined) {
        const std::int64_t head = (first + joined) % heads_;
        mixed_BAHD.select(0, 1 + joined).select(1, head).copy_(other_AHD.select(1, head));
      }
      x_BAC = close(x_BAC, mixed_BAHD, layer);
    }
    const std::vector<double> m = margins(x_BAC);
    for (std::size_t i = 1; i < m.size(); ++i) effects.push_back(m[0] - m[i]);
  }
  return effects;
}

// Outputs of heads of a layer from its patched input, at the carried rows or the answer's alone:
// [B, rows, h, D].
at::Tensor Patcher::recompute(const at::Tensor& x_BnC, int layer, const Heads& heads,
                              bool answer_alone) {
  const KeptLayer& here = kept(layer);
  const std::int64_t batch = x_BnC.size(0);
  const ModelShape& shape = model_.model().shape();
  const RowFlops row = row_flops(shape);
  const std::int64_t group = heads_ / shape.heads.kv_heads;
  Heads kv_heads;
  for (const std::int64_t head : heads) kv_heads.push_back(head / group);
  const at::Tensor head_index = at::tensor(heads, at::kLong).to(device_);
  const at::Tensor kv_index = at::tensor(kv_heads, at::kLong).to(device_);
  const auto clean_keys = [&](const at::Tensor& t) {
    return repeated(t.index_select(1, kv_index), batch).clone();
  };
  at::Tensor k_BNhD = clean_keys(here.k_NGD), v_BNhD = clean_keys(here.v_NGD);
  at::Tensor sinks = decoder_.sink_logits(layer);
  if (sinks.defined()) sinks = sinks.index_select(0, head_index);
  std::vector<at::Tensor> parts;
  std::int64_t offset = 0;
  for (const RowRange& range : texts_.carried) {
    const bool last = range.end == texts_.tokens;
    const std::int64_t query_begin = !answer_alone ? range.begin
                                     : last        ? texts_.prompt - 1
                                                   : range.end;
    const Segment segment{{.begin = range.begin,
                           .end = range.end,
                           .prompt_length = texts_.prompt,
                           .first_read = range.begin,
                           .retain = false},
                          nullptr,
                          nullptr,
                          {{range.begin, query_begin}},
                          batch};
    const Decoder::Projections p =
        decoder_.project(x_BnC.narrow(1, offset, range.size()).flatten(0, 1), layer, segment);
    offset += range.size();
    const auto by_sequence = [&](const at::Tensor& t, const at::Tensor& index) {
      return t.index_select(1, index).unflatten(0, {batch, t.size(0) / batch});
    };
    k_BNhD.narrow(1, range.begin, range.size()).copy_(by_sequence(p.k_NGD, kv_index));
    v_BNhD.narrow(1, range.begin, range.size()).copy_(by_sequence(p.v_NGD, kv_index));
    const auto sequences = static_cast<double>(batch);
    meter.flops += sequences * (static_cast<double>(range.size()) * row.kv +
                                static_cast<double>(range.end - query_begin) * row.q);
    if (query_begin == range.end) continue;
    const PaletteEntry full{};
    const at::Tensor q_BhND = by_sequence(p.q_NHD, head_index).transpose(1, 2);
    const auto seen = [&](const at::Tensor& t) {
      return t.narrow(1, 0, range.end).transpose(1, 2);
    };
    const at::Tensor out_BhND = at::empty_like(q_BhND, at::MemoryFormat::Contiguous);
    attend(q_BhND, query_begin, {.tail_k_BGMD = seen(k_BNhD), .tail_v_BGMD = seen(v_BNhD)}, full,
           texts_.prompt, out_BhND, sinks);
    meter.flops += sequences * static_cast<double>(heads.size()) * 4.0 *
                   static_cast<double>(shape.head_dim) *
                   visible_pairs(full, query_begin, range.end, texts_.prompt);
    parts.push_back(out_BhND.transpose(1, 2));
  }
  return at::cat(parts, 1);
}

// Senders of one layer, in one batch.
std::vector<double> Patcher::through_batch(int layer, std::span<const std::size_t> senders,
                                           const std::map<int, Heads>& receivers) {
  const auto batch = static_cast<std::int64_t>(senders.size()) + 1;
  const int top = receivers.rbegin()->first;
  const auto put = [](const at::Tensor& mixed_BnHD, const Heads& heads, const at::Tensor& of) {
    for (std::size_t i = 0; i < heads.size(); ++i)
      mixed_BnHD.select(2, heads[i]).copy_(of.select(2, static_cast<std::int64_t>(i)));
  };
  // What the receivers make of the patched stream. Nothing is read above the highest.
  std::map<int, at::Tensor> received_BAhD;
  at::Tensor x_BnC = repeated(kept(layer).x_nC, batch);
  for (int at = layer; at <= top; ++at) {
    const auto found = at > layer ? receivers.find(at) : receivers.end();
    at::Tensor out;
    if (found != receivers.end()) {
      out = recompute(x_BnC, at, found->second, at == top);
      received_BAhD[at] = out.narrow(1, out.size(1) - texts_.answer, texts_.answer).clone();
    }
    if (at == top) break;
    at::Tensor mixed_BnHD = repeated(kept(at).mixed_nHD, batch).clone();
    if (found != receivers.end()) put(mixed_BnHD, found->second, out);
    if (at == layer)
      for (std::size_t i = 0; i < senders.size(); ++i) {
        const auto head = static_cast<std::int64_t>(senders[i]) % heads_;
        mixed_BnHD.select(0, static_cast<std::int64_t>(i) + 1)
            .select(1, head)
            .copy_(kept(at).other_nHD.select(1, head));
      }
    x_BnC = close(x_BnC, mixed_BnHD, at);
  }
  // What the readout sees of them.
  const int first = received_BAhD.begin()->first;
  at::Tensor x_BAC = repeated(last_rows(kept(first).x_nC, texts_.answer), batch);
  for (int at = first; at < model_.layout().layers; ++at) {
    const at::Tensor mixed_BAHD =
        repeated(last_rows(kept(at).mixed_nHD, texts_.answer), batch).clone();
    if (const auto found = received_BAhD.find(at); found != received_BAhD.end())
      put(mixed_BAHD, receivers.at(at), found->second);
    x_BAC = close(x_BAC, mixed_BAHD, at);
  }
  const std::vector<double> m = margins(x_BAC);
  std::vector<double> effects;
  for (std::size_t i = 1; i < m.size(); ++i) effects.push_back(m[0] - m[i]);
  return effects;
}

std::vector<double> Patcher::through(std::span<const std::size_t> senders,
                                     std::span<const std::size_t> receivers) {
  std::map<int, Heads> of_layer;
  const auto layer_of = [&](std::size_t head) {
    return static_cast<int>(head / static_cast<std::size_t>(heads_));
  };
  for (const std::size_t head : receivers)
    of_layer[layer_of(head)].push_back(static_cast<std::int64_t>(head) % heads_);
  std::vector<double> effects(senders.size(), 0.0);
  const auto most = static_cast<std::size_t>(batch_of(texts_.rows()));
  for (std::size_t first = 0; first < senders.size();) {
    const int layer = layer_of(senders[first]);
    std::size_t end = first + 1;
    while (end < senders.size() && end - first < most && layer_of(senders[end]) == layer) ++end;
    const std::map<int, Heads> above(of_layer.upper_bound(layer), of_layer.end());
    if (!above.empty()) {
      const std::vector<double> here =
          through_batch(layer, senders.subspan(first, end - first), above);
      std::copy(here.begin(), here.end(), effects.begin() + static_cast<std::ptrdiff_t>(first));
    }
    first = end;
  }
  return effects;
}

Status check(const MeteredModel& model, const PatchPair& pair, const PatchSetting& setting) {
  STRATA_CHECK(setting.decay > 0 && setting.decay <= 1);
  if (pair.answer.empty())
    return fail(ErrorKind::kInvalidArgument, "the answer is empty; expected at least 1 token");
  const auto alike = [](std::string_view what, std::size_t clean, std::size_t other) -> Status {
    if (clean == other) return {};
    return fail(ErrorKind::kInvalidArgument,
                "the {} of a pair differ in length: clean {} tokens, corrupted {}", what, clean,
                other);
  };
  RETURN_IF_ERROR(alike("prompts", pair.prompt.size(), pair.other_prompt.size()));
  RETURN_IF_ERROR(alike("answers", pair.answer.size(), pair.other_answer.size()));
  const AttentionPlan full = AttentionPlan::full(model.layout());
  for (const Tokens& tokens :
       {forced(pair.prompt, pair.answer), forced(pair.other_prompt, pair.other_answer)})
    RETURN_IF_ERROR(model.check(tokens, static_cast<std::int64_t>(tokens.size()),
                                setting.cheap != nullptr ? *setting.cheap : full));
  return {};
}

template <typename Body>
Result<PatchEffects> patched(MeteredModel& model, const PatchPair& pair,
                             const PatchSetting& setting, bool senders, Body&& body) {
  RETURN_IF_ERROR(check(model, pair, setting));
  return guarded([&]() -> Result<PatchEffects> {
    const Stopwatch watch;
    Patcher patcher(model, pair, setting, senders);
    PatchEffects out = patcher.run_texts();
    out.effects = body(patcher);
    patcher.meter.seconds = watch.seconds();
    model.absorb(patcher.meter);
    return out;
  });
}

}  // namespace

Result<PatchEffects> direct_effects(MeteredModel& model, const PatchPair& pair,
                                    const PatchSetting& setting) {
  return patched(model, pair, setting, /*senders=*/false,
                 [](Patcher& patcher) { return patcher.direct(); });
}

Result<PatchEffects> path_effects(MeteredModel& model, const PatchPair& pair,
                                  const PatchSetting& setting, std::span<const std::size_t> senders,
                                  std::span<const std::size_t> receivers) {
  const auto heads = static_cast<std::size_t>(model.layout().layers * model.layout().query_heads);
  for (const auto& list : {senders, receivers}) {
    STRATA_CHECK(std::is_sorted(list.begin(), list.end()));
    STRATA_CHECK(list.empty() || list.back() < heads);
  }
  return patched(model, pair, setting, /*senders=*/true,
                 [&](Patcher& patcher) { return patcher.through(senders, receivers); });
}

}  // namespace strata
