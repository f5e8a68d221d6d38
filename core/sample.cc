#include "core/sample.h"

#include "core/sha256.h"

namespace strata {

std::string content_id(const std::vector<Sample>& samples) {
  Sha256 hash;
  for (const Sample& sample : samples) hash.update(sample.id);
  return hash.hex_digest();
}

}  // namespace strata
