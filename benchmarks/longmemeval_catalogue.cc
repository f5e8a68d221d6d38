#include "benchmarks/longmemeval_catalogue.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "benchmarks/bundled_text.h"
#include "benchmarks/chat_sessions.h"
#include "core/rng.h"

namespace strata {
namespace {

constexpr std::size_t kShortAnswerWords = 5;

std::size_t count_words(std::string_view text) {
  std::size_t count = 0;
  bool inside = false;
  for (const char c : text) {
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    if (!space && !inside) ++count;
    inside = !space;
  }
  return count;
}

bool is_asked(const LongMemEvalItem& item, const LongMemEvalConfig& config) {
  if (!config.types.empty() &&
      std::find(config.types.begin(), config.types.end(), item.type) == config.types.end())
    return false;
  const bool preference = item.type == QuestionType::kSingleSessionPreference && !item.abstention;
  switch (config.items) {
    case MemoryItems::kAll: return true;
    case MemoryItems::kCheckable: return !preference;
    case MemoryItems::kAnswerable: return !preference && !item.abstention;
    case MemoryItems::kShort:
      return !preference && !item.abstention && count_words(item.answer) <= kShortAnswerWords;
    case MemoryItems::kAbstention: return item.abstention;
  }
  return false;
}

// Which questions share an evidence session, by the first question of each group.
class Groups {
 public:
  explicit Groups(std::size_t count) : first_(count) {
    std::iota(first_.begin(), first_.end(), std::size_t{0});
  }
  std::size_t of(std::size_t question) {
    while (first_[question] != question) question = first_[question] = first_[first_[question]];
    return question;
  }
  void join(std::size_t a, std::size_t b) {
    a = of(a);
    b = of(b);
    first_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<std::size_t> first_;
};

void group_questions(Catalogue& catalogue) {
  std::vector<CataloguedQuestion>& questions = catalogue.questions;
  Groups groups(questions.size());
  std::map<std::string_view, std::size_t> first;
  for (std::size_t q = 0; q < questions.size(); ++q)
    for (std::size_t s = 0; s < questions[q].sessions.size(); ++s)
      if (questions[q].evidence[s])
        groups.join(q, first.try_emplace(questions[q].sessions[s], q).first->second);
  // The least id, so that the order of the file does not matter.
  std::map<std::size_t, std::string> names;
  for (std::size_t q = 0; q < questions.size(); ++q) {
    std::string& name = names[groups.of(q)];
    if (name.empty() || questions[q].id < name) name = questions[q].id;
  }
  for (std::size_t q = 0; q < questions.size(); ++q) {
    questions[q].group = names.at(groups.of(q));
    questions[q].split = split_of(questions[q].group);
    for (std::size_t s = 0; s < questions[q].sessions.size(); ++s)
      if (questions[q].evidence[s])
        catalogue.sessions.at(questions[q].sessions[s]).evidence_of = questions[q].group;
  }
  for (auto& [id, session] : catalogue.sessions)
    session.split = split_of(session.evidence_of.empty() ? id : session.evidence_of);
}

}  // namespace

std::string session_id(const DatedSession& session) {
  SessionId id;
  for (const ChatMessage& turn : session.turns) id.add_turn(turn.role, turn.content);
  return id.hex_digest();
}

Result<Catalogue> catalogue_of(const std::filesystem::path& path, const LongMemEvalConfig& config) {
  ASSIGN_OR_RETURN(LongMemEvalReader reader, LongMemEvalReader::open(path));
  Catalogue catalogue;
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<LongMemEvalItem> item, reader.next());
    if (!item) break;
    CataloguedQuestion& question = catalogue.questions.emplace_back();
    question.id = item->id;
    question.evidence = item->labels.sessions;
    question.asked = is_asked(*item, config);
    for (const DatedSession& session : item->history.sessions) {
      question.sessions.push_back(session_id(session));
      catalogue.sessions.try_emplace(question.sessions.back(),
                                     CataloguedSession{.split = Split::kTest,
                                                       .evidence_of = {},
                                                       .empty = session.turns.empty(),
                                                       .order = catalogue.sessions.size()});
    }
  }
  if (catalogue.questions.empty())
    return fail(make_error(ErrorKind::kInvalidFile, "expected questions, got an empty list")
                    .at(path.string()));
  group_questions(catalogue);
  return catalogue;
}

Result<std::vector<std::string>> draw_distractors(const Catalogue& catalogue,
                                                  const CataloguedQuestion& question,
                                                  const LongMemEvalConfig& config,
                                                  std::uint64_t seed) {
  if (config.sessions == 0) return std::vector<std::string>{};
  const auto wanted = static_cast<std::size_t>(config.sessions);
  const auto evidence = static_cast<std::size_t>(
      std::count(question.evidence.begin(), question.evidence.end(), true));
  const auto refuse = [&](std::string message) {
    return make_error(ErrorKind::kInvalidArgument, "question {} {}", question.id, message)
        .at("benchmark.sessions");
  };
  if (evidence > wanted)
    return fail(
        refuse(fmt::format("has {} sessions of evidence, which {} cannot hold", evidence, wanted))
            .with_hint("raise benchmark.sessions, or leave out types by benchmark.types"));
  const std::set<std::string> own(question.sessions.begin(), question.sessions.end());
  const bool split_only = config.questions == MemoryQuestions::kSplit;
  const auto suits = [&](const std::string& id) {
    const CataloguedSession& session = catalogue.sessions.at(id);
    return !session.empty && session.evidence_of != question.group &&
           (!split_only || session.split == question.split);
  };
  std::vector<std::string> pool;
  if (config.distractors == Distractors::kOwn) {
    for (std::size_t s = 0; s < question.sessions.size(); ++s)
      if (!question.evidence[s] && suits(question.sessions[s]))
        pool.push_back(question.sessions[s]);
  } else {
    for (const auto& [id, session] : catalogue.sessions)
      if (!own.contains(id) && suits(id)) pool.push_back(id);
  }
  std::sort(pool.begin(), pool.end(), [&](const std::string& a, const std::string& b) {
    return catalogue.sessions.at(a).order < catalogue.sessions.at(b).order;
  });
  pool.erase(std::unique(pool.begin(), pool.end()), pool.end());
  if (pool.size() < wanted - evidence)
    return fail(refuse(fmt::format("has {} sessions to draw {} distractors from", pool.size(),
                                   wanted - evidence))
                    .with_hint(config.distractors == Distractors::kOwn
                                   ? "lower it, or take benchmark.distractors=others"
                                   : "lower it, or take a file with more sessions"));
  Rng rng(seed, fmt::format("longmemeval/{}/{}/{}", config::enum_name(config.distractors), wanted,
                            question.id));
  std::vector<std::string> drawn;
  for (const std::size_t i : rng.sample(pool.size(), wanted - evidence)) drawn.push_back(pool[i]);
  return drawn;
}

}  // namespace strata
