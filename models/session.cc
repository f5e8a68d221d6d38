// Sessions: prefill in chunks, teacher-forced answers after it, greedy generation.
#include <ATen/ops/argmax.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "core/rng.h"
#include "models/decoder/plan_binder.h"
#include "models/forward.h"
#include "models/model.h"
#include "models/sampling.h"

namespace strata {
namespace {

// Sequences of one length under one plan, stored side by side.
struct Batch {
  std::vector<std::size_t> members;  // of the session; [row] of the state
  std::shared_ptr<const BoundPlan> plan;
  std::int64_t prompt_length = 0;
  std::int64_t max_length = 0;
  BatchState state;
  at::Tensor last_logits_BV;

  std::int64_t size() const { return static_cast<std::int64_t>(members.size()); }
};

// The same sequences' keys and states in stores of their own; `parts` follow each other.
BatchState gather(std::span<const BatchState* const> parts, const BoundPlan& plan, bool pick_heads,
                  std::int64_t max_length) {
  BatchState state;
  for (std::size_t layer = 0; layer < parts[0]->layers.size(); ++layer) {
    std::vector<KvStore>& stores = state.layers.emplace_back();
    const std::vector<StoreGroup>& groups = plan.layer(static_cast<int>(layer)).stores;
    for (std::size_t i = 0; i < groups.size(); ++i) {
      std::vector<const KvStore*> from;
      for (const BatchState* part : parts) from.push_back(&part->layers[layer][pick_heads ? 0 : i]);
      stores.push_back(KvStore::gather(from, groups[i].retention,
                                       pick_heads ? groups[i].kv_index : at::Tensor(), max_length));
    }
    std::optional<LinearStore>& linear = state.linear.emplace_back();
    if (plan.layer(static_cast<int>(layer)).linear == nullptr) continue;
    std::vector<const LinearStore*> from;
    for (const BatchState* part : parts) from.push_back(&*part->linear[layer]);
    linear = LinearStore::gather(from);
  }
  return state;
}

}  // namespace

struct Session::Impl {
  const Model* model = nullptr;
  std::shared_ptr<Meter> meter;
  RunLimits limits;
  std::vector<Batch> batches;
  std::vector<double> prefill_seconds;  // [sequence]

  const Decoder& decoder() const { return model->decoder(); }
  at::Device device() const { return decoder().options().device(); }

  const Batch& batch_of(std::size_t sequence) const {
    return *std::find_if(batches.begin(), batches.end(), [&](const Batch& batch) {
      return std::find(batch.members.begin(), batch.members.end(), sequence) != batch.members.end();
    });
  }

  void note_peak() const {
    std::uint64_t bytes = 0;
    for (const Batch& batch : batches) bytes += batch.state.bytes();
    meter->peak_bytes = std::max(meter->peak_bytes, bytes);
  }

  // Runs segments whose input rows are the given tokens; returns the logits of the rows that are
  // read.
  at::Tensor run(std::span<Segment> segments, std::span<const TokenId> token_rows) const {
    const at::Tensor x = decoder().embed(token_tensor(token_rows, device()));
    const at::Tensor top = run_metered(decoder(), model->shape(), x, 0, segments, *meter);
    return top.size(0) == 0 ? at::Tensor() : decoder().logits(top);
  }

  // As many sequences at once as fit batch_rows.
  void prefill(std::span<const Request> requests, Batch& batch) {
    std::vector<at::Tensor> last_logits;
    for (std::int64_t begin = batch.state.length(); begin < batch.prompt_length;) {
      const std::int64_t end =
          chunk_end(batch.plan->plan(), begin, limits.prefill_chunk, batch.prompt_length);
      const std::int64_t at_once = std::max<std::int64_t>(1, limits.batch_rows / (end - begin));
      for (std::int64_t first = 0; first < batch.size(); first += at_once) {
        const std::int64_t count = std::min(at_once, batch.size() - first);
        const at::Tensor logits = prefill_chunk(requests, batch, {begin, end}, first, count);
        if (logits.defined()) last_logits.push_back(logits);
      }
      batch.state.advance(end);
      begin = end;
    }
    batch.last_logits_BV = at::cat(last_logits, 0);
  }

