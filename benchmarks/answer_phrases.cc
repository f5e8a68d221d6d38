#include "benchmarks/answer_phrases.h"

#include <algorithm>
#include <array>
#include <string>

#include "benchmarks/answer_checker.h"
#include "core/model_reply.h"

namespace strata {
namespace {

// A text's words that must occur: all of three, 70 % of more.
constexpr double kMostWords = 0.7;
constexpr std::size_t kShortAnswer = 3;
constexpr std::size_t kNegationReach = 3;  // words in front that may deny

// As words_of() writes them.
constexpr std::array<std::string_view, 9> kNegations = {"not",   "never", "dont",   "didnt", "isnt",
                                                        "wasnt", "arent", "doesnt", "werent"};

template <std::size_t N>
bool is_one_of(const std::array<std::string_view, N>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool is_denied(const std::vector<Word>& words, std::size_t at) {
  for (std::size_t i = at - std::min(at, kNegationReach); i < at; ++i)
    if (words[i].clause == words[at].clause && is_one_of(kNegations, words[i].text)) return true;
  return false;
}

bool contains_in_a_row(const std::vector<Word>& all, const std::vector<Word>& wanted) {
  const std::vector<Word> said = content_words(all);
  for (std::size_t i = 0; i + wanted.size() <= said.size(); ++i) {
    std::size_t k = 0;
    while (k < wanted.size() && said[i + k].text == wanted[k].text) ++k;
    if (k == wanted.size() && !is_denied(said, i)) return true;
  }
  return false;
}

std::size_t position_of(const std::vector<Word>& words, const std::string& text) {
  const auto found =
      std::find_if(words.begin(), words.end(), [&](const Word& word) { return word.text == text; });
  return static_cast<std::size_t>(found - words.begin());
}

bool has_most_words(const std::vector<Word>& said, const std::vector<Word>& wanted,
                    bool any_order) {
  if (wanted.size() <= kShortAnswer && !any_order) return false;
  if (wanted.size() <= kShortAnswer)
    return std::all_of(wanted.begin(), wanted.end(), [&](const Word& word) {
      return position_of(said, word.text) < said.size();
    });
  std::size_t found = 0;
  for (const Word& word : wanted) {
    const bool there = position_of(said, word.text) < said.size();
    if (word.number && !word.index && !there) return false;  // numbers are not paraphrased
    found += there ? 1U : 0U;
  }
  return static_cast<double>(found) >= kMostWords * static_cast<double>(wanted.size());
}

// The steps of an answer that orders things: "First, … then … finally …", "a, b, c".
std::vector<std::vector<Word>> steps_of(const std::vector<Word>& answer) {
  constexpr std::array<std::string_view, 8> kBorders = {"first", "then",     "finally", "lastly",
                                                        "next",  "followed", "after",   "second"};
  std::vector<std::vector<Word>> steps;
  bool border = true;
  int clause = -1;
  std::size_t borders = 0;
  const bool listed = std::none_of(answer.begin(), answer.end(), [&](const Word& word) {
    return is_one_of(kBorders, word.text);
  });
  for (const Word& word : answer) {
    const bool marker = is_one_of(kBorders, word.text) || word.index;
    borders += marker ? 1U : 0U;
    border = border || marker || (listed && word.clause != clause);
    clause = word.clause;
    if (marker || is_filler_word(word.text)) continue;
    if (border || steps.empty()) steps.emplace_back();
    border = false;
    steps.back().push_back(word);
  }
  return steps.size() >= 3 && (listed || borders >= 2) ? steps : std::vector<std::vector<Word>>{};
}

// The mean place of the words that belong to one step alone grows from step to step.
bool is_in_order(const std::vector<Word>& said, const std::vector<std::vector<Word>>& steps) {
  double last = -1;
  for (const auto& step : steps) {
    double sum = 0;
    double count = 0;
    for (const Word& word : step) {
      const auto elsewhere =
          std::count_if(steps.begin(), steps.end(), [&](const std::vector<Word>& other) {
            return position_of(other, word.text) < other.size();
          });
      const std::size_t at = position_of(said, word.text);
      if (elsewhere > 1 || at == said.size()) continue;
      sum += static_cast<double>(at);
      ++count;
    }
    if (count == 0 || sum / count <= last) return false;
    last = sum / count;
  }
  return true;
}

}  // namespace

bool says_text(const std::vector<Word>& response, const std::vector<Word>& answer, bool ordered) {
  const std::vector<Word> wanted = content_words(answer);
  if (wanted.empty()) return false;
  if (contains_in_a_row(response, wanted)) return true;
  const bool enumeration = position_of(answer, "and") < answer.size();
  if (!has_most_words(response, wanted, enumeration)) return false;
  if (!ordered) return true;
  const auto steps = steps_of(answer);
  return steps.empty() || is_in_order(response, steps);
}

int polarity(const std::vector<Word>& words) {
  if (words.empty()) return 0;
  if (words[0].text == "yes") return 1;
  return words[0].text == "no" ? -1 : 0;
}

int polarity_of_response(const std::vector<Word>& words) {
  if (const int said = polarity(words)) return said;
  const int first = words.empty() ? 0 : words[0].sentence;
  for (const Word& word : words)
    if (word.sentence == first && (is_one_of(kNegations, word.text) || word.text == "no"))
      return -1;
  return words.empty() ? 0 : 1;
}

bool says_unanswerable(std::string_view response) {
  // As words_of() writes them, with a space on either side.
  constexpr std::array<std::string_view, 46> kPhrases = {" not enough ",
                                                         " did not mention ",
                                                         " didnt mention ",
                                                         " not mention ",
                                                         " no mention ",
                                                         " not mentioned ",
                                                         " havent mentioned ",
                                                         " hasnt mentioned ",
                                                         " never mentioned ",
                                                         " wasnt mentioned ",
                                                         " isnt mentioned ",
                                                         " dont mention ",
                                                         " doesnt mention ",
                                                         " no information ",
                                                         " not have information ",
                                                         " not have any information ",
                                                         " dont have information ",
                                                         " dont have any information ",
                                                         " not have enough ",
                                                         " dont have enough ",
                                                         " doesnt have enough ",
                                                         " cannot determine ",
                                                         " cannot be determined ",
                                                         " cant determine ",
                                                         " cannot answer ",
                                                         " cant answer ",
                                                         " unable to ",
                                                         " not provided ",
                                                         " wasnt provided ",
                                                         " isnt provided ",
                                                         " not specified ",
                                                         " not specify ",
                                                         " not stated ",
                                                         " no record ",
                                                         " doesnt say ",
                                                         " not say ",
                                                         " couldnt find ",
                                                         " could not find ",
                                                         " cannot find ",
                                                         " dont know ",
                                                         " not know ",
                                                         " insufficient ",
                                                         " no evidence ",
                                                         " not discussed ",
                                                         " no indication ",
                                                         " not available "};
  std::string text = " ";
  for (const Word& word : words_of(final_answer(response).text)) text += word.text + " ";
  return std::any_of(kPhrases.begin(), kPhrases.end(), [&](std::string_view phrase) {
    return text.find(phrase) != std::string::npos;
  });
}

}  // namespace strata
