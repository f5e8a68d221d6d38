// The jsonl benchmark: a user's own questions, one JSON object a line.
//
// Fields: id (string), prompt (string) or messages ([{role, content}]), answer (a string, or a list
// of which any counts), and maybe split (else 40/20/40 by the hash of id) and metadata (an object,
// stored). Prompt and answer are used byte for byte: the split between them is the user's. Any bad
// line fails the whole file.
#pragma once

#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

#include "benchmarks/benchmark.h"
#include "benchmarks/jsonl_config.h"
#include "models/tokenizer/chat_template.h"

namespace strata {

// `config` keeps to the constraints of its fields, as binding does.
std::unique_ptr<Benchmark> make_jsonl(JsonlConfig config);

struct JsonlItem {
  std::int64_t line = 0;  // from 1
  std::string id;
  std::vector<ChatMessage> messages;
  std::vector<std::string> answers;
  Split split = Split::kTest;
  nlohmann::json metadata = nlohmann::json::object();
};

// The items of a whole text; `name` begins the errors ("name:line: field 'answer': …"). Blank lines
// are skipped.
Result<std::vector<JsonlItem>> parse_jsonl(std::string_view text, std::string_view name);

}  // namespace strata
