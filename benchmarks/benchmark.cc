#include "benchmarks/benchmark.h"

#include "benchmarks/scoring.h"
#include "core/sha256.h"

namespace strata {

std::string_view to_string(Split split) {
  switch (split) {
    case Split::kCalibration: return "calibration";
    case Split::kDevelopment: return "development";
    case Split::kTest: return "test";
  }
  return "test";
}

Result<Split> parse_split(std::string_view text) {
  for (const Split split : {Split::kCalibration, Split::kDevelopment, Split::kTest})
    if (text == to_string(split)) return split;
  return fail(ErrorKind::kInvalidArgument,
              "expected split calibration, development or test, got '{}'", text);
}

std::string_view fewer_hint(Split split) {
  return split == Split::kCalibration ? "ask for fewer with calibration.samples="
                                      : "benchmark.samples=0 asks for all";
}

std::map<std::string, double> Benchmark::score(const Sample& sample,
                                               const Response& response) const {
  return score_answer(sample, response);
}

void set_content_id(Sample& sample, std::string_view benchmark) {
  Sha256 hash;
  hash.update_u64(benchmark.size()).update(benchmark);
  for (const Tokens* tokens : {&sample.prompt, &sample.answer}) {
    hash.update_u64(tokens->size());
    for (const TokenId id : *tokens) hash.update_u64(static_cast<std::uint64_t>(id));
  }
  hash.update_u64(sample.answers.size());
  for (const std::string& answer : sample.answers) hash.update_u64(answer.size()).update(answer);
  sample.id = hash.hex_digest();
}

}  // namespace strata
