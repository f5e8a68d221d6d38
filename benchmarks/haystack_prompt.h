// A prompt of exact length: sentences set between the units of a haystack whose last unit is cut so
// that prompt and generation limit together have the length asked for, or fall short of it by less
// than kMaxShortfall.
//
// Used in order: insert() each sentence, room(), set where the sentences stand (Inserted::before),
// fit(). One prompt each; owned by one thread.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "benchmarks/haystack.h"
#include "benchmarks/prompt.h"

namespace strata {

inline constexpr std::int64_t kMaxShortfall = 16;  // exclusive
inline constexpr std::int64_t kGenerationSlack = 8;
// Other values that are tried, so that one has as many tokens.
inline constexpr int kCounterfactualDraws = 16;

// What stands around the haystack.
struct PromptFrame {
  std::string system = "";  // message before the user's; "": none
  std::string head;         // of the user's message, before the haystack
  std::string tail;         // and behind it
  std::string answer_prefix;
  std::string answer;
  std::int64_t length = 0;
  std::int64_t generation_limit = 0;  // 0: the answer's tokens and kGenerationSlack more
};

struct Inserted {
  std::string text;
  std::size_t before = 0;        // unit
  std::int64_t token_count = 0;  // estimate, with separator
  std::size_t byte_begin = 0;    // in the haystack, once composed
  std::size_t byte_end = 0;
};

struct FittedPrompt {
  EncodedPrompt encoded;
  std::vector<Inserted> inserted;
  std::string answer_given;
  std::size_t context_begin = 0;  // bytes of encoded.text: haystack and sentences
  std::size_t context_end = 0;
  std::int64_t limit = 0;  // of generation

  std::int64_t length() const { return static_cast<std::int64_t>(encoded.prompt.size()) + limit; }
  // First and one past the last token.
  std::array<std::int64_t, 2> context_tokens() const;
  std::array<std::int64_t, 2> tokens_of(const Inserted& sentence) const;
  // Tokens between the sentence and the last prompt token.
  std::int64_t distance(const Inserted& sentence) const;
};

class HaystackPrompt {
 public:
  // Refers to request and haystack.
  HaystackPrompt(const SampleRequest& request, const Haystack& haystack, HaystackText text,
                 PromptFrame frame)
      : request_(request), haystack_(haystack), text_(std::move(text)), frame_(std::move(frame)) {}

  void insert(std::string sentence);
  std::vector<Inserted>& inserted() { return inserted_; }
  std::int64_t inserted_tokens() const;  // estimate

  // The prompt with no haystack and no sentences. Errors: a template or tokenizer that changes the
  // text, a generation limit below the answer's tokens.
  Result<FittedPrompt> empty();
  // Tokens that are left for the haystack's units. Error: none.
  Result<std::int64_t> room(const FittedPrompt& empty) const;

  // Where a sentence may stand in a haystack of `budget` tokens: before unit 0, 1, …, places − 1,
  // the last being behind every unit. tokens_before: of units alone.
  std::size_t places(std::int64_t budget);
  std::int64_t tokens_before(std::size_t place, std::int64_t budget) const;
  // The last place that is not deeper than a share of the haystack.
  std::size_t place_at(double depth, std::int64_t budget);

  // Errors: no cut of the haystack gives the length.
  Result<FittedPrompt> fit(std::int64_t budget);

  // The prompt with other sentences in place of the inserted ones, which are as many, and another
  // answer, as core/sample.h has counterfactuals; null where it has another number of tokens.
  // Errors: as fit.
  Result<nlohmann::json> counterfactual(const FittedPrompt& fitted,
                                        const std::vector<std::string>& sentences,
                                        std::string answer) const;

  // Haystack, source, tokens, length: what every such sample stores.
  nlohmann::json metadata(const FittedPrompt& fitted, std::string_view haystack_name) const;
  // Moves the parts into a sample, sets its id and cluster.
  Sample finish(FittedPrompt&& fitted, nlohmann::json metadata, std::vector<std::string> answers,
                std::string_view benchmark) const;

 private:
  struct Unit {
    std::string text;
    Tokens tokens;  // of separator and text
  };
  void fill_units(std::int64_t budget);
  std::string compose(std::int64_t budget);
  Result<FittedPrompt> attempt(const std::string& context);

  const SampleRequest& request_;
  const Haystack& haystack_;
  HaystackText text_;
  PromptFrame frame_;
  std::vector<Unit> units_;
  std::vector<std::int64_t> before_;  // tokens of the units in front of each
  std::vector<Inserted> inserted_;
};

}  // namespace strata
