// What every fuzz target defines: its format, and libFuzzer's entry, which runs the real parser
// over the bytes and, where the parser takes them, checks what then must hold (STRATA_CHECK:
// breaking it aborts).
//
// The same source is linked into a GoogleTest program (hostile_files_test.cc) and, by the preset
// `fuzz`, with libFuzzer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tests/fuzz/mutate.h"

namespace strata::fuzz {

struct Format {
  std::string_view name;  // of its folder below tests/fuzz/corpus
  Shape shape = Shape::kText;
  std::string_view tokens;  // what mutations put in, separated by spaces
};
extern const Format kFormat;

// Whether the parser took the last input.
inline bool accepted = false;

}  // namespace strata::fuzz

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
