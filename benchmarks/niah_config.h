// Keys of benchmark=niah: needle in a haystack in RULER's single-needle and multi-key forms.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "core/config/fields.h"

namespace strata {

enum class NiahTask { kSingle, kMultikey };
enum class NiahHaystack { kBundled, kEssay, kNeedle, kNoise };
enum class HaystackStart { kRandom, kRuler };
enum class KeyWordSource { kBundled, kWonderwords };

struct NiahConfig {
  NiahTask task = NiahTask::kSingle;
  NiahHaystack haystack = NiahHaystack::kBundled;
  std::int64_t length = 1024;
  std::int64_t keys = 4;
  std::int64_t min_distance = -1;
  HaystackStart haystack_start = HaystackStart::kRandom;
  KeyWordSource words = KeyWordSource::kBundled;
  std::int64_t generation_limit = 0;

  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("task", self.task, "single: one needle; multikey: several keys, one is asked for");
    visit("haystack", self.haystack,
          "bundled: generated English; essay: $STRATA_DATA/pg_essays/*.txt; needle: every line a "
          "needle; noise: "
          "RULER's repeated sentences");
    visit("length", self.length, "prompt and generation limit together, in tokens",
          config::between(1, 1 << 24));
    visit("keys", self.keys, "needles of task=multikey, each with another key",
          config::between(2, 1000));
    visit("min_distance", self.min_distance,
          "tokens between the needle and the first informative query, at least; -1: the mixer's "
          "window",
          config::between(-1, 1 << 24));
    visit("haystack_start", self.haystack_start,
          "random: drawn for each sample inside the split's text; ruler: the text's beginning");
    visit("words", self.words, "key words; wonderwords: RULER's, from $STRATA_DATA/wonderwords");
    visit("generation_limit", self.generation_limit,
          "tokens to generate; 0: the answer's and 8 more", config::between(0, 1 << 24));
  }
};

}  // namespace strata

template <>
struct strata::config::EnumTable<strata::NiahTask> {
  static constexpr std::array kNames = {
      std::pair{NiahTask::kSingle, std::string_view("single")},
      std::pair{NiahTask::kMultikey, std::string_view("multikey")}};
};
template <>
struct strata::config::EnumTable<strata::NiahHaystack> {
  static constexpr std::array kNames = {
      std::pair{NiahHaystack::kBundled, std::string_view("bundled")},
      std::pair{NiahHaystack::kEssay, std::string_view("essay")},
      std::pair{NiahHaystack::kNeedle, std::string_view("needle")},
      std::pair{NiahHaystack::kNoise, std::string_view("noise")}};
};
template <>
struct strata::config::EnumTable<strata::HaystackStart> {
  static constexpr std::array kNames = {
      std::pair{HaystackStart::kRandom, std::string_view("random")},
      std::pair{HaystackStart::kRuler, std::string_view("ruler")}};
};
template <>
struct strata::config::EnumTable<strata::KeyWordSource> {
  static constexpr std::array kNames = {
      std::pair{KeyWordSource::kBundled, std::string_view("bundled")},
      std::pair{KeyWordSource::kWonderwords, std::string_view("wonderwords")}};
};
