// The six types of LongMemEval's questions, by the names that its files have.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "core/config/fields.h"

namespace strata {

enum class QuestionType {
  kSingleSessionUser,
  kSingleSessionAssistant,
  kSingleSessionPreference,
  kMultiSession,
  kTemporalReasoning,
  kKnowledgeUpdate,
};

}  // namespace strata

template <>
struct strata::config::EnumTable<strata::QuestionType> {
  static constexpr std::array kNames = {
      std::pair{QuestionType::kSingleSessionUser, std::string_view("single-session-user")},
      std::pair{QuestionType::kSingleSessionAssistant,
                std::string_view("single-session-assistant")},
      std::pair{QuestionType::kSingleSessionPreference,
                std::string_view("single-session-preference")},
      std::pair{QuestionType::kMultiSession, std::string_view("multi-session")},
      std::pair{QuestionType::kTemporalReasoning, std::string_view("temporal-reasoning")},
      std::pair{QuestionType::kKnowledgeUpdate, std::string_view("knowledge-update")}};
};
