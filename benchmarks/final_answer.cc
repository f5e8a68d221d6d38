#include "benchmarks/final_answer.h"

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

}  // namespace strata
