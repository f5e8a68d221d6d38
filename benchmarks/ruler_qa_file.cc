#include "benchmarks/ruler_qa_file.h"

#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "benchmarks/bundled_text.h"
#include "core/json_reader.h"

namespace strata {
namespace {

using nlohmann::json;

tl::unexpected<Error> bad(const std::string& place, std::string_view expected,
                          std::string_view got) {
  return fail(make_error(ErrorKind::kInvalidFile, "expected {}, got {}", expected, got).at(place));
}

std::string kind_of(const json* value) {
  if (value == nullptr) return "none";
  if (value->is_string()) return value->empty() || *value == "" ? "an empty string" : "a string";
  if (value->is_array()) return value->empty() ? "an empty list" : "a list";
  if (value->is_object()) return "an object";
  if (value->is_null()) return "null";
  return fmt::format("a {}", value->type_name());
}

std::string field_of(const std::string& place, std::string_view field) {
  return fmt::format("{}: field '{}'", place, field);
}

// The field's value, of which `good` holds. `item` is any value.
template <typename Good>
Result<json*> member(json& item, std::string_view field, std::string_view expected,
                     const std::string& place, Good good) {
  if (!item.is_object()) return bad(place, "an object", kind_of(&item));
  const auto found = item.find(field);
  json* value = found == item.end() ? nullptr : &*found;
  if (value == nullptr || !good(*value))
    return bad(field_of(place, field), expected, kind_of(value));
  return value;
}

Result<std::string> text_in(json& item, std::string_view field, const std::string& place) {
  ASSIGN_OR_RETURN(json * value, member(item, field, "a string", place,
                                        [](const json& it) { return it.is_string() && it != ""; }));
  return std::move(value->get_ref<std::string&>());
}

Result<json*> list_in(json& item, std::string_view field, const std::string& place) {
  return member(item, field, "a list", place, [](const json& it) { return it.is_array(); });
}

// Documents by their text.
class Documents {
 public:
  explicit Documents(std::vector<QaDocument>& all) : all_(all) {}
  std::size_t add(std::string text, Split split) {
    const auto [known, fresh] = numbers_.try_emplace(std::move(text), all_.size());
    if (fresh) all_.push_back({known->first, split});
    return known->second;
  }

 private:
  std::vector<QaDocument>& all_;
  std::unordered_map<std::string, std::size_t> numbers_;
};

class SquadReader {
 public:
  explicit SquadReader(QaFile& out) : out_(out), documents_(out.documents) {}
  Status article(json& article, const std::string& place);

 private:
  Status questions(json& paragraph, std::size_t document, Split split, const std::string& place);
  Result<std::vector<std::string>> answers(json& question, const std::string& place);

