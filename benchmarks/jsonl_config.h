// Keys of benchmark=jsonl: a user's own questions, one JSON object a line.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "core/config/fields.h"

namespace strata {

enum class PromptTemplate { kModel, kNone };
enum class Truncation { kError };

struct JsonlConfig {
  std::string path = std::string(config::kMandatory);
  PromptTemplate chat_template = PromptTemplate::kModel;
  Truncation truncation = Truncation::kError;
  std::int64_t generation_limit = 0;

  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("path", self.path,
          "a .jsonl or .jsonl.gz file; its lines have id, prompt or messages, answer, and maybe "
          "split and metadata");
    visit("chat_template", self.chat_template,
          "model: the model's own; none: the prompt as it stands");
    visit("truncation", self.truncation, "what to do with a prompt longer than the model");
    visit("generation_limit", self.generation_limit,
          "tokens to generate; 0: the answer's and 8 more", config::between(0, 1 << 24));
  }
};

}  // namespace strata

template <>
struct strata::config::EnumTable<strata::PromptTemplate> {
  static constexpr std::array kNames = {
      std::pair{PromptTemplate::kModel, std::string_view("model")},
      std::pair{PromptTemplate::kNone, std::string_view("none")}};
};
template <>
struct strata::config::EnumTable<strata::Truncation> {
  static constexpr std::array kNames = {std::pair{Truncation::kError, std::string_view("error")}};
};
