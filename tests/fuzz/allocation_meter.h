// Counts what a program has allocated: every operator new, and what C libraries report. Linking it
// replaces operator new and delete; they forward to malloc, so that AddressSanitizer still sees
// each block.
//
// Thread-safe. Bytes are those that malloc handed out, which may be a little more than were asked
// for.
#pragma once

#include <cstddef>

namespace strata::fuzz {

// Beyond this sum operator new throws std::bad_alloc instead of taking the machine down; the
// attempt counts in peak_bytes() all the same.
inline constexpr std::size_t kAllocationCeiling = std::size_t{1} << 30;

class AllocationMeter {
 public:
  static std::size_t current_bytes();
  static std::size_t peak_bytes();  // since the last restart()
  static void restart();            // the peak becomes the current sum

  // For libraries with an allocator of their own. False: the ceiling forbids it.
  static bool take(std::size_t bytes);
  static void give_back(std::size_t bytes);
};

}  // namespace strata::fuzz
