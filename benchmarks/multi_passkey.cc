#include "benchmarks/multi_passkey.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "benchmarks/bundled_text.h"
#include "benchmarks/haystack_prompt.h"
#include "benchmarks/scoring.h"
#include "benchmarks/word_lists.h"
#include "core/config/binder.h"
#include "core/rng.h"
#include "core/sha256.h"

namespace strata {
namespace {

constexpr std::string_view kNatoWords =
    "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar "
    "papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu";
constexpr std::string_view kOrdinals =
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth";
constexpr double kLowestDepth = 0.05;  // published
constexpr double kHighestDepth = 0.95;
constexpr std::int64_t kLengthStep = 128;  // of the length that a hint suggests

std::string ordinal_name(std::size_t ordinal) { return split_words(kOrdinals).at(ordinal); }

// The passkeys of one sample and those asked for, by order of depth.
struct Question {
  std::int64_t index = 0;
  std::vector<std::string> passkeys;
  std::vector<std::size_t> asked;
  std::string stream;  // of its other random choices
};

struct Texts {
  std::string question;  // "" where the answer asks
  std::string prefix;
  std::string answer;
};

class MultiPasskey final : public Benchmark {
 public:
  explicit MultiPasskey(MultiPasskeyConfig config) : config_(config) {}
  std::string_view name() const override { return "multi_passkey"; }

  Result<std::vector<Sample>> samples(const SampleRequest& request) const override;
  std::map<std::string, double> score(const Sample& sample,
                                      const Response& response) const override;
  std::int64_t generation_limit(const Sample& sample) const override {
    if (config_.score == PasskeyScore::kSuffix) return 0;
    return sample.metadata.at("generation_limit").get<std::int64_t>();
  }
  Result<std::string> data_id(const SampleRequest& request) const override;

 private:
  Status check(const SampleRequest& request, std::size_t alphabet) const;
  Texts texts_of(const Question& question) const;
  void place(HaystackPrompt& prompt, std::int64_t budget, Rng rng) const;
  std::string draw_passkey(const std::vector<std::string>& words, Rng& rng) const;
  Result<nlohmann::json> counterfactual(const SampleRequest& request, const HaystackPrompt& prompt,
                                        const FittedPrompt& fitted, const Question& question) const;
  Error too_short(std::int64_t around, std::int64_t passkeys) const;
  Result<Sample> build(const SampleRequest& request, const Haystack& haystack,
                       const Question& question) const;

  MultiPasskeyConfig config_;
};

Status MultiPasskey::check(const SampleRequest& request, std::size_t alphabet) const {
  const auto refuse = [](std::string_view key, std::string expected, std::int64_t got) {
    return fail(make_error(ErrorKind::kInvalidArgument, "expected {}, got {}", expected, got)
                    .at(fmt::format("benchmark.{}", key)));
  };
  if (request.count < 1)
    return fail(ErrorKind::kInvalidArgument,
                "multi_passkey has no end: expected at least 1 sample, got {}", request.count);
  if (request.max_positions > 0 && config_.length > request.max_positions)
    return refuse("length",
                  fmt::format("at most {} (the model's positions)", request.max_positions),
                  config_.length);
  if (config_.answer_passkeys > config_.passkeys)
    return refuse("answer_passkeys",
                  fmt::format("at most {} (benchmark.passkeys)", config_.passkeys),
                  config_.answer_passkeys);
  if (config_.slots < config_.passkeys)
    return refuse("slots", fmt::format("at least {} (benchmark.passkeys)", config_.passkeys),
                  config_.slots);
  // Half of the sequences at most, so that drawing without repetition stays quick.
  const double wanted = 2.0 * static_cast<double>(request.count * config_.passkeys);
  if (static_cast<double>(config_.words) * std::log(static_cast<double>(alphabet)) <
      std::log(wanted))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "{} words of the {} that the {} split has make too few passkeys for {} "
                           "samples of {}",
                           config_.words, alphabet, to_string(request.split), request.count,
                           config_.passkeys)
                    .at("benchmark.words")
                    .with_hint("raise benchmark.words, or use benchmark.alphabet=bundled"));
  return {};
}

Result<std::vector<Sample>> MultiPasskey::samples(const SampleRequest& request) const {
  const std::vector<std::string> words = passkey_words(config_.alphabet, request.split);
  RETURN_IF_ERROR(check(request, words.size()));
  ASSIGN_OR_RETURN(const Haystack haystack, make_haystack({haystack_of(config_.haystack),
                                                           HaystackStart::kRandom, config_.length},
                                                          request));
  const std::string stream =
      fmt::format("multi_passkey/{}/{}/{}", config::enum_name(config_.haystack), config_.length,
                  to_string(request.split));
  Rng rng(request.seed, stream + "/passkeys");
  std::set<std::string> used;  // no passkey twice, in whichever sample
  std::vector<Sample> samples;
  for (std::int64_t i = 0; i < request.count; ++i) {
    Question question{i, {}, {}, fmt::format("{}/{}", stream, i)};
    while (std::ssize(question.passkeys) < config_.passkeys) {
      std::string passkey = draw_passkey(words, rng);
      if (used.insert(passkey).second) question.passkeys.push_back(std::move(passkey));
    }
    question.asked =
        rng.sample(question.passkeys.size(), static_cast<std::size_t>(config_.answer_passkeys));
    std::sort(question.asked.begin(), question.asked.end());
    ASSIGN_OR_RETURN(Sample sample, build(request, haystack, question));
    samples.push_back(std::move(sample));
  }
  return samples;
}

