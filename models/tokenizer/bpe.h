// Bpe: byte-pair encoding of one pre-tokenized word, as the `tokenizers` package does it.
//
// The pair of lowest rank is merged first, the leftmost of equals first; bytes without a token are
// left out (or become the unknown token). O(n log n) in the word's length. Immutable once built;
// each thread owns its Scratch.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/tokens.h"

namespace strata {

struct Merge {
  TokenId left;
  TokenId right;
  TokenId result;
};

class Bpe {
 public:
  struct Options {
    std::optional<TokenId> unknown;  // for bytes that have no token
    bool ignore_merges = false;      // a word that is a token as a whole becomes it without merging
  };

  // One token of the vocabulary as bytes. The bytes are referenced, not copied: they outlive the
  // Bpe.
  struct Entry {
    std::string_view bytes;
    TokenId id;
  };

  // `merges` in the order of their rank.
  Bpe(std::span<const Entry> vocabulary, std::span<const Merge> merges, Options options);

  class Scratch {
    friend class Bpe;
    struct Symbol {
      TokenId id;
      std::int32_t previous;
      std::int32_t next;
    };
    struct Candidate {
      std::uint32_t rank;
      std::int32_t left;
    };
    std::vector<Symbol> symbols_;
    std::vector<Candidate> heap_;
  };

  // Appends the word's ids.
  void encode_word(std::string_view word, Scratch& scratch, Tokens& out) const;

 private:
  // Open addressing with linear probing; at most half full.
  struct PairSlot {
    std::uint64_t pair = kNoPair;
    std::uint32_t rank = 0;
    TokenId result = 0;
  };
  struct WordSlot {
    std::uint64_t head = 0;  // the first 8 bytes: most words are compared without touching `data`
    const char* data = nullptr;
    std::uint32_t length = 0;  // 0: a free slot
    TokenId id = 0;
  };
  static constexpr std::uint64_t kNoPair = ~std::uint64_t{0};

  const PairSlot* find_pair(TokenId left, TokenId right) const;
  void add_pair(const Merge& merge, std::uint32_t rank);
  std::size_t word_slot(std::string_view word) const;
  static bool later(const Scratch::Candidate& a, const Scratch::Candidate& b);
  void push_candidate(std::int32_t left, Scratch& scratch) const;
  void merge_word(std::string_view word, Scratch& scratch, Tokens& out) const;

  Options options_;
  std::vector<TokenId> byte_ids_;  // of the 256 single bytes; kNone where the vocabulary lacks it
  std::vector<PairSlot> pairs_;
  std::vector<WordSlot>
      words_;  // tokens that encode to themselves: most words of a text, without merging
};

}  // namespace strata