  at::Tensor prefill_chunk(std::span<const Request> requests, const Batch& batch,
                           std::pair<std::int64_t, std::int64_t> range, std::int64_t first,
                           std::int64_t count) {
    const Stopwatch watch;
    const auto [begin, end] = range;
    BatchState state = batch.state.sequences(first, count);
    const bool last = end == batch.prompt_length;
    const Chunk chunk{begin, end, batch.prompt_length, last ? end - 1 : end, true};
    Segment segment{chunk, batch.plan, &state, plan_rows(batch.plan->plan(), chunk), count};
    const auto members =
        std::span(batch.members)
            .subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
    Tokens tokens;
    for (const std::size_t index : members) {
      const std::span<const TokenId> prompt = requests[index].prompt;
      tokens.insert(tokens.end(), prompt.begin() + segment.rows[0].in_begin, prompt.begin() + end);
    }
    at::Tensor logits = run(std::span(&segment, 1), tokens);
    synchronize(device());
    for (const std::size_t index : members)
      prefill_seconds[index] += watch.seconds() / static_cast<double>(count);
    return logits;
  }
};

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

std::size_t Session::size() const { return impl_->prefill_seconds.size(); }

std::uint64_t Session::kv_bytes(std::size_t index) const {
  const Batch& batch = impl_->batch_of(index);
  return batch.state.bytes() / batch.members.size();
}

double Session::prefill_seconds(std::size_t index) const { return impl_->prefill_seconds[index]; }

Session Session::fork() const {
  auto impl = std::make_unique<Impl>();
  impl->model = impl_->model;
  impl->meter = impl_->meter;
  impl->limits = impl_->limits;
  impl->prefill_seconds = impl_->prefill_seconds;
  for (const Batch& from : impl_->batches) {
    const BatchState* const state = &from.state;
    Batch copy = from;
    copy.state = gather(std::span(&state, 1), *from.plan, false, from.max_length);
    impl->batches.push_back(std::move(copy));
  }
  return Session(std::move(impl));
}

namespace {

// Answers fed behind the prompts, for scoring: whole batches where their answers are equally long,
// else sequence by sequence.
struct FedAnswers {
  std::vector<BatchState> states;  // the segments point here
  std::vector<Segment> segments;
  Tokens tokens;
  // Per scored row range of the logits, in order: the sequence, its batch and its row there.
  struct Part {
    std::size_t sequence;
    const Batch* batch;
    std::int64_t row;
  };
  std::vector<Part> parts;

