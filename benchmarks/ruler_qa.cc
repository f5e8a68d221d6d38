#include "benchmarks/ruler_qa.h"

#include <algorithm>
#include <unordered_set>

#include "benchmarks/packed_file.h"
#include "benchmarks/ruler_source.h"
#include "core/rng.h"
#include "models/tokenizer/tokenizer.h"

namespace strata {
namespace {

// One split's questions, and what its documents cost.
struct QaTask {
  QaFile file;
  QaPool pool;
  std::vector<std::int64_t> document_tokens;  // by number of the file
  std::vector<std::string> names;             // "document 0123456789abcdef", by its content
  std::vector<std::int64_t> header_sums;      // of the first n headers
};

std::string header(std::size_t number) { return fmt::format("Document {}:\n", number); }

class QaDraft final : public RulerDraft {
 public:
  QaDraft(const RulerSetting& setting, const QaTask& task, std::size_t place, std::int64_t index);
  std::int64_t min_units() const override { return std::ssize(question_.own); }
  std::int64_t max_units() const override {
    // RULER repeats the documents where they do not suffice, lm_eval does not.
    return setting_.lm_eval() ? std::ssize(order_) : kEndless;
  }
  std::int64_t tokens(std::int64_t units) override;
  Result<RulerText> text(std::int64_t units) override;

 private:
  const RulerSetting setting_;
  const QaTask& task_;
  const QaQuestion& question_;
  const std::string cluster_;
  const std::string stream_;
  std::vector<std::size_t> order_;  // own, related, then the others of the split
  std::vector<std::int64_t> sums_;
};

QaDraft::QaDraft(const RulerSetting& setting, const QaTask& task, std::size_t place,
                 std::int64_t index)
    : setting_(setting),
      task_(task),
      question_(task.file.questions[task.pool.questions[place]]),
      cluster_(task.pool.clusters[place]),
      stream_(setting.stream(index)),
      order_(question_.own) {
  Rng rng(setting.request.seed, stream_ + "/documents");
  const auto& pool = task.pool.documents;  // ascending
  std::vector<std::size_t> related;
  if (question_.article)
    for (const std::size_t document : task.file.articles[*question_.article].documents)
      if (document != question_.own[0] && std::binary_search(pool.begin(), pool.end(), document))
        related.push_back(document);
  rng.shuffle(related);
  order_.insert(order_.end(), related.begin(), related.end());
  const std::unordered_set<std::size_t> taken(order_.begin(), order_.end());
  std::vector<std::size_t> others;
  for (const std::size_t document : pool)
    if (!taken.contains(document)) others.push_back(document);
  rng.shuffle(others);
  order_.insert(order_.end(), others.begin(), others.end());
  sums_.push_back(0);
  for (const std::size_t document : order_)
    sums_.push_back(sums_.back() + task.document_tokens[document]);
}

std::int64_t QaDraft::tokens(std::int64_t units) {
  const auto all = std::ssize(order_);
  const auto headers = std::ssize(task_.header_sums) - 1;
  return units / all * sums_.back() + sums_[static_cast<std::size_t>(units % all)] +
         task_.header_sums[static_cast<std::size_t>(std::min(units, headers))] +
         std::max<std::int64_t>(0, units - headers);
}

Result<RulerText> QaDraft::text(std::int64_t units) {
  std::vector<std::size_t> documents;
  for (std::size_t i = 0; i < static_cast<std::size_t>(units); ++i)
    documents.push_back(order_[i % order_.size()]);
  Rng(setting_.request.seed, stream_ + "/places").shuffle(documents);
  RulerText text;
  text.head = kQaHead;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    text.context += (i == 0 ? "" : "\n\n") + header(i + 1);
    const std::string& document = task_.file.documents[documents[i]].text;
    if (std::count(question_.gold.begin(), question_.gold.end(), documents[i]) > 0) {
      text.asked.push_back(text.evidence.size());
      text.evidence.push_back({text.context.size(), text.context.size() + document.size()});
    }
    text.context += document;
  }
  text.tail = qa_tail(question_.question);
  text.answer_prefix = ruler_answer_prefix(setting_, std::string(kQaAnswerPrefix));
  text.references = question_.answers;
  text.answer = " " + question_.answers[0];
  text.cluster = cluster_;
  // Whole documents are what splits share none of, looked for by their hashes: Wikipedia's phrases
  // are everywhere.
  std::vector<std::string> own;
  for (const std::size_t document : std::unordered_set(documents.begin(), documents.end()))
    own.push_back(task_.names[document]);
  std::sort(own.begin(), own.end());
  own.push_back(question_.id);
  text.metadata = {{"own_words", std::move(own)},
                   {"question", question_.id},
                   {"fixed_wording", true},
                   {"repeated", units > std::ssize(order_)},
                   {"source",
                    {{"kind", "documents"},
                     {"documents", order_.size()},
                     {"questions_removed", task_.pool.questions_removed}}}};
  if (question_.article)
    text.metadata["source"]["article"] = task_.file.articles[*question_.article].title;
  return text;
}

class QaSource final : public RulerSource {
 public:
  QaSource(const RulerSetting& setting, QaTask task) : setting_(setting), task_(std::move(task)) {
    const std::size_t all = task_.pool.questions.size();
    // RULER asks in the order of the file: the first of SQuAD's are all about one article.
    order_ = Rng(setting.request.seed, setting.stream(-1)).sample(all, all);
  }
  std::int64_t size() const override { return std::ssize(order_); }
  Result<std::unique_ptr<RulerDraft>> draft(std::int64_t index) const override {
    return std::make_unique<QaDraft>(setting_, task_, order_[static_cast<std::size_t>(index)],
                                     index);
  }

