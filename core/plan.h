// AttentionPlan: which mixer every (layer, unit) of a model uses. Weight-free; it is what a user
// takes away.
//
// Immutable, always canonical: coarsest granularity that says the same, unused palette entries
// dropped, entries sorted, defaults omitted, full attention with rule `same` (both rules mean the
// same there). So equal meaning is equal JSON and equal id, and a mixer added later changes no id.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "core/mask.h"
#include "core/mixer_spec.h"
#include "core/result.h"

namespace strata {

struct PaletteEntry {
  MixerSpec mixer;
  DecodeRule rule = DecodeRule::kSame;
  auto operator<=>(const PaletteEntry&) const = default;
};

class AttentionPlan {
 public:
  // Kept units get `kept`, the others `cheap` under `rule`. Errors: an invalid mixer, a rule or
  // granularity that the mixer cannot do.
  static Result<AttentionPlan> from_mask(const Mask& mask, const MixerSpec& kept,
                                         const MixerSpec& cheap, DecodeRule rule);
  // cells: layers × units, each an index into the palette.
  static Result<AttentionPlan> from_cells(Granularity granularity, HeadLayout layout,
                                          std::vector<PaletteEntry> palette,
                                          std::vector<int> cells);
  static AttentionPlan full(HeadLayout layout);

  const HeadLayout& layout() const { return layout_; }
  Granularity granularity() const { return granularity_; }
  const std::vector<PaletteEntry>& palette() const { return palette_; }
  // The entry that a query head of a layer follows, whatever the plan's granularity.
  const PaletteEntry& entry(int layer, int query_head) const;
  // Keys that a KV head must keep. All, if any of its query heads has full attention or decode rule
  // `full`; else sinks + window of its widest windowed query head (sinks: the most of them); none
  // (0 + 0) if all are linear attention, which has a state in their place.
  struct Retention {
    bool all = true;
    std::int64_t window = 0;
    std::int64_t sinks = 0;
    bool operator==(const Retention&) const = default;
  };
  Retention retention(int layer, int kv_head) const;
  bool is_full() const;  // every cell is full attention

  const std::string& id() const { return id_; }  // SHA-256 of the canonical JSON without "id"
  nlohmann::json to_json() const;                // plan.json
  // Checks format, layout (where given) and, where the file has one, the id.
  static Result<AttentionPlan> from_json(const nlohmann::json& json, HeadLayout layout);

  bool operator==(const AttentionPlan& other) const { return id_ == other.id_; }

 private:
  AttentionPlan() = default;
  nlohmann::json canonical_json() const;

  Granularity granularity_ = Granularity::kLayer;
  HeadLayout layout_;
  std::vector<PaletteEntry> palette_;
  std::vector<int> cells_;
  std::string id_;
};

// The plan's mask, in the plan's granularity: true where a cell is full attention.
Mask full_attention_of(const AttentionPlan& plan);

// The visibility rule of design.md for one query and key under one entry of softmax attention
// (checked): the slow, obvious statement that every kernel is tested against. Positions are
// absolute; prompt_length = tokens before the first scored one.
bool is_visible(const PaletteEntry& entry, std::int64_t query, std::int64_t key,
                std::int64_t prompt_length);

}  // namespace strata
