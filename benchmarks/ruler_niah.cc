#include "benchmarks/ruler_niah.h"

#include <fmt/format.h>

#include "core/result.h"

namespace strata {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

}  // namespace

RulerNiahTask ruler_niah_task(RulerTask task) {
  using enum RulerHaystack;
  using enum RulerWord;
  switch (task) {
    case RulerTask::kNiahSingle1: return {kNoise, kWords, kNumbers, 1, 1, 1};
    case RulerTask::kNiahSingle2: return {kEssay, kWords, kNumbers, 1, 1, 1};
    case RulerTask::kNiahSingle3: return {kEssay, kWords, kUuids, 1, 1, 1};
    case RulerTask::kNiahMultikey1: return {kEssay, kWords, kNumbers, 4, 1, 1};
    case RulerTask::kNiahMultikey2: return {kNeedle, kWords, kNumbers, 1, 1, 1};
    case RulerTask::kNiahMultikey3: return {kNeedle, kUuids, kUuids, 1, 1, 1};
    case RulerTask::kNiahMultivalue: return {kEssay, kWords, kNumbers, 1, 4, 1};
    case RulerTask::kNiahMultiquery: return {kEssay, kWords, kNumbers, 4, 1, 4};
    default: break;
  }
  STRATA_CHECK(false, "task {}", static_cast<int>(task));
  return {};
}

std::string_view ruler_word_name(RulerWord word) {
  switch (word) {
    case RulerWord::kWords: return "words";
    case RulerWord::kNumbers: return "numbers";
    case RulerWord::kUuids: return "uuids";
  }
  return "?";
}

std::string ruler_needle(RulerWord value_type, std::string_view key, std::string_view value) {
  return fmt::format("One of the special magic {} for {} is: {}.", ruler_word_name(value_type), key,
                     value);
}

RulerNiahTexts ruler_niah_texts(RulerWord value_type, std::string_view query, bool singular) {
  RulerNiahTexts texts = {
      "Some special magic {type} are hidden within the following text. Make sure to memorize it. I "
      "will quiz you about the {type} afterwards.\n",
      "\nWhat are all the special magic {type} for {query} mentioned in the provided text?",
      " The special magic {type} for {query} mentioned in the provided text are"};
  std::string_view type = ruler_word_name(value_type);
  if (singular) type.remove_suffix(1);
  for (std::string* text : {&texts.head, &texts.tail, &texts.answer_prefix}) {
    if (singular) {
      replace_all(*text, "Some", "A");
      replace_all(*text, "are all", "is");
      replace_all(*text, "are", "is");
    }
    replace_all(*text, "{type}", type);
    replace_all(*text, "{query}", query);
  }
  return texts;
}

}  // namespace strata
