// Haystacks: where the text around a needle comes from, as a stream of units (sentences or lines).
#pragma once

#include <nlohmann/json.hpp>

#include <functional>
#include <memory>
#include <string>

#include "benchmarks/benchmark.h"
#include "benchmarks/needles.h"
#include "benchmarks/niah_config.h"

namespace strata {

// The haystack of one sample.
struct HaystackText {
  std::function<std::string()> next_unit;  // endless
  nlohmann::json source;                   // where the text is from; reaches the database
  std::string cluster;                     // "" = independent of every other sample
};

struct HaystackSeat {
  std::int64_t index = 0;  // of the sample
  std::string stream;      // purpose of the sample's random streams
  std::uint64_t seed = 0;
  std::function<Needle()> distractor;  // a needle that is not the sample's own
};

struct Haystack {
  std::string separator;  // between units, needles too
  bool fixed_wording =
      false;  // its text is template text: shared by every sample, so not checked for overlap
  std::function<HaystackText(const HaystackSeat&)> open;
};

struct HaystackChoice {
  NiahHaystack kind = NiahHaystack::kBundled;
  HaystackStart start = HaystackStart::kRandom;
  std::int64_t block_tokens = 0;  // of the disjoint stretches that essays are cut into
};

// Errors: essays that are not there or not UTF-8.
Result<Haystack> make_haystack(const HaystackChoice& choice, const SampleRequest& request);

// SHA-256 of the source text, for data_id().
Result<std::string> haystack_content_id(NiahHaystack kind, const SampleRequest& request);

}  // namespace strata
