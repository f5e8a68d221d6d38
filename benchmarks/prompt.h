// A rendered conversation as tokens, cut into prompt and answer.
//
// The markup's special tokens become tokens; message contents never do (a haystack cannot end a
// chat turn). Text and answer are tokenised together, so the answer's tokens are those a model
// would be trained on.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/tokens.h"
#include "models/tokenizer/chat_template.h"

namespace strata {

struct EncodedPrompt {
  std::string text;  // of the prompt, answer excluded
  Tokens prompt;     // BOS where the template or checkpoint wants it, once
  Tokens answer;
  // False where a token of prompt + answer straddles their border: both were then tokenised apart.
  bool joint = true;
  // Byte offset in `text` of each prompt token; empty where the tokens' bytes are not the text (a
  // tokenizer that normalises).
  std::vector<std::size_t> offsets;

  // The token that holds the byte; needs offsets.
  std::int64_t token_at(std::size_t byte) const;
};

// Messages, then the assistant's header, then `answer_prefix`, then `answer`. Errors: a template
// that rewrites contents, where a content holds a special token's text.
Result<EncodedPrompt> encode_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                    std::span<const ChatMessage> messages,
                                    std::string_view answer_prefix, std::string_view answer);

// Moves leading answer tokens that decode to white space alone into the prompt, never the last;
// returns their text.
std::string move_blank_tokens(const Tokenizer& tokenizer, EncodedPrompt& encoded);

}  // namespace strata
