// Documents to train on, from files of a user: a folder of *.txt (a document each), *.jsonl and
// *.jsonl.gz (a JSON object a line, whose field "text" is a document; other fields are ignored).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace strata {

struct Document {
  std::string name;  // "a.txt", "b.jsonl:7"
  std::string text;  // UTF-8, not empty
};

// Hands documents over until it is told (false) that there are enough, or `take` fails. Files
// directly in the folder (a file in its place is the one file), in an order that `seed` draws; a
// file's lines in theirs; empty documents and lines are left out. Errors, that name file, line and
// field: kNotFound (no such folder, no such file in it), kIo, kInvalidFile: bytes that are not
// UTF-8, a line that is no such object, a file or line that is too long.
Status for_each_document(const std::filesystem::path& folder, std::uint64_t seed,
                         const std::function<Result<bool>(Document)>& take);

// The documents of one jsonl text; `name` begins names and errors. False: `take` has enough.
Result<bool> documents_in_jsonl(std::string_view text, const std::string& name,
                                const std::function<Result<bool>(Document)>& take);

}  // namespace strata
