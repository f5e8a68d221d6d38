// check_disjoint(): calibration and evaluation share no prompt, no needle, no passkey word, no chat
// session and no haystack text.
#include <algorithm>
#include <unordered_map>

#include "benchmarks/benchmark.h"
#include "benchmarks/essays.h"
#include "benchmarks/needles.h"
#include "benchmarks/word_lists.h"

namespace strata {
namespace {

struct Place {
  std::size_t sample;
  std::size_t token;
};

std::string describe(std::string_view set, std::size_t index, const Sample& sample) {
  return fmt::format("{} sample {} ({:.12})", set, index, sample.id);
}

tl::unexpected<Error> overlap(const std::vector<Sample>& calibration, std::size_t a,
                              const std::vector<Sample>& test, std::size_t b,
                              std::string_view what) {
  return fail(
      make_error(ErrorKind::kInvalidArgument, "{} and {} share {}",
                 describe("calibration", a, calibration[a]), describe("evaluation", b, test[b]),
                 what)
          .with_hint("calibrate on another split, or remove the sample from one of the two"));
}

// Calls visit(hash, first token) for each span inside the sample's haystack that touches no needle.
template <typename Visit>
void each_span(const Sample& sample, Visit&& visit) {
  const auto range = sample.metadata.find("haystack_tokens");
  if (range == sample.metadata.end() || sample.metadata.value("fixed_wording", false)) return;
  Tokens tokens = sample.prompt;  // running text goes on in the answer
  tokens.insert(tokens.end(), sample.answer.begin(), sample.answer.end());
  const auto begin = (*range)[0].get<std::size_t>();
  const auto end = std::min((*range)[1].get<std::size_t>(), tokens.size());
  std::vector<bool> needle(tokens.size(), false);
  for (const auto& span : sample.metadata.value("needles", nlohmann::json::array()))
    for (auto i = span[0].get<std::size_t>();
         i < std::min(span[1].get<std::size_t>(), needle.size()); ++i)
      needle[i] = true;
  std::size_t clean = 0;  // tokens without a needle that end here
  for (std::size_t i = begin; i < end; ++i) {
    clean = needle[i] ? 0 : clean + 1;
    if (clean >= kSpanTokens)
      visit(span_hash(tokens.data() + i + 1 - kSpanTokens), i + 1 - kSpanTokens);
  }
}

Status check_needles(const std::vector<Sample>& calibration, const std::vector<Sample>& test) {
  std::unordered_map<std::string, std::size_t> seen;
  for (std::size_t a = 0; a < calibration.size(); ++a)
    for (const Needle& needle : find_needles(calibration[a].prompt_text))
      seen.try_emplace(needle.key, a), seen.try_emplace(needle.value, a);
  for (std::size_t b = 0; b < test.size(); ++b)
    for (const Needle& needle : find_needles(test[b].prompt_text)) {
      if (const auto key = seen.find(needle.key); key != seen.end())
        return overlap(calibration, key->second, test, b,
                       fmt::format("the needle key '{}'", needle.key));
      if (const auto value = seen.find(needle.value); value != seen.end())
        return overlap(calibration, value->second, test, b,
                       fmt::format("the needle value {}", needle.value));
    }
  return {};
}

// Words that a sample says are its own: of its passkeys, and those that are asked for or hidden.
std::vector<std::string> own_words_of(const Sample& sample) {
  auto words = sample.metadata.value("own_words", std::vector<std::string>{});
  for (const auto& passkey : sample.metadata.value("passkeys", std::vector<std::string>{}))
    for (std::string& word : split_words(passkey)) words.push_back(std::move(word));
  return words;
}

Status check_own_words(const std::vector<Sample>& calibration, const std::vector<Sample>& test) {
  std::unordered_map<std::string, std::size_t> seen;
  for (std::size_t a = 0; a < calibration.size(); ++a)
    for (std::string& word : own_words_of(calibration[a])) seen.try_emplace(std::move(word), a);
  for (std::size_t b = 0; b < test.size(); ++b)
    for (const std::string& word : own_words_of(test[b]))
      if (const auto it = seen.find(word); it != seen.end())
        return overlap(
            calibration, it->second, test, b,
            fmt::format("the {} '{}'",
                        test[b].metadata.contains("passkeys") ? "passkey word" : "word", word));
  return {};
}

// Questions and chat sessions that samples say they hold.
Status check_sessions(const std::vector<Sample>& calibration, const std::vector<Sample>& test) {
  const auto ids_of = [](const Sample& sample) {
    auto ids = sample.metadata.value("session_ids", std::vector<std::string>{});
    if (const auto question = sample.metadata.find("question_id");
        question != sample.metadata.end() && question->is_string())
      ids.push_back("question " + question->get<std::string>());
    return ids;
  };
  std::unordered_map<std::string, std::size_t> seen;
  for (std::size_t a = 0; a < calibration.size(); ++a)
    for (std::string& id : ids_of(calibration[a])) seen.try_emplace(std::move(id), a);
  if (seen.empty()) return {};
  for (std::size_t b = 0; b < test.size(); ++b)
    for (const std::string& id : ids_of(test[b]))
      if (const auto it = seen.find(id); it != seen.end())
        return overlap(
            calibration, it->second, test, b,
            id.starts_with("question ") ? "the " + id : fmt::format("the chat session {:.12}", id));
  return {};
}

Status check_spans(const std::vector<Sample>& calibration, const std::vector<Sample>& test) {
  std::unordered_map<std::uint64_t, Place> seen;
  std::size_t tokens = 0;
  for (const Sample& sample : calibration) tokens += sample.prompt.size() + sample.answer.size();
  seen.reserve(tokens);
  for (std::size_t a = 0; a < calibration.size(); ++a)
    each_span(calibration[a], [&](std::uint64_t hash, std::size_t at) {
      seen.try_emplace(hash, Place{a, at});
    });
  if (seen.empty()) return {};
  for (std::size_t b = 0; b < test.size(); ++b) {
    const Place* found = nullptr;
    std::size_t where = 0;
    each_span(test[b], [&](std::uint64_t hash, std::size_t at) {
      if (found != nullptr) return;
      const auto place = seen.find(hash);
      if (place == seen.end()) return;
      found = &place->second;
      where = at;
    });
    if (found != nullptr) {
      return overlap(calibration, found->sample, test, b,
                     fmt::format("{} tokens of haystack text (at tokens {} and {})", kSpanTokens,
                                 found->token, where));
    }
  }
  return {};
}

}  // namespace

Status check_disjoint(const std::vector<Sample>& calibration, const std::vector<Sample>& test) {
  std::unordered_map<std::string_view, std::size_t> prompts;
  for (std::size_t a = 0; a < calibration.size(); ++a)
    prompts.try_emplace(calibration[a].prompt_text, a);
  for (std::size_t b = 0; b < test.size(); ++b)
    if (const auto same = prompts.find(test[b].prompt_text); same != prompts.end())
      return overlap(calibration, same->second, test, b, "the whole prompt");
  RETURN_IF_ERROR(check_needles(calibration, test));
  RETURN_IF_ERROR(check_own_words(calibration, test));
  RETURN_IF_ERROR(check_sessions(calibration, test));
  return check_spans(calibration, test);
}

}  // namespace strata
