// listed_answers(): the answers that the text of an answer names.
#include <algorithm>
#include <array>

#include "benchmarks/answer_checker.h"

namespace strata {
namespace {

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \n\t.");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \n\t.") + 1 - begin);
}

bool is_abbreviation(std::string_view text) {
  return text.size() >= 2 && text.size() <= 6 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

// "11 days (or 12 days, if …)": what stands in parentheses is another answer, or a remark.
void add_with_parentheses(std::string_view text, std::vector<std::string>& out) {
  const auto open = text.find('(');
  const auto close = text.find(')', open == std::string_view::npos ? 0 : open);
  if (open == std::string_view::npos || close == std::string_view::npos ||
      trim(text.substr(0, open)).empty()) {
    if (!trim(text).empty()) out.emplace_back(trim(text));
    return;
  }
  const std::string_view inside = text.substr(open + 1, close - open - 1);
  const std::string_view before = trim(text.substr(0, open));
  if (inside.starts_with("or ")) {
    out.emplace_back(before);
    out.emplace_back(trim(inside.substr(3, inside.find(", if") - 3)));
  } else if (is_abbreviation(inside) && trim(text.substr(close + 1)).empty()) {
    out.emplace_back(before);
    out.emplace_back(inside);
  } else if (trim(text.substr(close + 1)).empty()) {
    out.emplace_back(before);  // "(including the last day)": why, not what
    out.emplace_back(trim(text));
  } else {
    out.emplace_back(trim(text));
  }
}

}  // namespace

std::vector<std::string> listed_answers(std::string_view answer) {
  std::vector<std::string> out;
  const std::array<std::string_view, 2> acceptable = {" is also acceptable",
                                                      " are also acceptable"};
  for (const std::string_view words : acceptable) {
    const auto end = answer.find(words);
    if (end == std::string_view::npos) continue;
    const auto period = answer.find(". ");
    if (period == std::string_view::npos || period > end) break;
    add_with_parentheses(answer.substr(0, period), out);
    const std::string_view other = answer.substr(period + 2, end - period - 2);
    if (other.starts_with(kAnswerRange))
      out.emplace_back(trim(other));
    else
      add_with_parentheses(other.substr(0, other.find(" (")), out);
    return out;
  }
  add_with_parentheses(answer, out);
  return out;
}

}  // namespace strata
