// render(): a leaderboard as text, markdown or csv.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "results/reports/block_render.h"
#include "results/reports/format.h"
#include "results/reports/leaderboard.h"
#include "results/reports/page.h"
#include "results/reports/reference_claims.h"
#include "results/reports/selector_claims.h"
#include "results/reports/text_table.h"

namespace strata {
namespace {

constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;
constexpr double kPercent = 100;

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
  const bool any_linear =
      std::any_of(table.blocks.begin(), table.blocks.end(),
                  [](const LeaderboardBlock& block) { return !block.linear.empty(); });
  std::vector<std::string> lines = {
      ("gap closed: (NLL of none − NLL of the plan) / (NLL of none − NLL of full); it ranks. "
       "Bootstrap "
       "over clusters of samples, 4,000 draws, 95 %."),
      ("#: rows that share a rank do not differ significantly, a–b: the ranks that a row may have. "
       "Sign flips of whole clusters on the NLL, all pairs of ranked rows of a table at once "
       "(max-t, "
       "Westfall and Young), 5 % for the table; below 20 clusters the place by gap, which no test "
       "supports. Rows of other KV bytes or prefill FLOPs (by more than 1 %) are not ranked."),
      ("gen_contains, gen_exact: samples whose generated text contains or is an answer; beyond: of "
       "those whose needle lies beyond the window; tf_exact: all answer tokens right when "
       "teacher-forced. Wilson over independent samples, bootstrap over clusters else, 95 %."),
      ("NLL: nats an answer token, mean within and then over samples. ΔNLL: paired, to "
       "periodic-best "
       "(the offset chosen on calibration) or to full; t over independent samples, bootstrap over "
       "clusters else."),
      ("Several draws or offsets in a row: median [range], from 20 on [5 %, 95 %], and the total "
       "of "
       "what their selection took. > random: random draws with a higher NLL. A mask's interval "
       "speaks for that mask, not for its selector; "
       "selectors "
       "that ran on several calibration seeds have a table of their own."),
      (fmt::format(
           "layers: █ full attention, · {}, a digit the kept units of a layer (tenths above "
           "nine). ",
           any_linear ? "windowed or linear" : "windowed") +
       "KV %: full-attention KV cells; KV a sample: mean bytes (share saved)."),
      ("ΔNLL of text to full: the harm the same plan does to running text (local_text), paired."),
      ("FLOPs %: prefill, of full attention's; GFLOP: prefill and decode, mean a sample, exact. "
       "prefill ms, decode ms: measured, median a sample (timed samples), to be compared on one "
       "device alone. memory: measured, the "
       "most "
       "that tensors held at once while a batch was answered, beyond the weights and the prefixes "
       "that plans share. evals, tokens (forward and backward), TFLOP, s, peak: what the selection "
       "ran, and the most that its KV caches and layer inputs held; given: what it was shown."),
      "One small model: no claims about others."};
  if (std::any_of(table.blocks.begin(), table.blocks.end(),
                  [](const LeaderboardBlock& block) { return !block.comparisons.empty(); }))
    lines.insert(lines.end() - 1, comparison_footer());
  for (const std::string& note : table.notes) lines.push_back("note: " + note);
  return lines;
}

std::string rank_text(const LeaderboardRow& row) {
  if (!row.rank) return kNoValue;
  if (!row.rank_last || *row.rank_last == *row.rank) return fmt::format("{}", *row.rank);
  return fmt::format("{}–{}", *row.rank, *row.rank_last);
}

std::string beaten(const LeaderboardRow& row) {
  return row.beats_random ? fmt::format("{}/{}", *row.beats_random, row.random_draws)
                          : std::string(kNoValue);
}

// The bytes, and how many more or fewer they are than full attention's. (A linear state may be
// larger than the cache of a short prompt.)
std::string kv_text(const LeaderboardRow& row) {
  std::string out = bytes(row.kv_bytes);
  if (!row.kv_saved) return out;
  const std::string change = percent(std::abs(*row.kv_saved), 0);
  if (change == "0") return out + " (0)";
  return out + fmt::format(" ({}{} %)", *row.kv_saved > 0 ? "−" : "+", change);
}

std::string strip_cell(const LeaderboardRow& row) {
  return row.strip ? strip_text(*row.strip) : fmt::format("({} masks)", row.draws);
}

struct Part {
  std::vector<TextTable::Column> columns;
  TextTable::Row (*cells)(const LeaderboardRow&, const LeaderboardBlock&);
};

const Part& answers_part() {
  static const Part kPart = {
      {{"gap closed %"}, {"gen_contains %"}, {"NLL"}, {"> random"}},
      [](const LeaderboardRow& row, const LeaderboardBlock&) -> TextTable::Row {
        return {with_interval(row.gap_closed, kPercent, 1),
                with_interval(row.gen_contains, kPercent, 1), with_interval(row.answer_nll, 1, 3),
                beaten(row)};
      }};
  return kPart;
}

// Of running text: nothing is generated, the question is what harm is done.
const Part& text_part() {
  static const Part kPart = {
      {{"gap closed %"}, {"NLL"}, {"perplexity"}, {"ΔNLL to full"}, {"ΔNLL to periodic-best"}},
      [](const LeaderboardRow& row, const LeaderboardBlock&) -> TextTable::Row {
        const auto nll = row.answer_nll ? std::optional(row.answer_nll->value) : std::nullopt;
        const auto perplexity = nll ? std::optional(std::exp(*nll)) : std::nullopt;
        return {with_interval(row.gap_closed, kPercent, 1), with_interval(row.answer_nll, 1, 3),
                number(perplexity, 2), with_interval(row.nll_minus_full, 1, 3, true),
                with_interval(row.nll_minus_periodic_best, 1, 3, true)};
      }};
  return kPart;
}

const Part& quality_part(const LeaderboardBlock& block) {
  return block.generated ? answers_part() : text_part();
}

// Beside periodic-best, teacher-forced apart from generated, and the harm to running text.
const Part& measures_part() {
  static const Part kPart = {
      {{"ΔNLL to periodic-best"},
       {"tf_exact %"},
       {"gen_exact %"},
       {"beyond %"},
       {"ΔNLL of text to full"}},
      [](const LeaderboardRow& row, const LeaderboardBlock&) -> TextTable::Row {
        return {with_interval(row.nll_minus_periodic_best, 1, 3, true),
                with_interval(row.tf_exact, kPercent, 1), with_interval(row.gen_exact, kPercent, 1),
                with_interval(row.gen_contains_beyond, kPercent, 1),
                with_interval(row.text_nll_minus_full, 1, 3, true)};
      }};
  return kPart;
}

// "12.5 (64)", with the sign of what it was measured on where the table has several.
std::string timed(const LeaderboardRow& row, const LeaderboardBlock& block) {
  if (!row.prefill_ms) return kNoValue;
  std::string out = fmt::format("{:.1f} ({})", *row.prefill_ms, row.timed_samples);
  if (block.devices.size() < 2) return out;
  for (std::size_t i = 0; i < block.devices.size(); ++i)
    if (row.devices.contains(block.devices[i])) out += device_sign(i);
  return out;
}

// What answering costs.
const Part& cost_part() {
  static const Part kPart = {
      {{"KV %"},
       {"KV a sample"},
       {"FLOPs %"},
       {"GFLOP"},
       {"prefill ms (n)"},
       {"decode ms"},
       {"memory"}},
      [](const LeaderboardRow& row, const LeaderboardBlock& block) -> TextTable::Row {
        return {percent(row.kv_share),
                kv_text(row),
                row.prefill_flops_share ? percent(*row.prefill_flops_share) : std::string(kNoValue),
                fmt::format("{:.4g}", (row.prefill_flops + row.decode_flops) / kGiga),
                timed(row, block),
                number(row.decode_ms, 1),
                row.peak_bytes ? bytes(*row.peak_bytes) : std::string(kNoValue)};
      }};
  return kPart;
}

// What the selection did.
const Part& selection_part() {
  static const Part kPart = {
      {{"evals"}, {"tokens"}, {"TFLOP"}, {"s"}, {"peak"}, {"given", false}},
      [](const LeaderboardRow& row, const LeaderboardBlock&) -> TextTable::Row {
        const SelectionCost& cost = row.selection_cost;
        return {fmt::format("{}", cost.evaluations),
                count(cost.forward_tokens + cost.backward_tokens),
                fmt::format("{:.3g}", cost.flops / kTera),
                fmt::format("{:.3g}", cost.seconds),
                cost.peak_bytes > 0 ? bytes(static_cast<double>(cost.peak_bytes))
                                    : std::string(kNoValue),
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
    TextTable::Row cells = {rank_text(row), row.name};
    if (with_strip) cells.push_back(strip_cell(row));
    for (const Part* part : parts)
      for (TextTable::Cell& cell : part->cells(row, block)) cells.push_back(std::move(cell));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

TextTable whole_table(const LeaderboardBlock& block) {
  std::vector<const Part*> parts = {&quality_part(block)};
  if (block.generated) parts.push_back(&measures_part());
  parts.push_back(&cost_part());
  parts.push_back(&selection_part());
  return table_of(block, true, parts);
}

std::string strip_list(const LeaderboardBlock& block) {
  std::string out = "layers:\n";
  for (const LeaderboardRow& row : block.rows) {
    if (!row.strip) continue;
    out += "  " + without_controls(row.name) + "\n";
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
    const TextTable with_strip =
        for_terminal(table_of(block, true, {&quality_part(block)}), utf8, 1);
    if (text_width(with_strip) <= kMaxWidth) {
      out += as_text(with_strip);
    } else {
      out += as_text(for_terminal(table_of(block, false, {&quality_part(block)}), utf8, 1));
      out += utf8 ? strip_list(block) : to_ascii(strip_list(block));
    }
    if (block.generated)
      out += '\n' + as_text(for_terminal(table_of(block, false, {&measures_part()}), utf8, 1));
    for (const Part* part : {&cost_part(), &selection_part()})
      out += '\n' + as_text(for_terminal(table_of(block, false, {part}), utf8, 1));
    if (const TextTable claims = claims_table(block.claims); !claims.rows.empty())
      out += '\n' + as_text(for_terminal(claims, utf8, 0));
    for (const ReferenceComparison& comparison : block.comparisons)
      out += '\n' + line(comparison_heading(comparison)) +
             as_text(for_terminal(comparison_table(comparison), utf8, 0));
    for (const std::string& note : note_lines(block)) out += line(note);
    out += '\n';
  }
  for (const std::string& footer : footer_lines(table)) out += line(footer);
  return out;
}

std::string plain(const std::optional<double>& value) {
  return value ? fmt::format("{}", *value) : "";
}

using Cells = std::vector<std::string>;

void add_estimate(Cells& cells, const std::optional<Estimate>& estimate) {
  const bool bounded = estimate && estimate->interval;
  cells.push_back(estimate ? fmt::format("{}", estimate->value) : "");
  cells.push_back(bounded ? fmt::format("{}", estimate->interval->low) : "");
  cells.push_back(bounded ? fmt::format("{}", estimate->interval->high) : "");
}

Cells csv_header() {
  Cells cells = block_csv_header();
  for (const char* name : {"devices", "by", "kind", "rank", "rank_last", "strategy", "draws"})
    cells.emplace_back(name);
  for (const char* name :
       {"gap_closed", "gen_contains", "gen_exact", "tf_exact", "gen_contains_beyond", "answer_nll",
        "nll_minus_full", "nll_minus_periodic_best", "text_nll_minus_full"})
    for (const char* suffix : {"", "_low", "_high"}) cells.push_back(std::string(name) + suffix);
  for (const char* name : {"beats_random",
                           "random_draws",
                           "kv_share",
                           "prefill_flops_share",
                           "kv_bytes",
                           "kv_saved",
                           "prefill_flops",
                           "decode_flops",
                           "prefill_ms",
                           "decode_ms",
                           "peak_bytes",
                           "measured_on",
                           "timed_samples",
                           "selection_evaluations",
                           "selection_forward_tokens",
                           "selection_backward_tokens",
                           "selection_flops",
                           "selection_seconds",
                           "selection_peak_bytes",
                           "supervision",
                           "layers",
                           "marks",
                           "run_ids"})
    cells.emplace_back(name);
  return cells;
}

Cells csv_cells(const LeaderboardBlock& block, const LeaderboardRow& row) {
  const auto text = [](auto value) { return fmt::format("{}", value); };
  Cells cells = block_csv_cells(block);
  for (std::string cell :
       {joined(block.devices, "; "), block.by, text(kind_name(row.kind)),
        row.rank ? text(*row.rank) : std::string(),
        row.rank_last ? text(*row.rank_last) : std::string(), row.name, text(row.draws)})
    cells.push_back(std::move(cell));
  add_estimate(cells, row.gap_closed);
  add_estimate(cells, row.gen_contains);
  add_estimate(cells, row.gen_exact);
  add_estimate(cells, row.tf_exact);
  add_estimate(cells, row.gen_contains_beyond);
  add_estimate(cells, row.answer_nll);
  add_estimate(cells, row.nll_minus_full);
  add_estimate(cells, row.nll_minus_periodic_best);
  add_estimate(cells, row.text_nll_minus_full);
  const SelectionCost& cost = row.selection_cost;
  std::vector<std::string> marks = block.marks;
  for (const std::string& sign : block.signs) marks.push_back("sign of a bug: " + sign);
  for (std::string cell : {row.beats_random ? text(*row.beats_random) : std::string(),
                           text(row.random_draws),
                           text(row.kv_share),
                           plain(row.prefill_flops_share),
                           text(row.kv_bytes),
                           plain(row.kv_saved),
                           text(row.prefill_flops),
                           text(row.decode_flops),
                           plain(row.prefill_ms),
                           plain(row.decode_ms),
                           plain(row.peak_bytes),
                           joined({row.devices.begin(), row.devices.end()}, "; "),
                           text(row.timed_samples),
                           text(cost.evaluations),
                           text(cost.forward_tokens),
                           text(cost.backward_tokens),
                           text(cost.flops),
                           text(cost.seconds),
                           text(cost.peak_bytes),
                           row.supervision,
                           row.strip ? strip_text(*row.strip) : std::string(),
                           joined(marks, "; "),
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

ReportPage leaderboard_page(const LeaderboardTable& table) {
  ReportPage page;
  for (const LeaderboardBlock& block : table.blocks) {
    page.sections.push_back(
        {"leaderboard", header_lines(block), whole_table(block), note_lines(block)});
    if (TextTable claims = claims_table(block.claims); !claims.rows.empty())
      page.sections.push_back({"claims", {}, std::move(claims), {}});
    for (const ReferenceComparison& comparison : block.comparisons)
      page.sections.push_back(
          {"comparison", {comparison_heading(comparison)}, comparison_table(comparison), {}});
  }
  page.footer = footer_lines(table);
  return page;
}

Result<ReportFormat> parse_report_format(std::string_view text) {
  if (text == "text") return ReportFormat::kText;
  if (text == "md" || text == "markdown") return ReportFormat::kMarkdown;
  if (text == "csv") return ReportFormat::kCsv;
  if (text == "latex") return ReportFormat::kLatex;
  if (text == "html") return ReportFormat::kHtml;
  return fail(ErrorKind::kInvalidArgument,
              "report format: expected text, md, csv, latex or html, got '{}'", text);
}

std::string render(const LeaderboardTable& table, const RenderOptions& options) {
  switch (options.format) {
    case ReportFormat::kText: return render_text(table, options.utf8);
    case ReportFormat::kCsv: return render_csv(table);
    case ReportFormat::kMarkdown:
    case ReportFormat::kLatex:
    case ReportFormat::kHtml: return render(leaderboard_page(table), options);
  }
  return {};
}

}  // namespace strata
