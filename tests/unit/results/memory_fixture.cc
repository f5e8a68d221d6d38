#include "memory_fixture.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/sha256.h"
#include "results/reports/memory_facts.h"

namespace strata::test {

namespace {

struct Answered {
  SampleRow sample;
  std::optional<std::string> response;
  std::optional<double> contains;
  std::string cluster;
};

std::string record_answers(Store& store, const std::string& label,
                           const std::vector<Answered>& answers) {
  const auto layer = static_cast<int>(label.size()) % kLayout.layers;
  const AttentionPlan plan = plan_keeping({layer});
  must(store.record(model_row()));
  must(store.record(tokenizer_row()));
  must(store.record(plan_row(plan)));
  DataRow data{.id = {}, .benchmark = answers.at(0).sample.benchmark, .items = {}};
  std::vector<SampleRow> samples;
  for (const Answered& answer : answers) {
    samples.push_back(answer.sample);
    data.items.push_back({answer.sample.id, answer.cluster});
  }
  data.id = data_id(data);
  must(store.record(data, samples));
  const ExperimentRow experiment = experiment_row(plan, data);
  must(store.record(experiment));
  RunRow run = run_row(label, static_cast<int>(label.size()));
  run.benchmark = data.benchmark;
  run.experiment_id = experiment.id;
  const bool whole = std::all_of(answers.begin(), answers.end(),
                                 [](const Answered& answer) { return answer.response; });
  run.status = whole ? RunStatus::kDone : RunStatus::kInterrupted;
  run.finished = run.started;
  must(store.record(run));
  const ExecutionRow execution = execution_row(run.id);
  must(store.record(execution));
  for (const Answered& answer : answers) {
    if (!answer.response) continue;
    ResponseRow response = response_row(experiment.id, answer.sample.id, execution.id, 0.5);
    response.text = *answer.response;
    response.metrics = {{"answer_nll", 0.5}};
    if (answer.contains) response.metrics["gen_contains"] = *answer.contains;
    must(store.record(response));
  }
  return experiment.id;
}

}  // namespace

std::string record_memory_run(Store& store, const std::string& label,
                              const std::vector<MemoryAnswer>& answers) {
  std::vector<Answered> rows;
  for (const MemoryAnswer& answer : answers) {
    const nlohmann::json metadata = {{"question_id", answer.id},
                                     {"question_type", answer.type},
                                     {"question", answer.question},
                                     {"answer", answer.answer}};
    rows.push_back({{.id = sha256_hex("memory " + answer.id),
                     .benchmark = "longmemeval",
                     .prompt_text = "History … " + answer.question,
                     .prompt_tokens = 100,
                     .answers = {" " + answer.answer},
                     .metadata_json = metadata.dump()},
                    answer.response,
                    answer.contains,
                    answer.cluster});
  }
  return record_answers(store, label, rows);
}

std::string record_needle_run(Store& store, const std::string& label) {
  std::vector<Answered> rows;
  for (int i = 0; i < 3; ++i) {
    const nlohmann::json metadata = {{"cell", {{"length", 1000}, {"depth", 50 * i}}},
                                     {"question", "What is best?"}};
    rows.push_back({{.id = sha256_hex(fmt::format("needle {}", i)),
                     .benchmark = "niah_grid",
                     .prompt_text = "Essays … What is best?",
                     .prompt_tokens = 100,
                     .answers = {"Eat a sandwich."},
                     .metadata_json = metadata.dump()},
                    fmt::format("response {}", i),
                    0,
                    {}});
  }
  return record_answers(store, label, rows);
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
