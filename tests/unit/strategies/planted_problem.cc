#include "tests/unit/strategies/planted_problem.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "benchmarks/jsonl.h"
#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer.h"

namespace strata::testing {
namespace {

template <typename T>
T expect(Result<T> result) {
  STRATA_CHECK(result.has_value(), "{}", result.error().text());
  return *std::move(result);
}

std::filesystem::path folder_of(const std::string& name) {
  const char* build = std::getenv("STRATA_BINARY_DIR");
  return std::filesystem::path(build == nullptr ? "build" : build) / "planted" / name;
}

std::vector<Sample> all_questions(const std::filesystem::path& folder, Split split,
                                  const Tokenizer& tokenizer) {
  const ChatTemplate chat = expect(ChatTemplate::for_model(tokenizer, "none"));
  const auto benchmark = make_jsonl(
      {.path = (folder / "questions.jsonl").string(), .chat_template = PromptTemplate::kNone});
  return expect(benchmark->samples({.split = split, .tokenizer = tokenizer, .chat = chat}));
}

// The maker's, in whose order whole rounds are asked ("question 7").
int number_of(const Sample& sample) {
  return std::stoi(sample.metadata.at("id").get<std::string>().substr(sizeof("question")));
}

// How a question goes on: the family whose query a family's value becomes, or OUT.
using Chain = std::map<char, std::string>;

Chain chain_of(const nlohmann::json& truth) {
  Chain chain;
  for (const nlohmann::json& head : truth.at("heads"))
    if (!head.at("wrong"))
      chain[head.at("reads").get<std::string>()[0]] = head.at("writes").get<std::string>();
  return chain;
}

// Where the question's first binding is ("Abd" of "Ab"), and what it would be with another value: a
// word of the prompt is a token, behind BOS.
void note_needle(Sample& sample, const Chain& chain, const Tokenizer& tokenizer) {
  std::vector<std::string> words;
  std::istringstream text(sample.prompt_text);
  for (std::string word; text >> word;) words.push_back(word);
  STRATA_CHECK(words.size() + 1 == sample.prompt.size());
  const auto find = [&](const std::string& key) {
    return std::find_if(words.begin(), words.end(), [&](const std::string& word) {
      return word.size() == 3 && word.starts_with(key);
    });
  };
  const auto answer_of = [&](std::string binding) {
    for (std::string next = chain.at(binding[0]); next != "OUT"; next = chain.at(binding[0]))
      binding = *find(next.append(1, binding[2]));
    return binding[2];
  };
  const std::string asked = *find(words.back());
  const auto at = find(words.back()) - words.begin() + 1;
  sample.metadata["needle"] = {at, at + 1};
  std::string other = asked;
  do {
    other[2] = other[2] == 'l' ? 'a' : static_cast<char>(other[2] + 1);
  } while (answer_of(other) == answer_of(asked));
  const auto token = [&](const std::string& word) {
    const Tokens tokens = tokenizer.encode_plain(" " + word);
    STRATA_CHECK(tokens.size() == 1);
    return tokens[0];
  };
  STRATA_CHECK(token(asked) == sample.prompt[static_cast<std::size_t>(at)]);
  STRATA_CHECK(token(std::string(1, answer_of(asked))) == sample.answer[0]);
  sample.metadata["counterfactual"] = {{"tokens", {{static_cast<std::size_t>(at), token(other)}}},
                                       {"answer", {token(std::string(1, answer_of(other)))}}};
}

PlantedSelection selection_of(const nlohmann::json& json) {
  return {.granularity = expect(parse_granularity(json.at("granularity").get<std::string>())),
          .units = json.at("units"),
          .best = json.at("best"),
          .nll = json.at("nll"),
          .restore = json.at("restore"),
          .ablate = json.at("ablate")};
}

}  // namespace

const PlantedSelection& PlantedProblem::at(Granularity granularity) const {
  return *std::find_if(selections.begin(), selections.end(),
                       [&](const PlantedSelection& one) { return one.granularity == granularity; });
}

PlantedProblem load_planted(const std::string& name, const std::string& dtype) {
  const std::filesystem::path folder = folder_of(name);
  std::ifstream file(folder / "planted.json");
  STRATA_CHECK(file.good(), "no planted.json in {}: build planted_problems", folder.string());
  const nlohmann::json truth = nlohmann::json::parse(file);
  PlantedProblem problem;
  problem.model = expect(Model::load(folder, {.dtype = dtype}));
  const Tokenizer tokenizer = expect(Tokenizer::load(folder));
  problem.calibration.samples = all_questions(folder, Split::kCalibration, tokenizer);
  std::vector<Sample>& questions = problem.calibration.samples;
  std::sort(questions.begin(), questions.end(),
            [](const Sample& a, const Sample& b) { return number_of(a) < number_of(b); });
  const Chain chain = chain_of(truth);
  for (Sample& sample : questions) note_needle(sample, chain, tokenizer);
  problem.calibration.id = content_id(problem.calibration.samples);
  problem.test = all_questions(folder, Split::kTest, tokenizer);
  problem.cheap = {truth.at("window"), truth.at("sinks")};
  problem.nll_none = truth.at("nll").at("none");
  problem.nll_full = truth.at("nll").at("full");
  for (const nlohmann::json& one : truth.at("selections"))
    problem.selections.push_back(selection_of(one));
  return problem;
}

}  // namespace strata::testing
