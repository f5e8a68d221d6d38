#include "models/path_patch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <map>

#include "models/cost.h"
#include "models/patch_texts.h"
#include "models/path_attribution.h"

namespace strata {
namespace {

// Legend: as in patch_texts.h; h heads of a layer that are recomputed.

at::Tensor repeated(const at::Tensor& t, std::int64_t batch) {
  std::vector<std::int64_t> sizes = t.sizes().vec();
  sizes.insert(sizes.begin(), batch);
  return t.unsqueeze(0).expand(sizes);
}

// The largest divisor of count that is at most `most`.
std::int64_t equal_batch(std::int64_t count, std::int64_t most) {
  std::int64_t size = std::min(count, most);
  while (count % size != 0) --size;
  return size;
}

class Patcher {
 public:
  Patcher(MeteredModel& model, PatchTexts& texts)
      : model_(model),
        decoder_(model.model().decoder()),
        device_(decoder_.options().device()),
        heads_(model.layout().query_heads),
        texts_(texts) {}

  std::vector<double> direct();
  std::vector<double> through(std::span<const std::size_t> senders,
                              std::span<const std::size_t> receivers);

 private:
  using Heads = std::vector<std::int64_t>;  // of one layer

  // What a layer mixed, and what linear heads add to that behind o.
  struct Mixed {
    at::Tensor own_BnHD;
    struct Added {
      std::int64_t sequence = 0;
      at::Tensor out_nC;
    };
    std::vector<Added> added = {};
  };
  // Puts a head's corrupted output into a sequence.
  void corrupt(Mixed& mixed, std::int64_t sequence, int layer, std::int64_t head);
  at::Tensor close(const at::Tensor& x_BnC, const Mixed& mixed, int layer);
  at::Tensor recompute(const at::Tensor& x_BnC, int layer, const Heads& heads, bool answer_alone);
  // The readouts of a batch, each with its head patched, or none of them: every operation is on
  // the same shapes either way, so that they differ by what the patches do and by no rounding.
  std::vector<double> direct_batch(std::int64_t first, std::int64_t end, bool patch);
  std::vector<double> through_batch(int layer, std::span<const std::size_t> senders,
                                    const std::map<int, Heads>& receivers, bool patch);
  std::int64_t batch_of(std::int64_t rows) const {
    return std::max<std::int64_t>(1, model_.limits().batch_rows / rows);
  }

