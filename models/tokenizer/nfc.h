// NFC, the canonical composition of Unicode, as the normalizer of the `tokenizers` package does it.
//
// The tables are those of the package, whose Unicode is older than any library's here: newer
// combining marks stay where they are. Pure functions without state.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace strata::unicode {

// NFC of valid UTF-8: `text` itself where it is that already (most text is, and costs a scan),
// else a view of `buffer`, which is overwritten.
std::string_view nfc(std::string_view text, std::string& buffer);

// The tables (nfc_tables.cc), ascending. A decomposition is one step, `code << 43 | first << 22 |
// second << 1 | composes`: second is 0 where there is one character, and `composes` says that NFC
// joins the two again.
std::span<const std::uint64_t> decompositions();
// `first code point << 8 | class` of each range of equal combining class; the first starts at 0.
std::span<const std::uint32_t> combining_starts();

}  // namespace strata::unicode
