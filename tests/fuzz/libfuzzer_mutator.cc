// Half of libFuzzer's mutations are ours, so that lengths, numbers and pages stay meaningful.
#include <algorithm>
#include <cstring>

#include "core/rng.h"
#include "tests/fuzz/target.h"

// NOLINTBEGIN(readability-identifier-naming): libFuzzer's names
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  // NOLINTEND(readability-identifier-naming)
  using namespace strata;
  Rng rng(seed, "libFuzzer");
  if (size == 0 || rng.below(2) == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::string content(reinterpret_cast<const char*>(data), size);
  // A seed of its own: values are copied within the file.
  const fuzz::Mutator mutator(fuzz::kFormat.shape, {content}, fuzz::kFormat.tokens);
  content = mutator.mutate(std::move(content), rng);
  const std::size_t kept = std::min(content.size(), max_size);
  std::memcpy(data, content.data(), kept);
  return kept;
}
