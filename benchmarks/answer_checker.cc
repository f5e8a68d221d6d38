#include "benchmarks/answer_checker.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "benchmarks/answer_phrases.h"
#include "benchmarks/answer_quantity.h"
#include "benchmarks/answer_text.h"
#include "core/model_reply.h"

namespace strata {
namespace {

// As words_of() writes them.
constexpr std::array<std::string_view, 15> kPast = {
    "previously", "previous", "from", "earlier", "before",   "initially", "formerly", "originally",
    "used",       "old",      "than", "instead", "compared", "beating",   "improving"};
constexpr std::array<std::string_view, 6> kPastBehind = {"previously", "before",     "earlier",
                                                         "initially",  "originally", "ago"};
constexpr std::size_t kBehindReach = 3;  // words
constexpr std::array<std::string_view, 9> kPresent = {
    "now", "currently", "current", "latest", "recently", "updated", "newest", "today", "increased"};
constexpr std::array<std::string_view, 14> kConclusion = {
    "total", "altogether", "answer",  "therefore",  "thus",  "hence",  "overall",
    "sum",   "combined",   "finally", "conclusion", "equal", "result", "so"};
template <std::size_t N>
bool is_one_of(const std::array<std::string_view, N>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

struct Context {
  const AnswerKey& key;
  std::vector<Word> response;
  std::string asked;  // unit
  bool is_temporal() const { return key.type == QuestionType::kTemporalReasoning; }
  bool last_wins() const { return key.type == QuestionType::kKnowledgeUpdate; }
};

// ---- Which of several values is meant ----

template <std::size_t N>
bool clause_has(const std::vector<Word>& words, int clause, std::size_t begin, std::size_t end,
                const std::array<std::string_view, N>& markers) {
  for (std::size_t i = begin; i < end && i < words.size(); ++i)
    if (words[i].clause == clause && is_one_of(markers, words[i].text)) return true;
  return false;
}

// Old values beside the new one are fine: the last that is not said to be old.
template <typename T>
const T* latest(const std::vector<Word>& words, const std::vector<T>& values) {
  const T* found = nullptr;
  bool present = false;
  for (const T& value : values) {
    if (clause_has(words, value.clause, 0, value.begin, kPast) ||
        clause_has(words, value.clause, value.end, value.end + kBehindReach, kPastBehind))
      continue;
    const bool now = clause_has(words, value.clause, 0, words.size(), kPresent);
    if (found == nullptr || now || !present) found = &value;
    present = present || now;
  }
  return found == nullptr && !values.empty() ? &values.back() : found;
}

bool is_so_far(const std::vector<Word>& words, std::size_t i) {
  return words[i].text == "so" && i + 1 < words.size() && words[i + 1].text == "far";
}

// What a sentence concludes: behind its word of conclusion ("a total of 4"), or the value in front
// of it where it ends so ("4 in total").
const Quantity* conclusion_in(const Context& context, const std::vector<Quantity>& values,
                              int sentence) {
  std::optional<std::size_t> marker;
  for (std::size_t i = 0; i < context.response.size(); ++i)
    if (context.response[i].sentence == sentence &&
        is_one_of(kConclusion, context.response[i].text) && !is_so_far(context.response, i))
      marker = i;
  if (!marker) return nullptr;
  const Quantity* before = nullptr;
  for (const Quantity& value : values) {
    if (value.sentence != sentence) continue;
    if (value.begin > *marker) return &value;
    before = &value;
  }
  return before;
}

const Quantity* concluded(const Context& context, const std::vector<Quantity>& values) {
  if (values.empty()) return nullptr;
  if (context.last_wins()) return latest(context.response, values);
  for (int sentence = values.back().sentence; sentence >= values.front().sentence; --sentence)
    if (const Quantity* value = conclusion_in(context, values, sentence)) return value;
  // Without such a word: a first sentence that says it at once, else the last that says anything.
  if (values.front().sentence == 0) return &values.front();
  const int last = values.back().sentence;
  return &*std::find_if(values.begin(), values.end(),
                        [&](const Quantity& value) { return value.sentence == last; });
}

// ---- Quantities ----

bool is_time(UnitKind kind) { return kind == UnitKind::kTime || kind == UnitKind::kMonths; }

// Whether the response's value says how many of what the answer counts.
bool comparable(const Quantity& gold, const Quantity& value) {
  if (value.year && !gold.year) return false;
  if (gold.kind == UnitKind::kNone)
    return value.kind != UnitKind::kMoney && value.kind != UnitKind::kPercent;
  return value.kind == gold.kind || value.kind == UnitKind::kNone;
}

bool equal(const Context& context, const Quantity& gold, const Quantity& value) {
  const bool times = is_time(gold.kind) && value.kind == gold.kind;
  const double wanted = times ? gold.amount : gold.value;
  const double got = times ? value.amount : value.value;
  // "3.83" may be said more exactly, "$12" not.
  const double unit = times ? gold.step : 1;
  double allowed = gold.decimals > 0 ? 0.5 * unit * std::pow(10, -gold.decimals) : 1e-6;
  const bool counts_days = is_time(gold.kind) && gold.step >= 1 && gold.unit != "hour" &&
                           gold.unit != "minute" && gold.unit != "second" && gold.unit != "hr" &&
                           gold.unit != "min" && gold.unit != "sec";
  if (context.is_temporal() && counts_days)
    allowed = times ? std::min(gold.step, std::max(value.step, 1.0)) : 1;
  return std::abs(wanted - got) <= allowed * (1 + 1e-9);
}

// The answer as one quantity, where it is nothing else: "3", "$185", "140 hours", "about two
// hours", "I attended 3 weddings".
std::optional<Quantity> as_quantity(const Context& context, const std::vector<Word>& answer) {
  constexpr std::size_t kMostOtherWords = 4;
  std::vector<Quantity> values = quantities_of(answer);
  // "15 hours for getting to the three destinations": what follows says what for.
  if (values.size() > 1 && values[0].begin == 0 && values[0].end < answer.size() &&
      answer[values[0].end].text == "for" &&
      std::none_of(values.begin() + 1, values.end(),
                   [&](const Quantity& other) { return other.kind == values[0].kind; }))
    return values[0];
  if (values.size() != 1) return std::nullopt;
  Quantity gold = values[0];
  std::size_t others = 0;
  for (std::size_t i = 0; i < answer.size(); ++i) {
    if (i >= gold.begin && i < gold.end) continue;
    if (answer[i].number || answer[i].text.find(':') != std::string::npos) return std::nullopt;
    if (!is_filler_word(answer[i].text)) ++others;
  }
  const bool name = gold.begin > 0 && gold.kind == UnitKind::kNone && others > 0;  // "Dark Souls 3"
  if (others > kMostOtherWords || name) return std::nullopt;
  if (gold.kind == UnitKind::kNone && !context.asked.empty()) {
    gold.unit = context.asked;
    if (const auto unit = time_unit(context.asked)) {
      gold.kind = unit->kind;
      gold.step = unit->amount;
      gold.amount = gold.value * unit->amount;
    } else if (is_filler_word(context.asked)) {
      gold.unit.clear();
    }
  }
  return gold;
}

bool quantity_is_right(const Context& context, const Quantity& gold) {
  std::vector<Quantity> values = quantities_of(context.response);
  std::erase_if(values, [&](const Quantity& value) { return !comparable(gold, value); });
  // Those that count the same thing, where there are any.
  const auto same = [&](const Quantity& value) {
    return !gold.unit.empty() &&
           (value.unit == gold.unit || (is_time(gold.kind) && value.kind == gold.kind));
  };
  if (std::any_of(values.begin(), values.end(), same))
    std::erase_if(values, [&](const Quantity& value) {
      return !same(value) && value.kind != UnitKind::kNone;
    });
  const Quantity* const claim = concluded(context, values);
  return claim != nullptr && equal(context, gold, *claim);
}

// ---- Times of day, days ----

std::optional<bool> moment_is_right(const Context& context, const std::vector<Word>& answer,
                                    std::vector<Moment> (*moments_of)(const std::vector<Word>&)) {
  const std::vector<Moment> gold = moments_of(answer);
  if (gold.size() != 1 || content_words(answer).size() > gold[0].end - gold[0].begin)
    return std::nullopt;
  const std::vector<Moment> said = moments_of(context.response);
  if (context.last_wins()) {
    const Moment* const last = latest(context.response, said);
    return last != nullptr && last->value == gold[0].value;
  }
  return std::any_of(said.begin(), said.end(),
                     [&](const Moment& moment) { return moment.value == gold[0].value; });
}

// ---- One answer ----

bool one_is_right(const Context& context, const std::string& text) {
  const std::vector<Word> answer = words_of(text);
  if (const int wanted = polarity(answer); wanted != 0)
    return polarity_of_response(context.response) == wanted;
  if (const auto right = moment_is_right(context, answer, clock_times_of)) return *right;
  if (const auto right = moment_is_right(context, answer, days_of)) return *right;
  if (const auto gold = as_quantity(context, answer)) return quantity_is_right(context, *gold);
  return says_text(context.response, answer, context.is_temporal());
}

// "Answers ranging from 7 days to 10 days".
bool is_in_range(const Context& context, std::string_view range) {
  const std::vector<Quantity> ends = quantities_of(words_of(range));
  if (ends.size() != 2) return false;
  std::vector<Quantity> values = quantities_of(context.response);
  std::erase_if(values, [&](const Quantity& value) { return !comparable(ends[1], value); });
  const Quantity* const claim = concluded(context, values);
  if (claim == nullptr) return false;
  const bool bare = claim->kind == UnitKind::kNone;
  const double said = bare ? claim->value : claim->amount;
  return said >= (bare ? ends[0].value : ends[0].amount) &&
         said <= (bare ? ends[1].value : ends[1].amount);
}

}  // namespace

Verdict check_answer(const AnswerKey& key, std::string_view response) {
  if (key.type == QuestionType::kSingleSessionPreference && !key.abstention)
    return Verdict::kUnscored;
  const FinalAnswer given = final_answer(response);
  const Context context{key, words_of(given.text), asked_unit(words_of(key.question))};
  if (context.response.empty()) return Verdict::kWrong;
  std::vector<std::string> answers = listed_answers(key.answer);
  if (key.abstention) {
    if (says_unanswerable(given.text)) return Verdict::kRight;
    // "0. You did not mention …": the number is an answer too.
    const std::vector<Word> words = words_of(key.answer);
    if (words.empty() || !words[0].number) return Verdict::kWrong;
    answers = {words[0].text};
  } else if (key.type == QuestionType::kMultiSession) {
    // "I attended three weddings. The couples were …": the first sentence is the answer.
    if (const auto period = key.answer.find(". "); period != std::string::npos)
      answers.emplace_back(key.answer.substr(0, period));
  }
  const bool right = std::any_of(answers.begin(), answers.end(), [&](const std::string& answer) {
    return answer.starts_with(kAnswerRange) ? is_in_range(context, answer)
                                            : one_is_right(context, answer);
  });
  return right ? Verdict::kRight : Verdict::kWrong;
}

}  // namespace strata
