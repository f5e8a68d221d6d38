// traced_numbers(): the rows and the query behind each number of a leaderboard.
#include <fmt/format.h>

#include <utility>

#include "results/reports/block_render.h"
#include "results/reports/format.h"
#include "results/reports/html_page.h"
#include "results/reports/leaderboard.h"
#include "results/reports/page.h"
#include "results/reports/row_source.h"
#include "results/reports/text_table.h"

namespace strata {
namespace {

std::string median(const std::string& value, const RowSource& source) {
  return fmt::format(
      "SELECT avg(value) FROM (SELECT {0} AS value, row_number() OVER (ORDER BY {0}) AS place, "
      "count(*) OVER () AS n FROM responses {1} AND {0} IS NOT NULL) WHERE place IN ((n + 1) / 2, "
      "(n + 2) / 2)",
      value, where(source));
}

// The mean over the samples whose needle lies beyond the window.
std::string beyond(const std::string& value, const RowSource& source, std::int64_t window) {
  return mean_sql(value, source,
                  fmt::format("coalesce(metadata_json ->> 'distance' >= {}, metadata_json ->> "
                              "'beyond_window')",
                              window));
}

std::string gap_sql(const RowSource& none, const RowSource& plan, const RowSource& full) {
  return fmt::format(
      "SELECT (none - plan) / (none - full) FROM (SELECT ({}) AS none, ({}) AS plan, ({}) AS full)",
      mean_sql(kNllSql, none), mean_sql(kNllSql, plan), mean_sql(kNllSql, full));
}

const LeaderboardRow* reference(const LeaderboardBlock& block, std::string_view name) {
  for (const LeaderboardRow& row : block.rows)
    if (row.kind == RowKind::kReference && row.name.starts_with(name)) return &row;
  return nullptr;
}

// One number; of several draws a line each, whose median the row shows.
template <typename Query>
std::string each(const LeaderboardRow& row, Query&& query) {
  std::string out;
  for (const RowSource& source : row.sources)
    out += (out.empty() ? "" : " UNION ALL ") +
           (row.sources.size() > 1 ? "SELECT * FROM (" + query(source) + ")" : query(source));
  return out;
}

std::string averages(const std::string& value, const LeaderboardRow& row) {
  return each(row, [&](const RowSource& source) { return mean_sql(value, source); });
}

class RowTrace {
 public:
  RowTrace(const LeaderboardRow& row, std::vector<TracedNumber>& out) : row_(row), out_(out) {}

  void add(const char* number, const std::optional<double>& value, std::string sql) {
    if (value)
      out_.push_back({row_.name, row_.draws > 1 ? std::string("median of ") + number : number,
                      *value, row_.sources, std::move(sql)});
  }
  void add(const char* number, const std::optional<Estimate>& estimate, std::string sql) {
    add(number, estimate ? std::optional(estimate->value) : std::nullopt, std::move(sql));
  }

