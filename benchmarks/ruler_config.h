// Keys of benchmark=ruler: the thirteen tasks of RULER (arXiv 2404.06654).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "benchmarks/text_source.h"
#include "core/config/fields.h"

namespace strata {

enum class RulerTask {
  kNiahSingle1,
  kNiahSingle2,
  kNiahSingle3,
  kNiahMultikey1,
  kNiahMultikey2,
  kNiahMultikey3,
  kNiahMultivalue,
  kNiahMultiquery,
  kVt,
  kCwe,
  kFwe,
  kQa1,
  kQa2
};
enum class RulerVariant { kRuler, kLmEval };

struct RulerConfig {
  RulerTask task = RulerTask::kNiahSingle1;
  std::int64_t length = 4096;
  std::int64_t distractors = 0;
  RulerVariant variant = RulerVariant::kRuler;
  TextSource essays = TextSource::kEssay;
  KeyWordSource words = KeyWordSource::kWonderwords;
  std::string word_file;
  std::string qa_file;
  std::int64_t generation_limit = 0;

  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("task", self.task,
          "RULER's name: eight needle tasks, variable tracking, common words, frequent words, "
          "questions on SQuAD (qa_1) and HotpotQA (qa_2)");
    visit("length", self.length,
          "prompt, answer prefix and tokens to generate together, in tokens, at most; published: "
          "4096 to 131072",
          config::between(1, 1 << 24));
    visit("distractors", self.distractors,
          "of the same type as what is asked for, besides the published ones: keys with as many "
          "values (niah_*), chains (vt); published: 0",
          config::between(0, 100));
    visit("variant", self.variant,
          "ruler: NVIDIA/RULER; lm_eval: the prompts and scores of lm-evaluation-harness where "
          "they differ");
    visit("essays", self.essays,
          "haystack of the essay tasks; essay: $STRATA_DATA/pg_essays/*.txt (published); bundled: "
          "generated English");
    visit("words", self.words,
          "needle keys, and the words of cwe; wonderwords: RULER's, from $STRATA_DATA/wonderwords");
    visit("word_file", self.word_file,
          "words of cwe in place of `words`: one a line, or a JSON list or object of them "
          "(RULER's english_words.json)");
    visit("qa_file", self.qa_file,
          "qa_1: SQuAD's dev-v2.0.json; qa_2: hotpot_dev_distractor_v1.json (.gz too); default: "
          "$STRATA_DATA/ruler/squad.json and hotpotqa.json");
    visit("generation_limit", self.generation_limit,
          "tokens to generate, part of length; 0: RULER's (128, vt 30, cwe 120, fwe 50, qa 32)",
          config::between(0, 1 << 24));
  }
};

}  // namespace strata

template <>
struct strata::config::EnumTable<strata::RulerTask> {
  using Task = strata::RulerTask;
  static constexpr std::array kNames = {
      std::pair{Task::kNiahSingle1, std::string_view("niah_single_1")},
      std::pair{Task::kNiahSingle2, std::string_view("niah_single_2")},
      std::pair{Task::kNiahSingle3, std::string_view("niah_single_3")},
      std::pair{Task::kNiahMultikey1, std::string_view("niah_multikey_1")},
      std::pair{Task::kNiahMultikey2, std::string_view("niah_multikey_2")},
      std::pair{Task::kNiahMultikey3, std::string_view("niah_multikey_3")},
      std::pair{Task::kNiahMultivalue, std::string_view("niah_multivalue")},
      std::pair{Task::kNiahMultiquery, std::string_view("niah_multiquery")},
      std::pair{Task::kVt, std::string_view("vt")},
      std::pair{Task::kCwe, std::string_view("cwe")},
      std::pair{Task::kFwe, std::string_view("fwe")},
      std::pair{Task::kQa1, std::string_view("qa_1")},
      std::pair{Task::kQa2, std::string_view("qa_2")}};
};
template <>
struct strata::config::EnumTable<strata::RulerVariant> {
  static constexpr std::array kNames = {
      std::pair{strata::RulerVariant::kRuler, std::string_view("ruler")},
      std::pair{strata::RulerVariant::kLmEval, std::string_view("lm_eval")}};
};
