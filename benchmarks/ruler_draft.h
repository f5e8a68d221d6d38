// One question of a RULER task with a haystack of any size, and the search for the size that fills
// a length.
//
// A haystack is counted in units (a line, a word, a document). Each unit is tokenised once, alone;
// sizes are compared by these counts, and the whole prompt is tokenised for the one size they
// choose, and again only where merges across borders made the counts wrong.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "benchmarks/benchmark.h"
#include "benchmarks/prompt.h"
#include "benchmarks/ruler_config.h"

namespace strata {

struct RulerText {
  std::string head;     // of the user's message, before the haystack
  std::string context;  // the haystack, with what is hidden in it
  std::string tail;     // and behind it
  std::string answer_prefix;
  std::string answer;                                // the text that is teacher-forced
  std::vector<std::string> references;               // what a right answer contains
  std::vector<std::array<std::size_t, 2>> evidence;  // bytes of context: first, one past the last
  std::vector<std::size_t> asked;                    // evidence that the answer needs; may be empty
  std::string cluster;                               // "" = independent of every other sample
  nlohmann::json metadata = nlohmann::json::object();
};

class RulerDraft {
 public:
  static constexpr std::int64_t kEndless = std::numeric_limits<std::int64_t>::max();

  RulerDraft() = default;
  RulerDraft(const RulerDraft&) = delete;
  RulerDraft& operator=(const RulerDraft&) = delete;
  virtual ~RulerDraft() = default;

  virtual std::int64_t min_units() const = 0;
  virtual std::int64_t max_units() const { return kEndless; }
  // What `units` units take, by their own counts; never falls as units grow. Only differences
  // count.
  virtual std::int64_t tokens(std::int64_t units) = 0;
  // The same text for the same number, whatever was asked for before. Error: no haystack of so many
  // units.
  virtual Result<RulerText> text(std::int64_t units) = 0;
};

struct RulerFit {
  EncodedPrompt encoded;
  RulerText text;
  std::string answer_given;
  std::int64_t units = 0;
  std::size_t context_begin = 0;  // byte of encoded.text
  std::int64_t limit = 0;         // of generation

  std::int64_t length() const { return static_cast<std::int64_t>(encoded.prompt.size()) + limit; }
  // Tokens of bytes of the context: first, one past the last. Needs encoded.offsets.
  std::array<std::int64_t, 2> tokens_of(std::array<std::size_t, 2> bytes) const;
};

struct RulerRoom {
  const SampleRequest& request;
  std::int64_t length = 0;
  std::int64_t limit = 0;  // of generation
  // Tokens kept free besides: lm_eval's fit counts the answer.
  bool answer_counts = false;

  std::int64_t needed(const RulerFit& fit) const;
};

// With the draft's fewest units: how long the prompt is at least. Errors: a template or tokenizer
// that changes the text.
Result<RulerFit> smallest_fit(const RulerRoom& room, RulerDraft& draft);

// The most units with which prompt and generation limit have at most room.length tokens together;
// none where the fewest are too many. Errors: as above.
Result<std::optional<RulerFit>> fit_units(const RulerRoom& room, RulerDraft& draft);

// Tokens that `text` adds behind text that ends in `before`.
std::int64_t tokens_behind(const Tokenizer& tokenizer, std::string_view before,
                           std::string_view text);

// As RULER joins queries: "a", "a, and b", "a, b, and c".
std::string join_names(const std::vector<std::string>& names);

}  // namespace strata
