#include <algorithm>
#include <numeric>

#include "benchmarks/ruler_qa.h"

namespace strata {
namespace {

// Questions with a document in common are a cluster, and what is a cluster with one of them.
class Clusters {
 public:
  explicit Clusters(std::size_t documents) : parents_(documents) {
    std::iota(parents_.begin(), parents_.end(), std::size_t{0});
  }
  std::size_t root(std::size_t document) {
    while (parents_[document] != document)
      document = parents_[document] = parents_[parents_[document]];
    return document;
  }
  void join(const std::vector<std::size_t>& documents) {
    for (const std::size_t document : documents) {
      const std::size_t a = root(documents[0]);
      const std::size_t b = root(document);
      parents_[std::max(a, b)] = std::min(a, b);
    }
  }

 private:
  std::vector<std::size_t> parents_;
};

}  // namespace

QaPool qa_pool(const QaFile& file, Split split) {
  QaPool pool;
  const auto usable = [&](std::size_t document) { return file.documents[document].split == split; };
  for (std::size_t i = 0; i < file.documents.size(); ++i)
    if (usable(i)) pool.documents.push_back(i);
  Clusters clusters(file.documents.size());
  for (std::size_t i = 0; i < file.questions.size(); ++i) {
    const QaQuestion& question = file.questions[i];
    if (question.split != split) continue;
    if (!std::all_of(question.own.begin(), question.own.end(), usable)) {
      ++pool.questions_removed;
      continue;
    }
    pool.questions.push_back(i);
    clusters.join(question.own);
  }
  for (const std::size_t i : pool.questions) {
    const QaQuestion& question = file.questions[i];
    pool.clusters.push_back(question.article
                                ? file.articles[*question.article].title
                                : fmt::format("document {}", clusters.root(question.own[0])));
  }
  return pool;
}

}  // namespace strata
