// Rubric: the prompt that asks a judge whether a response is right, and how its reply is read.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "benchmarks/judge/judge_config.h"
#include "core/result.h"

namespace strata {

enum class VerdictRule { kYesNo, kCorrectWrong, kScore };

struct Rubric {
  std::string name;       // "longmemeval/temporal-reasoning", "swaa"
  std::string_view text;  // with slots
  VerdictRule rule = VerdictRule::kYesNo;

  std::string hash() const;  // SHA-256 of the text with its slots
  // Slots filled once, from left to right: slots within what is put in stay as they are. Bytes that
  // are no UTF-8 become U+FFFD, as they are sent.
  std::string prompt(std::string_view question, std::string_view answer,
                     std::string_view response) const;
};

// kNeedle asks the same of every question. Errors: a type that LongMemEval does not have.
Result<Rubric> rubric_for(RubricSet set, std::string_view question_type, bool abstention);

// A reply, read twice. `official`: "yes" anywhere in it means right (SWAA: "wrong" nowhere in it).
// `strict`: exactly one of the two words stands in it; none where neither or both do. A reply
// without a word beside its reasoning says nothing under either. Of a score both readings are the
// same: 10 is right.
struct Verdict {
  std::optional<bool> official, strict;
  bool operator==(const Verdict&) const = default;
};
Verdict read_verdict(VerdictRule rule, std::string_view reply);

}  // namespace strata
