// The report on LongMemEval as a page.
#include <algorithm>

#include "results/reports/block_render.h"
#include "results/reports/format.h"
#include "results/reports/memory_facts.h"
#include "results/reports/memory_report.h"
#include "results/reports/row_source.h"

namespace strata {
namespace {

std::string whole(std::size_t n) { return fmt::format("{}", n); }

TextTable::Cell share_text(const VerdictShare& verdicts) {
  return with_interval(verdicts.share, 100, 1);
}

std::string agreement(const JudgedCells& cells) {
  if (cells.compared == 0) return kNoValue;
  return fmt::format("{}/{}", cells.agreed, cells.compared);
}

std::vector<TextTable::Column> columns(bool judged) {
  std::vector<TextTable::Column> out = {
      {"questions", false}, {"n"}, {"missing"}, {"checker %"}, {"checked"}};
  if (judged)
    for (const char* header :
         {"judge %", "judged", "strict %", "unparsable", "failed", "not asked", "agree"})
      out.push_back({header});
  return out;
}

TextTable::Row cells(const MemoryRow& row, bool judged) {
  TextTable::Row out = {row.name, whole(row.questions), whole(row.missing), share_text(row.checker),
                        whole(row.checker.n)};
  if (!judged) return out;
  const JudgedCells& judge = row.judge;
  out.insert(out.end(), {share_text(judge.official), whole(judge.official.n),
                         share_text(judge.strict), whole(judge.unparsable), whole(judge.failed),
                         whole(judge.unasked), agreement(judge)});
  return out;
}

std::string judge_text(const MemoryTable& table) {
  if (!table.judge) return "no judge was asked (strata score)";
  std::string out = "judge: " + table.judge->text();
  const bool itself =
      table.reported_models.size() == 1 && table.reported_models[0] == table.judge->model;
  if (!table.reported_models.empty() && !itself)
    out += " · names itself " + joined(table.reported_models, ", ");
  return out;
}

PageSection section(const MemoryBlock& block, const MemoryTable& table) {
  PageSection out{.name = "types", .lines = {}, .table = {}, .notes = table.notes};
  std::string run = fmt::format(
      "{} · run {}{}{} · {} · plan {}", block.label, short_id(block.source.run_id),
      block.other_runs > 0 ? fmt::format(" and {} more", block.other_runs) : std::string(),
      block.status == "done" ? "" : " (" + block.status + ")", block.model_name,
      short_id(block.plan_id));
  if (!block.mixer.empty()) run += " · " + block.mixer;
  out.lines.push_back(std::move(run));
  std::string data =
      fmt::format("{}, {}", plural(static_cast<std::int64_t>(block.questions), "question"),
                  plural(static_cast<std::int64_t>(block.clusters), "cluster"));
  if (block.other_samples > 0)
    data += fmt::format(" · {} of other benchmarks left out",
                        plural(static_cast<std::int64_t>(block.other_samples), "sample"));
  if (!block.environments.empty()) data += " · " + joined(block.environments, "; ");
  out.lines.push_back(std::move(data));
  out.lines.push_back(judge_text(table));
  const bool judged = table.judge.has_value();
  out.table.columns = columns(judged);
  for (const MemoryRow& row : table.rows) {
    if (row.name == kTaskAveraged) out.table.rows.emplace_back();
    out.table.rows.push_back(cells(row, judged));
  }
  return out;
}

const MemoryRow* row_named(const MemoryTable& table, std::string_view name) {
  const auto found = std::find_if(table.rows.begin(), table.rows.end(),
                                  [&](const MemoryRow& row) { return row.name == name; });
  return found == table.rows.end() ? nullptr : &*found;
}

// Every run and judge on a line.
PageSection summary(const std::vector<MemoryBlock>& blocks) {
  PageSection out{.name = "summary", .lines = {}, .table = {}, .notes = {}};
  out.table.columns = {{"run", false},   {"judge", false},     {"n"},
                       {"missing"},      {"overall %"},        {"task-averaged %"},
                       {"abstention %"}, {"checker overall %"}};
  for (const MemoryBlock& block : blocks)
    for (const MemoryTable& table : block.tables) {
      const bool judged = table.judge.has_value();
      const auto share = [&](std::string_view name) {
        const MemoryRow* row = row_named(table, name);
        if (row == nullptr || !judged) return TextTable::Cell(kNoValue);
        return share_text(row->judge.official);
      };
      const MemoryRow& overall = *row_named(table, kOverall);
      out.table.rows.push_back({block.label, judged ? table.judge->model : std::string(kNoValue),
                                whole(overall.questions), whole(overall.missing), share(kOverall),
                                share(kTaskAveraged), share(kAbstention),
                                share_text(overall.checker)});
    }
  return out;
}

ReportPage csv_page(const std::vector<MemoryBlock>& blocks) {
  PageSection out{.name = "longmemeval", .lines = {}, .table = {}, .notes = {}};
  out.table.columns = {{"run"}, {"label"}, {"judge"}, {"endpoint"}, {"settings"}, {"rubrics"}};
  const std::vector<TextTable::Column> rest = columns(true);
  out.table.columns.insert(out.table.columns.end(), rest.begin(), rest.end());
  for (const MemoryBlock& block : blocks)
    for (const MemoryTable& table : block.tables)
      for (const MemoryRow& row : table.rows) {
        const JudgeIdentity judge = table.judge.value_or(JudgeIdentity{});
        TextTable::Row line = {block.source.run_id, block.label,         judge.model,
                               judge.endpoint,      judge.settings_json, judge.rubrics};
        const TextTable::Row values = cells(row, table.judge.has_value());
        line.insert(line.end(), values.begin(), values.end());
        line.resize(out.table.columns.size(), "");  // what no judge said is not 0
        out.table.rows.push_back(std::move(line));
      }
  return {{std::move(out)}, {}};
}

// A field of a question's metadata, as SQL (results/reports/memory_facts.h).
std::string fact_sql(const char* name) {
  return fmt::format("coalesce(metadata_json ->> '$.{0}', metadata_json ->> '$.metadata.{0}')",
                     name);
}

// Of the questions of a row: the mean of a value of rows, which have a sample_id.
std::string share_sql(const std::string& value, const std::string& rows, const std::string& name) {
  const std::string type = fact_sql("question_type");
  const auto of_questions = [&](const std::string& condition) {
    return fmt::format(
        "SELECT avg({}) FROM {} WHERE sample_id IN (SELECT id FROM samples WHERE {})", value, rows,
        condition);
  };
  std::string types;
  for (const std::string_view one : kQuestionTypes)
    types += fmt::format("{}'{}'", types.empty() ? "" : ", ", one);
  if (name == kTaskAveraged)
    return fmt::format(
        "SELECT avg(share) FROM (SELECT avg({}) AS share FROM {} AS asked JOIN samples ON "
        "samples.id = sample_id WHERE {} IN ({}) GROUP BY {})",
        value, rows, type, types, type);
  if (name == kOverall) return of_questions(fmt::format("{} IN ({})", type, types));
  if (name == kAbstention)
    return of_questions(fmt::format("instr({}, '_abs') > 0", fact_sql("question_id")));
  return of_questions(fmt::format("{} = '{}'", type, name));
}

}  // namespace

ReportPage memory_page(const std::vector<MemoryBlock>& blocks, ReportFormat format) {
  if (format == ReportFormat::kCsv) return csv_page(blocks);
  ReportPage page;
  std::size_t tables = 0;
  bool other_prompts = false;
  for (const MemoryBlock& block : blocks)
    for (const MemoryTable& table : block.tables) {
      page.sections.push_back(section(block, table));
      ++tables;
      other_prompts = other_prompts || (table.judge && table.judge->rubrics != "longmemeval");
    }
  if (tables > 1) page.sections.insert(page.sections.begin(), summary(blocks));
  page.footer = {
      "Shares in % of the questions with a verdict, 95 %: Wilson where questions are independent, "
      "bootstrap over clusters else and for task-averaged (the mean of the types' shares). "
      "Questions of abstention count within their types too.",
      "checker: gen_contains, the benchmark's own comparison (none of questions whose answer is a "
      "rubric). judge: the reply read as the prompts' source reads it; strict: exactly one of its "
      "two words. Missing, failed, unparsable and not asked are in no share. agree: checker and "
      "judge, of "
      "the questions that both have a verdict on.",
      "A judge's errors are not part of the intervals; figures of different judges are not "
      "comparable."};
  if (other_prompts)
    page.footer.emplace_back(
        "Prompts other than longmemeval's give no official LongMemEval score.");
  return page;
}

std::string judged_share_sql(const RowSource& source, const JudgeIdentity& judge,
                             const std::string& row) {
  return share_sql("official", judgements_sql(source, judge), row);
}

ReportPage memory_trace(const std::vector<MemoryBlock>& blocks) {
  PageSection out{"shares",
                  {},
                  {{{"label", false},
                    {"questions", false},
                    {"by", false},
                    {"n"},
                    {"share"},
                    {"run", false},
                    {"experiment", false},
                    {"SQL", false}},
                   {}},
                  {}};
  for (const MemoryBlock& block : blocks) {
    const auto add = [&](const MemoryRow& row, const std::string& by, const VerdictShare& verdicts,
                         std::string sql) {
      if (verdicts.share)
        out.table.rows.push_back({block.label, row.name, by, whole(verdicts.n),
                                  fmt::format("{}", verdicts.share->value), block.source.run_id,
                                  block.source.experiment_id, std::move(sql)});
    };
    for (const MemoryRow& row : block.tables.at(0).rows)
      add(row, "checker", row.checker,
          share_sql(metric_sql(kCheckerMetric),
                    "(SELECT * FROM responses " + where(block.source) + ")", row.name));
    for (const MemoryTable& table : block.tables) {
      if (!table.judge) continue;
      for (const MemoryRow& row : table.rows) {
        add(row, table.judge->text(), row.judge.official,
            judged_share_sql(block.source, *table.judge, row.name));
        add(row, "strictly, " + table.judge->text(), row.judge.strict,
            share_sql("CASE verdict WHEN 'yes' THEN 1 WHEN 'no' THEN 0 END",
                      judgements_sql(block.source, *table.judge), row.name));
      }
    }
  }
  return {{std::move(out)}, {}};
}

}  // namespace strata
