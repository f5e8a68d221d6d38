// YAML that is read can be written, and reads back as the same value; so can an override's element.
#include "runner/config/override.h"
#include "runner/config/yaml_reader.h"
#include "runner/config/yaml_writer.h"
#include "tests/fuzz/target.h"

namespace strata::config {
namespace {

void check_round_trip(const Value& value) {
  const std::string text = to_yaml(value);
  if (text.size() > kMaxYamlBytes) return;  // escapes make it longer
  const auto again = read_yaml(text, "again");
  STRATA_CHECK(again.has_value(), "{}\n{}", again.error().text(), text);
  STRATA_CHECK(*again == value, "{}", text);
}

// Every line as an argument of the command line would be.
bool check_overrides(std::string_view text) {
  bool any = false;
  for (int lines = 0; !text.empty() && lines < 20; ++lines) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const auto parsed = parse_override(std::string(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!parsed) continue;
    const Value* element = parsed->element();
    if (element == nullptr) continue;
    any = true;
    const std::string written = override_text(*element);
    if (written.size() > kMaxOverrideBytes) continue;
    const auto again = parse_element(written, {});
    STRATA_CHECK(again.has_value(), "{}\n{}", again.error().text(), written);
    STRATA_CHECK(*again == *element, "{}", written);
  }
  return any;
}

}  // namespace
}  // namespace strata::config

namespace strata {

const fuzz::Format fuzz::kFormat{
    .name = "yaml",
    .tokens =
        "&a *a <<: !!int !!str !!float !!null !!binary !t --- ... ??? ${a.b} ${oc.env:X} | >- "
        "{a: [1, .inf, .nan, ~, 0x1f, 1_000, 1e3, on, '' ? : - # % @package choice( range( "
        "glob( str( +a=1 ~a ++a@b=c a,b \\x41 \"\\u263a\""};

}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata::config;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  strata::fuzz::accepted = check_overrides(text);
  const auto value = read_yaml(text, "file.yaml");
  if (!value) {
    STRATA_CHECK(!value.error().text().empty());
    return 0;
  }
  strata::fuzz::accepted = true;
  check_round_trip(*value);
  return 0;
}