  const MeteredModel& model_;
  const Decoder& decoder_;
  at::Device device_;
  int heads_;
  PatchTexts& texts_;
};

void Patcher::corrupt(Mixed& mixed, std::int64_t sequence, int layer, std::int64_t head) {
  const at::Tensor own_nD = mixed.own_BnHD.select(0, sequence).select(1, head);
  const std::int64_t rows = own_nD.size(0);
  if (!texts_.linear()) {
    own_nD.copy_(last_rows(texts_.layer(layer).other_nHD, rows).select(1, head));
    return;
  }
  own_nD.zero_();
  mixed.added.push_back({sequence, texts_.linear_output(layer, head, rows)});
}

at::Tensor Patcher::close(const at::Tensor& x_BnC, const Mixed& mixed, int layer) {
  const auto rows = static_cast<double>(x_BnC.size(0) * x_BnC.size(1));
  texts_.meter.flops += rows * row_flops(model_.model().shape()).o_mlp;
  texts_.meter.layer_tokens += rows;
  const at::Tensor out_BnC =
      decoder_.through_o(mixed.own_BnHD.flatten(0, 1), layer).view(x_BnC.sizes());
  for (const Mixed::Added& one : mixed.added) out_BnC.select(0, one.sequence).add_(one.out_nC);
  return decoder_.finish_layer(x_BnC.flatten(0, 1), out_BnC.flatten(0, 1), layer)
      .view(x_BnC.sizes());
}

// Heads [first, end) of the model, each from its own layer on.
std::vector<double> Patcher::direct_batch(std::int64_t first, std::int64_t end, bool patch) {
  at::Tensor x_BAC;
  std::int64_t joined = 0;
  for (int layer = static_cast<int>(first / heads_); layer < model_.layout().layers; ++layer) {
    const PatchLayer& here = texts_.layer(layer);
    const std::int64_t until = std::min(end, std::int64_t{layer + 1} * heads_) - first;
    if (until > joined) {
      const at::Tensor joining = repeated(last_rows(here.x_nC, texts_.answer()), until - joined);
      x_BAC = x_BAC.defined() ? at::cat({x_BAC, joining}, 0) : joining;
    }
    Mixed mixed{repeated(last_rows(here.mixed_nHD, texts_.answer()), x_BAC.size(0)).clone()};
    for (; joined < until; ++joined)
      if (patch) corrupt(mixed, joined, layer, (first + joined) % heads_);
    x_BAC = close(x_BAC, mixed, layer);
  }
  return texts_.margins(x_BAC);
}

std::vector<double> Patcher::direct() {
  const std::int64_t all = std::int64_t{model_.layout().layers} * heads_;
  const std::int64_t most = batch_of(texts_.answer());
  std::vector<double> effects;
  for (std::int64_t first = 0; first < all; first += most) {
    const std::int64_t end = std::min(all, first + most);
    const std::vector<double> clean = direct_batch(first, end, /*patch=*/false);
    const std::vector<double> patched = direct_batch(first, end, /*patch=*/true);
    for (std::size_t i = 0; i < clean.size(); ++i) effects.push_back(clean[i] - patched[i]);
  }
  return effects;
}

// Outputs of heads of a layer from its patched input, at the carried rows or the answer's alone:
// [B, rows, h, D].
at::Tensor Patcher::recompute(const at::Tensor& x_BnC, int layer, const Heads& heads,
                              bool answer_alone) {
  const PatchLayer& here = texts_.layer(layer);
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
  for (const PatchRows& range : texts_.carried()) {
    const std::int64_t query_begin = texts_.query_begin(range, answer_alone);
    const Segment segment = texts_.segment(range, query_begin, batch);
    const Decoder::Projections p =
        decoder_.project(x_BnC.narrow(1, offset, range.size()).flatten(0, 1), layer, segment);
    offset += range.size();
    const auto by_sequence = [&](const at::Tensor& t, const at::Tensor& index) {
      return t.index_select(1, index).unflatten(0, {batch, t.size(0) / batch});
    };
    k_BNhD.narrow(1, range.begin, range.size()).copy_(by_sequence(p.k_NGD, kv_index));
    v_BNhD.narrow(1, range.begin, range.size()).copy_(by_sequence(p.v_NGD, kv_index));
    const auto sequences = static_cast<double>(batch);
    texts_.meter.flops += sequences * (static_cast<double>(range.size()) * row.kv +
                                       static_cast<double>(range.end - query_begin) * row.q);
    if (query_begin == range.end) continue;
    const PaletteEntry full{};
    const at::Tensor q_BhND = by_sequence(p.q_NHD, head_index).transpose(1, 2);
    const auto seen = [&](const at::Tensor& t) {
      return t.narrow(1, 0, range.end).transpose(1, 2);
    };
    const at::Tensor out_BhND = at::empty_like(q_BhND, at::MemoryFormat::Contiguous);
    attend(q_BhND, query_begin, {.tail_k_BGMD = seen(k_BNhD), .tail_v_BGMD = seen(v_BNhD)}, full,
           texts_.prompt(), out_BhND, sinks);
    texts_.meter.flops += sequences * static_cast<double>(heads.size()) * 4.0 *
                          static_cast<double>(shape.head_dim) *
                          visible_pairs(full, query_begin, range.end, texts_.prompt());
    parts.push_back(out_BhND.transpose(1, 2));
  }
  return at::cat(parts, 1);
}

// Senders of one layer, in one batch.
std::vector<double> Patcher::through_batch(int layer, std::span<const std::size_t> senders,
                                           const std::map<int, Heads>& receivers, bool patch) {
  const auto batch = static_cast<std::int64_t>(senders.size());
  const int top = receivers.rbegin()->first;
  const auto put = [](const at::Tensor& mixed_BnHD, const Heads& heads, const at::Tensor& of) {
    for (std::size_t i = 0; i < heads.size(); ++i)
      mixed_BnHD.select(2, heads[i]).copy_(of.select(2, static_cast<std::int64_t>(i)));
  };
  // What the receivers make of the patched stream. Nothing is read above the highest.
  std::map<int, at::Tensor> received_BAhD;
  at::Tensor x_BnC = repeated(texts_.layer(layer).x_nC, batch);
  for (int at = layer; at <= top; ++at) {
    const auto found = at > layer ? receivers.find(at) : receivers.end();
    at::Tensor out;
    if (found != receivers.end()) {
      out = recompute(x_BnC, at, found->second, at == top);
      received_BAhD[at] = out.narrow(1, out.size(1) - texts_.answer(), texts_.answer()).clone();
    }
    if (at == top) break;
    Mixed mixed{repeated(texts_.layer(at).mixed_nHD, batch).clone()};
    if (found != receivers.end()) put(mixed.own_BnHD, found->second, out);
    if (at == layer && patch)
      for (std::size_t i = 0; i < senders.size(); ++i)
        corrupt(mixed, static_cast<std::int64_t>(i), layer,
                static_cast<std::int64_t>(senders[i]) % heads_);
    x_BnC = close(x_BnC, mixed, at);
  }
  // What the readout sees of them.
  const int first = received_BAhD.begin()->first;
  at::Tensor x_BAC = repeated(last_rows(texts_.layer(first).x_nC, texts_.answer()), batch);
  for (int at = first; at < model_.layout().layers; ++at) {
    const Mixed mixed{
        repeated(last_rows(texts_.layer(at).mixed_nHD, texts_.answer()), batch).clone()};
    if (const auto found = received_BAhD.find(at); found != received_BAhD.end())
      put(mixed.own_BnHD, receivers.at(at), found->second);
    x_BAC = close(x_BAC, mixed, at);
  }
  return texts_.margins(x_BAC);
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
  const std::int64_t most = batch_of(texts_.carried_rows());
  for (std::size_t first = 0, end = 0; first < senders.size(); first = end) {
    const int layer = layer_of(senders[first]);
    while (end < senders.size() && layer_of(senders[end]) == layer) ++end;
    const std::map<int, Heads> above(of_layer.upper_bound(layer), of_layer.end());
    if (above.empty()) break;  // nor has any other sender left
    const auto size =
        static_cast<std::size_t>(equal_batch(static_cast<std::int64_t>(end - first), most));
    // Of equal batches one serves all: which heads they would patch does not matter to it.
    const std::vector<double> clean =
        through_batch(layer, senders.subspan(first, size), above, /*patch=*/false);
    for (std::size_t begin = first; begin < end; begin += size) {
      const std::vector<double> patched =
          through_batch(layer, senders.subspan(begin, size), above, /*patch=*/true);
      for (std::size_t i = 0; i < size; ++i) effects[begin + i] = clean[i] - patched[i];
    }
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
       {forced_text(pair.prompt, pair.answer), forced_text(pair.other_prompt, pair.other_answer)})
    RETURN_IF_ERROR(model.check(tokens, static_cast<std::int64_t>(tokens.size()),
                                setting.cheap != nullptr ? *setting.cheap : full));
  return {};
}

template <typename Body>
Result<PatchEffects> patched(MeteredModel& model, const PatchPair& pair,
                             const PatchSetting& setting, bool senders, Body&& body) {
  RETURN_IF_ERROR(check(model, pair, setting));
  const auto run = [&]() -> Result<PatchEffects> {
    const Stopwatch watch;
    PatchTexts texts(model, pair, setting, senders);
    PatchEffects out = texts.run();
    out.effects = body(texts);
    texts.meter.seconds = watch.seconds();
    model.absorb(texts.meter);
    return out;
  };
  if (setting.method == PatchMethod::kExact) return guarded(run);
  return translated([&] {
    const at::NoGradGuard no_grad;  // what inference mode made could not be differentiated
    return run();
  });
}

}  // namespace

Result<PatchEffects> direct_effects(MeteredModel& model, const PatchPair& pair,
                                    const PatchSetting& setting) {
  return patched(model, pair, setting, /*senders=*/false, [&](PatchTexts& texts) {
    return setting.method == PatchMethod::kExact ? Patcher(model, texts).direct()
                                                 : PathAttribution(model, texts).direct();
  });
}

Result<PatchEffects> path_effects(MeteredModel& model, const PatchPair& pair,
                                  const PatchSetting& setting, std::span<const std::size_t> senders,
                                  std::span<const std::size_t> receivers) {
  const auto heads = static_cast<std::size_t>(model.layout().layers) *
                     static_cast<std::size_t>(model.layout().query_heads);
  for (const auto& list : {senders, receivers}) {
    STRATA_CHECK(std::is_sorted(list.begin(), list.end()));
    STRATA_CHECK(list.empty() || list.back() < heads);
  }
  return patched(model, pair, setting, /*senders=*/true, [&](PatchTexts& texts) {
    return setting.method == PatchMethod::kExact
               ? Patcher(model, texts).through(senders, receivers)
               : PathAttribution(model, texts).through(senders, receivers);
  });
}

}  // namespace strata
