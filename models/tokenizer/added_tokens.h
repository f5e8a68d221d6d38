// AddedTokens: finds the texts of added tokens ("<|im_end|>") in a text, leftmost and longest
// first, as the `tokenizers` package does. Immutable once built.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/tokens.h"

namespace strata {

struct AddedToken {
  TokenId id = 0;
  std::string text;  // not empty
  bool special = false;
  bool normalized = false;
  bool strip_left = false;   // swallows the white space before it
  bool strip_right = false;  // and behind it
};

class AddedTokens {
 public:
  // A text cut into parts: the id of an added token, or text between them.
  struct Part {
    std::optional<TokenId> id;
    std::string_view text;
  };

  AddedTokens() = default;
  explicit AddedTokens(std::vector<AddedToken> tokens);

  // Appends the parts of `text`. `plain`: special tokens are found (so that none is found inside
  // them) but stay text.
  void split(std::string_view text, bool plain, std::vector<Part>& parts) const;

 private:
  struct Match {
    const AddedToken* token = nullptr;  // nullptr: none
    std::size_t end = 0;
  };
  Match longest_at(std::string_view text, std::size_t at) const;

  static std::uint64_t edge(std::uint32_t node, char byte) {
    return std::uint64_t{node} << 8 | static_cast<std::uint8_t>(byte);
  }

  std::vector<AddedToken> tokens_;
  std::vector<std::int64_t> token_at_node_;  // of the trie; -1: none ends here
  std::unordered_map<std::uint64_t, std::uint32_t> edges_;
  std::vector<bool> starts_ = std::vector<bool>(256);  // bytes with which some token starts
};

}  // namespace strata
