#include "models/tokenizer/nfc.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "models/tokenizer/unicode.h"

namespace strata::unicode {
namespace {

// Hangul syllables are composed by arithmetic (Unicode, section 3.12).
constexpr char32_t kSyllables = 0xAC00;
constexpr char32_t kLeading = 0x1100;
constexpr char32_t kVowels = 0x1161;
constexpr char32_t kTrailing = 0x11A7;  // one before the first
constexpr char32_t kLeadingCount = 19;
constexpr char32_t kVowelCount = 21;
constexpr char32_t kTrailingCount = 28;
constexpr char32_t kSyllableCount = kLeadingCount * kVowelCount * kTrailingCount;

constexpr char32_t kCodePoints = 0x110000;
bool in_range(char32_t code, char32_t first, char32_t count) {
  return code >= first && code - first < count;
}

struct Decomposition {
  char32_t code;
  char32_t first;
  char32_t second;  // 0: none
  bool composes;
};

Decomposition unpacked(std::uint64_t packed) {
  const auto field = [&](unsigned shift) {
    return static_cast<char32_t>(packed >> shift & 0x1FFFFFU);
  };
  return {field(43), field(22), field(1), (packed & 1U) != 0};
}

std::uint64_t pair_of(char32_t first, char32_t second) {
  return std::uint64_t{first} << 32 | second;
}

// What is looked up for every character, made from the tables once.
struct Lookup {
  Lookup();

