// Tokenizer: the byte-level BPE of a Hugging Face model directory, with the ids of the `tokenizers`
// package.
//
// Immutable after load, cheap to copy, safe to share between threads: encoding keeps no cache.
// Whatever tokenizer.json asks for that is not done here exactly is an error at load, never
// ignored. No BOS or EOS is ever added (`prefix()` says what the checkpoint wants in front of bare
// text).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/tokens.h"

namespace strata {

class Tokenizer {
 public:
  // Reads tokenizer.json (required), tokenizer_config.json and chat_template.jinja (BOS, EOS,
  // template) and generation_config.json, else config.json (further stop ids). Errors begin with
  // the file's path.
  static Result<Tokenizer> load(const std::filesystem::path& model_dir);

  // The ids of `tokenizers`' encode(text, add_special_tokens=False). Bytes that are not UTF-8 first
  // become U+FFFD (Python's bytes.decode("utf-8", "replace")). The text of an added token, special
  // or not, becomes its id. Where tokenizer.json asks for NFC (Qwen), the text between added tokens
  // is normalized, and decoding gives back the normalized text.
  Tokens encode(std::string_view text) const;

  // The same, but the text of special tokens is ordinary text (`tokenizers` with
  // encode_special_tokens=True): for haystacks and user data, which must not be able to end a chat
  // turn.
  Tokens encode_plain(std::string_view text) const;

  // The tokens' bytes, joined; they need not be UTF-8 at the ends. Ids without a token (padding
  // rows of the embedding) give nothing. `skip_special` leaves out special tokens.
  std::string decode(std::span<const TokenId> tokens, bool skip_special = false) const;
  // decode() with U+FFFD for what is no UTF-8 (`tokenizers`' decode): what is shown or stored.
  std::string decode_text(std::span<const TokenId> tokens, bool skip_special = false) const;

  std::string_view token_bytes(
      TokenId id) const;  // "" for an id without a token; lives as long as a copy of *this
  bool is_special(TokenId id) const;
  std::optional<TokenId> token_id(std::string_view added_token) const;  // of an added token's text

  int vocab_size() const;  // largest id + 1, added tokens included
  std::optional<TokenId> bos() const;
  const std::vector<TokenId>& eos()
      const;  // every id that ends generation, ascending; may be empty
  const Tokens& prefix()
      const;  // what tokenizer.json's post-processor puts before a text; for chat_template=none

  const std::string& id()
      const;  // TokenizerId: SHA-256 of tokenizer.json and the chat template's text
  const std::optional<std::string>& chat_template_text()
      const;  // none: the directory has no template

 private:
  struct Data;
  explicit Tokenizer(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

// Turns ids into text as they come: holds back the bytes of a character that is not complete yet
// and replaces bytes that can never become one by U+FFFD. The joined output is decode() with
// replacement. Owned by one thread.
class StreamingDecoder {
 public:
  explicit StreamingDecoder(Tokenizer tokenizer, bool skip_special = false)
      : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

  std::string push(TokenId id);  // complete characters only; may be empty
  std::string finish();          // what was held back, as U+FFFD; the decoder may be used again

 private:
  Tokenizer tokenizer_;
  bool skip_special_;
  std::string held_;
};

}  // namespace strata
