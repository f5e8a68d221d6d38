#include <algorithm>
#include <array>

#include "tests/fuzz/mutate.h"

namespace strata::fuzz {
namespace {

constexpr std::size_t kFileHeader = 100;

std::size_t page_size_of(const std::string& content) {
  const std::size_t size = std::size_t{static_cast<unsigned char>(content[16])} << 8U |
                           static_cast<unsigned char>(content[17]);
  return std::clamp<std::size_t>(size == 1 ? 65536 : size, 512, content.size());
}

void set_big_endian(std::string& content, std::size_t at, std::size_t bytes, std::uint64_t value) {
  for (std::size_t i = bytes; i-- > 0 && at + i < content.size(); value >>= 8U)
    content[at + i] = static_cast<char>(value & 0xffU);
}

// Page numbers and sizes at which SQLite's checks turn.
std::uint64_t notable(std::uint64_t pages, Rng& rng) {
  const std::array<std::uint64_t, 9> values{
      0, 1, 2, pages, pages + 1, rng.below(pages + 1), 0x7fffffff, 0xffffffff, rng.next_u64()};
  return values[rng.below(values.size())];
}

// Replaces words of the schema by others of their length, which leaves the cells whole.
void change_schema_word(std::string& content, Rng& rng) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kWords{
      {{"CREATE TABLE ", "CREATE VIEW  "},
       {"TEXT NOT NULL", "BLOB NOT NULL"},
       {"INTEGER NOT NULL", "INTEGER AS (1+1)"},
       {"WITHOUT ROWID", "             "},
       {"PRIMARY KEY NOT NULL", "NOT NULL            "},
       {"REFERENCES models", "REFERENCES runs  "},
       {"tableruns", "tableplan"},
       {"indexsqlite_autoindex", "indexsqlite_autoindey"},
       {"seed INTEGER", "CHECK(abs(1)"}}};
  const auto& [from, to] = kWords[rng.below(kWords.size())];
  std::size_t at = content.find(from, rng.below(content.size()));
  if (at == std::string::npos) at = content.find(from);
  if (at != std::string::npos) content.replace(at, from.size(), to);
}

}  // namespace

void change_pages(std::string& content, Rng& rng) {
  const std::size_t page_size = page_size_of(content);
  const std::size_t pages = content.size() / page_size;
  const std::size_t page = rng.below(pages);
  const std::size_t begin = page * page_size + (page == 0 ? kFileHeader : 0);
  const std::size_t inside = page_size - (page == 0 ? kFileHeader : 0);
  const std::size_t at = begin + rng.below(inside);
  // Content lies at the end of a page, behind what is free.
  const std::size_t late = begin + inside - 1 - rng.below(std::max<std::size_t>(inside / 4, 1));
  switch (rng.below(13)) {
    case 0: content[at] = static_cast<char>(rng.below(256)); break;
    case 1: content[late] = static_cast<char>(content[late] ^ 1 << rng.below(8)); break;
    case 2: content[late] = static_cast<char>(rng.below(256)); break;
    case 3: content[begin + rng.below(12)] = static_cast<char>(rng.below(256)); break;
    case 4: set_big_endian(content, begin + 8 + 2 * rng.below(20), 2, rng.below(page_size)); break;
    case 5: set_big_endian(content, at, 4, notable(pages, rng)); break;
    case 6: set_big_endian(content, begin + 8, 4, notable(pages, rng)); break;
    case 7:  // a varint without an end
      for (std::size_t i = late; i < std::min(late + 9, content.size()); ++i) content[i] = '\xff';
      break;
    case 8:
      content.replace(page * page_size, page_size,
                      content.substr(rng.below(pages) * page_size, page_size));
      break;
    case 9: change_schema_word(content, rng); break;
    case 10: set_big_endian(content, 16 + rng.below(kFileHeader - 16), 1, rng.below(256)); break;
    case 11: set_big_endian(content, 24 + 4 * rng.below(19), 4, notable(pages, rng)); break;
    case 12:
      if (rng.below(4) == 0) content.resize(std::max<std::size_t>(512, page * page_size));
      break;
  }
}

}  // namespace strata::fuzz
