#include "core/mask.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace strata {

std::string_view to_string(Granularity granularity) {
  switch (granularity) {
    case Granularity::kLayer: return "layer";
    case Granularity::kKvHead: return "kv_head";
    case Granularity::kQueryHead: return "query_head";
  }
  return "layer";
}

Result<Granularity> parse_granularity(std::string_view text) {
  for (const Granularity g : {Granularity::kLayer, Granularity::kKvHead, Granularity::kQueryHead})
    if (text == to_string(g)) return g;
  return fail(ErrorKind::kInvalidArgument,
              "granularity is '{}'; expected one of layer, kv_head, query_head", text);
}

int HeadLayout::units_per_layer(Granularity granularity) const {
  switch (granularity) {
    case Granularity::kLayer: return 1;
    case Granularity::kKvHead: return kv_heads;
    case Granularity::kQueryHead: return query_heads;
  }
  return 1;
}

Mask::Mask(Granularity granularity, HeadLayout layout, bool keep)
    : granularity_(granularity),
      layout_(layout),
      units_(layout.units_per_layer(granularity)),
      keep_(static_cast<std::size_t>(layout.layers) * static_cast<std::size_t>(units_), keep) {
  STRATA_CHECK(layout.layers >= 1 && layout.kv_heads >= 1 && layout.query_heads >= 1);
  STRATA_CHECK(layout.query_heads % layout.kv_heads == 0, "{} {}", layout.query_heads,
               layout.kv_heads);
}

Mask Mask::of_layers(HeadLayout layout, const std::vector<int>& kept_layers) {
  Mask mask(Granularity::kLayer, layout, false);
  for (const int layer : kept_layers) {
    STRATA_CHECK(layer >= 0 && layer < layout.layers, "{}", layer);
    mask.keep_[static_cast<std::size_t>(layer)] = true;
  }
  return mask;
}

bool Mask::operator()(int layer, int unit) const {
  STRATA_CHECK(layer >= 0 && layer < layers() && unit >= 0 && unit < units_, "{} {}", layer, unit);
  return keep_[static_cast<std::size_t>(layer) * static_cast<std::size_t>(units_) +
               static_cast<std::size_t>(unit)];
}

Mask Mask::with(std::size_t flat, bool keep) const {
  STRATA_CHECK(flat < keep_.size(), "{}", flat);
  Mask changed = *this;
  changed.keep_[flat] = keep;
  return changed;
}

std::size_t Mask::kept() const {
  return static_cast<std::size_t>(std::count(keep_.begin(), keep_.end(), true));
}

std::vector<std::size_t> Mask::kept_units() const {
  std::vector<std::size_t> units;
  for (std::size_t i = 0; i < keep_.size(); ++i)
    if (keep_[i]) units.push_back(i);
  return units;
}

double Mask::kept_kv_share() const {
  const int group = units_ > layout_.kv_heads ? units_ / layout_.kv_heads : 1;
  const int cells = units_ / group;
  int kept_cells = 0;
  for (int layer = 0; layer < layers(); ++layer)
    for (int cell = 0; cell < cells; ++cell) {
      bool any = false;
      for (int unit = cell * group; unit < (cell + 1) * group; ++unit) any |= (*this)(layer, unit);
      kept_cells += any ? 1 : 0;
    }
  return static_cast<double>(kept_cells) / (layers() * cells);
}

nlohmann::json to_json(const Mask& mask) {
  nlohmann::json rows = nlohmann::json::array();
  for (int layer = 0; layer < mask.layers(); ++layer) {
    nlohmann::json row = nlohmann::json::array();
    for (int unit = 0; unit < mask.units(); ++unit) row.push_back(mask(layer, unit) ? 1 : 0);
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<Mask> mask_from_json(const nlohmann::json& json, Granularity granularity,
                            HeadLayout layout) {
  Mask mask(granularity, layout, false);
  if (!json.is_array() || json.size() != static_cast<std::size_t>(layout.layers))
    return fail(ErrorKind::kInvalidFile, "mask: expected {} rows (one a layer), got {}",
                layout.layers,
                json.is_array() ? std::to_string(json.size()) : std::string(json.type_name()));
  for (std::size_t layer = 0; layer < json.size(); ++layer) {
    const nlohmann::json& row = json[layer];
    if (!row.is_array() || row.size() != static_cast<std::size_t>(mask.units()))
      return fail(ErrorKind::kInvalidFile,
                  "mask, layer {}: expected {} values ({} granularity), got {}", layer,
                  mask.units(), to_string(granularity),
                  row.is_array() ? std::to_string(row.size()) : std::string(row.type_name()));
    for (std::size_t unit = 0; unit < row.size(); ++unit) {
      const bool zero_or_one = row[unit].is_number_integer() && (row[unit] == 0 || row[unit] == 1);
      if (!zero_or_one)
        return fail(ErrorKind::kInvalidFile, "mask, layer {}, unit {}: expected 0 or 1, got {}",
                    layer, unit, row[unit].dump());
      mask = mask.with(layer * row.size() + unit, row[unit] == 1);
    }
  }
  return mask;
}

}  // namespace strata
