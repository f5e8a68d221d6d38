// render(): a leaderboard as text, markdown or csv.
#include <fmt/format.h>

#include <cmath>

#include "core/mask.h"
#include "results/reports/format.h"
#include "results/reports/leaderboard.h"
#include "results/reports/selector_claims.h"
#include "results/reports/text_table.h"

namespace strata {
namespace {

constexpr std::size_t kMaxWidth = 160;
constexpr std::size_t kMaxName = 32;  // in text; markdown and csv have the whole name
constexpr double kTera = 1e12;
constexpr double kPercent = 100;

std::string unit_name(Granularity granularity) {
  switch (granularity) {
    case Granularity::kLayer: return "layer";
    case Granularity::kKvHead: return "KV head";
    case Granularity::kQueryHead: return "query head";
  }
  return "unit";
}

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
  const std::string budget = block.budget_units == 0
                                 ? "no budget"
                                 : fmt::format("budget {} of {}", block.budget_units,
                                               plural(block.units, unit_name(block.granularity)));
  lines.push_back(fmt::format("window {} · sinks {} · decode rule {} · {} · {}", block.window,
                              block.sinks, to_string(block.decode_rule), budget,
                              joined(block.devices, "; ")));
  if (block.decode_rule == DecodeRule::kFull)
    lines.push_back(
        "KV saved: 0 (under decode rule full every layer keeps the whole cache; only prefill gets "
        "cheaper)");
  if (const std::string config = config_text(block.benchmark_config_json); !config.empty())
    lines.push_back("benchmark: " + config);
  if (block.needles)
    lines.push_back(fmt::format("needle beyond the window: {} of {} samples", block.beyond_window,
                                block.samples));
  for (const std::string& mark : block.marks) lines.push_back("! " + mark);
  return lines;
}

// Under a table.
std::vector<std::string> note_lines(const LeaderboardBlock& block) {
  std::vector<std::string> lines;
  if (block.suspects > 0)
    lines.push_back(fmt::format("! {} a sign of a bug: {}",
                                block.suspects == 1
                                    ? std::string("1 selection shows")
                                    : fmt::format("{} selections show", block.suspects),
                                joined(block.signs, "; ")));
  lines.insert(lines.end(), block.notes.begin(), block.notes.end());
  return lines;
}

std::vector<std::string> footer_lines(const LeaderboardTable& table) {
  std::vector<std::string> lines = {
      ("gap closed: (NLL of none − NLL of the plan) / (NLL of none − NLL of full); it ranks. "
       "Bootstrap "
       "over clusters of samples, 4,000 draws, 95 %."),
      ("gen_contains: samples whose generated text contains an answer; beyond: of those whose "
       "needle "
       "lies beyond the window; tf_exact: all answer tokens right when teacher-forced. Wilson, 95 "
       "%."),
      ("NLL: nats an answer token, mean within and then over samples. ΔNLL: paired, to "
       "periodic-best "
       "(the offset chosen on calibration) or to full; t over independent samples, bootstrap over "
       "clusters else."),
      ("Several draws or offsets in a row: median [range], from 20 on [5 %, 95 %]. > random: "
       "random "
       "draws with a higher NLL. A mask's interval speaks for that mask, not for its selector; "
       "selectors "
       "that ran on several calibration seeds have a table of their own."),
      ("layers: █ full attention, · windowed, a digit the kept units of a layer (tenths above "
       "nine). "
       "KV %: full-attention KV cells; KV a sample: mean bytes (share saved)."),
      ("FLOPs %: prefill, of full attention's. prefill ms: measured, median (timed samples). "
       "evals, "
       "tokens, TFLOP, s: what the selection ran; given: what it was shown."),
      "One small model: no claims about others."};
  for (const std::string& note : table.notes) lines.push_back("note: " + note);
  return lines;
}

std::string rank_text(const LeaderboardRow& row) {
  return row.rank ? fmt::format("{}", *row.rank) : std::string(kNoValue);
}

std::string beaten(const LeaderboardRow& row, const LeaderboardBlock& block) {
  return row.beats_random ? fmt::format("{}/{}", *row.beats_random, block.random_draws)
                          : std::string(kNoValue);
}

std::string kv_text(const LeaderboardRow& row) {
  std::string out = bytes(row.kv_bytes);
  if (row.kv_saved)
    out += fmt::format(" ({})", *row.kv_saved == 0 ? "0" : "−" + percent(*row.kv_saved, 0) + " %");
  return out;
}

std::string strip_cell(const LeaderboardRow& row) {
  return row.strip ? strip_text(*row.strip) : fmt::format("({} masks)", row.draws);
}

using Cells = std::vector<std::string>;

struct Part {
  std::vector<TextTable::Column> columns;
  Cells (*cells)(const LeaderboardRow&, const LeaderboardBlock&);
};

const Part& answers_part() {
  static const Part kPart = {
      {{"gap closed %"}, {"gen_contains %"}, {"NLL"}, {"ΔNLL to periodic-best"}, {"> random"}},
      [](const LeaderboardRow& row, const LeaderboardBlock& block) -> Cells {
        const auto nll =
            row.answer_nll ? std::optional(Estimate{row.answer_nll->value, {}}) : std::nullopt;
        return {with_interval(row.gap_closed, kPercent, 1),
                with_interval(row.gen_contains, kPercent, 1), with_interval(nll, 1, 3),
                with_interval(row.nll_minus_periodic_best, 1, 3, true), beaten(row, block)};
      }};
  return kPart;
}

// Of running text: nothing is generated, the question is what harm is done.
const Part& text_part() {
  static const Part kPart = {
      {{"gap closed %"}, {"NLL"}, {"perplexity"}, {"ΔNLL to full"}, {"ΔNLL to periodic-best"}},
      [](const LeaderboardRow& row, const LeaderboardBlock&) -> Cells {
        const auto nll = row.answer_nll ? std::optional(row.answer_nll->value) : std::nullopt;
        const auto perplexity = nll ? std::optional(std::exp(*nll)) : std::nullopt;
        return {with_interval(row.gap_closed, kPercent, 1), number(nll, 3), number(perplexity, 2),
                with_interval(row.nll_minus_full, 1, 3, true),
                with_interval(row.nll_minus_periodic_best, 1, 3, true)};
      }};
  return kPart;
}

const Part& quality_part(const LeaderboardBlock& block) {
  return block.generated ? answers_part() : text_part();
}

const Part& cost_part() {
  static const Part kPart = {
      {{"tf_exact %"},
       {"beyond %"},
       {"KV %"},
       {"KV a sample"},
       {"FLOPs %"},
       {"prefill ms (n)"},
       {"evals"},
       {"tokens"},
       {"TFLOP"},
       {"s"},
       {"given", false}},
      [](const LeaderboardRow& row, const LeaderboardBlock&) -> Cells {
        const SelectionCost& cost = row.selection_cost;
        const auto beyond = row.gen_contains_beyond
                                ? std::optional(Estimate{row.gen_contains_beyond->value, {}})
                                : std::nullopt;
        return {with_interval(row.tf_exact, kPercent, 1),
                with_interval(beyond, kPercent, 1),
                percent(row.kv_share),
                kv_text(row),
                row.prefill_flops_share ? percent(*row.prefill_flops_share) : std::string(kNoValue),
                row.prefill_ms ? fmt::format("{:.1f} ({})", *row.prefill_ms, row.timed_samples)
                               : std::string(kNoValue),
                fmt::format("{}", cost.evaluations),
                count(cost.forward_tokens),
                fmt::format("{:.3g}", cost.flops / kTera),
                fmt::format("{:.3g}", cost.seconds),
                row.supervision};
      }};
  return kPart;
}

// Rank and name, the strip where asked for, then the parts; a line between ranked rows, controls
// and references.
TextTable table_of(const LeaderboardBlock& block, bool with_strip,
                   const std::vector<const Part*>& parts) {
  TextTable table;
  table.columns = {{"#"}, {"strategy", false}};
  if (with_strip) table.columns.push_back({"layers", false});
  for (const Part* part : parts)
    table.columns.insert(table.columns.end(), part->columns.begin(), part->columns.end());
  const LeaderboardRow* previous = nullptr;
  for (const LeaderboardRow& row : block.rows) {
    if (previous != nullptr && previous->kind != row.kind) table.rows.emplace_back();
    previous = &row;
    Cells cells = {rank_text(row), row.name};
    if (with_strip) cells.push_back(strip_cell(row));
    for (const Part* part : parts)
      for (std::string& cell : part->cells(row, block)) cells.push_back(std::move(cell));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

// At most kMaxName code points.
std::string clipped(const std::string& name) {
  if (display_width(name) <= kMaxName) return name;
  std::size_t end = 0;
  while (display_width(std::string_view(name).substr(0, end + 1)) < kMaxName) ++end;
  return name.substr(0, end) + "…";
}

TextTable for_terminal(TextTable table, bool utf8, std::size_t name_column = 1) {
  for (auto& row : table.rows)
    if (!row.empty()) row[name_column] = clipped(row[name_column]);
  if (utf8) return table;
  for (TextTable::Column& column : table.columns) column.header = to_ascii(column.header);
  for (auto& row : table.rows)
    for (std::string& cell : row) cell = to_ascii(cell);
  return table;
}

std::string strip_list(const LeaderboardBlock& block) {
  std::string out = "layers:\n";
  for (const LeaderboardRow& row : block.rows) {
    if (!row.strip) continue;
    out += "  " + row.name + "\n";
    LeaderboardRow part = row;
    constexpr std::size_t kPerLine = 128;
    for (std::size_t i = 0; i < row.strip->kept_share.size(); i += kPerLine) {
      const auto begin = row.strip->kept_share.begin() + static_cast<std::ptrdiff_t>(i);
      const auto length = std::min(kPerLine, row.strip->kept_share.size() - i);
      part.strip->kept_share.assign(begin, begin + static_cast<std::ptrdiff_t>(length));
      out += "    " + strip_text(*part.strip) + "\n";
    }
  }
  return out;
}

std::string render_text(const LeaderboardTable& table, bool utf8) {
  const auto line = [&](const std::string& text) {
    return wrapped(utf8 ? text : to_ascii(text), kMaxWidth);
  };
  std::string out;
  for (const LeaderboardBlock& block : table.blocks) {
    for (const std::string& header : header_lines(block)) out += line(header);
    out += '\n';
    const TextTable with_strip = for_terminal(table_of(block, true, {&quality_part(block)}), utf8);
    if (text_width(with_strip) <= kMaxWidth) {
      out += as_text(with_strip);
    } else {
      out += as_text(for_terminal(table_of(block, false, {&quality_part(block)}), utf8));
      out += utf8 ? strip_list(block) : to_ascii(strip_list(block));
    }
    out += '\n' + as_text(for_terminal(table_of(block, false, {&cost_part()}), utf8));
    if (const TextTable claims = claims_table(block.claims); !claims.rows.empty())
      out += '\n' + as_text(for_terminal(claims, utf8, 0));
    for (const std::string& note : note_lines(block)) out += line(note);
    out += '\n';
  }
  for (const std::string& footer : footer_lines(table)) out += line(footer);
  return out;
}

std::string render_markdown(const LeaderboardTable& table, bool utf8) {
  std::string out;
  for (const LeaderboardBlock& block : table.blocks) {
    for (const std::string& header : header_lines(block)) out += "- " + header + "\n";
    out += "\n" + as_markdown(table_of(block, true, {&quality_part(block), &cost_part()})) + "\n";
    if (const TextTable claims = claims_table(block.claims); !claims.rows.empty())
      out += as_markdown(claims) + "\n";
    const std::vector<std::string> notes = note_lines(block);
    for (const std::string& note : notes) out += "- " + note + "\n";
    if (!notes.empty()) out += "\n";
  }
  for (const std::string& footer : footer_lines(table)) out += "- " + footer + "\n";
  return utf8 ? out : to_ascii(out);
}

std::string plain(const std::optional<double>& value) {
  return value ? fmt::format("{}", *value) : "";
}

void add_estimate(Cells& cells, const std::optional<Estimate>& estimate) {
  const bool bounded = estimate && estimate->interval;
  cells.push_back(estimate ? fmt::format("{}", estimate->value) : "");
  cells.push_back(bounded ? fmt::format("{}", estimate->interval->low) : "");
  cells.push_back(bounded ? fmt::format("{}", estimate->interval->high) : "");
}

constexpr std::string_view kind_name(RowKind kind) {
  switch (kind) {
    case RowKind::kRanked: return "ranked";
    case RowKind::kControl: return "control";
    case RowKind::kReference: return "reference";
  }
  return "";
}

Cells csv_header() {
  Cells cells = {"model",        "model_id", "benchmark",   "split",
                 "data_id",      "samples",  "clusters",    "beyond_window_samples",
                 "window",       "sinks",    "decode_rule", "granularity",
                 "budget_units", "units",    "devices",     "kind",
                 "rank",         "strategy", "draws"};
  for (const char* name : {"gap_closed", "gen_contains", "tf_exact", "gen_contains_beyond",
                           "answer_nll", "nll_minus_full", "nll_minus_periodic_best"})
    for (const char* suffix : {"", "_low", "_high"}) cells.push_back(std::string(name) + suffix);
  for (const char* name :
       {"beats_random", "random_draws", "kv_share", "prefill_flops_share", "kv_bytes", "kv_saved",
        "prefill_ms", "timed_samples", "selection_evaluations", "selection_forward_tokens",
        "selection_flops", "selection_seconds", "supervision", "layers", "marks", "run_ids"})
    cells.emplace_back(name);
  return cells;
}

Cells csv_cells(const LeaderboardBlock& block, const LeaderboardRow& row) {
  const auto text = [](auto value) { return fmt::format("{}", value); };
  Cells cells = {block.model_name,
                 block.model_id,
                 block.benchmark,
                 block.split,
                 block.data_id,
                 text(block.samples),
                 text(block.clusters),
                 text(block.beyond_window),
                 text(block.window),
                 text(block.sinks),
                 text(to_string(block.decode_rule)),
                 text(to_string(block.granularity)),
                 text(block.budget_units),
                 text(block.units),
                 joined(block.devices, "; "),
                 text(kind_name(row.kind)),
                 row.rank ? text(*row.rank) : "",
                 row.name,
                 text(row.draws)};
  add_estimate(cells, row.gap_closed);
  add_estimate(cells, row.gen_contains);
  add_estimate(cells, row.tf_exact);
  add_estimate(cells, row.gen_contains_beyond);
  add_estimate(cells, row.answer_nll);
  add_estimate(cells, row.nll_minus_full);
  add_estimate(cells, row.nll_minus_periodic_best);
  const SelectionCost& cost = row.selection_cost;
  std::vector<std::string> marks = block.marks;
  for (const std::string& sign : block.signs) marks.push_back("sign of a bug: " + sign);
  for (std::string cell :
       {row.beats_random ? text(*row.beats_random) : std::string(), text(block.random_draws),
        text(row.kv_share), plain(row.prefill_flops_share), text(row.kv_bytes), plain(row.kv_saved),
        plain(row.prefill_ms), text(row.timed_samples), text(cost.evaluations),
        text(cost.forward_tokens), text(cost.flops), text(cost.seconds), row.supervision,
        row.strip ? strip_text(*row.strip) : std::string(), joined(marks, "; "),
        joined(row.run_ids, " ")})
    cells.push_back(std::move(cell));
  return cells;
}

std::string render_csv(const LeaderboardTable& table) {
  std::string out = csv_line(csv_header());
  for (const LeaderboardBlock& block : table.blocks)
    for (const LeaderboardRow& row : block.rows) out += csv_line(csv_cells(block, row));
  return to_ascii(out);
}

}  // namespace

Result<ReportFormat> parse_report_format(std::string_view text) {
  if (text == "text") return ReportFormat::kText;
  if (text == "md") return ReportFormat::kMarkdown;
  if (text == "csv") return ReportFormat::kCsv;
  return fail(ErrorKind::kInvalidArgument, "report format: expected text, md or csv, got '{}'",
              text);
}

std::string render(const LeaderboardTable& table, const RenderOptions& options) {
  switch (options.format) {
    case ReportFormat::kText: return render_text(table, options.utf8);
    case ReportFormat::kMarkdown: return render_markdown(table, options.utf8);
    case ReportFormat::kCsv: return render_csv(table);
  }
  return {};
}

}  // namespace strata
