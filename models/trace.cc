// Teacher-forced runs in one pass, and their resumption at a layer (activation reuse).
#include <ATen/ops/cat.h>

#include "models/forward.h"
#include "models/model.h"

namespace strata {
namespace {

// Prompt and answer as one chunk from `begin` on; the answer's last token predicts nothing that is
// scored.
Chunk forced_chunk(const ForcedRequest& request, std::int64_t begin) {
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  return {.begin = begin,
          .end = prompt + static_cast<std::int64_t>(request.answer.size()) - 1,
          .prompt_length = prompt,
          .first_read = prompt - 1,
          .retain = false};
}

Tokens forced_tokens(const ForcedRequest& request) {
  Tokens tokens(request.prompt.begin(), request.prompt.end());
  tokens.insert(tokens.end(), request.answer.begin(), request.answer.end() - 1);
  return tokens;
}

}  // namespace

struct Trace::Impl {
  const Model* model = nullptr;
  Tokens tokens, answer;
  AttentionPlan plan;
  std::shared_ptr<const BatchState> prefix;  // null where none is shared
  Chunk chunk;
  std::vector<at::Tensor> inputs_NC;  // [layer], rows [chunk.begin, chunk.end)
  AnswerScore score;
};

Trace::Trace(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trace::~Trace() = default;
Trace::Trace(Trace&&) noexcept = default;
Trace& Trace::operator=(Trace&&) noexcept = default;

const AnswerScore& Trace::score() const { return impl_->score; }

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
        scores.push_back(score_rows(logits.narrow(0, row, count), requests[i].answer));
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
      Segment segment{
          forced_chunk(request, 0),
          std::make_shared<const BoundPlan>(*request.plan, at::TensorOptions().device(device)),
          nullptr,
          {}};
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

Result<Trace> MeteredModel::trace(const ForcedRequest& request, std::int64_t shared_length) {
  if (request.answer.empty())
    return fail(ErrorKind::kInvalidArgument, "the answer is empty; expected at least 1 token");
  const Tokens tokens = forced_tokens(request);
  RETURN_IF_ERROR(check(tokens, static_cast<std::int64_t>(tokens.size()), *request.plan));
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  auto impl = std::make_unique<Trace::Impl>(
      Trace::Impl{&model_,
                  tokens,
                  Tokens(request.answer.begin(), request.answer.end()),
                  *request.plan,
                  {},
                  {},
                  {},
                  {}});
  const std::int64_t begin = std::min(shared_length, prompt - 1);
  if (begin > 0) {
    ASSIGN_OR_RETURN(const SharedPrefix shared, share(request.prompt, begin));
    impl->prefix = shared.state_;
  }
  return guarded([&]() -> Result<Trace> {
    const Decoder& decoder = model_.decoder();
    const auto plan = std::make_shared<const BoundPlan>(
        *request.plan, at::TensorOptions().device(decoder.options().device()));
    impl->chunk = forced_chunk(request, begin);
    BatchState state;
    if (impl->prefix != nullptr) state = borrow(*impl->prefix, *plan, 0);
    std::vector<Segment> segments{{impl->chunk, plan, impl->prefix ? &state : nullptr, {}}};
    const std::vector<LayerRows> rows = all_rows(*request.plan, impl->chunk);
    at::Tensor x =
        decoder.embed(token_tensor(std::span(impl->tokens).subspan(static_cast<std::size_t>(begin)),
                                   decoder.options().device()));
    const Stopwatch watch;
    for (int layer = 0; layer < layout().layers; ++layer) {
      impl->inputs_NC.push_back(x);
      segments[0].rows = {rows[static_cast<std::size_t>(layer)]};
      x = decoder.run_layers(x, layer, layer + 1, segments);
    }
    segments[0].rows = rows;
    add_cost(*meter_, model_.shape(), segments, 0);
    impl->score = score_rows(decoder.logits(x), request.answer);
    ++meter_->evaluations;
    synchronize(decoder.options().device());
    meter_->seconds += watch.seconds();
    return Trace(std::move(impl));
  });
}

Result<std::vector<AnswerScore>> MeteredModel::resume(const Trace& trace, int layer,
                                                      std::span<const AttentionPlan> plans) {
  const Trace::Impl& impl = *trace.impl_;
  return guarded([&]() -> Result<std::vector<AnswerScore>> {
    const Decoder& decoder = model_.decoder();
    std::vector<Segment> segments;
    std::vector<at::Tensor> inputs;
    for (const AttentionPlan& plan : plans) {
      STRATA_CHECK(impl.chunk.begin <= shared_prefix(plan));
      auto bound = std::make_shared<const BoundPlan>(
          plan, at::TensorOptions().device(decoder.options().device()));
      Segment segment{impl.chunk, std::move(bound), nullptr, {}};
      segment.rows = plan_rows(plan, impl.chunk, layer);
      inputs.push_back(impl.inputs_NC[static_cast<std::size_t>(layer)].narrow(
          0, segment.rows[0].in_begin - impl.chunk.begin,
          impl.chunk.end - segment.rows[0].in_begin));
      segments.push_back(std::move(segment));
    }
    std::vector<BatchState> states(plans.size());
    if (impl.prefix != nullptr)
      for (std::size_t i = 0; i < plans.size(); ++i) {
        states[i] = borrow(*impl.prefix, *segments[i].plan, layer);
        segments[i].state = &states[i];
      }
    const at::Tensor x = inputs.size() == 1 ? inputs[0] : at::cat(inputs, 0);
    const at::Tensor top = run_metered(decoder, model_.shape(), x, layer, segments, *meter_);
    const at::Tensor logits = decoder.logits(top);
    std::vector<AnswerScore> scores;
    const auto count = static_cast<std::int64_t>(impl.answer.size());
    for (std::size_t i = 0; i < plans.size(); ++i) {
      scores.push_back(
          score_rows(logits.narrow(0, static_cast<std::int64_t>(i) * count, count), impl.answer));
      ++meter_->evaluations;
    }
    return scores;
  });
}

}  // namespace strata
