#include "models/patch_texts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/pow.h>

#include <algorithm>
#include <numeric>

#include "models/cost.h"

namespace strata {
namespace {

// Rows where a sender can differ, or those few of them that are asked for.
std::vector<PatchRows> sender_rows(const Tokens& clean, const Tokens& other,
                                   const PatchSetting& setting, std::int64_t prompt) {
  const auto end = static_cast<std::int64_t>(clean.size());
  const PatchRows answer{prompt - 1, end};
  if (setting.cheap != nullptr)
    return {{std::min(shared_prefix(*setting.cheap), answer.begin), end}};
  std::vector<PatchRows> ranges;
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

bool is_linear(const AttentionPlan& plan) {
  return std::holds_alternative<LinearAttention>(plan.entry(0, 0).mixer);
}

// Rows of `of` within t, which holds the rows [end − size, end).
at::Tensor rows_of(const at::Tensor& t, const PatchRows& of, std::int64_t end) {
  return t.narrow(0, of.begin - (end - t.size(0)), of.size());
}

}  // namespace

Tokens forced_text(std::span<const TokenId> prompt, std::span<const TokenId> answer) {
  Tokens tokens(prompt.begin(), prompt.end());
  tokens.insert(tokens.end(), answer.begin(), answer.end() - 1);
  return tokens;
}

PatchTexts::PatchTexts(MeteredModel& model, const PatchPair& pair, const PatchSetting& setting,
                       bool senders)
    : model_(model),
      decoder_(model.model().decoder()),
      device_(decoder_.options().device()),
      setting_(setting),
      senders_(senders),
      linear_(setting.cheap != nullptr && is_linear(*setting.cheap)),
      prompt_(static_cast<std::int64_t>(pair.prompt.size())),
      answer_(static_cast<std::int64_t>(pair.answer.size())),
      tokens_(prompt_ + answer_ - 1),
      clean_(forced_text(pair.prompt, pair.answer)),
      other_(setting.cheap != nullptr
                 ? clean_
                 : forced_text(pair.other_prompt,
                               setting.own_answer ? pair.other_answer : pair.answer)),
      carried_(senders ? sender_rows(clean_, other_, setting, prompt_)
                       : std::vector<PatchRows>{{prompt_ - 1, tokens_}}) {
  const auto rows = [&](std::span<const TokenId> tokens) {
    return decoder_.weights()
        .lm_head.index_select(0, token_tensor(tokens, device_))
        .to(at::kDouble);
  };
  at::Tensor weight_A = at::pow(setting_.decay, at::arange(answer_, at::kDouble)).to(device_);
  weight_A /= weight_A.sum();
  readout_AC_ = (rows(pair.answer) - rows(pair.other_answer)) * weight_A.unsqueeze(1);
}

std::int64_t PatchTexts::carried_rows() const {
  std::int64_t total = 0;
  for (const PatchRows& rows : carried_) total += rows.size();
  return total;
}

std::int64_t PatchTexts::query_begin(const PatchRows& range, bool answer_alone) const {
  if (!answer_alone) return range.begin;
  return range.end == tokens_ ? prompt_ - 1 : range.end;
}

Segment PatchTexts::segment(const PatchRows& range, std::int64_t query_begin,
                            std::int64_t batch) const {
  return {{.begin = range.begin,
           .end = range.end,
           .prompt_length = prompt_,
           .first_read = range.begin,
           .retain = false},
          nullptr,
          nullptr,
          {{range.begin, query_begin}},
          batch};
}

std::vector<double> PatchTexts::margins(const at::Tensor& x_BAC) {
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

at::Tensor PatchTexts::carried_of(const at::Tensor& t) const {
  if (t.size(0) == answer_) return t.clone();  // a top layer's
  std::vector<at::Tensor> parts;
  for (const PatchRows& range : carried_) parts.push_back(rows_of(t, range, tokens_));
  return at::cat(parts, 0);
}

// The heads' outputs under the cheap plan at the rows of q, the last of the text.
at::Tensor PatchTexts::cheap_heads(int layer, const at::Tensor& q, const at::Tensor& k_NGD,
                                   const at::Tensor& v_NGD) {
  const auto first_heads = [](const at::Tensor& x) { return x.unsqueeze(0).transpose(1, 2); };
  at::Tensor out = at::empty_like(q, at::MemoryFormat::Contiguous);
  const std::int64_t begin = tokens_ - q.size(0), group = q.size(1) / k_NGD.size(1);
  const at::Tensor& sinks = decoder_.sink_logits(layer);
  for (std::int64_t head = 0; head < q.size(1); ++head) {
    const PaletteEntry& entry = setting_.cheap->entry(layer, static_cast<int>(head));
    const auto one = [&](const at::Tensor& x, std::int64_t at) {
      return first_heads(x).narrow(1, at, 1);
    };
    const KeyView view{.tail_k_BGMD = one(k_NGD, head / group),
                       .tail_v_BGMD = one(v_NGD, head / group)};
    attend(one(q, head), begin, view, entry, prompt_, one(out, head),
           sinks.defined() ? sinks.narrow(0, head, 1) : sinks);
    meter.flops +=
        4.0 * static_cast<double>(q.size(2)) * visible_pairs(entry, begin, tokens_, prompt_);
  }
  return out;
}

// The heads' outputs on the layer's branch, which is given all rows of the clean layer's input.
at::Tensor PatchTexts::linear_heads(int layer, const at::Tensor& x_NC) {
  const LayerBranch& branch = *decoder_.branch(layer);
  const at::Tensor heads_NHD =
      branch.read(decoder_.mixer_input(x_NC, layer).unsqueeze(0), branch.make_state(1))
          .heads_BNHD.squeeze(0);
  meter.flops += branch.flops(tokens_).total() -
                 2.0 * static_cast<double>(heads_NHD.numel() * x_NC.size(1));  // without o
  return heads_NHD;
}

at::Tensor PatchTexts::linear_output(int layer, std::int64_t head, std::int64_t rows) {
  const at::Tensor read_nD =
      last_rows(layers_[static_cast<std::size_t>(layer)].other_nHD, rows).select(1, head);
  const std::int64_t width = read_nD.size(1);
  const at::Tensor o_CD =
      decoder_.branch(layer)->weights().o.detach().narrow(1, head * width, width);
  meter.flops += 2.0 * static_cast<double>(read_nD.numel() * o_CD.size(0));
  return at::linear(read_nD, o_CD).to(decoder_.options().dtype());
}

void PatchTexts::keep(const ForwardHooks& hooks, int layer, bool other) {
  const auto& captures = hooks.captures;
  if (other) {
    layers_[static_cast<std::size_t>(layer)].other_nHD = carried_of(captures[0].value);
    return;
  }
  PatchLayer out{.x_nC = carried_of(captures[1].value), .mixed_nHD = carried_of(captures[0].value)};
  if (senders_) {
    out.k_NGD = captures[2].value;
    out.v_NGD = captures[3].value;
  }
  if (linear_) {
    const at::Tensor heads_NHD = linear_heads(layer, captures[1].value);
    out.other_nHD = carried_of(last_rows(heads_NHD, captures[0].value.size(0)));
  } else if (setting_.cheap != nullptr) {
    const std::int64_t first = carried_.front().begin;
    const at::Tensor& q = captures[4].value;
    const at::Tensor q_rows = last_rows(q, std::min(q.size(0), tokens_ - first));
    out.other_nHD = carried_of(cheap_heads(layer, q_rows, captures[2].value, captures[3].value));
  }
  meter.peak_bytes +=
      out.x_nC.nbytes() + 2 * out.mixed_nHD.nbytes() + (senders_ ? 2 * out.k_NGD.nbytes() : 0);
  layers_.push_back(std::move(out));
}

// Runs a text, keeps what is needed of it and gives its margin.
double PatchTexts::run_text(const Tokens& tokens, const AttentionPlan& plan, bool other) {
  const Chunk chunk{.begin = 0,
                    .end = tokens_,
                    .prompt_length = prompt_,
                    .first_read = prompt_ - 1,
                    .retain = false};
  const std::vector<LayerRows> rows = all_rows(plan, chunk);
  Segment segment{chunk, decoder_.bind(plan), nullptr, {}};
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
    if (!hooks.captures.empty()) keep(hooks, layer, other);
  }
  segment.rows = rows;
  const RunCost cost = run_cost(plan, model_.model().shape(), chunk, rows, 0);
  meter.flops += cost.flops.linear + cost.flops.attention;  // no LM head
  meter.layer_tokens += cost.layer_tokens;
  meter.forward_tokens += static_cast<double>(tokens_);
  ++meter.evaluations;
  return margins(x_NC.unsqueeze(0))[0];
}

PatchEffects PatchTexts::run() {
  const AttentionPlan full = AttentionPlan::full(model_.layout());
  PatchEffects out;
  out.margin = run_text(clean_, full, /*other=*/false);
  out.other_margin =
      run_text(other_, setting_.cheap != nullptr ? *setting_.cheap : full, /*other=*/true);
  return out;
}

}  // namespace strata
