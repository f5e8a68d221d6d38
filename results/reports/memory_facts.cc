#include "results/reports/memory_facts.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"

namespace strata {
namespace {

using nlohmann::json;

std::string trimmed(const std::string& text) {
  constexpr const char* kBlank = " \t\r\n\f\v";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

// LongMemEval's answers are strings, and integers in 32 places.
std::string text_at(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  return found->is_number_integer() ? found->dump() : std::string();
}

}  // namespace

std::optional<MemoryFacts> memory_facts(const SampleRow& sample) {
  json metadata = parse_json(sample.metadata_json).value_or(json());
  if (!metadata.is_object()) return std::nullopt;
  if (!metadata.contains("question_type") && metadata.contains("metadata")) {
    json own = metadata["metadata"];
    metadata = std::move(own);
    if (!metadata.is_object()) return std::nullopt;
  }
  MemoryFacts facts{.question_id = text_at(metadata, "question_id"),
                    .question_type = text_at(metadata, "question_type"),
                    .question = text_at(metadata, "question"),
                    .answer = text_at(metadata, "answer")};
  if (facts.answer.empty() && !sample.answers.empty()) facts.answer = trimmed(sample.answers[0]);
  const bool known = std::find(kQuestionTypes.begin(), kQuestionTypes.end(), facts.question_type) !=
                     kQuestionTypes.end();
  if (!known || facts.question_id.empty() || facts.question.empty() || facts.answer.empty())
    return std::nullopt;
  facts.abstention = facts.question_id.find("_abs") != std::string::npos;
  return facts;
}

}  // namespace strata
