// Keys of benchmark=longmemeval: questions about a long history of chat sessions.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "benchmarks/longmemeval_types.h"
#include "core/config/fields.h"

namespace strata {

enum class HistoryFormat { kJson, kNl };
enum class ReadingStyle { kDirect, kCon };
enum class MemoryItems { kAll, kCheckable, kAnswerable, kShort, kAbstention };
enum class MemoryQuestions { kSplit, kAll };
enum class HistoryTruncation { kError, kDrop, kOldestSessions, kNewestSessions };
enum class Distractors { kOthers, kOwn };

struct LongMemEvalConfig {
  std::string path = "longmemeval/longmemeval_oracle.json.gz";
  MemoryItems items = MemoryItems::kCheckable;
  std::vector<QuestionType> types;
  MemoryQuestions questions = MemoryQuestions::kSplit;
  HistoryFormat format = HistoryFormat::kJson;
  ReadingStyle style = ReadingStyle::kDirect;
  std::int64_t sessions = 0;
  Distractors distractors = Distractors::kOthers;
  HistoryTruncation truncation = HistoryTruncation::kError;
  std::int64_t max_tokens = 0;
  std::int64_t generation_limit = 0;

  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("path", self.path,
          "one of LongMemEval's .json or .json.gz files; a relative path is one below STRATA_DATA");
    visit("items", self.items,
          "all; checkable: all but preferences, which no program can check; answerable: these "
          "without abstentions; short: answerable in five words; abstention");
    visit("types", self.types, "question types to ask; empty: all");
    visit("questions", self.questions,
          "split: those of the evaluated split; all: the whole file, as published (calibrate on "
          "another benchmark then)");
    visit("format", self.format, "how the history is written: json, or nl (role: text)");
    visit("style", self.style,
          "direct, or con (extract what is relevant, then reason): the published prompts");
    visit("sessions", self.sessions,
          "sessions of a history: the question's evidence and distractors; 0: as in the file",
          config::between(0, 100'000));
    visit("distractors", self.distractors,
          "with sessions: those of other questions, or own (the question's sessions without "
          "evidence)");
    visit("truncation", self.truncation,
          "what to do with a question whose history does not fit: error; drop the question; leave "
          "out oldest_sessions or newest_sessions, evidence or not");
    visit("max_tokens", self.max_tokens,
          "of prompt and generation together; 0: the model's positions",
          config::between(0, 1 << 24));
    visit("generation_limit", self.generation_limit,
          "tokens to generate; 0: as published, 500 direct and 800 con",
          config::between(0, 1 << 24));
  }
};

}  // namespace strata

template <>
struct strata::config::EnumTable<strata::HistoryFormat> {
  static constexpr std::array kNames = {
      std::pair{strata::HistoryFormat::kJson, std::string_view("json")},
      std::pair{strata::HistoryFormat::kNl, std::string_view("nl")}};
};
template <>
struct strata::config::EnumTable<strata::ReadingStyle> {
  static constexpr std::array kNames = {
      std::pair{strata::ReadingStyle::kDirect, std::string_view("direct")},
      std::pair{strata::ReadingStyle::kCon, std::string_view("con")}};
};
template <>
struct strata::config::EnumTable<strata::MemoryItems> {
  static constexpr std::array kNames = {
      std::pair{strata::MemoryItems::kAll, std::string_view("all")},
      std::pair{strata::MemoryItems::kCheckable, std::string_view("checkable")},
      std::pair{strata::MemoryItems::kAnswerable, std::string_view("answerable")},
      std::pair{strata::MemoryItems::kShort, std::string_view("short")},
      std::pair{strata::MemoryItems::kAbstention, std::string_view("abstention")}};
};
template <>
struct strata::config::EnumTable<strata::MemoryQuestions> {
  static constexpr std::array kNames = {
      std::pair{strata::MemoryQuestions::kSplit, std::string_view("split")},
      std::pair{strata::MemoryQuestions::kAll, std::string_view("all")}};
};
template <>
struct strata::config::EnumTable<strata::HistoryTruncation> {
  static constexpr std::array kNames = {
      std::pair{strata::HistoryTruncation::kError, std::string_view("error")},
      std::pair{strata::HistoryTruncation::kDrop, std::string_view("drop")},
      std::pair{strata::HistoryTruncation::kOldestSessions, std::string_view("oldest_sessions")},
      std::pair{strata::HistoryTruncation::kNewestSessions, std::string_view("newest_sessions")}};
};
template <>
struct strata::config::EnumTable<strata::Distractors> {
  static constexpr std::array kNames = {
      std::pair{strata::Distractors::kOthers, std::string_view("others")},
      std::pair{strata::Distractors::kOwn, std::string_view("own")}};
};
