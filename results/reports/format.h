// How reports write numbers, masks and lines: one place, so that tables agree. Signs are UTF-8;
// to_ascii() spells them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "results/reports/leaderboard.h"
#include "results/reports/text_table.h"

namespace strata {

inline constexpr const char* kNoValue = "–";
inline constexpr const char* kTransferSign = " ← ";  // between a label and its calibration setting

std::string percent(double share, int decimals = 1);  // 0.5 gives "50.0"
// "97.3 [93.1, 99.9]", scaled; "–" without a value. Cells have the number whole.
TextTable::Cell with_interval(const std::optional<Estimate>& estimate, double scale, int decimals,
                              bool sign = false);
TextTable::Cell number(const std::optional<double>& value, int decimals);
TextTable::Cell shown(double value, std::string text);
std::string exact(double value);  // as csv has it
// A cell of csv: its number, whole, or its text; nothing for "–".
std::string csv_text(const TextTable::Cell& cell);
TextTable::Cell p_text(const std::optional<double>& p);  // "0.012", "<0.001", "–"
std::string count(double value);                         // 1234567 gives "1.23M", 999 "999"
std::string bytes(double value);                         // "14.2 MiB"
std::string short_id(const std::string& id);
const char* unit_name(Granularity granularity);  // "layer", "KV head", "query head"
const char* kind_name(RowKind kind);             // "ranked", "unmatched", "control", "reference"
std::string plural(std::int64_t n, const std::string& noun);  // "1 layer", "30 layers"

// One character a layer: █ full attention, · windowed; between them the kept units, or tenths above
// nine units.
std::string strip_text(const LayerStrip& strip);

// What replaces full attention: "window 128 · sinks 4", "lightning linear attention", or both. No
// window = 0.
std::string mixer_text(std::int64_t window, std::int64_t sinks, const std::string& linear);
// Of a run, with its plan where there is one (else null); "" for full attention, which replaces
// nothing whatever window its configuration has.
std::string mixer_text(const RunRow& run, const AttentionPlan* plan);

// {"length": 512, "task": "single"} gives "length=512 task=single".
std::string config_text(const std::string& config_json);

// A text as SQL has it: 'it''s'.
std::string sql_text(const std::string& text);
// Ids as SQL has a list of them: "'a', 'b'".
std::string sql_list(const std::vector<std::string>& ids);

// Cuts at spaces so that no line is wider; later lines are indented by two. Control characters are
// spaces.
std::string wrapped(const std::string& text, std::size_t width);

}  // namespace strata
