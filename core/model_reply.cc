#include "core/model_reply.h"

namespace strata {
namespace {

constexpr std::string_view kBlank = " \t\r\n\f\v";

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

}  // namespace

FinalAnswer final_answer(std::string_view response) {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  if (const std::size_t end = response.rfind(kClose); end != std::string_view::npos)
    response.remove_prefix(end + kClose.size());
  if (response.find(kOpen) != std::string_view::npos) return {{}, true};
  return {trimmed(response), false};
}

std::optional<int> bracketed_score(std::string_view reply) {
  const std::string_view said = final_answer(reply).text;
  const std::size_t open = said.find("[[");
  if (open == std::string_view::npos) return std::nullopt;
  const std::size_t close = said.find("]]", open);
  if (close == std::string_view::npos) return std::nullopt;
  const std::string_view number = said.substr(open + 2, close - open - 2);
  if (number == "10") return 10;
  if (number.size() == 1 && number[0] >= '1' && number[0] <= '9') return number[0] - '0';
  return std::nullopt;
}

}  // namespace strata
