#include "benchmarks/prompt.h"

#include <algorithm>

namespace strata {
namespace {

// Markup between special tokens, and the special tokens (text = their bytes).
struct Piece {
  TokenId special = -1;  // -1: text
  std::string text;
};

// Stands for a message's content while the markup is rendered; a template has no reason to hold
// these bytes.
std::string stand_in(std::size_t message) { return fmt::format("\x01{}\x02", message); }

std::vector<Piece> markup_pieces(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                 std::span<const ChatMessage> messages) {
  std::vector<ChatMessage> hollow(messages.begin(), messages.end());
  for (std::size_t i = 0; i < hollow.size(); ++i) hollow[i].content = stand_in(i);
  std::vector<Piece> pieces;
  if (chat.is_none())
    for (const TokenId id : tokenizer.prefix()) pieces.push_back({id, {}});
  pieces.emplace_back();
  for (const TokenId id : tokenizer.encode(chat.render(hollow, true))) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    if (tokenizer.is_special(id)) {
      pieces.push_back({id, std::string(bytes)});
      pieces.emplace_back();
    } else {
      pieces.back().text += bytes;
    }
  }
  return pieces;
}

void fill_contents(std::vector<Piece>& pieces, std::span<const ChatMessage> messages) {
  std::size_t message = 0;
  for (Piece& piece : pieces) {
    if (piece.special >= 0) continue;
    for (std::size_t from = 0; message < messages.size(); ++message) {
      const std::string mark = stand_in(message);
      const auto found = piece.text.find(mark, from);
      if (found == std::string::npos) break;
      piece.text.replace(found, mark.size(), messages[message].content);
      from = found + messages[message].content.size();
    }
  }
}

void append(Tokens& tokens, const Tokens& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
}

bool holds_special_text(const Tokenizer& tokenizer, std::span<const ChatMessage> messages) {
  return std::any_of(messages.begin(), messages.end(), [&](const ChatMessage& message) {
    const Tokens tokens = tokenizer.encode(message.content);
    return std::any_of(tokens.begin(), tokens.end(),
                       [&](TokenId id) { return tokenizer.is_special(id); });
  });
}

// Cuts `tokens` of text + answer at the border; false where a token straddles it or bytes differ
// from the text.
bool cut_at_answer(const Tokenizer& tokenizer, std::size_t silent, Tokens&& tokens,
                   std::string_view whole, std::size_t border, EncodedPrompt& out) {
  std::vector<std::size_t> offsets;
  offsets.reserve(tokens.size());
  std::size_t at = 0;
  std::size_t answer_begin = tokens.size();
  bool same = true;
  for (std::size_t i = 0; i < tokens.size() && same; ++i) {
    if (at == border && i < answer_begin && i >= silent) answer_begin = i;
    offsets.push_back(at);
    if (i < silent) continue;  // BOS of bare text: not part of the text
    const std::string_view bytes = tokenizer.token_bytes(tokens[i]);
    same = whole.substr(std::min(at, whole.size()), bytes.size()) == bytes;
    at += bytes.size();
  }
  same = same && at == whole.size();
  const bool border_found = answer_begin < tokens.size() || border == whole.size();
  if (!same || !border_found) return false;
  const auto cut = tokens.begin() + static_cast<std::ptrdiff_t>(answer_begin);
  out.answer.assign(cut, tokens.end());
  tokens.erase(cut, tokens.end());
  offsets.resize(tokens.size());
  out.prompt = std::move(tokens);
  out.offsets = std::move(offsets);
  return true;
}

}  // namespace

std::int64_t EncodedPrompt::token_at(std::size_t byte) const {
  STRATA_CHECK(offsets.size() == prompt.size() && !offsets.empty());
  const auto after = std::upper_bound(offsets.begin(), offsets.end(), byte);
  return after - offsets.begin() - 1;
}

Result<EncodedPrompt> encode_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                    std::span<const ChatMessage> messages,
                                    std::string_view answer_prefix, std::string_view answer) {
  const std::string rendered = chat.render(messages, true);
  std::vector<Piece> pieces = markup_pieces(tokenizer, chat, messages);
  fill_contents(pieces, messages);
  std::string joined;
  for (const Piece& piece : pieces) joined += piece.text;
  if (joined != rendered) {  // the template trims or rewrites contents: encode what it made
    if (holds_special_text(tokenizer, messages)) {
      return fail(ErrorKind::kUnsupported,
                  "a message holds the text of a special token, and the chat template '{}' "
                  "rewrites messages",
                  chat.name());
    }
    pieces = {Piece{-1, rendered}};
  }
  const bool rewritten = joined != rendered;
  const auto encode_all = [&](std::string_view tail) {
    Tokens tokens;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const Piece& piece = pieces[i];
      const std::string text = i + 1 < pieces.size() ? piece.text : piece.text + std::string(tail);
      if (piece.special >= 0)
        tokens.push_back(piece.special);
      else
        append(tokens, rewritten ? tokenizer.encode(text) : tokenizer.encode_plain(text));
    }
    return tokens;
  };
  EncodedPrompt out;
  out.text = rendered + std::string(answer_prefix);
  const std::string whole = out.text + std::string(answer);
  const std::size_t silent = chat.is_none() ? tokenizer.prefix().size() : 0;
  if (cut_at_answer(tokenizer, silent, encode_all(std::string(answer_prefix) + std::string(answer)),
                    whole, out.text.size(), out))
    return out;
  out.joint = false;
  if (!cut_at_answer(tokenizer, silent, encode_all(answer_prefix), out.text, out.text.size(),
                     out)) {
    out.prompt = encode_all(answer_prefix);
    out.offsets.clear();
  }
  out.answer = tokenizer.encode_plain(answer);
  return out;
}

std::string move_blank_tokens(const Tokenizer& tokenizer, EncodedPrompt& encoded) {
  std::string moved;
  while (encoded.answer.size() > 1) {
    const std::string_view bytes = tokenizer.token_bytes(encoded.answer.front());
    if (bytes.empty() || bytes.find_first_not_of(" \t\r\n\v\f") != std::string_view::npos) break;
    if (!encoded.offsets.empty()) encoded.offsets.push_back(encoded.text.size());
    encoded.text += bytes;
    moved += bytes;
    encoded.prompt.push_back(encoded.answer.front());
    encoded.answer.erase(encoded.answer.begin());
  }
  return moved;
}

}  // namespace strata
