#include "benchmarks/answer_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <set>
#include <utility>

namespace strata {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

// U+00C0 to U+00FF without accents; '*' stays what it is (signs).
constexpr std::string_view kPlainLatin =
    "aaaaaaaceeeeiiiidnooooo*ouuuuypsaaaaaaaceeeeiiiidnooooo*ouuuuypy";

// Lower case without accents; curly quotation marks, dashes and odd spaces as plain ones.
std::string fold(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = [&](std::size_t k) -> unsigned {
      return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0U;
    };
    if (text[i] >= 'A' && text[i] <= 'Z') {
      out += static_cast<char>(text[i] + 0x20);
    } else if (byte(0) == 0xc3 && byte(1) >= 0x80 && kPlainLatin[byte(1) - 0x80] != '*') {
      out += kPlainLatin[byte(1) - 0x80];
      ++i;
    } else if (byte(0) == 0xc2 && (byte(1) == 0xa0 || byte(1) == 0xa3)) {
      out += byte(1) == 0xa0 ? " " : " pound ";
      ++i;
    } else if (byte(0) == 0xe2 && byte(1) == 0x80 && byte(2) >= 0x90 && byte(2) <= 0xaf) {
      const unsigned last = byte(2);
      out += last <= 0x95   ? (last >= 0x94 ? ',' : '-')
             : last <= 0x9b ? '\''
             : last <= 0x9f ? '"'
                            : ' ';
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

struct NumberWord {
  std::string_view word;
  int value;
};
constexpr std::array<NumberWord, 33> kNumberWords = {{{"zero", 0},
                                                      {"one", 1},
                                                      {"two", 2},
                                                      {"three", 3},
                                                      {"four", 4},
                                                      {"five", 5},
                                                      {"six", 6},
                                                      {"seven", 7},
                                                      {"eight", 8},
                                                      {"nine", 9},
                                                      {"ten", 10},
                                                      {"eleven", 11},
                                                      {"twelve", 12},
                                                      {"thirteen", 13},
                                                      {"fourteen", 14},
                                                      {"fifteen", 15},
                                                      {"sixteen", 16},
                                                      {"seventeen", 17},
                                                      {"eighteen", 18},
                                                      {"nineteen", 19},
                                                      {"twenty", 20},
                                                      {"thirty", 30},
                                                      {"forty", 40},
                                                      {"fifty", 50},
                                                      {"sixty", 60},
                                                      {"seventy", 70},
                                                      {"eighty", 80},
                                                      {"ninety", 90},
                                                      {"hundred", 100},
                                                      {"thousand", 1000},
                                                      {"million", 1'000'000},
                                                      {"dozen", 12},
                                                      {"couple", 2}}};

std::optional<int> number_word(std::string_view word) {
  for (const NumberWord& known : kNumberWords)
    if (known.word == word) return known.value;
  return std::nullopt;
}

std::string number_text(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15)
    return fmt::format("{}", static_cast<std::int64_t>(value));
  return fmt::format("{}", value);
}

std::string singular(std::string word) {
  if (word.size() > 4 && word.ends_with("ies")) return word.substr(0, word.size() - 3) + "y";
  if (word.size() > 4 &&
      (word.ends_with("ches") || word.ends_with("shes") || word.ends_with("xes")))
    return word.substr(0, word.size() - 2);
  if (word.size() > 3 && word.back() == 's' && word[word.size() - 2] != 's' &&
      word[word.size() - 2] != 'u' && word[word.size() - 2] != 'i')
    word.pop_back();
  return word;
}

class Splitter {
 public:
  explicit Splitter(std::string text) : text_(std::move(text)) {}

  std::vector<Word> run() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (is_digit(c) || (c == '.' && is_digit(ahead(1)) && !is_digit(behind())))
        number();
      else if (is_letter(c))
        letters();
      else
        sign();
    }
    return merge_number_words(std::move(words_));
  }

 private:
  char ahead(std::size_t n) const { return at_ + n < text_.size() ? text_[at_ + n] : '\0'; }
  char behind() const { return at_ > 0 ? text_[at_ - 1] : '\0'; }

  Word& add(std::string word) {
    Word& out = words_.emplace_back();
    out.text = std::move(word);
    out.sentence = sentence_;
    out.clause = clause_;
    line_begins_ = false;
    return out;
  }

