#include "benchmarks/longmemeval_builder.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "benchmarks/answer_checker.h"
#include "benchmarks/longmemeval_date.h"
#include "benchmarks/longmemeval_prompt.h"
#include "benchmarks/prompt.h"
#include "core/rng.h"

namespace strata {
namespace {

constexpr std::int64_t kDaysBefore = 30;
constexpr std::int64_t kDirectLimit = 500;  // of the published code
constexpr std::int64_t kConLimit = 800;
constexpr std::int64_t kRenumbering = 2;  // tokens that a session's number may take more or less

std::vector<std::string> accepted_answers(const LongMemEvalItem& item) {
  if (item.abstention)  // what follows says what the history tells instead
    return {item.answer.substr(0, std::min(item.answer.find(". "), item.answer.size()))};
  if (item.type == QuestionType::kSingleSessionPreference) return {item.answer};
  std::vector<std::string> answers = listed_answers(item.answer);
  std::erase_if(answers, [](const std::string& text) { return text.starts_with(kAnswerRange); });
  if (answers.empty()) answers.push_back(item.answer);
  return answers;
}

class Builder {
 public:
  Builder(const MemoryQuestion& question, const LongMemEvalConfig& config,
          const SampleRequest& request)
      : question_(question),
        item_(question.item),
        config_(config),
        request_(request),
        answers_(accepted_answers(item_)),
        shown_(by_date(item_.history)) {}

  Result<std::optional<Sample>> build() {
    while (true) {
      RETURN_IF_ERROR(encode());
      const std::int64_t excess = needed() - room();
      if (excess <= 0) return finish();
      if (config_.truncation == HistoryTruncation::kDrop) return std::nullopt;
      // A question without any history is none.
      if (config_.truncation == HistoryTruncation::kError || shown_.size() <= 1)
        return fail(too_long());
      leave_out(excess);
    }
  }

 private:
  std::int64_t limit() const {
    if (config_.generation_limit > 0) return config_.generation_limit;
    return config_.style == ReadingStyle::kCon ? kConLimit : kDirectLimit;
  }
  std::int64_t room() const {
    if (config_.max_tokens > 0) return config_.max_tokens;
    return request_.max_positions > 0 ? request_.max_positions
                                      : std::numeric_limits<std::int64_t>::max();
  }
  std::int64_t needed() const {
    return std::ssize(encoded_.prompt) + std::max(limit(), std::ssize(encoded_.answer));
  }

  Status encode() {
    prompt_ = reading_prompt(item_.history, shown_, config_.format, config_.style);
    const ChatMessage message{"user", prompt_.text};
    const std::string answer = (request_.chat.is_none() ? " " : "") + answers_.front();
    ASSIGN_OR_RETURN(encoded_, encode_prompt(request_.tokenizer, request_.chat,
                                             std::span(&message, 1), "", answer));
    begin_ = encoded_.text.find(prompt_.text);
    given_ = move_blank_tokens(request_.tokenizer, encoded_);
    return {};
  }

  Error too_long() const {
    Error error = make_error(
        ErrorKind::kInvalidArgument,
        "question {}: expected prompt and generation within {} tokens ({}), got {} + {}", item_.id,
        room(), config_.max_tokens > 0 ? "benchmark.max_tokens" : "the model's positions",
        encoded_.prompt.size(), needed() - std::ssize(encoded_.prompt));
    return std::move(error)
        .at("benchmark.truncation")
        .with_hint(config_.truncation == HistoryTruncation::kError
                       ? "nothing is cut off unless you say how: drop, oldest_sessions or "
                         "newest_sessions; or benchmark.sessions=K makes short histories"
                       : "its last session alone is too long; benchmark.truncation=drop leaves out "
                         "such questions");
  }

  bool has_places() const { return begin_ != std::string::npos && !encoded_.offsets.empty(); }
  // First and one past the last token of a range of the prompt's bytes, which is not empty.
  std::array<std::int64_t, 2> tokens_of(std::size_t begin, std::size_t end) const {
    return {encoded_.token_at(begin_ + begin), encoded_.token_at(begin_ + end - 1) + 1};
  }

  // Whole sessions from one end, as few as will do.
  void leave_out(std::int64_t excess) {
    const bool oldest = config_.truncation == HistoryTruncation::kOldestSessions;
    std::int64_t freed = 0;
    std::size_t count = 0;
    while (count + 1 < shown_.size() && (count == 0 || (has_places() && freed < excess))) {
      const std::size_t at = oldest ? count : shown_.size() - 1 - count;
      ++count;
      if (!has_places()) break;
      const auto tokens = tokens_of(prompt_.borders[at], prompt_.borders[at + 1]);
      freed += tokens[1] - tokens[0] + kRenumbering;
    }
    const auto cut = static_cast<std::ptrdiff_t>(count);
    const auto begin = oldest ? shown_.begin() : shown_.end() - cut;
    left_out_.insert(left_out_.end(), begin, begin + cut);
    shown_.erase(begin, begin + cut);
  }

