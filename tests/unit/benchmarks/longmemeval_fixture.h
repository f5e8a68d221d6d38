// benchmark=longmemeval over the small data file of our own, with the small tokenizer.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "benchmarks/longmemeval.h"
#include "benchmarks/longmemeval_file.h"
#include "benchmarks/longmemeval_prompt.h"
#include "fixture.h"

namespace strata {

inline std::filesystem::path longmemeval_golden() {
  const char* source = std::getenv("STRATA_SOURCE_DIR");
  return std::filesystem::absolute(std::filesystem::path(source == nullptr ? "." : source) /
                                   "tests/golden/longmemeval_small.json");
}

inline std::map<std::string, LongMemEvalItem> read_items(const std::filesystem::path& path) {
  auto reader = LongMemEvalReader::open(path);
  STRATA_CHECK(reader.has_value(), "{}", reader.error().text());
  std::map<std::string, LongMemEvalItem> items;
  while (true) {
    auto next = reader->next();
    STRATA_CHECK(next.has_value(), "{}", next.error().text());
    if (!*next) return items;
    const std::string id = (*next)->id;
    items.emplace(id, **std::move(next));
  }
}

class LongMemEvalTest : public testing::Test {
 protected:
  LongMemEvalTest() { config_.path = longmemeval_golden().string(); }

  Result<std::vector<Sample>> draw(const SampleRequest& request) const {
    return make_longmemeval(config_)->samples(request);
  }
  std::vector<Sample> drawn(std::int64_t count = 0, std::uint64_t seed = 1,
                            Split split = Split::kTest) const {
    auto samples = draw(model_.request(count, seed, split));
    STRATA_CHECK(samples.has_value(), "{}", samples.error().text());
    return *std::move(samples);
  }
  std::string error_of(const SampleRequest& request) const {
    const auto samples = draw(request);
    return samples ? "none" : samples.error().text();
  }
  const Sample& find(const std::vector<Sample>& samples, const std::string& id) const {
    for (const Sample& sample : samples)
      if (sample.metadata["question_id"] == id) return sample;
    STRATA_CHECK(false, "no {}", id);
    return samples.front();
  }
  std::size_t tokens_with_limit(const Sample& sample) const {
    return sample.prompt.size() + sample.metadata["generation_limit"].get<std::size_t>();
  }

  LongMemEvalConfig config_;
  const std::map<std::string, LongMemEvalItem> items_ = read_items(longmemeval_golden());
  static const Model& shared_model() {
    static const Model kModel = small_model();
    return kModel;
  }
  const Model& model_ = shared_model();
};

}  // namespace strata
