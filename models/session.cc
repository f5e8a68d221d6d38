// Sessions: prefill in chunks, teacher-forced answers after it, greedy generation.
#include <ATen/ops/argmax.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <map>

#include "models/forward.h"
#include "models/model.h"

namespace strata {
namespace {

struct Sequence {
  SequenceState state;
  std::shared_ptr<const BoundPlan> plan;
  std::int64_t prompt_length = 0;
  std::int64_t max_length = 0;
  at::Tensor last_logits_1V;
  double prefill_seconds = 0;
};

std::shared_ptr<const BoundPlan> bind_once(
    std::map<std::string, std::shared_ptr<const BoundPlan>>& bound, const AttentionPlan& plan,
    const at::TensorOptions& options) {
  std::shared_ptr<const BoundPlan>& entry = bound[plan.id()];
  if (entry == nullptr)
    entry = std::make_shared<const BoundPlan>(plan, at::TensorOptions().device(options.device()));
  return entry;
}

// The shared prefix's keys, stored as the plan wants them.
SequenceState adopt(const SequenceState& prefix, const BoundPlan& plan, std::int64_t max_length) {
  SequenceState state;
  for (std::size_t layer = 0; layer < prefix.layers.size(); ++layer) {
    std::vector<KvStore>& stores = state.layers.emplace_back();
    for (const StoreGroup& group : plan.layer(static_cast<int>(layer)).stores)
      stores.push_back(prefix.layers[layer][0].copy(group.retention, group.kv_index, max_length));
  }
  return state;
}

SequenceState copy_of(const SequenceState& from, const BoundPlan& plan, std::int64_t max_length) {
  SequenceState state;
  for (std::size_t layer = 0; layer < from.layers.size(); ++layer) {
    std::vector<KvStore>& stores = state.layers.emplace_back();
    const auto& groups = plan.layer(static_cast<int>(layer)).stores;
    for (std::size_t i = 0; i < groups.size(); ++i)
      stores.push_back(from.layers[layer][i].copy(groups[i].retention, {}, max_length));
  }
  return state;
}

}  // namespace

struct Session::Impl {
  const Model* model = nullptr;
  std::shared_ptr<Meter> meter;
  RunLimits limits;
  std::vector<Sequence> sequences;

  const Decoder& decoder() const { return model->decoder(); }
  at::Device device() const { return decoder().options().device(); }

  void note_peak() const {
    std::uint64_t bytes = 0;
    for (const Sequence& sequence : sequences) bytes += sequence.state.bytes();
    meter->peak_kv_bytes = std::max(meter->peak_kv_bytes, bytes);
  }

  // Runs segments whose input rows are the given tokens; returns the logits of the rows that are
  // read.
  at::Tensor run(std::vector<Segment>& segments, const std::vector<at::Tensor>& token_rows) const {
    const at::Tensor x = decoder().embed(at::cat(token_rows, 0));
    const at::Tensor top = run_metered(decoder(), model->shape(), x, 0, segments, *meter);
    return top.size(0) == 0 ? at::Tensor() : decoder().logits(top);
  }

