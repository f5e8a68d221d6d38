#include "core/plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/sha256.h"

namespace strata {
namespace {

constexpr int kPlanFormat = 1;
// A plan file is small; a palette larger than this is not one of ours.
constexpr std::size_t kMaxPalette = 256;

// Cells at `granularity` say the same at `coarser`: give those, or nothing.
std::vector<int> coarsen(const std::vector<int>& cells, int units, int coarser_units) {
  const auto group = static_cast<std::size_t>(units / coarser_units);
  std::vector<int> out;
  for (std::size_t i = 0; i < cells.size(); i += group) {
    for (std::size_t j = i; j < i + group; ++j)
      if (cells[j] != cells[i]) return {};
    out.push_back(cells[i]);
  }
  return out;
}

// The place is the first layer that follows the entry, where any does.
Error no_full_decode(const PaletteEntry& entry, const std::vector<PaletteEntry>& palette,
                     const std::vector<int>& cells, int units) {
  const auto index = static_cast<int>(&entry - palette.data());
  const auto first = std::find(cells.begin(), cells.end(), index) - cells.begin();
  Error error = make_error(ErrorKind::kInvalidArgument,
                           "decode rule 'full' needs softmax attention over the same keys; {} "
                           "keeps none of them",
                           name_of(entry.mixer))
                    .with_hint("set decode_rule=same");
  if (first == std::ssize(cells)) return std::move(error).at("plan");
  return std::move(error).at(fmt::format("plan, layer {}", first / units));
}

template <typename... Args>
tl::unexpected<Error> bad(fmt::format_string<Args...> format, Args&&... args) {
  return fail(ErrorKind::kInvalidFile, format, std::forward<Args>(args)...);
}

}  // namespace

Result<AttentionPlan> AttentionPlan::from_mask(const Mask& mask, const MixerSpec& kept,
                                               const MixerSpec& cheap, DecodeRule rule) {
  std::vector<int> cells(mask.size());
  for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = mask.at(i) ? 0 : 1;
  return from_cells(mask.granularity(), mask.layout(), {{kept, DecodeRule::kSame}, {cheap, rule}},
                    std::move(cells));
}

Result<AttentionPlan> AttentionPlan::from_cells(Granularity granularity, HeadLayout layout,
                                                std::vector<PaletteEntry> palette,
                                                std::vector<int> cells) {
  const int units = layout.units_per_layer(granularity);
  STRATA_CHECK(
      cells.size() == static_cast<std::size_t>(layout.layers) * static_cast<std::size_t>(units),
      "{}", cells.size());
  for (PaletteEntry& entry : palette) {
    RETURN_IF_ERROR(validate(entry.mixer));
    const MixerTraits traits = traits_of(entry.mixer);
    if (entry.rule == DecodeRule::kFull && !traits.supports_full_decode)
      return fail(no_full_decode(entry, palette, cells, units));
    if (granularity > traits.finest)
      return fail(ErrorKind::kInvalidArgument, "mixer {} cannot be chosen at {} granularity",
                  name_of(entry.mixer), to_string(granularity));
    if (std::holds_alternative<FullAttention>(entry.mixer)) entry.rule = DecodeRule::kSame;
  }

  // Palette in canonical order, without entries that no cell uses or that repeat.
  std::vector<PaletteEntry> used;
  for (const int cell : cells) {
    STRATA_CHECK(cell >= 0 && static_cast<std::size_t>(cell) < palette.size(), "{}", cell);
    used.push_back(palette[static_cast<std::size_t>(cell)]);
  }
  std::sort(used.begin(), used.end());
  used.erase(std::unique(used.begin(), used.end()), used.end());
  for (int& cell : cells) {
    const auto it =
        std::lower_bound(used.begin(), used.end(), palette[static_cast<std::size_t>(cell)]);
    cell = static_cast<int>(it - used.begin());
  }

  AttentionPlan plan;
  plan.granularity_ = granularity;
  plan.layout_ = layout;
  plan.palette_ = std::move(used);
  plan.cells_ = std::move(cells);
  for (const Granularity coarser : {Granularity::kLayer, Granularity::kKvHead}) {
    if (coarser >= granularity) break;
    if (auto cells_there = coarsen(plan.cells_, units, layout.units_per_layer(coarser));
        !cells_there.empty()) {
      plan.granularity_ = coarser;
      plan.cells_ = std::move(cells_there);
      break;
    }
  }
  plan.id_ = sha256_hex(plan.canonical_json().dump());
  return plan;
}

AttentionPlan AttentionPlan::full(HeadLayout layout) {
  return *from_cells(Granularity::kLayer, layout, {{FullAttention{}, DecodeRule::kSame}},
                     std::vector<int>(static_cast<std::size_t>(layout.layers), 0));
}

const PaletteEntry& AttentionPlan::entry(int layer, int query_head) const {
  const int units = layout_.units_per_layer(granularity_);
  const int unit = query_head / (layout_.query_heads / units);
  const auto cell = static_cast<std::size_t>(layer) * static_cast<std::size_t>(units) +
                    static_cast<std::size_t>(unit);
  return palette_[static_cast<std::size_t>(cells_[cell])];
}

AttentionPlan::Retention AttentionPlan::retention(int layer, int kv_head) const {
  const int group = layout_.query_heads / layout_.kv_heads;
  Retention retention{.all = false, .window = 0, .sinks = 0};
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    const PaletteEntry& entry_here = entry(layer, head);
    if (std::holds_alternative<LinearAttention>(entry_here.mixer)) continue;
    const auto* sliding = std::get_if<SlidingWindow>(&entry_here.mixer);
    if (sliding == nullptr || entry_here.rule == DecodeRule::kFull) return Retention{};
    retention.window = std::max(retention.window, sliding->window);
    retention.sinks = std::max(retention.sinks, sliding->sinks);
  }
  return retention;
}

