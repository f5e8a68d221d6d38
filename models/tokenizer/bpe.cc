#include "models/tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "core/result.h"

namespace strata {
namespace {

constexpr TokenId kNone = -1;
constexpr std::uint64_t kMix = 0x9E3779B97F4A7C15U;  // 2^64 / golden ratio
constexpr std::size_t kMaxWordBytes = std::numeric_limits<std::int32_t>::max();

std::uint64_t mix(std::uint64_t value) {
  value *= kMix;
  return value ^ value >> 32;
}

// The first 8 bytes; zeros past the end.
std::uint64_t head_of(std::string_view bytes) {
  std::uint64_t head = 0;
  std::memcpy(&head, bytes.data(), std::min<std::size_t>(bytes.size(), 8));
  return head;
}

std::uint64_t hash_bytes(std::string_view bytes) {
  std::uint64_t hash = bytes.size();
  for (; bytes.size() > 8; bytes.remove_prefix(8)) hash = mix(hash ^ head_of(bytes));
  return mix(hash ^ head_of(bytes));
}

std::uint64_t pair_key(TokenId left, TokenId right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

std::size_t table_size(std::size_t entries) { return std::bit_ceil(2 * entries + 1); }

}  // namespace

Bpe::Bpe(std::span<const Entry> vocabulary, std::span<const Merge> merges, Options options)
    : options_(options),
      byte_ids_(256, options.unknown.value_or(kNone)),
      pairs_(table_size(merges.size())),
      words_(table_size(vocabulary.size())) {
  for (const Entry& entry : vocabulary) {
    if (entry.bytes.size() == 1) byte_ids_[static_cast<std::uint8_t>(entry.bytes[0])] = entry.id;
  }
  std::uint32_t rank = 0;
  for (const Merge& merge : merges) add_pair(merge, rank++);

  Scratch scratch;
  Tokens ids;
  for (const Entry& entry : vocabulary) {
    if (entry.bytes.empty()) continue;
    ids.clear();
    if (!options_.ignore_merges) merge_word(entry.bytes, scratch, ids);
    if (options_.ignore_merges || (ids.size() == 1 && ids[0] == entry.id)) {
      words_[word_slot(entry.bytes)] = {head_of(entry.bytes), entry.bytes.data(),
                                        static_cast<std::uint32_t>(entry.bytes.size()), entry.id};
    }
  }
}

const Bpe::PairSlot* Bpe::find_pair(TokenId left, TokenId right) const {
  const std::uint64_t key = pair_key(left, right);
  const std::size_t mask = pairs_.size() - 1;
  for (std::size_t at = mix(key) & mask;; at = (at + 1) & mask) {
    if (pairs_[at].pair == key) return &pairs_[at];
    if (pairs_[at].pair == kNoPair) return nullptr;
  }
}

// A pair that comes twice keeps its last rank, as in `tokenizers`.
void Bpe::add_pair(const Merge& merge, std::uint32_t rank) {
  const std::uint64_t key = pair_key(merge.left, merge.right);
  const std::size_t mask = pairs_.size() - 1;
  std::size_t at = mix(key) & mask;
  while (pairs_[at].pair != kNoPair && pairs_[at].pair != key) at = (at + 1) & mask;
  pairs_[at] = {key, rank, merge.result};
}

// Where the word is, or the free slot where it would be.
std::size_t Bpe::word_slot(std::string_view word) const {
  const std::size_t mask = words_.size() - 1;
  const std::uint64_t head = head_of(word);
  const auto is_word = [&](const WordSlot& slot) {
    return slot.head == head && slot.length == word.size() &&
           (word.size() <= 8 || std::memcmp(slot.data + 8, word.data() + 8, word.size() - 8) == 0);
  };
  std::size_t at = hash_bytes(word) & mask;
  while (words_[at].length != 0 && !is_word(words_[at])) at = (at + 1) & mask;
  return at;
}

void Bpe::encode_word(std::string_view word, Scratch& scratch, Tokens& out) const {
  const WordSlot& slot = words_[word_slot(word)];
  if (slot.length != 0) {
    out.push_back(slot.id);
  } else {
    merge_word(word, scratch, out);
  }
}

// The order of the heap: lowest rank first, then leftmost.
bool Bpe::later(const Scratch::Candidate& a, const Scratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
}

void Bpe::push_candidate(std::int32_t left, Scratch& scratch) const {
  if (left < 0) return;
  const Scratch::Symbol& symbol = scratch.symbols_[static_cast<std::size_t>(left)];
  if (symbol.next < 0) return;
  const TokenId right_id = scratch.symbols_[static_cast<std::size_t>(symbol.next)].id;
  if (const PairSlot* pair = find_pair(symbol.id, right_id)) {
    scratch.heap_.push_back({pair->rank, left});
    std::push_heap(scratch.heap_.begin(), scratch.heap_.end(), later);
  }
}

void Bpe::merge_word(std::string_view word, Scratch& scratch, Tokens& out) const {
  STRATA_CHECK(word.size() < kMaxWordBytes, "a word of {} bytes", word.size());
  auto& [symbols, heap] = scratch;
  symbols.clear();
  heap.clear();
  for (const char c : word) {
    const TokenId id = byte_ids_[static_cast<std::uint8_t>(c)];
    const auto at = static_cast<std::int32_t>(symbols.size());
    if (id != kNone) symbols.push_back({id, at - 1, at + 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;
  for (std::size_t i = 0; i < symbols.size(); ++i)
    push_candidate(static_cast<std::int32_t>(i), scratch);

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Scratch::Candidate candidate = heap.back();
    heap.pop_back();
    Scratch::Symbol& left = symbols[static_cast<std::size_t>(candidate.left)];
    if (left.id == kNone || left.next < 0) continue;  // merged away since
    Scratch::Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    const PairSlot* pair = find_pair(left.id, right.id);
    if (pair == nullptr || pair->rank != candidate.rank) continue;  // a neighbour changed since
    left.id = pair->result;
    left.next = right.next;
    right.id = kNone;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = candidate.left;
    push_candidate(left.previous, scratch);
    push_candidate(candidate.left, scratch);
  }
  for (std::int32_t at = 0; at >= 0; at = symbols[static_cast<std::size_t>(at)].next) {
    out.push_back(symbols[static_cast<std::size_t>(at)].id);
  }
}

}  // namespace strata
