// Documents that are taken are text in the order of their lines, no more than lines.
#include "benchmarks/documents.h"

#include <algorithm>

#include "models/tokenizer/unicode.h"
#include "tests/fuzz/target.h"

namespace strata {

const fuzz::Format fuzz::kFormat{
    .name = "documents",
    .tokens = R"("text":"z", "text":1, "meta":{"k":[1]}, {"text":"a"} null true {} [] "")"};

}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::int64_t taken = 0, last_line = 0;
  const auto all = documents_in_jsonl(text, "data", [&](const Document& document) -> Result<bool> {
    STRATA_CHECK(!document.text.empty() && unicode::is_valid_utf8(document.text));
    const std::int64_t line = std::stoll(document.name.substr(document.name.find(':') + 1));
    STRATA_CHECK(line > last_line, "{}", line);
    last_line = line;
    ++taken;
    return true;
  });
  if (!all) {
    STRATA_CHECK(!all.error().text().empty());
    return 0;
  }
  STRATA_CHECK(last_line <= 1 + std::count(text.begin(), text.end(), '\n'));
  fuzz::accepted = taken > 0;
  return 0;
}
