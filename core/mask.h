// Mask: which units (layers, KV heads or query heads) keep full attention. It is what a selector
// emits.
//
// An immutable-after-construction grid of bools, layers × units a layer, true = keeps full
// attention.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace strata {

enum class Granularity { kLayer, kKvHead, kQueryHead };
std::string_view to_string(Granularity granularity);
Result<Granularity> parse_granularity(std::string_view text);

// What a plan needs to know of a model: no weights, no names. query_heads is a multiple of
// kv_heads.
struct HeadLayout {
  int layers = 0;
  int query_heads = 0;
  int kv_heads = 0;
  bool operator==(const HeadLayout&) const = default;

  int units_per_layer(Granularity granularity) const;
};

class Mask {
 public:
  Mask(Granularity granularity, HeadLayout layout, bool keep);
  // Whole layers; each index in [0, layout.layers).
  static Mask of_layers(HeadLayout layout, const std::vector<int>& kept_layers);

  Granularity granularity() const { return granularity_; }
  const HeadLayout& layout() const { return layout_; }
  int layers() const { return layout_.layers; }
  int units() const { return units_; }               // a layer
  std::size_t size() const { return keep_.size(); }  // layers × units

  bool operator()(int layer, int unit) const;
  bool at(std::size_t flat) const { return keep_[flat]; }  // flat = layer × units + unit
  Mask with(std::size_t flat, bool keep) const;

  std::size_t kept() const;
  std::vector<std::size_t> kept_units() const;  // flat indices, ascending
  // Share of full-attention KV cells. A query-head plan keeps a KV head's cells where any of its
  // query heads is kept.
  double kept_kv_share() const;

  bool operator==(const Mask&) const = default;

 private:
  Granularity granularity_;
  HeadLayout layout_;
  int units_;
  std::vector<bool> keep_;
};

// [[0|1, …] a layer], as in plan.json and selection.json.
nlohmann::json to_json(const Mask& mask);
// The granularity follows from the row lengths, which must be one of 1, kv_heads, query_heads.
Result<Mask> mask_from_json(const nlohmann::json& json, Granularity granularity, HeadLayout layout);

}  // namespace strata