  void add(const Batch& batch, std::int64_t first, std::int64_t count,
           std::span<const Tokens> answers) {
    const auto begin_index = static_cast<std::size_t>(first);
    const auto fed = static_cast<std::int64_t>(answers[batch.members[begin_index]].size()) - 1;
    for (std::int64_t row = first; row < first + count; ++row) {
      const std::size_t sequence = batch.members[static_cast<std::size_t>(row)];
      parts.push_back({sequence, &batch, row});
      tokens.insert(tokens.end(), answers[sequence].begin(), answers[sequence].end() - 1);
    }
    if (fed == 0) return;
    const std::int64_t begin = batch.state.length();
    const Chunk chunk{begin, begin + fed, batch.prompt_length, begin, false};
    states.push_back(batch.state.sequences(first, count));
    segments.push_back({chunk, batch.plan, nullptr, plan_rows(batch.plan->plan(), chunk), count});
  }
};

}  // namespace

Result<std::vector<AnswerScore>> Session::score(std::span<const Tokens> answers) const {
  STRATA_CHECK(answers.size() == size(), "{} {}", answers.size(), size());
  return guarded([&]() -> Result<std::vector<AnswerScore>> {
    FedAnswers fed;
    for (const Batch& batch : impl_->batches) {
      bool equally_long = true;
      for (const std::size_t i : batch.members) {
        const auto length = static_cast<std::int64_t>(answers[i].size());
        if (length == 0)
          return fail(ErrorKind::kInvalidArgument, "answer {} is empty; expected at least 1 token",
                      i);
        const std::int64_t total = batch.state.length() + length - 1;
        if (total > impl_->model->shape().max_positions)
          return fail(ErrorKind::kInvalidArgument,
                      "prompt and answer are {} tokens long; the model has {} positions", total,
                      impl_->model->shape().max_positions);
        equally_long &= answers[i].size() == answers[batch.members[0]].size();
      }
      const std::int64_t step = equally_long ? batch.size() : 1;
      for (std::int64_t row = 0; row < batch.size(); row += step)
        fed.add(batch, row, step, answers);
    }
    for (std::size_t i = 0; i < fed.segments.size(); ++i) fed.segments[i].state = &fed.states[i];
    at::Tensor logits;
    if (!fed.segments.empty()) logits = impl_->run(fed.segments, fed.tokens);
    std::vector<AnswerScore> scores(size());
    std::int64_t row = 0;
    for (const FedAnswers::Part& part : fed.parts) {
      at::Tensor rows = part.batch->last_logits_BV.narrow(0, part.row, 1);
      const auto count = static_cast<std::int64_t>(answers[part.sequence].size()) - 1;
      if (count > 0) rows = at::cat({rows, logits.narrow(0, row, count)}, 0);
      row += count;
      scores[part.sequence] = score_rows(rows, answers[part.sequence]);
      ++impl_->meter->evaluations;
    }
    return scores;
  });
}

Result<std::vector<Tokens>> Session::generate(const GenerationSpec& spec) {
  return guarded([&]() -> Result<std::vector<Tokens>> {
    for (const Batch& batch : impl_->batches)
      if (batch.state.length() + spec.max_new_tokens - 1 > batch.max_length)
        return fail(ErrorKind::kInvalidArgument,
                    "max_new_tokens is {}; the session has room for {} more tokens",
                    spec.max_new_tokens, batch.max_length - batch.state.length());
    std::vector<Tokens> generated(size());
    std::vector<bool> ended(size(), false);
    std::vector<Batch*> active;
    active.reserve(impl_->batches.size());
    for (Batch& batch : impl_->batches) active.push_back(&batch);
    std::vector<Rng> streams;  // of each sequence
    for (std::size_t i = 0; spec.sampling && i < size(); ++i)
      streams.emplace_back(spec.sampling->seed,
                           fmt::format("sampled sequence {}",
                                       spec.sampling->first_stream + static_cast<std::int64_t>(i)));
    const auto next_tokens = [&](const at::Tensor& logits_NV, std::span<Batch* const> rows_of) {
      if (!spec.sampling) return logits_NV.argmax(1).to(at::kCPU, at::kInt);
      std::vector<double> uniforms;
      for (const Batch* batch : rows_of)
        for (const std::size_t i : batch->members) uniforms.push_back(streams[i].uniform());
      return sample_rows(logits_NV, spec.sampling->temperature, uniforms);
    };
    for (std::int64_t step = 0; step < spec.max_new_tokens && !active.empty(); ++step) {
      std::vector<at::Tensor> last;
      last.reserve(active.size());
      for (const Batch* batch : active) last.push_back(batch->last_logits_BV);
      const at::Tensor next = next_tokens(at::cat(last, 0), active);
      const TokenId* token = next.const_data_ptr<TokenId>();
      std::vector<Batch*> going;
      std::vector<Segment> segments;
      Tokens fed;
      for (Batch* batch : active) {
        const std::span<const TokenId> chosen(token, batch->members.size());
        token += batch->size();
        bool goes_on = false;
        for (std::size_t row = 0; row < chosen.size(); ++row) {
          const std::size_t i = batch->members[row];
          if (std::find(spec.stop.begin(), spec.stop.end(), chosen[row]) != spec.stop.end())
            ended[i] = true;
          if (!ended[i]) generated[i].push_back(chosen[row]);
          goes_on |= !ended[i];
        }
        if (!goes_on || step + 1 == spec.max_new_tokens) continue;
        const std::int64_t begin = batch->state.length();
        const Chunk chunk{begin, begin + 1, batch->prompt_length, begin, true};
        segments.push_back({chunk, batch->plan, &batch->state,
                            plan_rows(batch->plan->plan(), chunk), batch->size()});
        fed.insert(fed.end(), chosen.begin(), chosen.end());
        going.push_back(batch);
      }
      active = std::move(going);
      if (active.empty()) break;
      const at::Tensor logits = impl_->run(segments, fed);
      std::int64_t row = 0;
      for (Batch* batch : active) {
        batch->last_logits_BV = logits.narrow(0, row, batch->size());
        row += batch->size();
      }
    }
    return generated;
  });
}

Result<SharedPrefix> MeteredModel::share(std::span<const TokenId> prompt, std::int64_t length) {
  STRATA_CHECK(length >= 1 && length <= static_cast<std::int64_t>(prompt.size()), "{}", length);
  const AttentionPlan full = AttentionPlan::full(layout());
  RETURN_IF_ERROR(check(prompt, static_cast<std::int64_t>(prompt.size()), full));
  return guarded([&]() -> Result<SharedPrefix> {
    const Stopwatch watch;
    const Decoder& decoder = model_.decoder();
    const auto plan = decoder.bind(full);
    auto state = std::make_shared<BatchState>(decoder.make_state(*plan, length));
    while (state->length() < length) {
      const std::int64_t begin = state->length();
      const std::int64_t end = std::min(begin + limits_.prefill_chunk, length);
      std::vector<Segment> segments{
          {{begin, end, static_cast<std::int64_t>(prompt.size()), end, true},
           plan,
           state.get(),
           {}}};
      segments[0].rows = plan_rows(full, segments[0].chunk);
      const at::Tensor tokens = token_tensor(
          prompt.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
          decoder.options().device());
      run_metered(decoder, model_.shape(), decoder.embed(tokens), 0, segments, *meter_);
    }
    SharedPrefix prefix;
    prefix.state_ = std::move(state);
    prefix.length_ = length;
    prefix.seconds_ = watch.seconds();
    return prefix;
  });
}

Result<Session> MeteredModel::prefill(std::span<const Request> requests) {
  for (const Request& request : requests)
    RETURN_IF_ERROR(check(request.prompt,
                          static_cast<std::int64_t>(request.prompt.size()) + request.max_new_tokens,
                          *request.plan));
  return guarded([&]() -> Result<Session> {
    Session session(std::make_unique<Session::Impl>());
    Session::Impl& impl = *session.impl_;
    impl.model = &model_;
    impl.meter = meter_;
    impl.limits = limits_;
    // (plan, prompt's length, room, shared prefix's length) → requests
    using Key = std::tuple<std::string, std::size_t, std::int64_t, std::int64_t>;
    std::map<Key, std::vector<std::size_t>> groups;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const Request& request = requests[i];
      groups[{request.plan->id(), request.prompt.size(), request.max_new_tokens,
              request.prefix == nullptr ? 0 : request.prefix->length()}]
          .push_back(i);
      impl.prefill_seconds.push_back(request.prefix == nullptr ? 0 : request.prefix->seconds());
    }
    PlanBinder binder(model_.decoder());
    for (auto& [key, members] : groups) {
      const Request& request = requests[members[0]];
      Batch& batch = impl.batches.emplace_back();
      batch.plan = binder.bind(*request.plan);
      batch.prompt_length = static_cast<std::int64_t>(request.prompt.size());
      batch.max_length = batch.prompt_length + request.max_new_tokens;
      if (request.prefix != nullptr) {
        STRATA_CHECK(request.prefix->length() < batch.prompt_length &&
                     request.prefix->length() <= shared_prefix(*request.plan));
        std::vector<const BatchState*> prefixes;
        for (const std::size_t i : members) prefixes.push_back(requests[i].prefix->state_.get());
        batch.state = gather(prefixes, *batch.plan, true, batch.max_length);
      } else {
        batch.state = model_.decoder().make_state(*batch.plan, batch.max_length,
                                                  static_cast<std::int64_t>(members.size()));
      }
      batch.members = std::move(members);
    }
    for (Batch& batch : impl.batches) impl.prefill(requests, batch);
    impl.note_peak();
    return session;
  });
}

}  // namespace strata
