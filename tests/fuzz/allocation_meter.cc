#include "tests/fuzz/allocation_meter.h"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace strata::fuzz {
namespace {

std::atomic<std::size_t> current{0};
std::atomic<std::size_t> peak{0};

void* allocate(std::size_t bytes, std::size_t alignment) {
  // Before malloc is asked, so that a huge wish counts and is refused.
  if (!AllocationMeter::take(bytes)) return nullptr;
  const std::size_t wish = std::max<std::size_t>(bytes, 1);
  void* const block =
      alignment == 0
          ? std::malloc(wish)
          : std::aligned_alloc(alignment, (wish + alignment - 1) / alignment * alignment);
  AllocationMeter::give_back(bytes);
  if (block != nullptr) AllocationMeter::take(::malloc_usable_size(block));
  return block;
}

void* allocate_or_throw(std::size_t bytes, std::size_t alignment = 0) {
  void* const block = allocate(bytes, alignment);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void release(void* block) {
  if (block == nullptr) return;
  AllocationMeter::give_back(::malloc_usable_size(block));
  std::free(block);
}

}  // namespace

std::size_t AllocationMeter::current_bytes() { return current; }
std::size_t AllocationMeter::peak_bytes() { return peak; }
void AllocationMeter::restart() { peak = current.load(); }

bool AllocationMeter::take(std::size_t bytes) {
  const std::size_t before = current.fetch_add(bytes);
  const std::size_t now = before + bytes < before ? SIZE_MAX : before + bytes;
  std::size_t highest = peak;
  while (now > highest && !peak.compare_exchange_weak(highest, now)) {
  }
  if (now <= kAllocationCeiling) return true;
  give_back(bytes);
  return false;
}

void AllocationMeter::give_back(std::size_t bytes) { current.fetch_sub(bytes); }

}  // namespace strata::fuzz

using strata::fuzz::allocate;
using strata::fuzz::allocate_or_throw;
using strata::fuzz::release;

void* operator new(std::size_t bytes) { return allocate_or_throw(bytes); }
void* operator new[](std::size_t bytes) { return allocate_or_throw(bytes); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes, 0); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes, 0);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return allocate_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* block) noexcept { release(block); }
void operator delete[](void* block) noexcept { release(block); }
void operator delete(void* block, std::size_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t) noexcept { release(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { release(block); }
void operator delete[](void* block, const std::nothrow_t&) noexcept { release(block); }
void operator delete(void* block, std::align_val_t) noexcept { release(block); }
void operator delete[](void* block, std::align_val_t) noexcept { release(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { release(block); }