std::string MultiPasskey::draw_passkey(const std::vector<std::string>& words, Rng& rng) const {
  std::string passkey = words[rng.below(words.size())];
  for (std::int64_t w = 1; w < config_.words; ++w) passkey += " " + words[rng.below(words.size())];
  return passkey;
}

// Other passkeys in place of those that are asked for.
Result<nlohmann::json> MultiPasskey::counterfactual(const SampleRequest& request,
                                                    const HaystackPrompt& prompt,
                                                    const FittedPrompt& fitted,
                                                    const Question& question) const {
  const std::vector<std::string> words = passkey_words(config_.alphabet, request.split);
  Rng rng(request.seed, question.stream + "/counterfactual");
  nlohmann::json found;
  for (int draw = 0; found.is_null() && draw < kCounterfactualDraws; ++draw) {
    Question other = question;
    std::set<std::string> used(question.passkeys.begin(), question.passkeys.end());
    for (const std::size_t i : question.asked) {
      do {
        other.passkeys[i] = draw_passkey(words, rng);
      } while (!used.insert(other.passkeys[i]).second);
    }
    std::vector<std::string> sentences;
    for (std::size_t i = 0; i < other.passkeys.size(); ++i)
      sentences.push_back(passkey_sentence(i, other.passkeys[i]));
    ASSIGN_OR_RETURN(found, prompt.counterfactual(fitted, sentences, texts_of(other).answer));
  }
  return found;
}

Texts MultiPasskey::texts_of(const Question& question) const {
  Texts out;
  const bool suffix = config_.score == PasskeyScore::kSuffix;
  for (const std::size_t i : question.asked) {
    if (suffix)
      out.answer += fmt::format("{}{}\nPasskey: {}", out.answer.empty() ? "" : "\n\n",
                                passkey_question({i}), question.passkeys[i]);
    else
      out.answer += (out.answer.empty() ? " " : "\n") + question.passkeys[i];
  }
  if (suffix) return out;
  out.question = "\n\n" + passkey_question(question.asked);
  // Close to the needle's words, so that a small model goes on with the passkey.
  out.prefix = question.asked.size() == 1 ? fmt::format("It is the {} passkey to the vault:",
                                                        ordinal_name(question.asked[0]))
                                          : "The passkeys to the vault, one a line:";
  return out;
}

// Distinct slots, in order; each passkey at the last place that is not deeper than its slot.
void MultiPasskey::place(HaystackPrompt& prompt, std::int64_t budget, Rng rng) const {
  const auto slots = static_cast<std::size_t>(config_.slots);
  std::vector<std::size_t> drawn = rng.sample(slots, prompt.inserted().size());
  std::sort(drawn.begin(), drawn.end());
  const double step =
      slots > 1 ? (kHighestDepth - kLowestDepth) / static_cast<double>(slots - 1) : 0;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    const double depth = kLowestDepth + step * static_cast<double>(drawn[i]);
    prompt.inserted()[i].before = prompt.place_at(depth, budget);
  }
}

Error MultiPasskey::too_short(std::int64_t around, std::int64_t passkeys) const {
  const std::int64_t enough = (around + 2 * passkeys + kLengthStep) / kLengthStep * kLengthStep;
  return make_error(ErrorKind::kInvalidArgument,
                    "expected a haystack of at least as many tokens as the passkeys, but {} "
                    "passkeys of {} words take {} tokens, template and answer {}, and {} of {} "
                    "are left",
                    config_.passkeys, config_.words, passkeys, around,
                    std::max<std::int64_t>(0, config_.length - around - passkeys), config_.length)
      .at("benchmark.length")
      .with_hint(fmt::format(
          "benchmark.length={} is enough; or lower benchmark.passkeys or benchmark.words", enough));
}

