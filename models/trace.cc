// Teacher-forced runs in one pass, and their resumption at a layer (activation reuse).
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/log_softmax.h>

#include <algorithm>

#include "models/cost.h"
#include "models/decoder/plan_binder.h"
#include "models/forward.h"
#include "models/model.h"

namespace strata {

struct KeptLogits {
  at::Tensor rows_NV;
};

namespace {

// Prompt and answer as one chunk from `begin` on; the answer's last token predicts nothing that is
// scored.
Chunk forced_chunk(const ForcedRequest& request, std::int64_t begin) {
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  return {.begin = begin,
          .end = prompt + static_cast<std::int64_t>(request.answer.size()) - 1,
          .prompt_length = request.prompt_length > 0 ? request.prompt_length : prompt,
          .first_read = prompt - 1,
          .retain = false};
}

Tokens forced_tokens(const ForcedRequest& request) {
  Tokens tokens(request.prompt.begin(), request.prompt.end());
  tokens.insert(tokens.end(), request.answer.begin(), request.answer.end() - 1);
  return tokens;
}

// KL(reference ‖ here) of each row, in float64, a few rows at a time.
std::vector<double> divergence_rows(const at::Tensor& reference_NV, const at::Tensor& here_NV) {
  constexpr std::int64_t kRows = 32;
  STRATA_CHECK(reference_NV.sizes() == here_NV.sizes());
  std::vector<double> divergence;
  for (std::int64_t row = 0; row < here_NV.size(0); row += kRows) {
    const std::int64_t rows = std::min(kRows, here_NV.size(0) - row);
    const auto log_p = [&](const at::Tensor& logits_NV) {
      return at::log_softmax(logits_NV.narrow(0, row, rows), 1, at::kDouble);
    };
    const at::Tensor reference = log_p(reference_NV);
    const at::Tensor sum = (reference.exp() * (reference - log_p(here_NV))).sum(1).cpu();
    divergence.insert(divergence.end(), sum.const_data_ptr<double>(),
                      sum.const_data_ptr<double>() + rows);
  }
  return divergence;
}

AnswerScore score_forced(const at::Tensor& logits_NV, std::span<const TokenId> answer,
                         const std::shared_ptr<const KeptLogits>& reference, bool keep) {
  AnswerScore score = score_rows(logits_NV, answer);
  if (reference != nullptr) score.divergence = divergence_rows(reference->rows_NV, logits_NV);
  if (keep) score.logits = std::make_shared<const KeptLogits>(KeptLogits{logits_NV.clone()});
  return score;
}

}  // namespace

struct Trace::Impl {
  const Model* model = nullptr;
  Tokens tokens, answer;
  AttentionPlan plan;
  std::shared_ptr<const KeptLogits> reference;
  std::shared_ptr<const BatchState> prefix;  // null where none is shared
  Chunk chunk;
  AnswerScore score;
  PlanBinder binder;
  std::shared_ptr<const BoundPlan> bound;
  std::vector<at::Tensor> inputs_NC;  // of the first layers, rows [chunk.begin, chunk.end)
  int last_layer = 0;                 // whose input, not among the kept ones, was needed last
  at::Tensor last_input_NC;

  const Decoder& decoder() const { return model->decoder(); }
  std::uint64_t bytes_of_prefix() const { return prefix == nullptr ? 0 : prefix->bytes(); }

  // The output of one layer of the trace's own plan.
  at::Tensor run(at::Tensor x_NC, int layer) const {
    BatchState state;
    if (prefix != nullptr) state = borrow(*prefix, *bound, layer);
    Segment segment{chunk, bound, prefix != nullptr ? &state : nullptr, {}};
    segment.rows = {all_rows(plan, chunk)[static_cast<std::size_t>(layer)]};
    return decoder().run_layers(std::move(x_NC), layer, layer + 1, std::span(&segment, 1));
  }

