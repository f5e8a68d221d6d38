// LongMemEval's data files (xiaowu0162/LongMemEval, MIT): a JSON list of questions, each with a
// history of chat sessions; plain or gzip, one question in memory at a time.
//
// Gold labels (the turns' has_answer, the ids of evidence sessions, which begin with "answer_") are
// kept apart from what prompts are made of: ChatHistory has no room for them. Fields that an item
// has besides are ignored; those of a turn are refused, for what they would do to a prompt.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "benchmarks/json_items.h"
#include "benchmarks/longmemeval_types.h"
#include "core/result.h"
#include "models/tokenizer/chat_template.h"

namespace strata {

// Of a file, unpacked; the longest published one has 2.7 GB.
inline constexpr std::size_t kMaxDataBytes = std::size_t{16} << 30U;

struct DatedSession {
  std::string date;                // "2023/05/30 (Tue) 23:40"
  std::vector<ChatMessage> turns;  // "user" and "assistant"; a session may have none
};

// All that a prompt is made of.
struct ChatHistory {
  std::string question;
  std::string question_date;
  std::vector<DatedSession> sessions;  // in the file's order, which dates need not follow
};

struct EvidenceTurn {
  std::size_t session = 0;
  std::size_t turn = 0;
};

struct EvidenceLabels {
  std::vector<bool> sessions;       // for each of the history: it is one of the evidence
  std::vector<EvidenceTurn> turns;  // that are marked to hold the answer; may be none
};

struct LongMemEvalItem {
  std::string id;
  QuestionType type = QuestionType::kSingleSessionUser;
  bool abstention = false;  // the history does not tell, and the model should say so
  std::string answer;       // of a preference: what a good answer would heed
  ChatHistory history;
  EvidenceLabels labels;
};

class LongMemEvalReader {
 public:
  // Errors: kNotFound, kIo.
  static Result<LongMemEvalReader> open(const std::filesystem::path& path);
  // Reads `text`, which outlives the reader; `name` begins errors.
  static LongMemEvalReader of_text(std::string_view text, std::string name);

  // The next question; none behind the last. Errors name file, item (from 0, with its id where that
  // is known) and field: kInvalidFile, kIo. After an error, call no more.
  Result<std::optional<LongMemEvalItem>> next();

 private:
  LongMemEvalReader(JsonItems::Source source, std::string name)
      : items_(std::move(source)), name_(std::move(name)) {}

  JsonItems items_;
  std::string name_;
  std::set<std::string, std::less<>> ids_;
};

}  // namespace strata
