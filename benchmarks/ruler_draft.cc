#include "benchmarks/ruler_draft.h"

#include <set>

namespace strata {
namespace {

constexpr int kMaxRounds = 12;

Result<RulerFit> attempt(const RulerRoom& room, RulerDraft& draft, std::int64_t units) {
  RulerFit fit;
  ASSIGN_OR_RETURN(fit.text, draft.text(units));
  const RulerText& text = fit.text;
  const ChatMessage message{"user", text.head + text.context + text.tail};
  ASSIGN_OR_RETURN(fit.encoded,
                   encode_prompt(room.request.tokenizer, room.request.chat, std::span(&message, 1),
                                 text.answer_prefix, text.answer));
  const auto content = fit.encoded.text.find(message.content);
  if (content == std::string::npos)
    fit.encoded.offsets.clear();  // the template rewrote it: no place is known
  else
    fit.context_begin = content + text.head.size();
  fit.answer_given = move_blank_tokens(room.request.tokenizer, fit.encoded);
  fit.units = units;
  fit.limit = room.limit;
  return fit;
}

// The most units whose counts are at most `budget`, at least the draft's fewest.
std::int64_t units_within(RulerDraft& draft, std::int64_t budget) {
  std::int64_t low = draft.min_units();
  const std::int64_t last = draft.max_units();
  std::int64_t step = 1;
  while (low < last && draft.tokens(std::min(low + step, last)) <= budget) {
    low = std::min(low + step, last);
    step *= 2;
  }
  std::int64_t high = std::min(low + step, last);  // does not fit, unless it is `low`
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (draft.tokens(middle) <= budget ? low : high) = middle;
  }
  return low;
}

}  // namespace

std::int64_t RulerRoom::needed(const RulerFit& fit) const {
  return fit.length() + (answer_counts ? std::ssize(fit.encoded.answer) : 0);
}

std::array<std::int64_t, 2> RulerFit::tokens_of(std::array<std::size_t, 2> bytes) const {
  const std::int64_t first = encoded.token_at(context_begin + bytes[0]);
  return {first, bytes[1] > bytes[0] ? encoded.token_at(context_begin + bytes[1] - 1) + 1 : first};
}

Result<RulerFit> smallest_fit(const RulerRoom& room, RulerDraft& draft) {
  return attempt(room, draft, draft.min_units());
}

Result<std::optional<RulerFit>> fit_units(const RulerRoom& room, RulerDraft& draft) {
  const std::int64_t fewest = draft.min_units();
  ASSIGN_OR_RETURN(RulerFit best, attempt(room, draft, fewest));
  if (room.needed(best) > room.length) return std::nullopt;
  // What the whole takes beyond the counts; learnt anew from each whole.
  std::int64_t beyond = room.needed(best) - draft.tokens(fewest);
  std::set<std::int64_t> tried = {fewest};
  for (int round = 0; round < kMaxRounds; ++round) {
    const std::int64_t units = units_within(draft, room.length - beyond);
    if (!tried.insert(units).second) break;
    ASSIGN_OR_RETURN(RulerFit now, attempt(room, draft, units));
    beyond = room.needed(now) - draft.tokens(units);
    if (room.needed(now) <= room.length && now.units > best.units) best = std::move(now);
  }
  return best;
}

std::int64_t tokens_behind(const Tokenizer& tokenizer, std::string_view before,
                           std::string_view text) {
  const auto alone = tokenizer.encode_plain(before).size();
  const auto both = tokenizer.encode_plain(std::string(before) + std::string(text)).size();
  return static_cast<std::int64_t>(both) - static_cast<std::int64_t>(alone);
}

std::string join_names(const std::vector<std::string>& names) {
  if (names.size() < 2) return names.empty() ? "" : names[0];
  return fmt::format("{}, and {}", fmt::join(names.begin(), names.end() - 1, ", "), names.back());
}

}  // namespace strata
