// Texts as answers: phrases, enumerations, orders, yes and no. Pure.
#pragma once

#include <string_view>
#include <vector>

#include "benchmarks/answer_text.h"

namespace strata {

// The response says the answer: its words in a row, not denied; of an enumeration all, of a longer
// text most and every number. With `ordered`, the steps of an answer that orders things come in its
// order.
bool says_text(const std::vector<Word>& response, const std::vector<Word>& answer, bool ordered);

// +1 yes, -1 no, 0: it does not begin so.
int polarity(const std::vector<Word>& words);
// Likewise of a response, where a plain statement is a yes and one that denies a no; 0: no words.
int polarity_of_response(const std::vector<Word>& words);

}  // namespace strata
