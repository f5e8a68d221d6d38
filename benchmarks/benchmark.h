// Benchmark: a source of samples and the rule that scores responses to them.
//
// Samples are deterministic: the same request gives the same samples, and sample i does not depend
// on how many were asked for. A benchmark reads files only under SampleRequest::data_dir or at a
// path of its own config, knows no model, and never sees a plan. Const methods are thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/sample.h"

namespace strata {

class Tokenizer;
class ChatTemplate;

// Content never crosses splits: 40 % / 20 % / 40 % of the source files (or documents, keys, values)
// by hash.
enum class Split { kCalibration, kDevelopment, kTest };
std::string_view to_string(Split split);
Result<Split> parse_split(std::string_view text);
// How to ask for no more samples than a file has: "benchmark.samples=0 asks for all".
std::string_view fewer_hint(Split split);

struct SampleRequest {
  std::int64_t count = 0;  // ≥ 0; 0 = all, an error where the benchmark has no end
  std::uint64_t seed = 0;
  Split split = Split::kTest;
  const Tokenizer& tokenizer;
  const ChatTemplate& chat;
  std::int64_t max_positions = 0;  // of the model, in tokens; 0 = unknown
  std::int64_t window = 0;         // of the cheap mixer, in tokens; 0 = unknown
  std::filesystem::path data_dir;  // STRATA_DATA, or empty
};

// What the model answered. Parts that were not run stay empty and their metrics are absent.
struct Response {
  std::optional<std::string> text;  // generated after the prompt, without special tokens
  Tokens tokens;                    // generated
  std::vector<double> answer_nll;   // nats at each answer position, teacher-forced
  Tokens argmax;                    // the likeliest token at each answer position
};

class Benchmark {
 public:
  virtual ~Benchmark() = default;
  virtual std::string_view name() const = 0;

  virtual Result<std::vector<Sample>> samples(const SampleRequest& request) const = 0;
  // Named metrics, each in natural units (accuracies 0 … 1, NLL in nats a token). Default:
  // score_answer().
  virtual std::map<std::string, double> score(const Sample& sample, const Response& response) const;
  // Tokens to generate at most, so that the answer fits; 0: nothing is generated, the answer is
  // only teacher-forced.
  virtual std::int64_t generation_limit(const Sample& sample) const = 0;
  // SHA-256 of what the samples are drawn from: config, source texts, generator version; not seed,
  // split or count.
  virtual Result<std::string> data_id(const SampleRequest& request) const = 0;
};

// Refuses calibration samples that share content with evaluated ones: a prompt, a needle's key or
// value, a passkey's word, a word of metadata "own_words", a question or chat session, or 13 tokens
// of haystack text (template
// text, needles and haystacks of fixed wording excepted). The error names both samples.
Status check_disjoint(const std::vector<Sample>& calibration, const std::vector<Sample>& test);

// Sets sample.id: SHA-256 of benchmark, prompt tokens, answer tokens and accepted answers.
void set_content_id(Sample& sample, std::string_view benchmark);

}  // namespace strata
