// Keys of benchmark=niah_grid: the original needle in a haystack, lengths by depths
// (gkamradt/LLMTest_NeedleInAHaystack, MIT).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "benchmarks/niah_config.h"
#include "benchmarks/text_source.h"
#include "core/config/fields.h"

namespace strata {

enum class DepthSpacing { kLinear, kSigmoid };
enum class GridPrompt { kOpenai, kAnthropic };

struct NiahGridConfig {
  std::int64_t min_length = 1000;
  std::int64_t max_length = 8000;
  std::int64_t lengths = 8;
  std::int64_t depths = 11;
  DepthSpacing depth_spacing = DepthSpacing::kLinear;
  std::int64_t buffer = 200;
  TextSource haystack = TextSource::kBundled;
  HaystackStart haystack_start = HaystackStart::kRandom;
  GridPrompt prompt = GridPrompt::kOpenai;
  std::vector<std::string> needles = {
      "The best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny "
      "day."};
  std::string question = "What is the best thing to do in San Francisco?";
  std::string answer =
      "The best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny "
      "day.";
  std::vector<std::string> keywords = {"eat a sandwich", "Dolores Park"};
  std::int64_t generation_limit = 64;

  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("min_length", self.min_length,
          "of the context and `buffer`, in tokens; published: 1000 to 16000",
          config::between(1, 1 << 24));
    visit("max_length", self.max_length, "the longest", config::between(1, 1 << 24));
    visit("lengths", self.lengths, "evenly spaced, rounded; published: 35",
          config::between(1, 1000));
    visit("depths", self.depths, "from 0 to 100 % of the context; published: 35",
          config::between(1, 1000));
    visit("depth_spacing", self.depth_spacing,
          "linear: rounded to whole percents; sigmoid: closer together at both ends");
    visit("buffer", self.buffer,
          "tokens of a length that the context leaves for question and answer; published: 200",
          config::between(0, 1 << 20));
    visit("haystack", self.haystack,
          "bundled: generated English; essay: $STRATA_DATA/pg_essays/*.txt (published)");
    visit("haystack_start", self.haystack_start,
          "random: drawn for each cell inside the split's text, so that no cell reuses another's "
          "prefix; ruler: the text's beginning (published)");
    visit("prompt", self.prompt,
          "openai: a system message, then context and question (published as two messages of the "
          "user, here one); anthropic: the context in tags, the answer begun");
    visit("needles", self.needles,
          "sentences to hide, each between newlines; the first at the cell's depth, the others "
          "evenly spaced behind it");
    visit("question", self.question, "what is asked");
    visit("answer", self.answer, "teacher-forced");
    visit("keywords", self.keywords,
          "an answer is right (gen_contains) where it holds all of them (inferred: the original "
          "asks a judge)");
    visit("generation_limit", self.generation_limit, "tokens to generate; published: 300",
          config::between(1, 1 << 20));
  }
};

}  // namespace strata

template <>
struct strata::config::EnumTable<strata::DepthSpacing> {
  static constexpr std::array kNames = {
      std::pair{strata::DepthSpacing::kLinear, std::string_view("linear")},
      std::pair{strata::DepthSpacing::kSigmoid, std::string_view("sigmoid")}};
};
template <>
struct strata::config::EnumTable<strata::GridPrompt> {
  static constexpr std::array kNames = {
      std::pair{strata::GridPrompt::kOpenai, std::string_view("openai")},
      std::pair{strata::GridPrompt::kAnthropic, std::string_view("anthropic")}};
};
