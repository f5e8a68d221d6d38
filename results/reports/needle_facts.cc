#include "results/reports/needle_facts.h"

#include <nlohmann/json.hpp>

#include "core/json_reader.h"

namespace strata {

std::optional<NeedleFacts> needle_facts(const SampleRow& sample) {
  const auto metadata = parse_json(sample.metadata_json);
  if (!metadata || !metadata->is_object()) return std::nullopt;
  const auto cell = metadata->find("cell");
  if (cell == metadata->end() || !cell->is_object()) return std::nullopt;
  const auto length = cell->find("length"), depth = cell->find("depth");
  if (length == cell->end() || !length->is_number_integer() || depth == cell->end() ||
      !depth->is_number())
    return std::nullopt;
  NeedleFacts facts{length->get<std::int64_t>(), depth->get<double>(), {}, {}};
  const auto question = metadata->find("question");
  if (question != metadata->end() && question->is_string())
    facts.question = question->get<std::string>();
  if (!sample.answers.empty()) facts.answer = sample.answers[0];
  return facts;
}

}  // namespace strata
