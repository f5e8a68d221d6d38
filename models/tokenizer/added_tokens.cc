#include "models/tokenizer/added_tokens.h"

#include <utility>

#include "models/tokenizer/unicode.h"

namespace strata {
namespace {

bool is_space_at(std::string_view text, std::size_t at) {
  return (unicode::char_class(unicode::code_point_at(text, at).code) & unicode::kSpace) != 0;
}

std::size_t skip_spaces(std::string_view text, std::size_t at) {
  while (at < text.size() && is_space_at(text, at)) at += unicode::code_point_at(text, at).length;
  return at;
}

std::size_t skip_spaces_back(std::string_view text, std::size_t at, std::size_t limit) {
  while (at > limit) {
    std::size_t before = at - 1;
    while (before > limit && (static_cast<std::uint8_t>(text[before]) & 0xC0U) == 0x80) --before;
    if (!is_space_at(text, before)) break;
    at = before;
  }
  return at;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), token_at_node_(1, -1) {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    std::uint32_t node = 0;
    for (const char byte : tokens_[i].text) {
      const auto fresh = static_cast<std::uint32_t>(token_at_node_.size());
      const auto [entry, inserted] = edges_.try_emplace(edge(node, byte), fresh);
      if (inserted) token_at_node_.push_back(-1);
      node = entry->second;
    }
    token_at_node_[node] = static_cast<std::int64_t>(i);
    starts_[static_cast<std::uint8_t>(tokens_[i].text.front())] = true;
  }
}

AddedTokens::Match AddedTokens::longest_at(std::string_view text, std::size_t at) const {
  Match longest;
  std::uint32_t node = 0;
  while (at < text.size()) {
    const auto next = edges_.find(edge(node, text[at]));
    if (next == edges_.end()) break;
    node = next->second;
    ++at;
    if (token_at_node_[node] >= 0) {
      longest = {&tokens_[static_cast<std::size_t>(token_at_node_[node])], at};
    }
  }
  return longest;
}

void AddedTokens::split(std::string_view text, bool plain, std::vector<Part>& parts) const {
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (!starts_[static_cast<std::uint8_t>(text[at])]) {
      ++at;
      continue;
    }
    const Match match = longest_at(text, at);
    if (match.token == nullptr) {
      ++at;
      continue;
    }
    const AddedToken& token = *match.token;
    if (!(plain && token.special)) {
      const std::size_t begin = token.strip_left ? skip_spaces_back(text, at, done) : at;
      if (begin > done) parts.push_back({std::nullopt, text.substr(done, begin - done)});
      parts.push_back({token.id, {}});
      done = token.strip_right ? skip_spaces(text, match.end) : match.end;
    }
    at = std::max(match.end, done);
  }
  if (done < text.size()) parts.push_back({std::nullopt, text.substr(done)});
}

}  // namespace strata
