// What the tests of RULER's tasks share.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "benchmarks/ruler.h"
#include "benchmarks/word_lists.h"
#include "fixture.h"

namespace strata {

// Of our own words and text, so that no data file is needed.
inline RulerConfig bundled_ruler(RulerTask task, std::int64_t length) {
  return {.task = task,
          .length = length,
          .variant = RulerVariant::kRuler,
          .essays = TextSource::kBundled,
          .words = KeyWordSource::kBundled,
          .word_file = {},
          .qa_file = {},
          .generation_limit = 0};
}

inline std::vector<Sample> ruler_samples(const RulerConfig& config, const SampleRequest& request) {
  auto samples = make_ruler(config)->samples(request);
  EXPECT_TRUE(samples.has_value()) << samples.error().text();
  return samples ? *std::move(samples) : std::vector<Sample>{};
}

inline std::string ruler_error(const RulerConfig& config, const SampleRequest& request) {
  const auto samples = make_ruler(config)->samples(request);
  return samples ? "no error" : samples.error().text();
}

// The user's message of a prompt in SmolLM2's template.
inline std::string user_message(const Sample& sample) {
  const std::string begin = "<|im_start|>user\n";
  const auto from = sample.prompt_text.find(begin) + begin.size();
  return sample.prompt_text.substr(from, sample.prompt_text.find("<|im_end|>", from) - from);
}

// What stands behind the assistant's header, with what was moved there from the answer.
inline std::string assistant_part(const Sample& sample) {
  const std::string begin = "<|im_start|>assistant\n";
  return sample.prompt_text.substr(sample.prompt_text.find(begin) + begin.size());
}

inline std::int64_t count_of(std::string_view text, std::string_view part) {
  std::int64_t count = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

// The prompt is the tokenizer's own encoding of the text, prompt and limit fit the length, and the
// stored shortfall is what is left of it.
inline void expect_within(const Model& model, const RulerConfig& config, const Sample& sample,
                          std::int64_t limit) {
  EXPECT_EQ(sample.metadata["generation_limit"], limit);
  EXPECT_EQ(make_ruler(config)->generation_limit(sample), limit);
  const auto used = std::ssize(sample.prompt) + limit;
  EXPECT_LE(used, config.length);
  EXPECT_EQ(sample.metadata["shortfall"], config.length - used);
  EXPECT_EQ(model.tokenizer.encode(sample.prompt_text), sample.prompt);
}

// Samples are the same whatever their number and thread, differ between seeds, and share nothing
// between splits.
inline void expect_own_and_repeatable(const Model& model, const RulerConfig& config) {
  const auto benchmark = make_ruler(config);
  const auto few = ruler_samples(config, model.request(3, 5));
  const auto many = ruler_samples(config, model.request(9, 5));
  const auto other = ruler_samples(config, model.request(3, 6));
  std::vector<std::vector<Sample>> threaded(4);
  std::vector<std::thread> threads;
  threads.reserve(threaded.size());
  for (auto& samples : threaded)
    threads.emplace_back([&] { samples = benchmark->samples(model.request(3, 5)).value(); });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < few.size(); ++i) {
    EXPECT_EQ(few[i].prompt, many[i].prompt);
    EXPECT_EQ(few[i].metadata, many[i].metadata);
    EXPECT_NE(few[i].id, other[i].id);
    for (const auto& samples : threaded) {
      EXPECT_EQ(samples[i].id, few[i].id);
      EXPECT_EQ(samples[i].metadata, few[i].metadata);
    }
  }
  const auto calibration = ruler_samples(config, model.request(9, 5, Split::kCalibration));
  const Status disjoint = check_disjoint(calibration, many);
  EXPECT_TRUE(disjoint.has_value()) << disjoint.error().text();
  EXPECT_FALSE(check_disjoint(many, few).has_value());
}

// The length that an error says is enough.
inline std::int64_t length_named_by(const std::string& error) {
  const std::string mark = "benchmark.length: expected at least ";
  const auto at = error.find(mark);
  EXPECT_NE(at, std::string::npos) << error;
  return at == std::string::npos ? 0 : std::stoll(error.substr(at + mark.size()));
}

// What a length of `tried` is refused with works, and a token less does not.
inline void expect_smallest_length(const Model& model, RulerConfig config, std::int64_t tried) {
  config.length = tried;
  config.length = length_named_by(ruler_error(config, model.request(5)));
  EXPECT_GT(config.length, tried);
  EXPECT_EQ(ruler_samples(config, model.request(5)).size(), 5U);
  --config.length;
  EXPECT_NE(ruler_error(config, model.request(5)), "no error");
}

}  // namespace strata
