// Questions and documents of SQuAD 2.0 and HotpotQA, from the files that their authors give out.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/benchmark.h"

namespace strata {

struct QaDocument {
  std::string text;
  Split split = Split::kTest;
};

struct QaQuestion {
  std::string id;
  std::string question;
  std::vector<std::string> answers;    // as in the file, repetitions too
  std::vector<std::size_t> own;        // documents that always stand in the haystack
  std::vector<std::size_t> gold;       // of `own`, where the file says so: what the answer needs
  std::optional<std::size_t> article;  // whose other documents fill the haystack first (SQuAD)
  Split split = Split::kTest;
};

struct QaArticle {
  std::string title;
  std::vector<std::size_t> documents;  // each once
};

// Each document once, in the order of the file. A question's split is that of its article (or id)
// by hash; a document's that of the first question that has it.
struct QaFile {
  std::vector<QaDocument> documents;
  std::vector<QaArticle> articles;
  std::vector<QaQuestion> questions;
};

// dev-v2.0.json; questions without an answer are left out, as in RULER. Errors name file, item and
// field.
Result<QaFile> parse_squad(std::string_view text, const std::string& name);
// hotpot_dev_distractor_v1.json.
Result<QaFile> parse_hotpot(std::string_view text, const std::string& name);

}  // namespace strata
