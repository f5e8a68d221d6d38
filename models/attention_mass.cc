#include "models/attention_mass.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/forward.h"

namespace strata {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// Legend: Q queries, N tokens, H query heads, G KV heads, R = H/G, D head size.
struct Keys {
  at::Tensor asked_QN;   // bool
  at::Tensor future_QN;  // bool: behind the query's row
};

Keys keys_of(std::span<const MassQuery> queries, std::int64_t tokens, at::Device device) {
  const auto count = static_cast<std::int64_t>(queries.size());
  const at::Tensor asked = at::zeros({count, tokens}, at::kBool);
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    rows.push_back(queries[i].row);
    for (const KeyRange& range : queries[i].keys)
      asked[static_cast<std::int64_t>(i)].narrow(0, range.begin, range.end - range.begin).fill_(1);
  }
  const at::Tensor position = at::arange(tokens, at::kLong);
  const at::Tensor future = position.unsqueeze(0) > at::tensor(rows, at::kLong).unsqueeze(1);
  return {asked.to(device), future.to(device)};
}

// [H, Q]; one KV head at a time.
at::Tensor mass_of_layer(const at::Tensor& q_QHD, const at::Tensor& k_NGD, const Keys& keys) {
  const std::int64_t queries = q_QHD.size(0), per_kv_head = q_QHD.size(1) / k_NGD.size(1);
  const double scale = 1.0 / std::sqrt(static_cast<double>(q_QHD.size(2)));
  const at::Tensor unasked_QN = keys.asked_QN.logical_not();
  std::vector<at::Tensor> parts;
  for (std::int64_t head = 0; head < k_NGD.size(1); ++head) {
    const at::Tensor q_RQD = q_QHD.narrow(1, head * per_kv_head, per_kv_head).transpose(0, 1);
    const at::Tensor k_DN = k_NGD.select(1, head).to(at::kDouble).t();
    at::Tensor score_RQN =
        at::matmul(q_RQD.to(at::kDouble).reshape({per_kv_head * queries, -1}), k_DN)
            .mul_(scale)
            .view({per_kv_head, queries, -1});
    const at::Tensor total_RQ1 =
        at::logsumexp(score_RQN.masked_fill(keys.future_QN, kMinusInfinity), -1, /*keepdim=*/true);
    parts.push_back(
        score_RQN.sub_(total_RQ1).masked_fill_(unasked_QN, kMinusInfinity).exp_().sum(-1));
  }
  return at::cat(parts, 0);
}

Status check_queries(const MeteredModel& model, std::int64_t tokens,
                     std::span<const MassQuery> queries) {
  if (model.model().decoder().architecture().sink_logits)
    return fail(ErrorKind::kUnsupported,
                "attention mass of a model with sink logits: its softmax has a term of no token");
  const auto inside = [&](std::int64_t begin, std::int64_t end) {
    return 0 <= begin && begin <= end && end <= tokens;
  };
  STRATA_CHECK(!queries.empty());
  for (std::size_t i = 0; i < queries.size(); ++i) {
    STRATA_CHECK(i == 0 || queries[i].row > queries[i - 1].row);
    bool all_inside = inside(queries[i].row, queries[i].row + 1);
    for (const KeyRange& range : queries[i].keys) all_inside &= inside(range.begin, range.end);
    if (!all_inside)
      return fail(ErrorKind::kInvalidArgument,
                  "query {} or its keys lie outside the {} tokens of the prompt", queries[i].row,
                  tokens);
  }
  return {};
}

}  // namespace

std::vector<double> AttentionMass::of_units(Granularity granularity,
                                            HeadReduction reduction) const {
  const int units = layout.units_per_layer(granularity), heads = layout.query_heads / units;
  std::vector<double> out;
  for (int layer = 0; layer < layout.layers; ++layer)
    for (int unit = 0; unit < units; ++unit) {
      double sum = 0, most = 0;
      for (int head = unit * heads; head < (unit + 1) * heads; ++head) {
        double mean = 0;
        for (std::size_t query = 0; query < queries; ++query) mean += at(layer, head, query);
        mean /= static_cast<double>(queries);
        sum += mean;
        most = std::max(most, mean);
      }
      out.push_back(reduction == HeadReduction::kMax ? most : sum / heads);
    }
  return out;
}

Result<AttentionMass> attention_mass(MeteredModel& model, std::span<const TokenId> tokens,
                                     std::span<const MassQuery> queries) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  const AttentionPlan full = AttentionPlan::full(model.layout());
  RETURN_IF_ERROR(model.check(tokens, count, full));
  RETURN_IF_ERROR(check_queries(model, count, queries));
  return guarded([&]() -> Result<AttentionMass> {
    const Decoder& decoder = model.model().decoder();
    const at::Device device = decoder.options().device();
    const Stopwatch watch;
    const Chunk chunk{
        .begin = 0, .end = count, .prompt_length = count, .first_read = count, .retain = false};
    std::vector<LayerRows> rows = all_rows(full, chunk);
    rows.back().out_begin = queries.front().row;  // the top layer's queries, its keys are all there
    Segment segment{chunk, decoder.bind(full), nullptr, {}};
    const Keys keys = keys_of(queries, count, device);
    AttentionMass out{.layout = model.layout(), .queries = queries.size(), .mass = {}};
    at::Tensor x_NC = decoder.embed(token_tensor(tokens, device));
    for (int layer = 0; layer < out.layout.layers; ++layer) {
      segment.rows = {rows[static_cast<std::size_t>(layer)]};
      std::vector<std::int64_t> query_rows;
      for (const MassQuery& query : queries)
        query_rows.push_back(query.row - segment.rows[0].out_begin);
      ForwardHooks hooks{{{Site::kQ, layer, query_rows, {}}, {Site::kK, layer, {}, {}}}, {}};
      x_NC = decoder.run_layers(std::move(x_NC), layer, layer + 1, std::span(&segment, 1), &hooks);
      const at::Tensor mass_HQ =
          mass_of_layer(hooks.captures[0].value, hooks.captures[1].value, keys).cpu().contiguous();
      const double* values = mass_HQ.const_data_ptr<double>();
      out.mass.insert(out.mass.end(), values, values + mass_HQ.numel());
    }
    Meter meter;
    segment.rows = rows;
    add_cost(meter, model.model().shape(), std::span(&segment, 1), 0);
    meter.flops += 2.0 * static_cast<double>(model.model().shape().head_dim) *
                   static_cast<double>(out.mass.size()) * static_cast<double>(count);
    meter.seconds = watch.seconds();
    model.absorb(meter);
    return out;
  });
}

}  // namespace strata