  QaFile& out_;
  Documents documents_;
  std::unordered_set<std::string> ids_;
};

Result<std::vector<std::string>> SquadReader::answers(json& question, const std::string& place) {
  ASSIGN_OR_RETURN(json * list,
                   member(question, "answers", "a list of at least one answer", place,
                          [](const json& it) { return it.is_array() && !it.empty(); }));
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < list->size(); ++i) {
    ASSIGN_OR_RETURN(std::string text,
                     text_in((*list)[i], "text", fmt::format("{}: answers[{}]", place, i)));
    texts.push_back(std::move(text));
  }
  return texts;
}

Status SquadReader::questions(json& paragraph, std::size_t document, Split split,
                              const std::string& place) {
  ASSIGN_OR_RETURN(json * list, list_in(paragraph, "qas", place));
  for (std::size_t i = 0; i < list->size(); ++i) {
    json& item = (*list)[i];
    const std::string here = fmt::format("{}: qas[{}]", place, i);
    ASSIGN_OR_RETURN(const json* impossible,
                     member(item, "is_impossible", "true or false", here,
                            [](const json& it) { return it.is_boolean(); }));
    QaQuestion question;
    ASSIGN_OR_RETURN(question.id, text_in(item, "id", here));
    ASSIGN_OR_RETURN(question.question, text_in(item, "question", here));
    if (!ids_.insert(question.id).second)
      return bad(field_of(here, "id"), "an id of its own",
                 fmt::format("'{}' a second time", question.id));
    if (impossible->get<bool>()) continue;
    ASSIGN_OR_RETURN(question.answers, answers(item, here));
    question.own = {document};
    question.gold = {document};
    question.article = out_.articles.size() - 1;
    question.split = split;
    out_.questions.push_back(std::move(question));
  }
  return {};
}

Status SquadReader::article(json& article, const std::string& place) {
  ASSIGN_OR_RETURN(std::string title, text_in(article, "title", place));
  const Split split = split_of(title);
  out_.articles.push_back({std::move(title), {}});
  ASSIGN_OR_RETURN(json * paragraphs, list_in(article, "paragraphs", place));
  std::unordered_set<std::size_t> seen;
  for (std::size_t i = 0; i < paragraphs->size(); ++i) {
    const std::string here = fmt::format("{}: paragraphs[{}]", place, i);
    ASSIGN_OR_RETURN(std::string text, text_in((*paragraphs)[i], "context", here));
    const std::size_t document = documents_.add(std::move(text), split);
    if (seen.insert(document).second) out_.articles.back().documents.push_back(document);
    RETURN_IF_ERROR(questions((*paragraphs)[i], document, split, here));
  }
  return {};
}

// Titles of the supporting facts.
Result<std::unordered_set<std::string>> supporting_titles(json& item, const std::string& place) {
  std::unordered_set<std::string> titles;
  if (!item.contains("supporting_facts")) return titles;  // RULER does without
  ASSIGN_OR_RETURN(const json* facts, list_in(item, "supporting_facts", place));
  for (std::size_t i = 0; i < facts->size(); ++i) {
    const json& fact = (*facts)[i];
    if (!fact.is_array() || fact.size() != 2 || !fact[0].is_string())
      return bad(fmt::format("{}: supporting_facts[{}]", place, i), "a title and a number",
                 kind_of(&fact));
    titles.insert(fact[0].get<std::string>());
  }
  return titles;
}

// A title and the sentences under it: "title\nsentences", as RULER writes them.
Result<std::pair<std::string, std::string>> hotpot_document(const json& entry,
                                                            const std::string& place) {
  if (!entry.is_array() || entry.size() != 2)
    return bad(place, "a title and a list of sentences", kind_of(&entry));
  if (!entry[0].is_string() || entry[0] == "")
    return bad(place + "[0]", "a title", kind_of(&entry[0]));
  if (!entry[1].is_array()) return bad(place + "[1]", "a list of sentences", kind_of(&entry[1]));
  std::string text = entry[0].get<std::string>() + "\n";
  for (std::size_t i = 0; i < entry[1].size(); ++i) {
    const json& sentence = entry[1][i];
    if (!sentence.is_string())
      return bad(fmt::format("{}[1][{}]", place, i), "a sentence", kind_of(&sentence));
    text += sentence.get_ref<const std::string&>();
  }
  return std::pair{entry[0].get<std::string>(), std::move(text)};
}

Result<QaQuestion> hotpot_question(json& item, const std::string& place, Documents& documents) {
  QaQuestion question;
  ASSIGN_OR_RETURN(question.id, text_in(item, "_id", place));
  ASSIGN_OR_RETURN(question.question, text_in(item, "question", place));
  ASSIGN_OR_RETURN(std::string answer, text_in(item, "answer", place));
  question.answers.push_back(std::move(answer));
  question.split = split_of(question.id);
  ASSIGN_OR_RETURN(const auto titles, supporting_titles(item, place));
  ASSIGN_OR_RETURN(const json* context,
                   member(item, "context", "a list of at least one document", place,
                          [](const json& it) { return it.is_array() && !it.empty(); }));
  std::unordered_set<std::size_t> seen;
  for (std::size_t i = 0; i < context->size(); ++i) {
    ASSIGN_OR_RETURN(auto document,
                     hotpot_document((*context)[i], fmt::format("{}: context[{}]", place, i)));
    const std::size_t number = documents.add(std::move(document.second), question.split);
    if (!seen.insert(number).second) continue;
    question.own.push_back(number);
    if (titles.contains(document.first)) question.gold.push_back(number);
  }
  return question;
}

}  // namespace

Result<QaFile> parse_squad(std::string_view text, const std::string& name) {
  auto parsed = parse_json(text);
  if (!parsed) return fail(std::move(parsed).error().at(name));
  ASSIGN_OR_RETURN(json * articles, list_in(*parsed, "data", name));
  QaFile out;
  SquadReader reader(out);
  for (std::size_t i = 0; i < articles->size(); ++i)
    RETURN_IF_ERROR(reader.article((*articles)[i], fmt::format("{}: data[{}]", name, i)));
  if (out.questions.empty()) return bad(name, "questions that have an answer", "none");
  return out;
}

Result<QaFile> parse_hotpot(std::string_view text, const std::string& name) {
  auto parsed = parse_json(text);
  if (!parsed) return fail(std::move(parsed).error().at(name));
  if (!parsed->is_array()) return bad(name, "a list of questions", kind_of(&*parsed));
  QaFile out;
  Documents documents(out.documents);
  std::unordered_set<std::string> ids;
  for (std::size_t i = 0; i < parsed->size(); ++i) {
    const std::string place = fmt::format("{}: item {}", name, i);
    ASSIGN_OR_RETURN(QaQuestion question, hotpot_question((*parsed)[i], place, documents));
    if (!ids.insert(question.id).second)
      return bad(field_of(place, "_id"), "an id of its own",
                 fmt::format("'{}' a second time", question.id));
    out.questions.push_back(std::move(question));
  }
  if (out.questions.empty()) return bad(name, "questions that have an answer", "none");
  return out;
}

}  // namespace strata