bool AttentionPlan::is_full() const {
  return palette_.size() == 1 && std::holds_alternative<FullAttention>(palette_[0].mixer);
}

nlohmann::json AttentionPlan::canonical_json() const {
  nlohmann::json palette = nlohmann::json::array();
  for (const PaletteEntry& entry : palette_) {
    nlohmann::json item = strata::to_json(entry.mixer);
    if (entry.rule != DecodeRule::kSame) item["decode_rule"] = to_string(entry.rule);
    palette.push_back(std::move(item));
  }
  const auto units = static_cast<std::size_t>(layout_.units_per_layer(granularity_));
  nlohmann::json rows = nlohmann::json::array();
  for (std::size_t i = 0; i < cells_.size(); i += units)
    rows.push_back(std::vector<int>(cells_.begin() + static_cast<std::ptrdiff_t>(i),
                                    cells_.begin() + static_cast<std::ptrdiff_t>(i + units)));
  // nlohmann's default object keeps keys sorted, so the dump is canonical.
  return {{"format", kPlanFormat},
          {"granularity", to_string(granularity_)},
          {"palette", std::move(palette)},
          {"cells", std::move(rows)},
          {"layout",
           {{"layers", layout_.layers},
            {"query_heads", layout_.query_heads},
            {"kv_heads", layout_.kv_heads}}}};
}

nlohmann::json AttentionPlan::to_json() const {
  nlohmann::json json = canonical_json();
  json["id"] = id_;
  if (palette_.size() <= 2) {
    // The readable form of a two-entry plan: 1 = full attention.
    nlohmann::json mask = json["cells"];
    for (nlohmann::json& row : mask)
      for (nlohmann::json& cell : row)
        cell =
            std::holds_alternative<FullAttention>(palette_[cell.get<std::size_t>()].mixer) ? 1 : 0;
    json["mask"] = std::move(mask);
  }
  return json;
}

