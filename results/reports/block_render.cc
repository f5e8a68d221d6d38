#include "results/reports/block_render.h"

#include <fmt/format.h>

#include "core/mask.h"
#include "results/reports/format.h"

namespace strata {
namespace {

constexpr std::size_t kMaxName = 40;
constexpr std::size_t kMaxTransfer = 32;  // of it, " ← " included
constexpr std::size_t kMaxTransferName = 42;

// At most `width` code points.
std::string clipped(const std::string& text, std::size_t width) {
  if (display_width(text) <= width) return text;
  std::size_t end = 0;
  while (display_width(std::string_view(text).substr(0, end + 1)) < width) ++end;
  return text.substr(0, end) + "…";
}

// What was transferred from is kept.
std::string clipped_name(const std::string& name) {
  const std::size_t sign = name.find(kTransferSign);
  if (sign == std::string::npos) return clipped(name, kMaxName);
  const std::string transfer = clipped(name.substr(sign), kMaxTransfer);
  return clipped(name.substr(0, sign), kMaxTransferName - display_width(transfer)) + transfer;
}

// Several have signs, which the rows' times bear.
std::string devices_text(const LeaderboardBlock& block) {
  if (block.devices.size() < 2) return joined(block.devices, "");
  std::vector<std::string> signed_devices;
  for (std::size_t i = 0; i < block.devices.size(); ++i)
    signed_devices.push_back(device_sign(i).substr(1) + " " + block.devices[i]);
  return joined(signed_devices, "; ");
}

}  // namespace

std::string budget_text(const LeaderboardBlock& block) {
  if (block.match == MatchOn::kKvBytes)
    return fmt::format("KV bytes within 1 %: {} a sample", bytes(block.matched));
  if (block.match)
    return fmt::format("prefill FLOPs within 1 %: {} a sample", count(block.matched));
  if (block.budget_units == 0) return "no budget";
  return fmt::format("budget {} of {}", block.budget_units,
                     plural(block.units, unit_name(block.granularity)));
}

std::string device_sign(std::size_t index) { return fmt::format(" [{}]", index + 1); }

std::string joined(const std::vector<std::string>& values, const std::string& separator) {
  std::string out;
  for (const std::string& value : values) out += (out.empty() ? "" : separator) + value;
  return out;
}

std::vector<std::string> header_lines(const LeaderboardBlock& block) {
  std::vector<std::string> lines;
  const std::string tokens =
      block.prompt_tokens_min == block.prompt_tokens_max
          ? fmt::format("{}", block.prompt_tokens_min)
          : fmt::format("{}–{}", block.prompt_tokens_min, block.prompt_tokens_max);
  lines.push_back(fmt::format(
      "{} ({}) · {}{} · {}, {} · prompts of {} tokens", block.model_name, short_id(block.model_id),
      block.benchmark, block.split == kTestSplit ? "" : fmt::format(", {} split", block.split),
      plural(static_cast<std::int64_t>(block.samples), "sample"),
      plural(static_cast<std::int64_t>(block.clusters), "cluster"), tokens));
  lines.push_back(fmt::format(
      "{} · decode rule {} · {} · {}", mixer_text(block.window, block.sinks, block.linear),
      to_string(block.decode_rule), budget_text(block), devices_text(block)));
  if (block.decode_rule == DecodeRule::kFull)
    lines.push_back(
        "KV saved: 0 (under decode rule full every layer keeps the whole cache; only prefill gets "
        "cheaper)");
  if (const std::string config = config_text(block.benchmark_config_json); !config.empty())
    lines.push_back("benchmark: " + config);
  if (!block.by.empty()) lines.push_back("group: " + block.by);
  if (block.needles)
    lines.push_back(fmt::format("needle beyond the window: {} of {} samples", block.beyond_window,
                                block.samples));
  for (const std::string& mark : block.marks) lines.push_back("! " + mark);
  return lines;
}

TextTable for_terminal(TextTable table, bool utf8, std::size_t name_column) {
  for (auto& row : table.rows)
    if (!row.empty()) row[name_column].text = clipped_name(row[name_column].text);
  return utf8 ? table : each_cell(std::move(table), to_ascii);
}

std::vector<std::string> block_csv_header() {
  return {"model",       "model_id",     "benchmark", "split",
          "data_id",     "samples",      "clusters",  "beyond_window_samples",
          "window",      "sinks",        "linear",    "decode_rule",
          "granularity", "budget_units", "units",     "matched_on"};
}

std::vector<std::string> block_csv_cells(const LeaderboardBlock& block) {
  const auto text = [](auto value) { return fmt::format("{}", value); };
  return {block.model_name,
          block.model_id,
          block.benchmark,
          block.split,
          block.data_id,
          text(block.samples),
          text(block.clusters),
          text(block.beyond_window),
          text(block.window),
          text(block.sinks),
          block.linear,
          text(to_string(block.decode_rule)),
          block.match ? std::string() : text(to_string(block.granularity)),
          block.match ? std::string() : text(block.budget_units),
          block.match ? std::string() : text(block.units),
          block.match ? text(to_string(*block.match)) : std::string()};
}

}  // namespace strata
