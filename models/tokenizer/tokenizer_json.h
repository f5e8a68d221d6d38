// Reads tokenizer.json into a plain value, with every part either understood or refused by name.
//
// The text is foreign: sizes are bounded by it, ids and references are checked. Errors say where in
// the document
// ("model.merges[17]: …"). Pure; no files. `truncation` and `padding` are the caller's business, as
// in transformers.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"
#include "core/tokens.h"
#include "models/tokenizer/added_tokens.h"
#include "models/tokenizer/bpe.h"
#include "models/tokenizer/pre_tokenizer.h"

namespace strata {

struct TokenizerSpec {
  std::vector<std::string> tokens;  // id -> bytes; "" where no token has the id
  std::vector<bool> in_bpe;         // id -> byte-pair encoding may give it
  std::vector<Merge> merges;        // in the order of their rank
  std::vector<AddedToken> added;
  bool nfc = false;                 // the text between added tokens is normalized first
  std::vector<Splitter> splitters;  // outermost first
  Tokens prefix;                    // what the post-processor puts before a text
  Bpe::Options options;
};

Result<TokenizerSpec> parse_tokenizer_json(std::string_view text);

// What a token of byte-level BPE (valid UTF-8) stands for, one byte a character; nullopt where some
// character is not one of the 256 that stand for bytes (then it stands for its own text).
std::optional<std::string> byte_level_bytes(std::string_view token);

}  // namespace strata