Result<AttentionPlan> AttentionPlan::from_json(const nlohmann::json& json, HeadLayout layout) {
  if (!json.is_object()) return bad("plan: expected a JSON object, got {}", json.type_name());
  if (!json.contains("format") || json["format"] != kPlanFormat)
    return bad("plan: expected format {}, got {}", kPlanFormat,
               json.contains("format") ? json["format"].dump() : std::string("none"));
  if (!json.contains("granularity") || !json["granularity"].is_string())
    return bad("plan: field 'granularity' is missing");
  ASSIGN_OR_RETURN(const Granularity granularity,
                   parse_granularity(json["granularity"].get<std::string>()));
  if (!json.contains("palette") || !json["palette"].is_array() || json["palette"].empty() ||
      json["palette"].size() > kMaxPalette)
    return bad("plan: expected a 'palette' of 1 to {} mixers", kMaxPalette);
  std::vector<PaletteEntry> palette;
  for (const nlohmann::json& item : json["palette"]) {
    PaletteEntry entry;
    ASSIGN_OR_RETURN(entry.mixer, mixer_from_json(item));
    if (item.contains("decode_rule")) {
      if (!item["decode_rule"].is_string()) return bad("plan: decode_rule must be a string");
      ASSIGN_OR_RETURN(entry.rule, parse_decode_rule(item["decode_rule"].get<std::string>()));
    }
    palette.push_back(entry);
  }
  const auto units = static_cast<std::size_t>(layout.units_per_layer(granularity));
  if (!json.contains("cells") || !json["cells"].is_array() ||
      json["cells"].size() != static_cast<std::size_t>(layout.layers))
    return fail(
        make_error(ErrorKind::kInvalidFile, "plan: 'cells' has {} layers; the model has {}",
                   json.contains("cells") ? json["cells"].size() : 0, layout.layers)
            .with_hint("a plan fits one layout of layers and heads; select one for this model"));
  std::vector<int> cells;
  for (std::size_t layer = 0; layer < json["cells"].size(); ++layer) {
    const nlohmann::json& row = json["cells"][layer];
    if (!row.is_array() || row.size() != units)
      return bad("plan, layer {}: expected {} cells ({} granularity), got {}", layer, units,
                 to_string(granularity), row.is_array() ? row.size() : 0);
    for (const nlohmann::json& cell : row) {
      if (!cell.is_number_integer() || cell < 0 || cell >= palette.size())
        return bad("plan, layer {}: expected a palette index below {}, got {}", layer,
                   palette.size(), cell.dump());
      cells.push_back(cell.get<int>());
    }
  }
  ASSIGN_OR_RETURN(AttentionPlan plan,
                   from_cells(granularity, layout, std::move(palette), std::move(cells)));
  if (json.contains("id") && json["id"] != plan.id_)
    return fail(make_error(ErrorKind::kInvalidFile, "plan: the file says id {}, its content has {}",
                           json["id"].dump(), plan.id_)
                    .with_hint("the file was edited; remove its \"id\" to accept the change"));
  return plan;
}

Mask full_attention_of(const AttentionPlan& plan) {
  Mask mask(plan.granularity(), plan.layout(), false);
  const auto units = static_cast<std::size_t>(mask.units());
  const int heads_a_unit = plan.layout().query_heads / mask.units();
  for (std::size_t i = 0; i < mask.size(); ++i) {
    const PaletteEntry& entry =
        plan.entry(static_cast<int>(i / units), static_cast<int>(i % units) * heads_a_unit);
    if (std::holds_alternative<FullAttention>(entry.mixer)) mask = mask.with(i, true);
  }
  return mask;
}

bool is_visible(const PaletteEntry& entry, std::int64_t query, std::int64_t key,
                std::int64_t prompt_length) {
  if (key > query) return false;
  const SlidingWindow* sliding = window_of(entry.mixer);
  if (sliding == nullptr) return true;
  if (query - key < sliding->window) return true;
  if (key < sliding->sinks) return true;
  return entry.rule == DecodeRule::kFull && query >= prompt_length;
}

}  // namespace strata
