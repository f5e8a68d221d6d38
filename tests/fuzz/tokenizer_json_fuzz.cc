// A tokenizer that loads gives ids of its vocabulary, at most one a byte, which spell the text
// where the vocabulary can.
#include "models/tokenizer/tokenizer.h"
#include "models/tokenizer/tokenizer_json.h"
#include "tests/fuzz/scratch_folder.h"
#include "tests/fuzz/target.h"

namespace strata {
namespace {

constexpr std::string_view kTexts[] = {"hello  world 123's\n\n", "<|im_start|>a<|im_end|> <tool>",
                                       "\xc3\xa9\xf0\x9f\x98\x80 \t x\xff"};

bool spells_every_byte(const TokenizerSpec& spec) {
  std::vector<bool> seen(256);
  for (std::size_t id = 0; id < spec.tokens.size(); ++id)
    if (spec.in_bpe[id] && spec.tokens[id].size() == 1)
      seen[static_cast<unsigned char>(spec.tokens[id][0])] = true;
  return std::find(seen.begin(), seen.end(), false) == seen.end();
}

void check_encoding(const Tokenizer& tokenizer, const TokenizerSpec& spec) {
  const bool complete = spells_every_byte(spec) && spec.added.empty();
  for (const std::string_view text : kTexts) {
    const Tokens ids = tokenizer.encode(text);
    STRATA_CHECK(ids.size() <= 3 * text.size(), "{}", ids.size());  // a bad byte becomes three
    for (const TokenId id : ids) STRATA_CHECK(id >= 0 && id < tokenizer.vocab_size(), "{}", id);
    if (complete && text.find('\xff') == std::string_view::npos)
      STRATA_CHECK(tokenizer.decode(ids) == text, "{}", tokenizer.decode(ids));
    StreamingDecoder decoder(tokenizer);
    for (const TokenId id : ids) decoder.push(id);
    decoder.finish();
  }
}

}  // namespace

const fuzz::Format fuzz::kFormat{
    .name = "tokenizer_json",
    .tokens =
        R"("type":"Sequence", "pretokenizers":[], "processors":[], "ignore_merges":true, )"
        R"("unk_token":"a", "lstrip":true, "rstrip":true, "normalized":true, "use_regex":false, )"
        R"("merges":[["a","a"]], "id":70000, "content":"", "single":[{"Sequence":{}}], null true )"
        R"({"type":"ByteLevel","add_prefix_space":false} {"type":"Digits"})"};

}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata;
  static const fuzz::ScratchFolder folder;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto spec = parse_tokenizer_json(text);
  if (!spec) {
    STRATA_CHECK(!spec.error().text().empty());
    return 0;
  }
  fuzz::accepted = true;
  folder.write("tokenizer.json", text);
  const auto tokenizer = Tokenizer::load(folder.path());
  STRATA_CHECK(tokenizer.has_value(), "{}", tokenizer.error().text());
  check_encoding(*tokenizer, *spec);
  return 0;
}
