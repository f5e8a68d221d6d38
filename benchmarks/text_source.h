// Where running text comes from, for benchmarks that need no haystack of another kind.
#pragma once

#include <array>
#include <utility>

#include "benchmarks/niah_config.h"
#include "core/config/fields.h"

namespace strata {

enum class TextSource { kBundled, kEssay };

constexpr NiahHaystack haystack_of(TextSource source) {
  return source == TextSource::kEssay ? NiahHaystack::kEssay : NiahHaystack::kBundled;
}

}  // namespace strata

template <>
struct strata::config::EnumTable<strata::TextSource> {
  static constexpr std::array kNames = {
      std::pair{strata::TextSource::kBundled, std::string_view("bundled")},
      std::pair{strata::TextSource::kEssay, std::string_view("essay")}};
};