  // A character that NFC never changes and that joins with nothing before it: text can be cut
  // before it, and text of such characters alone is NFC.
  std::vector<bool> inert = std::vector<bool>(kCodePoints, true);
  std::unordered_map<std::uint64_t, char32_t> composites;
};

Lookup::Lookup() {
  const std::span<const std::uint32_t> starts = combining_starts();
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const char32_t end = i + 1 < starts.size() ? starts[i + 1] >> 8 : kCodePoints;
    if ((starts[i] & 0xFFU) == 0) continue;
    for (char32_t code = starts[i] >> 8; code < end; ++code) inert[code] = false;
  }
  for (const std::uint64_t packed : decompositions()) {
    const Decomposition entry = unpacked(packed);
    if (entry.composes) {
      composites.emplace(pair_of(entry.first, entry.second), entry.code);
      inert[entry.second] = false;
    } else {
      inert[entry.code] = false;
    }
  }
  for (char32_t i = 0; i < kVowelCount; ++i) inert[kVowels + i] = false;
  for (char32_t i = 1; i < kTrailingCount; ++i) inert[kTrailing + i] = false;
}

const Lookup& lookup() {
  static const Lookup kLookup;
  return kLookup;
}

std::uint8_t combining_class(char32_t code) {
  const std::span<const std::uint32_t> starts = combining_starts();
  const std::uint32_t key = static_cast<std::uint32_t>(code) << 8 | 0xFFU;
  return static_cast<std::uint8_t>(*(std::upper_bound(starts.begin(), starts.end(), key) - 1));
}

struct Mark {
  char32_t code;
  std::uint8_t combining;
};

// Appends the full canonical decomposition. Only first parts decompose further.
void decompose(char32_t code, std::vector<Mark>& out) {
  if (in_range(code, kSyllables, kSyllableCount)) {
    const char32_t index = code - kSyllables;
    out.push_back({kLeading + index / (kVowelCount * kTrailingCount), 0});
    out.push_back({kVowels + index / kTrailingCount % kVowelCount, 0});
    if (index % kTrailingCount != 0) out.push_back({kTrailing + index % kTrailingCount, 0});
    return;
  }
  const std::span<const std::uint64_t> table = decompositions();
  const auto found = std::lower_bound(table.begin(), table.end(), std::uint64_t{code} << 43);
  if (found == table.end() || unpacked(*found).code != code) {
    out.push_back({code, combining_class(code)});
    return;
  }
  const Decomposition entry = unpacked(*found);
  decompose(entry.first, out);
  if (entry.second != 0) out.push_back({entry.second, combining_class(entry.second)});
}

// The character that the two join to, or 0.
char32_t composed(char32_t first, char32_t second) {
  if (in_range(first, kLeading, kLeadingCount) && in_range(second, kVowels, kVowelCount)) {
    return kSyllables + ((first - kLeading) * kVowelCount + (second - kVowels)) * kTrailingCount;
  }
  if (in_range(first, kSyllables, kSyllableCount) && (first - kSyllables) % kTrailingCount == 0 &&
      in_range(second, kTrailing + 1, kTrailingCount - 1)) {
    return first + (second - kTrailing);
  }
  const auto found = lookup().composites.find(pair_of(first, second));
  return found == lookup().composites.end() ? 0 : found->second;
}

void sort_marks(std::vector<Mark>& characters) {
  for (auto at = characters.begin(); at != characters.end();) {
    const auto begin =
        std::find_if(at, characters.end(), [](const Mark& mark) { return mark.combining != 0; });
    at =
        std::find_if(begin, characters.end(), [](const Mark& mark) { return mark.combining == 0; });
    std::stable_sort(begin, at,
                     [](const Mark& a, const Mark& b) { return a.combining < b.combining; });
  }
}

// Joins each character with the last starter before it unless one between them, of an equal or
// higher class, blocks it.
void compose(std::vector<Mark>& characters) {
  std::size_t kept = 0;
  std::size_t starter = characters.size();  // none yet
  for (const Mark mark : characters) {
    const bool adjacent = starter + 1 == kept;
    const bool blocked =
        starter >= kept || (!adjacent && characters[kept - 1].combining >= mark.combining);
    const char32_t joined = blocked ? 0 : composed(characters[starter].code, mark.code);
    if (joined != 0) {
      characters[starter].code = joined;
      continue;
    }
    if (mark.combining == 0) starter = kept;
    characters[kept++] = mark;
  }
  characters.resize(kept);
}

bool is_inert(const CodePoint& point) { return lookup().inert[point.code]; }

// Whether eight ASCII characters stand at `at`.
bool is_ascii_word(std::string_view text, std::size_t at) {
  std::uint64_t word = 0;
  if (text.size() - at < sizeof(word)) return false;
  std::memcpy(&word, text.data() + at, sizeof(word));
  return (word & 0x8080808080808080U) == 0;
}

// Where the first character that is not inert starts, at or behind `at`; `before` becomes the start
// of the inert one just before it, if any.
std::size_t find_lively(std::string_view text, std::size_t at, std::size_t& before) {
  const std::vector<bool>& inert = lookup().inert;
  while (at < text.size()) {
    if (static_cast<std::uint8_t>(text[at]) < 0x80) {
      at += is_ascii_word(text, at) ? sizeof(std::uint64_t) : 1;
      before = at - 1;
      continue;
    }
    const CodePoint point = code_point_at(text, at);
    if (!inert[point.code]) break;
    before = at;
    at += point.length;
  }
  return at;
}

}  // namespace

std::string_view nfc(std::string_view text, std::string& buffer) {
  std::size_t copied = 0;
  std::size_t begin = 0;
  std::size_t at = find_lively(text, 0, begin);
  if (at == text.size()) return text;
  buffer.clear();
  std::vector<Mark> characters;
  while (at < text.size()) {
    buffer += text.substr(copied, begin - copied);
    characters.clear();
    for (at = begin; at < text.size();) {
      const CodePoint point = code_point_at(text, at);
      if (at != begin && is_inert(point)) break;
      decompose(point.code, characters);
      at += point.length;
    }
    sort_marks(characters);
    compose(characters);
    for (const Mark& mark : characters) append_utf8(mark.code, buffer);
    copied = begin = at;
    at = find_lively(text, at, begin);
  }
  buffer += text.substr(copied);
  return buffer;
}

}  // namespace strata::unicode
