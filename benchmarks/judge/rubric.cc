#include "benchmarks/judge/rubric.h"

#include <array>

#include "benchmarks/judge/plain_text.h"
#include "benchmarks/judge/rubric_texts.h"
#include "core/model_reply.h"
#include "core/sha256.h"

namespace strata {
namespace {

struct TypedText {
  std::string_view type, name, text;
};
constexpr std::array<TypedText, 6> kByType = {
    {{"single-session-user", "longmemeval/answer", rubric_texts::kAnswer},
     {"single-session-assistant", "longmemeval/answer", rubric_texts::kAnswer},
     {"single-session-preference", "longmemeval/preference", rubric_texts::kPreference},
     {"multi-session", "longmemeval/answer", rubric_texts::kAnswer},
     {"temporal-reasoning", "longmemeval/temporal-reasoning", rubric_texts::kTemporalReasoning},
     {"knowledge-update", "longmemeval/knowledge-update", rubric_texts::kKnowledgeUpdate}}};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80; }

// ASCII alone: the words looked for have no others.
std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

bool has_word(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos;
       at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || !is_letter(text[at - 1])) && (end == text.size() || !is_letter(text[end])))
      return true;
  }
  return false;
}

}  // namespace

std::string Rubric::hash() const { return sha256_hex(text); }

std::string Rubric::prompt(std::string_view question, std::string_view answer,
                           std::string_view response) const {
  struct Slot {
    std::string_view name, value;
  };
  const std::array<Slot, 3> named = {
      {{"{question}", question}, {"{gold_answer}", answer}, {"{generated_answer}", response}}};
  const bool positional = text.find("{}") != std::string_view::npos;  // as Python has them
  std::string out;
  std::string_view rest = text;
  for (std::size_t filled = 0; filled < named.size(); ++filled) {
    Slot next = positional ? Slot{"{}", named[filled].value} : named[0];
    if (!positional)
      for (const Slot& slot : named)
        if (rest.find(slot.name) < rest.find(next.name)) next = slot;
    const std::size_t at = rest.find(next.name);
    STRATA_CHECK(at != std::string_view::npos, "rubric {} lacks slot {}", name, filled);
    out += rest.substr(0, at);
    out += next.value;
    rest.remove_prefix(at + next.name.size());
  }
  return valid_utf8(out += rest);
}

Result<Rubric> rubric_for(RubricSet set, std::string_view question_type, bool abstention) {
  if (set == RubricSet::kNeedle)
    return Rubric{"needle", rubric_texts::kNeedle, VerdictRule::kScore};
  std::string known;
  for (const TypedText& typed : kByType) {
    known += (known.empty() ? "" : ", ") + std::string(typed.type);
    if (typed.type != question_type) continue;
    if (set == RubricSet::kSwaa)
      return Rubric{"swaa", rubric_texts::kSwaa, VerdictRule::kCorrectWrong};
    if (abstention)
      return Rubric{"longmemeval/abstention", rubric_texts::kAbstention, VerdictRule::kYesNo};
    return Rubric{std::string(typed.name), typed.text, VerdictRule::kYesNo};
  }
  return fail(ErrorKind::kInvalidFile, "question_type: expected one of {}, got '{}'", known,
              one_line(question_type, 80));
}

Verdict read_verdict(VerdictRule rule, std::string_view reply) {
  if (rule == VerdictRule::kScore) {
    const std::optional<int> score = bracketed_score(reply);
    if (!score) return {};
    return {*score == 10, *score == 10};
  }
  const std::string said = lower_case(final_answer(reply).text);
  if (said.empty()) return {};
  const bool yes_no = rule == VerdictRule::kYesNo;
  const bool right = has_word(said, yes_no ? "yes" : "correct");
  const bool wrong = has_word(said, yes_no ? "no" : "wrong");
  Verdict verdict;
  verdict.official =
      yes_no ? said.find("yes") != std::string::npos : said.find("wrong") == std::string::npos;
  if (right != wrong) verdict.strict = right;
  return verdict;
}

}  // namespace strata