  at::Tensor input_of(int layer, Meter& meter) {
    const auto kept = static_cast<int>(inputs_NC.size());
    if (layer < kept) return inputs_NC[static_cast<std::size_t>(layer)];
    if (!last_input_NC.defined() || last_layer > layer) {
      last_layer = kept - 1;
      last_input_NC = inputs_NC.back();
    }
    for (; last_layer < layer; ++last_layer) {
      last_input_NC = run(std::move(last_input_NC), last_layer);
      const RunCost cost =
          run_cost(plan, model->shape(), chunk,
                   {all_rows(plan, chunk)[static_cast<std::size_t>(last_layer)]}, last_layer);
      meter.flops += cost.flops.linear + cost.flops.attention;
      meter.layer_tokens += cost.layer_tokens;
    }
    return last_input_NC;
  }
};

Trace::Trace(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trace::~Trace() = default;
Trace::Trace(Trace&&) noexcept = default;
Trace& Trace::operator=(Trace&&) noexcept = default;

const AnswerScore& Trace::score() const { return impl_->score; }

int Trace::kept_layers() const { return static_cast<int>(impl_->inputs_NC.size()); }

std::uint64_t Trace::bytes() const {
  std::uint64_t total = 0;
  for (const at::Tensor& input : impl_->inputs_NC) total += input.nbytes();
  return total;
}

Result<std::vector<AnswerScore>> MeteredModel::score(std::span<const ForcedRequest> requests) {
  std::vector<Tokens> tokens;  // [request]
  for (const ForcedRequest& request : requests) {
    if (request.answer.empty())
      return fail(ErrorKind::kInvalidArgument, "the answer is empty; expected at least 1 token");
    tokens.push_back(forced_tokens(request));
    RETURN_IF_ERROR(check(tokens.back(), forced_chunk(request, 0).end, *request.plan));
  }
  return guarded([&]() -> Result<std::vector<AnswerScore>> {
    const Decoder& decoder = model_.decoder();
    const at::Device device = decoder.options().device();
    std::vector<AnswerScore> scores;
    std::vector<Segment> segments;
    PlanBinder binder(decoder);
    std::shared_ptr<const BoundPlan> bound;
    std::vector<at::Tensor> token_rows;
    std::int64_t rows = 0;
    std::size_t first = 0;
    const auto flush = [&](std::size_t end) {
      if (segments.empty()) return;
      const at::Tensor top = run_metered(
          decoder, model_.shape(), decoder.embed(at::cat(token_rows, 0)), 0, segments, *meter_);
      const at::Tensor logits = decoder.logits(top);
      std::int64_t row = 0;
      for (std::size_t i = first; i < end; ++i) {
        const auto count = static_cast<std::int64_t>(requests[i].answer.size());
        scores.push_back(score_forced(logits.narrow(0, row, count), requests[i].answer,
                                      requests[i].reference, requests[i].keep_logits));
        row += count;
        ++meter_->evaluations;
      }
      segments.clear();
      token_rows.clear();
      rows = 0;
      first = end;
    };
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const ForcedRequest& request = requests[i];
      const bool as_before = bound != nullptr && bound->plan() == *request.plan;
      if (!as_before) bound = binder.bind(*request.plan);
      Segment segment{forced_chunk(request, 0), bound, nullptr, {}};
      segment.rows = plan_rows(*request.plan, segment.chunk);
      if (rows + segment.chunk.end > limits_.batch_rows) flush(i);
      token_rows.push_back(token_tensor(
          std::span(tokens[i]).subspan(static_cast<std::size_t>(segment.rows[0].in_begin)),
          device));
      rows += segment.chunk.end;
      segments.push_back(std::move(segment));
    }
    flush(requests.size());
    return scores;
  });
}

Result<Trace> MeteredModel::trace(const ForcedRequest& request, std::int64_t shared_length,
                                  std::uint64_t memory_bytes) {
  if (request.answer.empty())
    return fail(ErrorKind::kInvalidArgument, "the answer is empty; expected at least 1 token");
  const Tokens tokens = forced_tokens(request);
  RETURN_IF_ERROR(check(tokens, static_cast<std::int64_t>(tokens.size()), *request.plan));
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  auto impl = std::make_unique<Trace::Impl>(
      Trace::Impl{.model = &model_,
                  .tokens = tokens,
                  .answer = Tokens(request.answer.begin(), request.answer.end()),
                  .plan = *request.plan,
                  .reference = request.reference,
                  .binder = PlanBinder(model_.decoder())});
  const std::int64_t begin = std::min(shared_length, prompt - 1);
  STRATA_CHECK(begin <= shared_prefix(*request.plan), "{}", begin);
  if (begin > 0) {
    ASSIGN_OR_RETURN(const SharedPrefix shared, share(request.prompt, begin));
    impl->prefix = shared.state_;
  }
  return guarded([&]() -> Result<Trace> {
    const Decoder& decoder = model_.decoder();
    impl->bound = impl->binder.bind(*request.plan);
    impl->chunk = forced_chunk(request, begin);
    at::Tensor x =
        decoder.embed(token_tensor(std::span(impl->tokens).subspan(static_cast<std::size_t>(begin)),
                                   decoder.options().device()));
    const std::uint64_t bytes_a_layer = x.nbytes();
    const Stopwatch watch;
    for (int layer = 0; layer < layout().layers; ++layer) {
      const auto kept = static_cast<std::uint64_t>(impl->inputs_NC.size());
      if (kept == 0 || (kept + 1) * bytes_a_layer <= memory_bytes) impl->inputs_NC.push_back(x);
      x = impl->run(std::move(x), layer);
    }
    Segment whole{impl->chunk, impl->bound, nullptr, all_rows(*request.plan, impl->chunk)};
    add_cost(*meter_, model_.shape(), std::span(&whole, 1), 0);
    impl->score =
        score_forced(decoder.logits(x), request.answer, request.reference, request.keep_logits);
    ++meter_->evaluations;
    synchronize(decoder.options().device());
    meter_->seconds += watch.seconds();
    Trace trace(std::move(impl));
    meter_->peak_bytes =
        std::max(meter_->peak_bytes, trace.bytes() + trace.impl_->bytes_of_prefix());
    return trace;
  });
}

namespace {

// Toggles that climb the layers together: each joins at its own.
struct Climb {
  std::vector<Segment> segments;
  std::vector<std::vector<LayerRows>> rows;  // [segment], from its own layer on
  std::vector<BatchState> states;            // the segments point here
};

}  // namespace

Result<std::vector<AnswerScore>> MeteredModel::resume(Trace& trace,
                                                      std::span<const Toggle> toggles) {
  Trace::Impl& impl = *trace.impl_;
  for (const Toggle& toggle : toggles) RETURN_IF_ERROR(model_.check_mixers(*toggle.plan));
  return guarded([&]() -> Result<std::vector<AnswerScore>> {
    const Decoder& decoder = model_.decoder();
    const int layers = layout().layers;
    const auto answer = static_cast<std::int64_t>(impl.answer.size());
    std::vector<AnswerScore> scores;
    for (std::size_t first = 0; first < toggles.size();) {
      Climb climb;
      std::int64_t rows = 0;
      std::size_t last = first;
      for (; last < toggles.size(); ++last) {
        const Toggle& toggle = toggles[last];
        STRATA_CHECK(impl.chunk.begin <= shared_prefix(*toggle.plan));
        STRATA_CHECK(last == first || toggle.layer >= toggles[last - 1].layer);
        Segment segment{impl.chunk, impl.binder.bind(*toggle.plan), nullptr,
                        plan_rows(*toggle.plan, impl.chunk, toggle.layer)};
        rows += segment.rows_in(0);
        if (last > first && rows > limits_.batch_rows) break;
        add_cost(*meter_, model_.shape(), std::span(&segment, 1), toggle.layer);
        climb.rows.push_back(segment.rows);
        climb.segments.push_back(std::move(segment));
      }
      climb.states.resize(climb.segments.size());
      const Stopwatch watch;
      at::Tensor x;
      for (std::size_t joined = 0; joined < climb.segments.size();) {
        const int layer = toggles[first + joined].layer;
        std::vector<at::Tensor> parts;
        if (x.defined()) parts.push_back(x);
        const at::Tensor input = impl.input_of(layer, *meter_);
        for (; joined < climb.segments.size() && toggles[first + joined].layer == layer; ++joined) {
          Segment& segment = climb.segments[joined];
          parts.push_back(
              input.narrow(0, segment.rows[0].in_begin - impl.chunk.begin, segment.rows_in(0)));
          if (impl.prefix == nullptr) continue;
          climb.states[joined] = borrow(*impl.prefix, *segment.plan, layer);
          segment.state = &climb.states[joined];
        }
        x = parts.size() == 1 ? parts[0] : at::cat(parts, 0);
        const int end = joined < climb.segments.size() ? toggles[first + joined].layer : layers;
        for (std::size_t i = 0; i < joined; ++i) {
          const std::vector<LayerRows>& own = climb.rows[i];
          const auto from = own.begin() + (layer - toggles[first + i].layer);
          climb.segments[i].rows.assign(from, from + (end - layer));
        }
        x = decoder.run_layers(x, layer, end, std::span(climb.segments).first(joined));
      }
      const at::Tensor logits = decoder.logits(x);
      synchronize(decoder.options().device());
      meter_->seconds += watch.seconds();
      for (std::size_t i = 0; i < climb.segments.size(); ++i) {
        scores.push_back(
            score_forced(logits.narrow(0, static_cast<std::int64_t>(i) * answer, answer),
                         impl.answer, impl.reference, /*keep=*/false));
        ++meter_->evaluations;
      }
      first = last;
    }
    return scores;
  });
}

}  // namespace strata