Result<Sample> MultiPasskey::build(const SampleRequest& request, const Haystack& haystack,
                                   const Question& question) const {
  const Texts texts = texts_of(question);
  HaystackPrompt prompt(request, haystack,
                        haystack.open({question.index, question.stream, request.seed, {}}),
                        {.head = std::string(kBookHead),
                         .tail = std::string(kBookTail) + texts.question,
                         .answer_prefix = texts.prefix,
                         .answer = texts.answer,
                         .length = config_.length,
                         .generation_limit = config_.generation_limit});
  for (std::size_t i = 0; i < question.passkeys.size(); ++i)
    prompt.insert(passkey_sentence(i, question.passkeys[i]));
  ASSIGN_OR_RETURN(const FittedPrompt empty, prompt.empty());
  const std::int64_t passkey_tokens = prompt.inserted_tokens();
  const std::int64_t budget = config_.length - empty.length() - passkey_tokens;
  if (budget < passkey_tokens) return fail(too_short(empty.length(), passkey_tokens));
  place(prompt, budget, Rng(request.seed, question.stream + "/places"));
  ASSIGN_OR_RETURN(FittedPrompt fitted, prompt.fit(budget));

  nlohmann::json metadata = prompt.metadata(fitted, config::enum_name(config_.haystack));
  const auto context = fitted.context_tokens();
  for (const Inserted& sentence : fitted.inserted)
    metadata["depths"].push_back(static_cast<double>(fitted.tokens_of(sentence)[0] - context[0]) /
                                 static_cast<double>(context[1] - context[0]));
  metadata["passkeys"] = question.passkeys;
  for (const std::size_t i : question.asked) metadata["asked"].push_back(ordinal_name(i));
  metadata["needle"] = metadata["needles"][question.asked[0]];
  metadata["depth"] = metadata["depths"][question.asked[0]];
  const std::int64_t away = fitted.distance(fitted.inserted[question.asked.back()]);
  metadata["distance"] = away;  // of the nearest that is asked for
  if (request.window > 0) {
    metadata["window"] = request.window;
    metadata["beyond_window"] = away >= request.window;
  }
  if (request.split == Split::kCalibration) {
    ASSIGN_OR_RETURN(nlohmann::json other, counterfactual(request, prompt, fitted, question));
    if (!other.is_null()) metadata["counterfactual"] = std::move(other);
  }
  return prompt.finish(std::move(fitted), std::move(metadata), {texts.answer}, name());
}

// Letters and digits alone, in lower case.
std::string bare(std::string_view word) {
  std::string out;
  for (const char c : word)
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'))
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 0x20) : c;
  return out;
}

std::map<std::string, double> MultiPasskey::score(const Sample& sample,
                                                  const Response& response) const {
  auto scores = score_answer(sample, response);
  if (!response.text) return scores;
  const auto expected = split_words(sample.answers[0]);
  const auto given = split_words(sample.answer_given + *response.text);
  double right = 0;
  for (std::size_t i = 0; i < std::min(expected.size(), given.size()); ++i)
    right += bare(given[i]) == expected[i] ? 1 : 0;
  scores["gen_words"] = right / static_cast<double>(expected.size());
  return scores;
}

Result<std::string> MultiPasskey::data_id(const SampleRequest& request) const {
  ASSIGN_OR_RETURN(const std::string haystack,
                   haystack_content_id(haystack_of(config_.haystack), request));
  Sha256 hash;
  hash.update("multi_passkey 1").update(haystack);
  hash.update(config::config_hash(config::to_json(config_)));
  for (const Split split : {Split::kCalibration, Split::kDevelopment, Split::kTest})
    for (const std::string& word : passkey_words(config_.alphabet, split))
      hash.update_u64(word.size()).update(word);
  return hash.hex_digest();
}

}  // namespace

std::unique_ptr<Benchmark> make_multi_passkey(MultiPasskeyConfig config) {
  STRATA_CHECK(config.length >= 1 && config.passkeys >= 1 && config.words >= 1);
  return std::make_unique<MultiPasskey>(config);
}

std::vector<std::string> passkey_words(PasskeyAlphabet alphabet, Split split) {
  std::vector<std::string> out;
  if (alphabet == PasskeyAlphabet::kBundled) {
    for (std::string& noun : bundled_key_words().nouns)
      if (split_of(noun) == split) out.push_back(std::move(noun));
    return out;
  }
  const std::vector<std::string> words = split_words(kNatoWords);
  const auto splits = split_by_weight(words, std::vector<std::size_t>(words.size(), 2));
  for (std::size_t i = 0; i < words.size(); ++i)
    if (splits[i] == split) out.push_back(words[i]);
  return out;
}

std::string passkey_sentence(std::size_t ordinal, std::string_view words) {
  return fmt::format("Keep this sequence of words in mind, it is the {} passkey to the vault: {}.",
                     ordinal_name(ordinal), words);
}

std::string passkey_question(const std::vector<std::size_t>& ordinals) {
  if (ordinals.size() == 1)
    return fmt::format("According to the book, what is the {} passkey to the vault?",
                       ordinal_name(ordinals[0]));
  std::string names;
  for (std::size_t i = 0; i < ordinals.size(); ++i)
    names += (i == 0 ? "" : i + 1 == ordinals.size() ? " and " : ", ") + ordinal_name(ordinals[i]);
  return fmt::format("According to the book, what are the {} passkeys to the vault, in this order?",
                     names);
}

}  // namespace strata
