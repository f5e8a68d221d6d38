// Questions on documents: texts byte for byte, both files' readers, splits, lengths.
#include "benchmarks/ruler_qa.h"

#include <cstdlib>
#include <set>

#include "benchmarks/bundled_text.h"
#include "models/tokenizer/tokenizer.h"
#include "ruler_fixture.h"

namespace strata {
namespace {

using nlohmann::json;
using Pointer = json::json_pointer;

std::filesystem::path data_file(const std::string& name) {
  const char* source = std::getenv("STRATA_SOURCE_DIR");
  return std::filesystem::path(source == nullptr ? "." : source) / "tests" / "data" / "ruler" /
         name;
}

json data_of(const std::string& name) {
  return json::parse(read_text_file(data_file(name), 1U << 20U).value());
}

RulerConfig qa(RulerTask task, std::int64_t length) {
  RulerConfig config = bundled_ruler(task, length);
  config.qa_file = data_file(task == RulerTask::kQa1 ? "squad.json" : "hotpotqa.json").string();
  return config;
}

// The documents of a prompt, in order; their numbers must be 1, 2, 3, …
std::vector<std::string> documents_of(const Sample& sample, const std::string& tail) {
  const std::string message = user_message(sample);
  EXPECT_TRUE(message.starts_with(kQaHead));
  EXPECT_TRUE(message.ends_with(tail));
  std::string context =
      "\n\n" + message.substr(kQaHead.size(), message.size() - kQaHead.size() - tail.size());
  std::vector<std::string> documents;
  while (!context.empty()) {
    const std::string header = fmt::format("\n\nDocument {}:\n", documents.size() + 1);
    if (!context.starts_with(header)) {
      ADD_FAILURE() << context.substr(0, 40);
      break;
    }
    const auto end = std::min(context.find("\n\nDocument ", header.size()), context.size());
    documents.push_back(context.substr(header.size(), end - header.size()));
    context.erase(0, end);
  }
  return documents;
}

TEST(RulerQa, TextsAreRulersByteForByte) {
  EXPECT_EQ(std::string(kQaHead) + "{context}" + qa_tail("{query}") + std::string(kQaAnswerPrefix),
            "Answer the question based on the given documents. Only give me the answer and do not "
            "output any other words.\n\nThe following are given documents.\n\n{context}\n\nAnswer "
            "the question based on the given documents. Only give me the answer and do not output "
            "any other words.\n\nQuestion: {query} Answer:");
}

TEST(RulerQa, SquadHasAnswerableQuestionsWithTheirArticle) {
  const QaFile file = parse_squad(data_of("squad.json").dump(), "f").value();
  EXPECT_EQ(file.documents.size(), 16U);
  EXPECT_EQ(file.questions.size(), 17U);  // one has no answer
  const QaQuestion& first = file.questions[0];
  EXPECT_EQ(first.question, "When was the lighthouse on the island of Lake Vennor built?");
  EXPECT_EQ(first.answers, (std::vector<std::string>{"1874", "in 1874", "1874"}));
  EXPECT_EQ(first.own, std::vector<std::size_t>{0});
  EXPECT_EQ(first.gold, std::vector<std::size_t>{0});
  EXPECT_EQ(file.articles.size(), 8U);
  EXPECT_EQ(file.articles[*first.article].title, "Lake_Vennor");
  EXPECT_EQ(file.articles[*first.article].documents, (std::vector<std::size_t>{0, 1}));
  for (const QaQuestion& question : file.questions)
    EXPECT_EQ(question.split, split_of(file.articles[*question.article].title));
}

TEST(RulerQa, HotpotJoinsTitleAndSentencesAndKnowsTheSupportingDocuments) {
  const QaFile file = parse_hotpot(data_of("hotpotqa.json").dump(), "f").value();
  EXPECT_EQ(file.questions.size(), 12U);
  EXPECT_EQ(file.documents.size(), 36U);  // the one that two questions have counts once
  const QaQuestion& first = file.questions[0];
  EXPECT_EQ(file.documents[first.own[0]].text,
            "Mara Quell\nMara Quell was a poet who grew up near the market of Tilver. Letters of "
            "Mara's were found under a floor in the spring.");
  EXPECT_EQ(first.answers, std::vector<std::string>{"walnut trees"});
  EXPECT_EQ(first.own.size(), 3U);
  EXPECT_EQ(first.gold, (std::vector<std::size_t>{first.own[0], first.own[1]}));
  EXPECT_EQ(file.questions[3].own.size(), 4U);
  EXPECT_EQ(file.questions[3].own[3], file.questions[4].own[2]);
}

TEST(RulerQa, APoolHasDocumentsOfItsSplitAndNoQuestionThatNeedsAnother) {
  for (const bool squad : {true, false}) {
    const QaFile file = squad ? parse_squad(data_of("squad.json").dump(), "f").value()
                              : parse_hotpot(data_of("hotpotqa.json").dump(), "f").value();
    std::size_t questions = 0;
    std::int64_t removed = 0;
    for (const Split split : {Split::kCalibration, Split::kDevelopment, Split::kTest}) {
      const QaPool pool = qa_pool(file, split);
      const std::set<std::size_t> documents(pool.documents.begin(), pool.documents.end());
      for (const std::size_t document : documents) EXPECT_EQ(file.documents[document].split, split);
      for (const std::size_t question : pool.questions)
        for (const std::size_t document : file.questions[question].own)
          EXPECT_TRUE(documents.contains(document));
      questions += pool.questions.size();
      removed += pool.questions_removed;
    }
    EXPECT_EQ(questions + static_cast<std::size_t>(removed), file.questions.size());
    EXPECT_GT(questions, file.questions.size() / 2);
  }
}

TEST(RulerQa, QuestionsWithADocumentInCommonAreACluster) {
  QaFile file;
  for (std::size_t i = 0; i < 4; ++i) {
    file.documents.push_back({fmt::format("Text {}.", i), Split::kTest});
    file.questions.push_back({fmt::format("q{}", i), "?", {"a"}, {i}, {}, {}, Split::kTest});
  }
  file.questions[3].own = {3, 1};
  file.questions[2].own = {2, 3};
  const QaPool pool = qa_pool(file, Split::kTest);
  ASSERT_EQ(pool.clusters.size(), 4U);
  EXPECT_NE(pool.clusters[0], pool.clusters[1]);
  EXPECT_EQ(pool.clusters[1], pool.clusters[2]);
  EXPECT_EQ(pool.clusters[1], pool.clusters[3]);
  file.documents[1].split = Split::kCalibration;
  EXPECT_EQ(qa_pool(file, Split::kTest).questions, (std::vector<std::size_t>{0, 2}));
  EXPECT_EQ(qa_pool(file, Split::kTest).questions_removed, 2);
}

void expect_samples(const Model& model, RulerTask task, const std::vector<std::int64_t>& lengths) {
  const RulerConfig file_config = qa(task, 1000);
  const std::string text = read_text_file(file_config.qa_file, 1U << 20U).value();
  const QaFile file =
      task == RulerTask::kQa1 ? parse_squad(text, "f").value() : parse_hotpot(text, "f").value();
  std::set<std::string> known;
  for (const QaDocument& document : file.documents)
    if (document.split == Split::kTest) known.insert(document.text);
  for (const std::int64_t length : lengths) {
    const RulerConfig config = qa(task, length);
    for (const Sample& sample : ruler_samples(config, model.request(0))) {
      expect_within(model, config, sample, 32);
      const auto question =
          std::find_if(file.questions.begin(), file.questions.end(),
                       [&](const QaQuestion& it) { return it.id == sample.metadata["question"]; });
      ASSERT_NE(question, file.questions.end());
      EXPECT_EQ(sample.answers, question->answers);
      const auto documents = documents_of(sample, qa_tail(question->question));
      EXPECT_EQ(std::ssize(documents), sample.metadata["units"]);
      for (const std::string& document : documents) EXPECT_TRUE(known.contains(document));
      for (const std::size_t own : question->own)
        EXPECT_GE(std::count(documents.begin(), documents.end(), file.documents[own].text), 1);
      const std::set<std::string> different(documents.begin(), documents.end());
      EXPECT_EQ(different.size() < documents.size(), sample.metadata["repeated"].get<bool>());
      for (const auto& needle : sample.metadata["needles"]) {
        const auto span = needle.get<std::array<std::int64_t, 2>>();
        const std::string gold = model.tokenizer.decode(
            Tokens(sample.prompt.begin() + span[0], sample.prompt.begin() + span[1]));
        EXPECT_TRUE(std::any_of(question->gold.begin(), question->gold.end(), [&](std::size_t it) {
          return gold.find(file.documents[it].text.substr(1)) != std::string::npos;
        })) << gold;
      }
      EXPECT_EQ(assistant_part(sample), std::string(kQaAnswerPrefix) + sample.answer_given);
    }
  }
}

TEST(RulerQa, PromptsHoldTheQuestionsDocumentsAndFitTheLength) {
  const Model model = small_model();
  expect_samples(model, RulerTask::kQa1, {900, 1500, 6000});
  expect_samples(model, RulerTask::kQa2, {1200, 6000});
}

TEST(RulerQa, PromptsHoldTheQuestionsDocumentsAndFitTheLengthWithSmolLm2) {
  SKIP_WITHOUT_SMOLLM2(model);
  expect_samples(*model, RulerTask::kQa1, {512, 4096});
  expect_samples(*model, RulerTask::kQa2, {512, 4096});
}

TEST(RulerQa, LmEvalRepeatsNoDocument) {
  const Model model = small_model();
  RulerConfig config = qa(RulerTask::kQa1, 20000);
  config.variant = RulerVariant::kLmEval;
  for (const Sample& sample : ruler_samples(config, model.request(0))) {
    EXPECT_EQ(sample.metadata["repeated"], false);
    EXPECT_GT(sample.metadata["shortfall"], 10000);
    EXPECT_EQ(assistant_part(sample), "Answer:" + sample.answer_given);
  }
}

TEST(RulerQa, SplitsShareNothingAndSamplesFollowFromTheSeed) {
  const Model model = small_model();
  for (const RulerTask task : {RulerTask::kQa1, RulerTask::kQa2}) {
    const RulerConfig config = qa(task, 1500);
    const auto all = ruler_samples(config, model.request(0, 3));
    const auto few = ruler_samples(config, model.request(2, 3));
    for (std::size_t i = 0; i < few.size(); ++i) EXPECT_EQ(few[i].id, all[i].id);
    const auto calibration = ruler_samples(config, model.request(0, 3, Split::kCalibration));
    const Status disjoint = check_disjoint(calibration, all);
    EXPECT_TRUE(disjoint.has_value()) << disjoint.error().text();
    EXPECT_FALSE(check_disjoint(few, all).has_value());
    std::set<std::string> questions;
    for (const Sample& sample : all) questions.insert(sample.metadata["question"]);
    EXPECT_EQ(questions.size(), all.size());
  }
}

TEST(RulerQa, WhatIsTooShortOrTooManyIsRefusedWithFigures) {
  const Model model = small_model();
  RulerConfig config = qa(RulerTask::kQa1, 100);
  const std::string error = ruler_error(config, model.request(2));
  config.length = length_named_by(error);
  EXPECT_EQ(ruler_samples(config, model.request(2)).size(), 2U);
  --config.length;
  EXPECT_NE(ruler_error(config, model.request(2)), "no error");
  config.length = 2000;
  EXPECT_NE(ruler_error(config, model.request(1000)).find("benchmark.samples: the test split of "),
            std::string::npos);
  config.qa_file.clear();
  EXPECT_EQ(ruler_error(config, model.request(1)),
            "benchmark.qa_file: expected ruler/squad.json, but STRATA_DATA is not set\n  hint: get "
            "dev-v2.0.json from https://rajpurkar.github.io/SQuAD-explorer/ and put it at "
            "$STRATA_DATA/ruler/squad.json, or name it by benchmark.qa_file");
  config.task = RulerTask::kQa2;
  SampleRequest request = model.request(1);
  const TempDir empty;
  request.data_dir = empty.path();
  EXPECT_EQ(ruler_error(config, request),
            "benchmark.qa_file: " + (empty.path() / "ruler/hotpotqa.json").string() +
                ": expected a file here, found none\n  hint: get hotpot_dev_distractor_v1.json "
                "from https://hotpotqa.github.io (or huggingface.co/datasets/namlh2004/hotpotqa) "
                "and put it at $STRATA_DATA/ruler/hotpotqa.json, or name it by benchmark.qa_file");
}

// One thing wrong at a place of a file that is right otherwise.
struct Damage {
  std::string at;    // JSON pointer
  json value;        // put there; discarded = taken away
  std::string text;  // the error behind the file's name
};
const json kTakenAway = json(json::value_t::discarded);

json damaged(json tree, const Damage& damage) {
  const Pointer at(damage.at);
  if (!damage.value.is_discarded())
    tree[at] = damage.value;
  else if (tree[at.parent_pointer()].is_array())
    tree[at.parent_pointer()].erase(std::stoull(at.back()));
  else
    tree[at.parent_pointer()].erase(at.back());
  return tree;
}

TEST(RulerQa, ADamagedSquadFileIsRefusedByItemAndField) {
  const json good = data_of("squad.json");
  const std::string q = "/data/1/paragraphs/0/qas/0";
  const std::string at_q = "data[1]: paragraphs[0]: qas[0]: ";
  for (const Damage& damage : std::vector<Damage>{
           {"/data", kTakenAway, "field 'data': expected a list, got none"},
           {"/data", "x", "field 'data': expected a list, got a string"},
           {"/data/2", 7, "data[2]: expected an object, got a number"},
           {"/data/2/title", kTakenAway, "data[2]: field 'title': expected a string, got none"},
           {"/data/2/title", "", "data[2]: field 'title': expected a string, got an empty string"},
           {"/data/2/paragraphs", json::object(),
            "data[2]: field 'paragraphs': expected a list, got an object"},
           {"/data/0/paragraphs/1", nullptr,
            "data[0]: paragraphs[1]: expected an object, got null"},
           {"/data/0/paragraphs/1/context", 5,
            "data[0]: paragraphs[1]: field 'context': expected a string, got a number"},
           {"/data/0/paragraphs/1/context", "",
            "data[0]: paragraphs[1]: field 'context': expected a string, got an empty string"},
           {"/data/0/paragraphs/0/qas", kTakenAway,
            "data[0]: paragraphs[0]: field 'qas': expected a list, got none"},
           {q, json::array({1}), at_q + "expected an object, got a list"},
           {q + "/is_impossible", kTakenAway,
            at_q + "field 'is_impossible': expected true or false, got none"},
           {q + "/is_impossible", "no",
            at_q + "field 'is_impossible': expected true or false, got a string"},
           {q + "/id", 12, at_q + "field 'id': expected a string, got a number"},
           {q + "/id", good[Pointer("/data/0/paragraphs/0/qas/0/id")],
            at_q + "field 'id': expected an id of its own, got '5f0000000000000000000001' a second "
                   "time"},
           {q + "/question", kTakenAway, at_q + "field 'question': expected a string, got none"},
           {q + "/question", json::array(),
            at_q + "field 'question': expected a string, got an empty list"},
           {q + "/answers", kTakenAway,
            at_q + "field 'answers': expected a list of at least one answer, got none"},
           {q + "/answers", json::array(),
            at_q + "field 'answers': expected a list of at least one answer, got an empty list"},
           {q + "/answers/0", "Ada", at_q + "answers[0]: expected an object, got a string"},
           {q + "/answers/0/text", kTakenAway,
            at_q + "answers[0]: field 'text': expected a string, got none"},
           {q + "/answers/0/text", "",
            at_q + "answers[0]: field 'text': expected a string, got an empty string"},
           {"/data", json::array(), "expected questions that have an answer, got none"}}) {
    const auto read = parse_squad(damaged(good, damage).dump(), "squad.json");
    ASSERT_FALSE(read.has_value()) << damage.at;
    EXPECT_EQ(read.error().text(), "squad.json: " + damage.text);
  }
}

TEST(RulerQa, ADamagedHotpotFileIsRefusedByItemAndField) {
  const json good = data_of("hotpotqa.json");
  const std::string id = good[0]["_id"];
  for (const Damage& damage : std::vector<Damage>{
           {"/3", "x", "item 3: expected an object, got a string"},
           {"/3/_id", kTakenAway, "item 3: field '_id': expected a string, got none"},
           {"/3/_id", id,
            "item 3: field '_id': expected an id of its own, got '" + id + "' a second time"},
           {"/3/question", 4.5, "item 3: field 'question': expected a string, got a number"},
           {"/3/answer", kTakenAway, "item 3: field 'answer': expected a string, got none"},
           {"/3/answer", json::array({"a"}),
            "item 3: field 'answer': expected a string, got a list"},
           {"/3/answer", "", "item 3: field 'answer': expected a string, got an empty string"},
           {"/3/context", kTakenAway,
            "item 3: field 'context': expected a list of at least one document, got none"},
           {"/3/context", json::array(),
            "item 3: field 'context': expected a list of at least one document, got an empty list"},
           {"/3/context", true,
            "item 3: field 'context': expected a list of at least one document, got a boolean"},
           {"/3/context/1", "Kessel",
            "item 3: context[1]: expected a title and a list of sentences, got a string"},
           {"/3/context/1", json::array({"Kessel"}),
            "item 3: context[1]: expected a title and a list of sentences, got a list"},
           {"/3/context/1/0", 9, "item 3: context[1][0]: expected a title, got a number"},
           {"/3/context/1/0", "", "item 3: context[1][0]: expected a title, got an empty string"},
           {"/3/context/1/1", "A sentence.",
            "item 3: context[1][1]: expected a list of sentences, got a string"},
           {"/3/context/1/1/0", nullptr, "item 3: context[1][1][0]: expected a sentence, got null"},
           {"/3/supporting_facts", "both",
            "item 3: field 'supporting_facts': expected a list, got a string"},
           {"/3/supporting_facts/1", json::array({"Brill"}),
            "item 3: supporting_facts[1]: expected a title and a number, got a list"},
           {"/3/supporting_facts/1", json::array({1, 2}),
            "item 3: supporting_facts[1]: expected a title and a number, got a list"}}) {
    const auto read = parse_hotpot(damaged(good, damage).dump(), "h.json");
    ASSERT_FALSE(read.has_value()) << damage.at;
    EXPECT_EQ(read.error().text(), "h.json: " + damage.text);
  }
  const auto error = [](std::string_view text) {
    const auto read = parse_hotpot(text, "h.json");
    return read ? "no error" : read.error().text();
  };
  EXPECT_EQ(error("[]"), "h.json: expected questions that have an answer, got none");
  EXPECT_EQ(error("{}"), "h.json: expected a list of questions, got an object");
  EXPECT_EQ(error("[{").substr(0, 31), "h.json: invalid JSON at byte 3");
  EXPECT_EQ(error(R"([{"_id": "a", "_id": "b"}])"),
            "h.json: field '_id': expected the field once, got it twice");
  EXPECT_EQ(error(std::string(200, '[')),
            "h.json: expected at most 128 levels of nesting, got more");
}

TEST(RulerQa, PublishedFilesAreRead) {
  const char* data = std::getenv("STRATA_DATA");
  const auto folder = std::filesystem::path(data == nullptr ? "" : data) / "ruler";
  if (data == nullptr || !std::filesystem::exists(folder / "squad.json"))
    GTEST_SKIP() << "no SQuAD: put dev-v2.0.json at $STRATA_DATA/ruler/squad.json";
  const QaFile file =
      parse_squad(read_text_file(folder / "squad.json", 64U << 20U).value(), "squad.json").value();
  EXPECT_EQ(file.questions.size(), 5928U);
  EXPECT_EQ(file.documents.size(), 1204U);
}

}  // namespace
}  // namespace strata
