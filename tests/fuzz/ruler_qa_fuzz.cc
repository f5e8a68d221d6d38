// Questions that are taken, of either file, have texts, and documents that there are.
#include <set>

#include "benchmarks/ruler_qa.h"
#include "models/tokenizer/unicode.h"
#include "tests/fuzz/target.h"

namespace strata {

const fuzz::Format fuzz::kFormat{
    .name = "ruler_qa",
    .tokens =
        R"("data":[{"title":"t","paragraphs":[{"context":"c","qas":[]}]}] "is_impossible":false )"
        R"("answers":[{"text":"a"}] "context":[["t",["s"]]] "supporting_facts":[["t",0]] )"
        R"("_id":"i" "answer":"a" "question":"q" {} [] [[]] null 7 "")"};

namespace {

void check(const QaFile& file) {
  STRATA_CHECK(!file.questions.empty() && !file.documents.empty());
  std::set<std::string_view> texts;
  std::set<std::string_view> ids;
  for (const QaDocument& document : file.documents)
    STRATA_CHECK(unicode::is_valid_utf8(document.text) && texts.insert(document.text).second);
  for (const QaQuestion& question : file.questions) {
    STRATA_CHECK(!question.question.empty() && !question.answers.empty() && !question.own.empty());
    STRATA_CHECK(ids.insert(question.id).second);
    for (const std::size_t document : question.own) STRATA_CHECK(document < file.documents.size());
    STRATA_CHECK(!question.article || *question.article < file.articles.size());
  }
  for (const QaArticle& article : file.articles) {
    const std::set<std::size_t> once(article.documents.begin(), article.documents.end());
    STRATA_CHECK(once.size() == article.documents.size());
    STRATA_CHECK(once.empty() || *once.rbegin() < file.documents.size());
  }
  std::size_t asked = 0;
  for (const Split split : {Split::kCalibration, Split::kDevelopment, Split::kTest}) {
    const QaPool pool = qa_pool(file, split);
    STRATA_CHECK(pool.clusters.size() == pool.questions.size());
    asked += pool.questions.size() + static_cast<std::size_t>(pool.questions_removed);
  }
  STRATA_CHECK(asked == file.questions.size(), "{} {}", asked, file.questions.size());
}

}  // namespace
}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& read : {parse_squad(text, "data.json"), parse_hotpot(text, "data.json")}) {
    if (!read) {
      STRATA_CHECK(!read.error().text().empty());
      continue;
    }
    check(*read);
    fuzz::accepted = true;
  }
  return 0;
}