 private:
  const LeaderboardRow& row_;
  std::vector<TracedNumber>& out_;
};

}  // namespace

std::vector<TracedNumber> traced_numbers(const LeaderboardBlock& block) {
  std::vector<TracedNumber> out;
  const LeaderboardRow *full = reference(block, "full"), *none = reference(block, "none");
  const LeaderboardRow* best = nullptr;
  for (const LeaderboardRow& row : block.rows)
    if (row.name.starts_with(kPeriodicBest)) best = &row;
  for (const LeaderboardRow& row : block.rows) {
    RowTrace trace(row, out);
    trace.add("answer_nll", row.answer_nll, averages(kNllSql, row));
    if (full != nullptr && none != nullptr) {
      trace.add("gap_closed", row.gap_closed, each(row, [&](const RowSource& source) {
                  return gap_sql(none->sources[0], source, full->sources[0]);
                }));
    }
    trace.add("gen_contains", row.gen_contains, averages(metric_sql("gen_contains"), row));
    trace.add("gen_exact", row.gen_exact, averages(metric_sql("gen_exact"), row));
    trace.add("tf_exact", row.tf_exact, averages(metric_sql("tf_exact"), row));
    trace.add("gen_contains_beyond", row.gen_contains_beyond,
              each(row, [&](const RowSource& source) {
                return beyond(metric_sql("gen_contains"), source, block.window);
              }));
    if (full != nullptr)
      trace.add("nll_minus_full", row.nll_minus_full, each(row, [&](const RowSource& source) {
                  return difference_sql(kNllSql, full->sources[0], source);
                }));
    if (best != nullptr)
      trace.add("nll_minus_periodic_best", row.nll_minus_periodic_best,
                each(row, [&](const RowSource& source) {
                  return difference_sql(kNllSql, best->sources[0], source);
                }));
    trace.add("prefill_flops", std::optional(row.prefill_flops), averages("prefill_flops", row));
    trace.add("decode_flops", std::optional(row.decode_flops), averages("decode_flops", row));
    for (const auto& [name, value] :
         {std::pair("prefill_ms", row.prefill_ms), std::pair("decode_ms", row.decode_ms)})
      trace.add(name, value, each(row, [name = name](const RowSource& source) {
                  return median(fmt::format("timings_json ->> '{}'", name), source);
                }));
    trace.add("kv_bytes", std::optional(row.kv_bytes), averages("kv_bytes", row));
    trace.add("peak_bytes", row.peak_bytes, each(row, [](const RowSource& source) {
                return "SELECT max(peak_bytes) FROM responses " + where(source);
              }));
    if (row.draws > 1) continue;
    const SelectionCost& cost = row.selection_cost;
    const std::pair<const char*, double> costs[] = {
        {"flops", cost.flops},
        {"evaluations", static_cast<double>(cost.evaluations)},
        {"forward_tokens", cost.forward_tokens},
        {"backward_tokens", cost.backward_tokens},
        {"seconds", cost.seconds},
        {"peak_bytes", static_cast<double>(cost.peak_bytes)}};
    for (const auto& [column, value] : costs)
      if (const std::string& id = row.sources[0].selection_id; !id.empty())
        trace.add((std::string("selection_") + column).c_str(), std::optional(value),
                  fmt::format("SELECT {} FROM selections WHERE id = '{}'", column, id));
  }
  return out;
}

ReportPage claims_trace(const LeaderboardTable& table) {
  PageSection out{"seeds",
                  {},
                  {{{"data", false},
                    {"selector", false},
                    {"reference", false},
                    {"number", false},
                    {"value"},
                    {"run", false},
                    {"selection", false},
                    {"run of the reference", false},
                    {"SQL", false}},
                   {}},
                  {}};
  const auto add = [&](const LeaderboardBlock& block, const std::string& selector,
                       const std::string& against, const char* number, double value,
                       const RowSource& source, const std::string& other, std::string sql) {
    out.table.rows.push_back({short_id(block.data_id), selector, against, number,
                              fmt::format("{}", value), source.run_id, source.selection_id, other,
                              std::move(sql)});
  };
  for (const LeaderboardBlock& block : table.blocks) {
    const LeaderboardRow *full = reference(block, "full"), *none = reference(block, "none");
    for (const SelectorClaim& claim : block.claims)
      for (std::size_t i = 0; i < claim.seeds.size() && full != nullptr && none != nullptr; ++i)
        add(block, claim.label, "full, none", "gap_closed", claim.gap_closed.seed_means[i],
            claim.seeds[i], full->sources[0].run_id + " " + none->sources[0].run_id,
            gap_sql(none->sources[0], claim.seeds[i], full->sources[0]));
    for (const ReferenceComparison& comparison : block.comparisons)
      for (const ReferenceClaim& claim : comparison.claims)
        for (std::size_t i = 0; i < claim.sources.size(); ++i) {
          const auto& [own, other] = claim.sources[i];
          add(block, claim.label, comparison.reference, "nll_difference", claim.differences[i], own,
              other.run_id, difference_sql(kNllSql, other, own));
        }
  }
  return {{std::move(out)},
          {"one line a calibration set; a claim's mean, intervals and tests are over these"}};
}

std::string render_trace(const LeaderboardTable& table, const RenderOptions& options) {
  const bool csv = options.format == ReportFormat::kCsv;
  std::string out;
  if (csv)
    out = csv_line({"data_id", "strategy", "number", "value", "run_ids", "selection_ids",
                    "experiment_ids", "execution_ids", "sql"});
  for (const LeaderboardBlock& block : table.blocks) {
    if (!csv)
      for (const std::string& line : header_lines(block)) out += without_controls(line) + "\n";
    for (const TracedNumber& number : traced_numbers(block)) {
      const SourceIds ids = ids_of(number.sources);
      if (csv) {
        out += csv_line({block.data_id, number.strategy, number.number,
                         fmt::format("{}", number.value), ids.runs, ids.selections, ids.experiments,
                         ids.executions, number.sql});
        continue;
      }
      out += fmt::format("\n{} · {} = {}\n", without_controls(number.strategy), number.number,
                         number.value);
      for (const auto& [name, of] :
           {std::pair("runs", &ids.runs), std::pair("selections", &ids.selections),
            std::pair("experiments", &ids.experiments), std::pair("executions", &ids.executions)})
        if (!of->empty()) out += fmt::format("  {}: {}\n", name, *of);
      out += "  " + number.sql + ";\n";
    }
    if (!csv) out += "\n";
  }
  if (options.format == ReportFormat::kHtml)
    return html_document(
        {.title = "strata · trace",
         .body = "<main id=\"main\">\n<pre>" + html_text(out) + "</pre>\n</main>\n",
         .charts_json = {}});
  return csv || !options.utf8 ? to_ascii(out) : out;
}

}  // namespace strata