 private:
  const RulerSetting setting_;
  const QaTask task_;
  std::vector<std::size_t> order_;
};

struct QaText {
  std::string name;
  std::string text;
};

Result<QaText> read_qa_text(const RulerConfig& config, const SampleRequest& request) {
  const bool squad = config.task == RulerTask::kQa1;
  const std::string hint =
      squad ? "get dev-v2.0.json from https://rajpurkar.github.io/SQuAD-explorer/ and put it at "
              "$STRATA_DATA/ruler/squad.json, or name it by benchmark.qa_file"
            : "get hotpot_dev_distractor_v1.json from https://hotpotqa.github.io (or "
              "huggingface.co/datasets/namlh2004/hotpotqa) and put it at "
              "$STRATA_DATA/ruler/hotpotqa.json, or name it by benchmark.qa_file";
  std::filesystem::path path = config.qa_file;
  if (path.empty()) {
    const std::string name = squad ? "ruler/squad.json" : "ruler/hotpotqa.json";
    if (request.data_dir.empty())
      return fail(make_error(ErrorKind::kNotFound, "expected {}, but STRATA_DATA is not set", name)
                      .at("benchmark.qa_file")
                      .with_hint(hint));
    path = request.data_dir / name;
  }
  auto text = read_maybe_gzip(path);
  if (text) return QaText{path.string(), *std::move(text)};
  const bool missing = text.error().kind == ErrorKind::kNotFound;
  Error error = std::move(text).error().at("benchmark.qa_file");
  return fail(missing ? std::move(error).with_hint(hint) : std::move(error));
}

}  // namespace

std::string qa_tail(std::string_view question) {
  return fmt::format(
      "\n\nAnswer the question based on the given documents. Only give me the answer and do not "
      "output any other words.\n\nQuestion: {}",
      question);
}

Result<std::unique_ptr<RulerSource>> make_qa_source(const RulerSetting& setting) {
  const SampleRequest& request = setting.request;
  ASSIGN_OR_RETURN(const QaText file, read_qa_text(setting.config, request));
  QaTask task;
  ASSIGN_OR_RETURN(task.file, setting.config.task == RulerTask::kQa1
                                  ? parse_squad(file.text, file.name)
                                  : parse_hotpot(file.text, file.name));
  task.pool = qa_pool(task.file, request.split);
  const std::int64_t questions = std::ssize(task.pool.questions);
  if (questions < std::max<std::int64_t>(1, request.count))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "the {} split of {} has {} questions ({} more have documents of another "
                           "split), got {}",
                           to_string(request.split), file.name, questions,
                           task.pool.questions_removed, request.count)
                    .at("benchmark.samples")
                    .with_hint("lower benchmark.samples, or 0 for all"));
  task.document_tokens.resize(task.file.documents.size());
  task.names.resize(task.file.documents.size());
  for (const std::size_t i : task.pool.documents) {
    const std::string& document = task.file.documents[i].text;
    task.document_tokens[i] = tokens_behind(request.tokenizer, ":\n", document);
    task.names[i] = fmt::format("document {:.16}", Sha256().update(document).hex_digest());
  }
  task.header_sums.push_back(0);
  // A document and its header have at least eight tokens.
  for (std::int64_t i = 1; i <= setting.length / 8 + 2; ++i)
    task.header_sums.push_back(
        task.header_sums.back() +
        tokens_behind(request.tokenizer, ".", "\n\n" + header(static_cast<std::size_t>(i))));
  return std::make_unique<QaSource>(setting, std::move(task));
}

Status hash_qa_source(const RulerConfig& config, const SampleRequest& request, Sha256& hash) {
  ASSIGN_OR_RETURN(const QaText file, read_qa_text(config, request));
  hash.update_u64(file.text.size()).update(file.text);
  return {};
}

}  // namespace strata
