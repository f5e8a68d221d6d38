#include "core/check.h"

#include <nlohmann/json.hpp>

#include "core/result.h"

namespace strata {
namespace {

std::string_view to_string(Check::Outcome outcome) {
  switch (outcome) {
    case Check::Outcome::kClear: return "clear";
    case Check::Outcome::kSign: return "sign";
    case Check::Outcome::kNotJudged: return "not judged";
  }
  return "";
}

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

}  // namespace

std::string sentence(const Check& check) {
  return fmt::format("{}: expected {}, found {}", check.name, check.expected, check.found);
}

void note(nlohmann::json& diagnostics, const Check& check) {
  diagnostics["checks"].push_back({{"name", check.name},
                                   {"expected", check.expected},
                                   {"found", check.found},
                                   {"outcome", to_string(check.outcome)}});
  if (check.outcome == Check::Outcome::kSign)
    diagnostics["signs_of_a_bug"].push_back(sentence(check));
}

std::vector<std::string> signs_in(const nlohmann::json& diagnostics) {
  std::vector<std::string> signs;
  if (!diagnostics.is_object() || !diagnostics.contains("signs_of_a_bug")) return signs;
  for (const nlohmann::json& sign : diagnostics["signs_of_a_bug"])
    if (sign.is_string()) signs.push_back(sign.get<std::string>());
  return signs;
}

std::vector<std::string> checks_in(const nlohmann::json& diagnostics) {
  std::vector<std::string> lines;
  if (!diagnostics.is_object() || !diagnostics.contains("checks")) return lines;
  for (const nlohmann::json& check : diagnostics["checks"])
    if (check.is_object())
      lines.push_back(fmt::format("{} ({}): {}", text_of(check, "name"), text_of(check, "outcome"),
                                  text_of(check, "found")));
  return lines;
}

}  // namespace strata
