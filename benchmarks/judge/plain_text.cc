#include "benchmarks/judge/plain_text.h"

#include <cstdint>
#include <nlohmann/json.hpp>

namespace strata {

std::string valid_utf8(std::string_view text) {
  // The JSON library replaces as Unicode recommends; its escapes are undone by reading it back.
  using nlohmann::json;
  const std::string dumped =
      json(std::string(text)).dump(-1, ' ', false, json::error_handler_t::replace);
  return json::parse(dumped).get<std::string>();
}

std::string one_line(std::string_view text, std::size_t max_bytes) {
  std::string out = valid_utf8(text);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  if (out.size() <= max_bytes) return out;
  while (max_bytes > 0 && (static_cast<unsigned char>(out[max_bytes]) & 0xc0U) == 0x80U)
    --max_bytes;
  return out.substr(0, max_bytes) + "…";
}

}  // namespace strata
