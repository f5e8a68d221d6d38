#include "benchmarks/scoring.h"

#include <algorithm>
#include <numeric>

namespace strata {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string_view strip(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// RULER's post-processing of a prediction: stripped, control characters become newlines, stripped
// again.
std::string clean(std::string_view text) {
  std::string out(strip(text));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20) c = '\n';
  return std::string(strip(out));
}

// The lower-case letter of two-byte characters: Latin-1, Latin Extended-A, Greek and Cyrillic.
unsigned fold_character(unsigned code) {
  if ((code >= 0xC0 && code <= 0xDE && code != 0xD7) || (code >= 0x391 && code <= 0x3AB) ||
      (code >= 0x410 && code <= 0x42F))
    return code + 0x20;
  if (code >= 0x400 && code <= 0x40F) return code + 0x50;
  const bool even_upper = (code >= 0x100 && code <= 0x12F) || (code >= 0x132 && code <= 0x137) ||
                          (code >= 0x14A && code <= 0x177);
  const bool odd_upper = (code >= 0x139 && code <= 0x148) || (code >= 0x179 && code <= 0x17E);
  if (even_upper && code % 2 == 0) return code + 1;
  if (odd_upper && code % 2 == 1) return code + 1;
  return code;
}

std::string fold_case(std::string_view text) {
  std::string out(text);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto lead = static_cast<unsigned char>(out[i]);
    if (lead >= 'A' && lead <= 'Z') out[i] = static_cast<char>(lead + 0x20);
    if ((lead & 0xE0U) != 0xC0U || i + 1 >= out.size()) continue;
    const auto tail = static_cast<unsigned char>(out[i + 1]);
    const unsigned code = fold_character((lead & 0x1FU) << 6U | (tail & 0x3FU));
    out[i] = static_cast<char>(0xC0U | code >> 6U);
    out[i + 1] = static_cast<char>(0x80U | (code & 0x3FU));
    ++i;
  }
  return out;
}

bool contains(const std::string& folded_text, std::string_view answer) {
  const std::string wanted = fold_case(clean(answer));
  return !wanted.empty() && folded_text.find(wanted) != std::string::npos;
}

}  // namespace

bool contains_any(std::string_view text, std::span<const std::string> answers) {
  const std::string folded = fold_case(clean(text));
  return std::any_of(answers.begin(), answers.end(),
                     [&](const std::string& answer) { return contains(folded, answer); });
}

bool begins_with_any(std::string_view text, std::span<const std::string> answers) {
  const std::string cleaned = clean(text);
  return std::any_of(answers.begin(), answers.end(), [&](const std::string& answer) {
    const std::string wanted = clean(answer);
    if (wanted.empty() || !cleaned.starts_with(wanted)) return false;
    if (cleaned.size() == wanted.size()) return true;
    const char next = cleaned[wanted.size()];
    return next == '\n' || next == '.';
  });
}

double string_match_all(std::string_view text, std::span<const std::string> references) {
  if (references.empty()) return 0.0;
  const std::string folded = fold_case(clean(text));
  const auto found =
      std::count_if(references.begin(), references.end(),
                    [&](const std::string& reference) { return contains(folded, reference); });
  return static_cast<double>(found) / static_cast<double>(references.size());
}

std::map<std::string, double> score_answer(const Sample& sample, const Response& response) {
  std::map<std::string, double> scores;
  if (response.text) {
    const std::string text = sample.answer_given + *response.text;
    scores["gen_contains"] = contains_any(text, sample.answers) ? 1.0 : 0.0;
    scores["gen_exact"] = begins_with_any(text, sample.answers) ? 1.0 : 0.0;
  }
  if (!response.argmax.empty()) {
    STRATA_CHECK(response.argmax.size() == sample.answer.size(), "{} {}", response.argmax.size(),
                 sample.answer.size());
    scores["tf_exact"] = response.argmax == sample.answer ? 1.0 : 0.0;
  }
  if (!response.answer_nll.empty()) {
    STRATA_CHECK(response.answer_nll.size() == sample.answer.size(), "{} {}",
                 response.answer_nll.size(), sample.answer.size());
    scores["answer_nll"] =
        std::accumulate(response.answer_nll.begin(), response.answer_nll.end(), 0.0) /
        static_cast<double>(response.answer_nll.size());
  }
  return scores;
}

}  // namespace strata