  // The next chunks of these sequences, together; their prompts are `requests`.
  void prefill_group(std::span<const Request> requests, std::span<const std::size_t> members) {
    const Stopwatch watch;
    std::vector<Segment> segments;
    std::vector<at::Tensor> token_rows;
    for (const std::size_t index : members) {
      Sequence& sequence = sequences[index];
      const std::int64_t begin = sequence.state.length();
      const std::int64_t end = std::min(begin + limits.prefill_chunk, sequence.prompt_length);
      const bool last = end == sequence.prompt_length;
      Segment segment{{begin, end, sequence.prompt_length, last ? end - 1 : end, true},
                      sequence.plan,
                      &sequence.state,
                      {}};
      segment.rows = plan_rows(sequence.plan->plan(), segment.chunk);
      const std::int64_t from = segment.rows[0].in_begin;
      token_rows.push_back(
          token_tensor(requests[index].prompt.subspan(static_cast<std::size_t>(from),
                                                      static_cast<std::size_t>(end - from)),
                       device()));
      segments.push_back(std::move(segment));
    }
    const at::Tensor logits = run(segments, token_rows);
    std::int64_t row = 0;
    for (std::size_t i = 0; i < members.size(); ++i) {
      Sequence& sequence = sequences[members[i]];
      if (segments[i].chunk.first_read < segments[i].chunk.end)
        sequence.last_logits_1V = logits.narrow(0, row++, 1).clone();
    }
    synchronize(device());
    for (const std::size_t index : members)
      sequences[index].prefill_seconds += watch.seconds() / static_cast<double>(members.size());
  }
};

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

std::size_t Session::size() const { return impl_->sequences.size(); }

std::uint64_t Session::kv_bytes(std::size_t index) const {
  return impl_->sequences[index].state.bytes();
}

double Session::prefill_seconds(std::size_t index) const {
  return impl_->sequences[index].prefill_seconds;
}

Session Session::fork() const {
  auto impl = std::make_unique<Impl>();
  impl->model = impl_->model;
  impl->meter = impl_->meter;
  impl->limits = impl_->limits;
  for (const Sequence& from : impl_->sequences) {
    Sequence& to = impl->sequences.emplace_back();
    to.plan = from.plan;
    to.prompt_length = from.prompt_length;
    to.max_length = from.max_length;
    to.last_logits_1V = from.last_logits_1V;
    to.prefill_seconds = from.prefill_seconds;
    to.state = copy_of(from.state, *from.plan, from.max_length);
  }
  return Session(std::move(impl));
}

Session Session::join(std::vector<Session> sessions) {
  STRATA_CHECK(!sessions.empty());
  Session joined = std::move(sessions[0]);
  for (std::size_t i = 1; i < sessions.size(); ++i)
    for (Sequence& sequence : sessions[i].impl_->sequences)
      joined.impl_->sequences.push_back(std::move(sequence));
  return joined;
}

Result<std::vector<AnswerScore>> Session::score(std::span<const Tokens> answers) const {
  STRATA_CHECK(answers.size() == size(), "{} {}", answers.size(), size());
  return guarded([&]() -> Result<std::vector<AnswerScore>> {
    std::vector<Segment> segments;
    std::vector<at::Tensor> token_rows;
    for (std::size_t i = 0; i < size(); ++i) {
      Sequence& sequence = impl_->sequences[i];
      if (answers[i].empty())
        return fail(ErrorKind::kInvalidArgument, "answer {} is empty; expected at least 1 token",
                    i);
      const std::int64_t begin = sequence.state.length();
      const auto fed = static_cast<std::int64_t>(answers[i].size()) - 1;
      if (begin + fed > impl_->model->shape().max_positions)
        return fail(ErrorKind::kInvalidArgument,
                    "prompt and answer are {} tokens long; the model has {} positions", begin + fed,
                    impl_->model->shape().max_positions);
      if (fed == 0) continue;
      Segment segment{{begin, begin + fed, sequence.prompt_length, begin, false},
                      sequence.plan,
                      &sequence.state,
                      {}};
      segment.rows = plan_rows(sequence.plan->plan(), segment.chunk);
      token_rows.push_back(token_tensor(std::span(answers[i]).first(static_cast<std::size_t>(fed)),
                                        impl_->device()));
      segments.push_back(std::move(segment));
    }
    at::Tensor logits;
    if (!segments.empty()) logits = impl_->run(segments, token_rows);
    std::vector<AnswerScore> scores;
    std::int64_t row = 0;
    for (std::size_t i = 0; i < size(); ++i) {
      at::Tensor rows = impl_->sequences[i].last_logits_1V;
      const auto fed = static_cast<std::int64_t>(answers[i].size()) - 1;
      if (fed > 0) rows = at::cat({rows, logits.narrow(0, row, fed)}, 0);
      row += fed;
      scores.push_back(score_rows(rows, answers[i]));
      ++impl_->meter->evaluations;
    }
    return scores;
  });
}

Result<std::vector<Tokens>> Session::generate(const GenerationSpec& spec) {
  return guarded([&]() -> Result<std::vector<Tokens>> {
    std::vector<Tokens> generated(size());
    std::vector<std::size_t> active;
    for (std::size_t i = 0; i < size(); ++i) {
      const Sequence& sequence = impl_->sequences[i];
      if (sequence.state.length() + spec.max_new_tokens - 1 > sequence.max_length)
        return fail(ErrorKind::kInvalidArgument,
                    "max_new_tokens is {}; the session has room for {} more tokens",
                    spec.max_new_tokens, sequence.max_length - sequence.state.length());
      active.push_back(i);
    }
    for (std::int64_t step = 0; step < spec.max_new_tokens && !active.empty(); ++step) {
      std::vector<at::Tensor> last;
      for (const std::size_t i : active) last.push_back(impl_->sequences[i].last_logits_1V);
      const at::Tensor next = at::cat(last, 0).argmax(1).to(at::kCPU, at::kInt);
      std::vector<std::size_t> going;
      std::vector<Segment> segments;
      std::vector<at::Tensor> token_rows;
      for (std::size_t k = 0; k < active.size(); ++k) {
        const TokenId token = next.const_data_ptr<TokenId>()[k];
        if (std::find(spec.stop.begin(), spec.stop.end(), token) != spec.stop.end()) continue;
        generated[active[k]].push_back(token);
        if (step + 1 == spec.max_new_tokens) continue;
        Sequence& sequence = impl_->sequences[active[k]];
        const std::int64_t begin = sequence.state.length();
        Segment segment{{begin, begin + 1, sequence.prompt_length, begin, true},
                        sequence.plan,
                        &sequence.state,
                        {}};
        segment.rows = plan_rows(sequence.plan->plan(), segment.chunk);
        segments.push_back(std::move(segment));
        token_rows.push_back(token_tensor(std::span(&token, 1), impl_->device()));
        going.push_back(active[k]);
      }
      active = std::move(going);
      if (active.empty()) break;
      const at::Tensor logits = impl_->run(segments, token_rows);
      for (std::size_t k = 0; k < active.size(); ++k)
        impl_->sequences[active[k]].last_logits_1V =
            logits.narrow(0, static_cast<std::int64_t>(k), 1);
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
    const auto plan = std::make_shared<const BoundPlan>(
        full, at::TensorOptions().device(decoder.options().device()));
    auto state = std::make_shared<SequenceState>(decoder.make_state(*plan, length));
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
    std::map<std::string, std::shared_ptr<const BoundPlan>> bound;
    for (const Request& request : requests) {
      Sequence& sequence = impl.sequences.emplace_back();
      sequence.plan = bind_once(bound, *request.plan, model_.decoder().options());
      sequence.prompt_length = static_cast<std::int64_t>(request.prompt.size());
      sequence.max_length = sequence.prompt_length + request.max_new_tokens;
      if (request.prefix != nullptr) {
        STRATA_CHECK(request.prefix->length() < sequence.prompt_length &&
                     request.prefix->length() <= shared_prefix(*request.plan));
        sequence.state = adopt(*request.prefix->state_, *sequence.plan, sequence.max_length);
        sequence.prefill_seconds = request.prefix->seconds();
      } else {
        sequence.state = model_.decoder().make_state(*sequence.plan, sequence.max_length);
      }
    }
    // Chunks of as many sequences as fit batch_rows run together.
    std::vector<std::size_t> group;
    std::int64_t rows = 0;
    const auto flush = [&] {
      if (!group.empty()) impl.prefill_group(requests, group);
      group.clear();
      rows = 0;
    };
    for (bool more = true; more;) {
      more = false;
      for (std::size_t i = 0; i < impl.sequences.size(); ++i) {
        const Sequence& sequence = impl.sequences[i];
        const std::int64_t left = sequence.prompt_length - sequence.state.length();
        if (left == 0) continue;
        const std::int64_t next = std::min(left, limits_.prefill_chunk);
        more |= left > next;
        if (rows + next > limits_.batch_rows) flush();
        group.push_back(i);
        rows += next;
      }
      flush();
    }
    impl.note_peak();
    return session;
  });
}

}  // namespace strata
