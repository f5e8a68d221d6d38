// The token mixing of a layer: softmax attention and linear heads, segment by segment, and what a
// batch remembers of it.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <c10/core/GradMode.h>

#include <utility>

#include "core/result.h"
#include "models/decoder/decoder.h"
#include "models/training/recorded_attention.h"

namespace strata {
namespace {

// [B·N, H, D], sequence by sequence → [B, H, N, D], the same memory.
at::Tensor heads_first(const at::Tensor& x_NHD, std::int64_t batch) {
  return x_NHD.unflatten(0, {batch, x_NHD.size(0) / batch}).transpose(1, 2);
}

// What the linear heads of a segment read, of the rows that leave; its state takes every row in.
at::Tensor read_linear(const LayerBranch& branch, const at::Tensor& normed_NC, int layer,
                       const LayerRows& rows, Segment& segment) {
  const Chunk& chunk = segment.chunk;
  if (normed_NC.size(0) == 0) return {};
  LinearStore* past = nullptr;
  if (segment.state != nullptr) past = &*segment.state->linear[static_cast<std::size_t>(layer)];
  const std::int64_t begin = past == nullptr ? 0 : past->length();
  STRATA_CHECK(rows.in_begin == begin && chunk.begin == begin, "{} {} {}", rows.in_begin,
               chunk.begin, begin);
  BranchRead read = branch.read(normed_NC.unflatten(0, {segment.batch, -1}),
                                past == nullptr ? branch.make_state(segment.batch) : past->state(),
                                rows.out_begin - rows.in_begin);
  if (past != nullptr && chunk.retain) past->put(read.state);
  return read.heads_BNHD.flatten(0, 1);
}

// The heads' outputs of one segment's rows, before o.
struct MixedSegment {
  const LinearHeads* linear = nullptr;  // null: softmax attention alone
  LinearHeads::Outputs outputs;
  std::int64_t rows = 0;
};

// kHeadOut over the packed rows of all segments, each layer of both kinds joined and parted again.
void pass_head_hooks(ForwardHooks* hooks, int layer, std::vector<MixedSegment>& parts,
                     at::ScalarType model_type) {
  std::vector<at::Tensor> heads;
  heads.reserve(parts.size());
  for (const MixedSegment& part : parts)
    heads.push_back(part.linear == nullptr ? part.outputs.softmax_NHD
                                           : part.linear->joined(part.outputs));
  at::Tensor heads_NHD = at::cat(heads, 0);
  pass_hooks(hooks, Site::kHeadOut, layer, heads_NHD);
  std::int64_t offset = 0;
  for (MixedSegment& part : parts) {
    const at::Tensor own_NHD = heads_NHD.narrow(0, offset, part.rows);
    part.outputs = part.linear == nullptr ? LinearHeads::Outputs{own_NHD.to(model_type), {}}
                                          : part.linear->parted(own_NHD, model_type);
    offset += part.rows;
  }
}

}  // namespace

std::int64_t BatchState::length() const {
  if (layers.empty()) return 0;
  return layers[0].empty() ? linear[0]->length() : layers[0][0].length();
}

std::uint64_t BatchState::bytes() const {
  std::uint64_t total = 0;
  for (const auto& stores : layers)
    for (const KvStore& store : stores) total += store.bytes();
  for (const auto& store : linear)
    if (store) total += store->bytes();
  return total;
}

BatchState BatchState::sequences(std::int64_t first, std::int64_t count) const {
  BatchState part;
  for (const auto& stores : layers) {
    std::vector<KvStore>& here = part.layers.emplace_back();
    for (const KvStore& store : stores) here.push_back(store.sequences(first, count));
  }
  for (const auto& store : linear) {
    std::optional<LinearStore>& here = part.linear.emplace_back();
    if (store) here = store->sequences(first, count);
  }
  return part;
}

void BatchState::advance(std::int64_t length) {
  for (auto& stores : layers)
    for (KvStore& store : stores) store.advance(length);
  for (auto& store : linear)
    if (store) store->advance(length);
}

void Decoder::attend_segment(const at::Tensor& q_NHD, const at::Tensor& k_NGD,
                             const at::Tensor& v_NGD, int layer, const LayerRows& rows,
                             Segment& segment, const at::Tensor& sink_logits_H,
                             const at::Tensor& out_NHD) const {
  const BoundLayer& bound = segment.plan->layer(layer);
  const Chunk& chunk = segment.chunk;
  std::vector<KvStore>* past = nullptr;
  if (segment.state != nullptr) past = &segment.state->layers[static_cast<std::size_t>(layer)];
  const auto select = [](const at::Tensor& x, const at::Tensor& heads) {
    return heads.defined() ? x.index_select(1, heads) : x;
  };
  const at::Tensor k_BGND = heads_first(k_NGD, segment.batch);
  const at::Tensor v_BGND = heads_first(v_NGD, segment.batch);
  const bool one_token = chunk.end - chunk.begin == 1;
  const bool recorded = c10::GradMode::is_enabled() &&
                        (q_NHD.requires_grad() || k_NGD.requires_grad() || v_NGD.requires_grad() ||
                         (sink_logits_H.defined() && sink_logits_H.requires_grad()));
  STRATA_CHECK(!recorded || (past == nullptr && chunk.begin == 0),
               "gradients pass through a text from its first token alone");
  std::vector<KeyView> views;
  for (std::size_t i = 0; i < bound.stores.size(); ++i) {
    const at::Tensor k = select(k_BGND, bound.stores[i].kv_index);
    const at::Tensor v = select(v_BGND, bound.stores[i].kv_index);
    if (past == nullptr) {
      views.push_back({{}, {}, k, v, rows.in_begin});
      continue;
    }
    KvStore& store = (*past)[i];
    // Where nothing is overwritten, keys are read where they are stored.
    if (chunk.retain && (one_token || store.retention().all)) {
      store.append(k, v, rows.in_begin);
      views.push_back(one_token ? KeyView{} : store.ordered());  // one token: see below
    } else {
      views.push_back(store.view_with(k, v, rows.in_begin));
      if (chunk.retain) store.append(k, v, rows.in_begin);
    }
  }
  if (rows.out_begin >= chunk.end) return;
  const at::Tensor q_BHND = heads_first(q_NHD, segment.batch);
  const at::Tensor out_BHND = heads_first(out_NHD, segment.batch);
  for (const HeadGroup& group : bound.groups) {
    const at::Tensor q = select(q_BHND, group.query_index);
    const at::Tensor sink_logits = sink_logits_H.defined() && group.query_index.defined()
                                       ? sink_logits_H.index_select(0, group.query_index)
                                       : sink_logits_H;
    const StoreGroup& store = bound.stores[group.store];
    const auto attend_here = [&](KeyView view) {
      if (group.kv_in_store.defined())
        for (at::Tensor* part :
             {&view.sink_k_BGSD, &view.sink_v_BGSD, &view.tail_k_BGMD, &view.tail_v_BGMD})
          if (part->defined()) *part = part->index_select(1, group.kv_in_store);
      return view;
    };
    // Heads of a group that is the whole layer are written in place.
    const bool whole = !group.query_index.defined();
    const at::Tensor out = whole ? out_BHND : at::empty_like(q, at::MemoryFormat::Contiguous);
    if (recorded) {
      const KeyView view = attend_here(views[group.store]);
      // Windows may have left the first rows out; then nothing counts positions from the text's
      // first token.
      out.copy_(recorded_attention(q, rows.out_begin - rows.in_begin, view.tail_k_BGMD,
                                   view.tail_v_BGMD, group.entry,
                                   chunk.prompt_length - rows.in_begin, sink_logits));
    } else if (past != nullptr && chunk.retain && one_token) {
      const KvStore& kept = (*past)[group.store];
      const SlidingWindow* sliding = window_of(group.entry.mixer);
      const bool sees_all_kept =
          sliding == nullptr ||
          (store.retention.window == sliding->window && store.retention.sinks == sliding->sinks &&
           !store.retention.all) ||
          (group.entry.rule == DecodeRule::kFull && chunk.begin >= chunk.prompt_length);
      if (sees_all_kept) {
        const KeyView all = attend_here(kept.everything());
        out.copy_(attend_all(q, all.tail_k_BGMD, all.tail_v_BGMD, sink_logits));
      } else {
        attend(q, rows.out_begin, attend_here(kept.ordered()), group.entry, chunk.prompt_length,
               out, sink_logits);
      }
    } else {
      attend(q, rows.out_begin, attend_here(views[group.store]), group.entry, chunk.prompt_length,
             out, sink_logits);
    }
    if (!whole) out_BHND.index_copy_(1, group.query_index, out);
  }
}

at::Tensor Decoder::attention_heads(const at::Tensor& normed_NC, int layer, std::size_t row_index,
                                    std::span<Segment> segments, const LayerWeights& w,
                                    const RotaryRows* rotary, ForwardHooks* hooks) const {
  Projections p = project_rows(normed_NC, row_index, segments, w, rotary);
  pass_hooks(hooks, Site::kQ, layer, p.q_NHD);
  pass_hooks(hooks, Site::kK, layer, p.k_NGD);
  pass_hooks(hooks, Site::kV, layer, p.v_NGD);
  at::Tensor mixed_NHD = at::empty_like(p.q_NHD, at::MemoryFormat::Contiguous);
  std::int64_t in_offset = 0, out_offset = 0;
  for (Segment& segment : segments) {
    const std::int64_t in = segment.rows_in(row_index), out = segment.rows_out(row_index);
    attend_segment(p.q_NHD.narrow(0, out_offset, out), p.k_NGD.narrow(0, in_offset, in),
                   p.v_NGD.narrow(0, in_offset, in), layer, segment.rows[row_index], segment,
                   w.sink_logits, mixed_NHD.narrow(0, out_offset, out));
    in_offset += in;
    out_offset += out;
  }
  return mixed_NHD;
}

at::Tensor Decoder::mix_with_linear(const at::Tensor& normed_NC, int layer, std::size_t row_index,
                                    std::span<Segment> segments, const RotaryRows* rotary,
                                    ForwardHooks* hooks) const {
  for (const Site site : {Site::kQ, Site::kK, Site::kV})
    STRATA_CHECK(hooks == nullptr || !hooks->touches(site, layer),
                 "layer {} has linear heads: it has no q, k and v of its attention", layer);
  const at::ScalarType type = normed_NC.scalar_type();
  std::vector<MixedSegment> parts;
  std::int64_t in_offset = 0, out_offset = 0;
  for (Segment& segment : segments) {
    const std::int64_t in = segment.rows_in(row_index), out = segment.rows_out(row_index);
    const at::Tensor here_NC = normed_NC.narrow(0, in_offset, in);
    MixedSegment part{segment.plan->layer(layer).linear.get(), {}, out};
    const LayerWeights* softmax = &weights_.layers[static_cast<std::size_t>(layer)];
    if (part.linear != nullptr)
      softmax = part.linear->softmax ? &part.linear->softmax->weights : nullptr;
    if (softmax != nullptr) {
      RotaryRows turned;
      if (rotary != nullptr)
        turned = {rotary->in_cos_ND.narrow(0, in_offset, in),
                  rotary->in_sin_ND.narrow(0, in_offset, in),
                  rotary->out_cos_ND.narrow(0, out_offset, out),
                  rotary->out_sin_ND.narrow(0, out_offset, out)};
      part.outputs.softmax_NHD =
          attention_heads(here_NC, layer, row_index, std::span(&segment, 1), *softmax,
                          rotary == nullptr ? nullptr : &turned, nullptr);
    }
    if (part.linear != nullptr) {
      part.outputs.linear_NHD =
          read_linear(part.linear->branch, here_NC, layer, segment.rows[row_index], segment);
      if (out > 0) part.outputs = part.linear->fused(std::move(part.outputs));
    }
    if (out > 0) parts.push_back(std::move(part));
    in_offset += in;
    out_offset += out;
  }
  if (parts.empty()) return {};
  if (hooks != nullptr && hooks->touches(Site::kHeadOut, layer))
    pass_head_hooks(hooks, layer, parts, type);
  std::vector<at::Tensor> outs;
  outs.reserve(parts.size());
  for (const MixedSegment& part : parts)
    outs.push_back(part.linear == nullptr ? through_o(part.outputs.softmax_NHD, layer)
                                          : part.linear->mixer_out(part.outputs, type));
  return outs.size() == 1 ? outs[0] : at::cat(outs, 0);
}

}  // namespace strata