  void letters() {
    std::string word;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (is_letter(c))
        word += c;
      else if (c != '\'' || !is_letter(ahead(1)) || word.empty())
        break;
    }
    if (word == "but" || word == "while" || word == "whereas" || word == "although") ++clause_;
    add(singular(std::move(word)));
  }

  // "12,000", "5.5", "25:50", "1/48", "2023-05-30", "14th".
  void number() {
    const bool line_begins = line_begins_;
    std::string digits;
    bool joined = false;
    bool grouped = false;
    int decimals = 0;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      const bool between = is_digit(ahead(1)) && !digits.empty();
      if (is_digit(c)) {
        digits += c;
        if (digits.find('.') != std::string::npos) ++decimals;
      } else if (c == ',' && between && is_digit(ahead(2)) && is_digit(ahead(3)) &&
                 !is_digit(ahead(4))) {
        grouped = true;
      } else if (c == '.' && (between || digits.empty()) && digits.find('.') == std::string::npos) {
        digits += c;
      } else if (between && (c == ':' || c == '/' || (c == '-' && (joined || is_iso_date())))) {
        joined = true;
        digits += c;
      } else {
        break;
      }
    }
    const bool dollars = dollars_;
    dollars_ = false;
    Word& word = add(digits);
    if (joined) return;
    word.number = std::strtod(digits.c_str(), nullptr);
    word.decimals = decimals;
    word.grouped = grouped;
    word.text = number_text(*word.number);
    const char next = ahead(0);
    // Lists count from one: "3. You bought …" is an answer and its reason.
    const bool counts_on = *word.number == last_index_ + 1 || *word.number == 1;
    word.index = line_begins && counts_on && (next == '.' || next == ')') &&
                 (ahead(1) == ' ' || ahead(1) == '*');
    if (word.index) last_index_ = *word.number;
    for (const std::string_view suffix : {"st", "nd", "rd", "th"})
      if (std::string_view(text_).substr(at_).starts_with(suffix) && !is_letter(ahead(2))) {
        word.ordinal = true;
        at_ += 2;
        break;
      }
    if (next == 'k' && !is_letter(ahead(1)) && dollars) {
      *words_.back().number *= 1000;
      words_.back().text = number_text(*words_.back().number);
      ++at_;
    }
    if (dollars) add("dollar");
  }

  bool is_iso_date() const {
    return at_ >= 4 && is_digit(text_[at_ - 4]) && is_digit(ahead(2)) && ahead(3) == '-' &&
           is_digit(ahead(4));
  }

  void sign() {
    const char c = text_[at_];
    if (c == '$') dollars_ = true;
    if (c == '%') add("percent");
    if (c == '=') add("equal");
    const char next = ahead(1);
    const bool white = next == ' ' || next == '\n' || next == '\0' || next == '*' || next == '"' ||
                       next == ')' || next == '\'';
    const bool is_index = !words_.empty() && words_.back().index && c == '.';
    if (c == '\n' || ((c == '.' || c == '!' || c == '?') && white && !is_index)) {
      ++sentence_;
      ++clause_;
    } else if (c == ';' || c == ',' || c == '(' || c == ')') {
      ++clause_;
    }
    if (c == '\n') line_begins_ = true;
    ++at_;
  }

  // "two hundred and five" → 205, "twenty-one" → 21; "2.5 million".
  static std::vector<Word> merge_number_words(std::vector<Word> words) {
    std::vector<Word> out;
    for (std::size_t i = 0; i < words.size(); ++i) {
      Word word = std::move(words[i]);
      const std::optional<int> begin = number_word(word.text);
      const bool digits = word.number && !word.ordinal && !word.index;
      if (!begin && !digits) {
        if (word.text == "once" || word.text == "twice") {
          word.number = word.text == "once" ? 1 : 2;
          word.text = number_text(*word.number);
          out.push_back(word);
          word.number.reset();
          word.text = "time";
        }
        out.push_back(std::move(word));
        continue;
      }
      double sum = 0;
      double part = digits ? *word.number : *begin;
      while (i + 1 < words.size() && words[i + 1].clause == word.clause) {
        const std::optional<int> next = number_word(words[i + 1].text);
        const bool scale = next && (*next == 100 || *next >= 1000);
        const bool tens = !digits && next && *next < 10 && *next > 0 && part >= 20 &&
                          std::fmod(part, 10) == 0 && part < 100;
        const bool below_hundred = !digits && next && *next < 100 && part >= 100;
        const bool dozen = next && *next == 12 && words[i + 1].text == "dozen";
        if (scale && *next >= 1000) {
          sum += part * *next;
          part = 0;
        } else if (scale || dozen) {
          part *= *next;
        } else if (tens || below_hundred || (!digits && next && part == 0 && sum > 0)) {
          part += *next;
        } else if (!digits && words[i + 1].text == "and" && i + 2 < words.size() && part >= 100 &&
                   number_word(words[i + 2].text)) {
          // "and" inside of a number
        } else {
          break;
        }
        ++i;
      }
      word.number = sum + part;
      word.text = number_text(*word.number);
      out.push_back(std::move(word));
    }
    return out;
  }

  std::string text_;
  std::size_t at_ = 0;
  std::vector<Word> words_;
  int sentence_ = 0;
  int clause_ = 0;
  bool line_begins_ = true;
  double last_index_ = 0;
  bool dollars_ = false;
};

}  // namespace

std::vector<Word> words_of(std::string_view text) { return Splitter(fold(text)).run(); }

bool is_filler_word(std::string_view word) {
  // As words_of() writes them.
  static const std::set<std::string_view> kFillers = {
      "a",    "an",   "the",  "my",    "your", "hi",    "her",  "their", "our", "i",
      "you",  "he",   "she",  "it",    "its",  "we",    "they", "is",    "are", "was",
      "were", "be",   "been", "am",    "to",   "of",    "in",   "on",    "at",  "for",
      "with", "and",  "or",   "by",    "from", "that",  "this", "as",    "did", "do",
      "doe",  "have", "has",  "had",   "will", "would", "can",  "so",    "his", "yours",
      "mine", "me",   "im",   "youre", "ive",  "youve"};
  return kFillers.contains(word);
}

std::vector<Word> content_words(const std::vector<Word>& words) {
  std::vector<Word> out;
  std::copy_if(words.begin(), words.end(), std::back_inserter(out),
               [](const Word& word) { return !is_filler_word(word.text); });
  return out.empty() ? words : out;
}

}  // namespace strata
