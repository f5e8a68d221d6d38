#include "memory_fixture.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/sha256.h"
#include "results/reports/memory_facts.h"

namespace strata::test {

std::string record_memory_run(Store& store, const std::string& label,
                              const std::vector<MemoryAnswer>& answers) {
  const auto layer = static_cast<int>(label.size()) % kLayout.layers;
  const AttentionPlan plan = plan_keeping({layer});
  must(store.record(model_row()));
  must(store.record(tokenizer_row()));
  must(store.record(plan_row(plan)));
  DataRow data{.id = {}, .benchmark = "longmemeval", .items = {}};
  std::vector<SampleRow> samples;
  for (const MemoryAnswer& answer : answers) {
    const nlohmann::json metadata = {{"question_id", answer.id},
                                     {"question_type", answer.type},
                                     {"question", answer.question},
                                     {"answer", answer.answer}};
    samples.push_back({.id = sha256_hex("memory " + answer.id),
                       .benchmark = "longmemeval",
                       .prompt_text = "History … " + answer.question,
                       .prompt_tokens = 100,
                       .answers = {" " + answer.answer},
                       .metadata_json = metadata.dump()});
    data.items.push_back({samples.back().id, answer.cluster});
  }
  data.id = data_id(data);
  must(store.record(data, samples));
  const ExperimentRow experiment = experiment_row(plan, data);
  must(store.record(experiment));
  RunRow run = run_row(label, static_cast<int>(label.size()));
  run.benchmark = "longmemeval";
  run.experiment_id = experiment.id;
  const bool whole = std::all_of(answers.begin(), answers.end(),
                                 [](const MemoryAnswer& answer) { return answer.response; });
  run.status = whole ? RunStatus::kDone : RunStatus::kInterrupted;
  run.finished = run.started;
  must(store.record(run));
  const ExecutionRow execution = execution_row(run.id);
  must(store.record(execution));
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i].response) continue;
    ResponseRow response = response_row(experiment.id, samples[i].id, execution.id, 0.5);
    response.text = *answers[i].response;
    response.metrics = {{"answer_nll", 0.5}};
    if (answers[i].contains) response.metrics["gen_contains"] = *answers[i].contains;
    must(store.record(response));
  }
  return experiment.id;
}

std::vector<MemoryAnswer> six_answers() {
  std::vector<MemoryAnswer> out;
  for (std::size_t i = 0; i < kQuestionTypes.size(); ++i) {
    const std::string id =
        fmt::format("q{}{}", i + 1, i + 1 == kQuestionTypes.size() ? "_abs" : "");
    out.push_back({.id = id,
                   .type = std::string(kQuestionTypes[i]),
                   .question = "question of " + id,
                   .answer = "answer to " + id,
                   .response = " response to " + id});
  }
  return out;
}

}  // namespace strata::test