  nlohmann::json evidence() const {
    nlohmann::json out = nlohmann::json::array();
    for (const EvidenceTurn& turn : item_.labels.turns) {
      const auto number = std::find(shown_.begin(), shown_.end(), turn.session) - shown_.begin();
      const TurnPlace place = prompt_.turns[turn.session][turn.turn];
      if (number == std::ssize(shown_)) continue;
      nlohmann::json entry = {{"session", number + 1}, {"turn", turn.turn + 1}};
      if (has_places() && place.end > place.begin) {
        const auto tokens = tokens_of(place.begin, place.end);
        entry["tokens"] = tokens;
        entry["distance"] = std::ssize(encoded_.prompt) - 1 - tokens[1];
      }
      out.push_back(std::move(entry));
    }
    return out;
  }

  nlohmann::json truncation() const {
    std::size_t evidence = 0;
    for (const std::size_t session : left_out_)
      evidence += item_.labels.sessions[session] ? 1U : 0U;
    return {{"policy", config::enum_name(config_.truncation)},
            {"sessions_left_out", left_out_.size()},
            {"evidence_sessions_left_out", evidence}};
  }

  nlohmann::json metadata() const {
    nlohmann::json ids = nlohmann::json::array();
    for (const std::size_t session : shown_) ids.push_back(question_.session_ids[session]);
    nlohmann::json out = {{"question_id", item_.id},
                          {"question_type", config::enum_name(item_.type)},
                          {"abstention", item_.abstention},
                          {"question", item_.history.question},
                          {"answer", item_.answer},
                          {"split", to_string(request_.split)},
                          {"format", config::enum_name(config_.format)},
                          {"style", config::enum_name(config_.style)},
                          {"session_count", shown_.size()},
                          {"session_ids", std::move(ids)},
                          {"evidence", evidence()},
                          {"truncation", truncation()},
                          {"generation_limit", limit()},
                          {"first_informative_query", std::ssize(encoded_.prompt) - 1},
                          {"first_answer_token", encoded_.answer.front()},
                          {"joint_tokenisation", encoded_.joint}};
    std::optional<std::int64_t> nearest, farthest;
    for (const nlohmann::json& entry : out["evidence"]) {
      if (!entry.contains("distance")) continue;
      const auto distance = entry["distance"].get<std::int64_t>();
      nearest = std::min(nearest.value_or(distance), distance);
      farthest = std::max(farthest.value_or(distance), distance);
    }
    if (!nearest) return out;
    out["distance"] = *nearest;
    out["distance_of_farthest"] = *farthest;
    if (request_.window > 0) {
      out["window"] = request_.window;
      out["beyond_window"] = *nearest >= request_.window;
    }
    return out;
  }

  Sample finish() {
    Sample sample;
    sample.metadata = metadata();
    sample.prompt = std::move(encoded_.prompt);
    sample.answer = std::move(encoded_.answer);
    sample.prompt_text = std::move(encoded_.text);
    sample.answers = std::move(answers_);
    sample.answer_given = std::move(given_);
    sample.cluster = "longmemeval/" + question_.group;
    set_content_id(sample, "longmemeval");
    return sample;
  }

  const MemoryQuestion& question_;
  const LongMemEvalItem& item_;
  const LongMemEvalConfig& config_;
  const SampleRequest& request_;
  std::vector<std::string> answers_;
  std::vector<std::size_t> shown_;
  std::vector<std::size_t> left_out_;
  ReadingPrompt prompt_;
  EncodedPrompt encoded_;
  std::string given_;
  std::size_t begin_ = 0;  // of the prompt, in the rendered text
};

}  // namespace

void set_distractors(MemoryQuestion& question, const std::vector<std::string>& distractors,
                     const std::map<std::string, DatedSession>& texts,
                     const LongMemEvalConfig& config, std::uint64_t seed) {
  const LongMemEvalItem& whole = question.item;
  std::vector<DatedSession> sessions;
  std::vector<std::string> ids;
  EvidenceLabels labels;
  std::set<std::string> missing(distractors.begin(), distractors.end());
  const bool own = config.distractors == Distractors::kOwn;
  std::int64_t first = std::numeric_limits<std::int64_t>::max();
  for (std::size_t s = 0; s < whole.history.sessions.size(); ++s) {
    const bool evidence = whole.labels.sessions[s];
    if (!evidence && (!own || missing.erase(question.session_ids[s]) == 0)) continue;
    for (const EvidenceTurn& turn : whole.labels.turns)
      if (turn.session == s) labels.turns.push_back({sessions.size(), turn.turn});
    labels.sessions.push_back(evidence);
    sessions.push_back(whole.history.sessions[s]);
    ids.push_back(question.session_ids[s]);
    if (evidence) first = std::min(first, *minutes_of_date(sessions.back().date));
  }
  if (!own) {
    const std::int64_t asked = *minutes_of_date(whole.history.question_date);
    const std::int64_t from = std::min(first, asked) - kDaysBefore * kMinutesPerDay;
    Rng rng(seed, fmt::format("longmemeval/dates/{}", whole.id));
    for (const std::string& id : distractors) {
      sessions.push_back(texts.at(id));
      sessions.back().date = date_of_minutes(rng.between(from, asked));
      ids.push_back(id);
      labels.sessions.push_back(false);
    }
  }
  question.item.history.sessions = std::move(sessions);
  question.item.labels = std::move(labels);
  question.session_ids = std::move(ids);
}

Result<std::optional<Sample>> build_memory_sample(const MemoryQuestion& question,
                                                  const LongMemEvalConfig& config,
                                                  const SampleRequest& request) {
  return Builder(question, config, request).build();
}

}  // namespace strata
