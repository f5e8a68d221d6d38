#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "results/inference.h"
#include "results/reports/format.h"
#include "results/reports/paper_compare.h"

namespace strata {
namespace {

// Texts that many cells share, numbered in order of appearance.
class Footnotes {
 public:
  explicit Footnotes(bool in_place) : in_place_(in_place) {}
  std::string mark(const std::string& text) {
    if (in_place_) return fmt::format("({})", text);
    const auto at = std::find(texts_.begin(), texts_.end(), text);
    const auto number = at - texts_.begin() + 1;
    if (at == texts_.end()) texts_.push_back(text);
    return fmt::format("[{}]", number);
  }
  void append_to(std::vector<std::string>& lines) const {
    for (std::size_t i = 0; i < texts_.size(); ++i)
      lines.push_back(fmt::format("[{}] {}", i + 1, texts_[i]));
  }

 private:
  bool in_place_;
  std::vector<std::string> texts_;
};

std::string published_text(const PublishedValue& value, Footnotes& notes) {
  std::string text;
  for (const double number : value.values)
    text += fmt::format("{}{}", text.empty() ? "" : " or ", number);
  return value.note.empty() ? text : text + " " + notes.mark("doubtful: " + value.note);
}

// Ours, and its unit for csv, which has a number alone in a cell.
std::pair<TextTable::Cell, std::string> ours_text(const PaperLine& line,
                                                  const PaperSetting& published) {
  if (!line.ours) return {kNoValue, ""};
  const bool same = line.metric == published.metric.value_or("");
  if (same && published.unit == "share") return {with_interval(line.ours, 1, 3), "share"};
  TextTable::Cell cell = with_interval(line.ours, 100, 1);
  const std::string unit = same ? "%" : "% " + line.metric;
  if (!same) cell.text += " " + unit;
  return {std::move(cell), unit};
}

std::string joined(const std::vector<std::string>& texts) {
  return fmt::format("{}", fmt::join(texts, "; "));
}

std::string read_text(const std::string& read) {
  if (read == "full_text") return "read in the paper";
  if (read == "code") return "read in the released code";
  if (read == "note") return "read in notes on the paper";
  return "read in a summary of the paper";
}

PageSection table_section(const Paper& paper, std::size_t index,
                          const std::vector<PaperLine>& lines, ReportFormat format) {
  const PaperTable& table = paper.tables[index];
  PageSection section{table.name,
                      {fmt::format("{}: {}, {}", table.name, table.source, read_text(table.read))},
                      {{{"method", false},
                        {"column", false},
                        {"published"},
                        {"ours"},
                        {"run", false},
                        {"verdict", false}},
                       {}},
                      {}};
  const bool csv = format == ReportFormat::kCsv;
  if (csv) section.table.columns.push_back({"unit", false});
  Footnotes notes(csv);
  for (const PaperLine& line : lines) {
    if (line.table != index) continue;
    const PaperRow& row = table.rows[line.row];
    const PaperSetting setting = table.setting_of(row, line.column);
    std::string verdict(to_string(line.verdict));
    if (!line.reasons.empty()) verdict += " " + notes.mark(joined(line.reasons));
    std::string name = row.name;
    if (!row.notes.empty()) name += " " + notes.mark(joined(row.notes));
    auto [ours, unit] = ours_text(line, setting);
    section.table.rows.push_back(
        {std::move(name), table.columns[line.column].name,
         published_text(row.values[line.column], notes), std::move(ours),
         line.label.empty()
             ? kNoValue
             : fmt::format("{}, {}", line.label,
                           plural(static_cast<std::int64_t>(line.samples), "sample")),
         std::move(verdict)});
    if (csv) section.table.rows.back().emplace_back(std::move(unit));
  }
  section.notes = table.notes;
  notes.append_to(section.notes);
  return section;
}

PageSection order_section(const Paper& paper, const std::vector<PaperOrder>& orders,
                          ReportFormat format) {
  PageSection section{
      "order",
      {"whether the published order of two methods holds in ours, each pair under "
       "one setting of ours"},
      {{{"table", false},
        {"first", false},
        {"second", false},
        {"published", false},
        {"ours: first − second, points"},
        {"by", false},
        {"order", false},
        {"setting", false}},
       {}},
      {"published: in how many columns the first is above the second; columns on "
       "which sources disagree are left out; ours is of the same budget, but of "
       "the model, task, window and weights that its setting says",
       fmt::format("not resolved: the paired 95 % interval of the difference "
                   "contains 0, or is of fewer than {} clusters. Each method is one "
                   "mask here: report claims has them over calibration seeds",
                   kClustersForInference)}};
  Footnotes notes(format == ReportFormat::kCsv);
  for (const PaperOrder& order : orders) {
    const PaperTable& table = paper.tables[order.table];
    section.table.rows.push_back({table.name, table.rows[order.first].name,
                                  table.rows[order.second].name,
                                  fmt::format("above in {} of {}", order.above, order.columns),
                                  with_interval(order.difference, 100, 1, true), order.metric,
                                  order.verdict(), notes.mark(order.setting)});
  }
  notes.append_to(section.notes);
  return section;
}

}  // namespace

ReportPage paper_page(const Paper& paper, const PaperComparison& comparison, ReportFormat format) {
  ReportPage page;
  for (std::size_t i = 0; i < paper.tables.size(); ++i)
    page.sections.push_back(table_section(paper, i, comparison.lines, format));
  page.sections[0].lines.insert(
      page.sections[0].lines.begin(),
      fmt::format("{} (arXiv {}): published and ours", paper.title, paper.arxiv));
  if (!comparison.orders.empty())
    page.sections.push_back(order_section(paper, comparison.orders, format));
  page.footer = paper.notes;
  page.footer.push_back(fmt::format(
      "reproduced, differs: the published value lies inside, outside our 95 % interval of at least "
      "{} clusters, where model, benchmark, task, length, budget, mixer, tuning and metric are the "
      "published ones",
      kClustersForInference));
  std::map<PaperVerdict, std::size_t> counts;
  for (const PaperLine& line : comparison.lines) ++counts[line.verdict];
  std::vector<std::string> parts;
  parts.reserve(kPaperVerdicts.size());
  for (const PaperVerdict verdict : kPaperVerdicts)
    parts.push_back(fmt::format("{} {}", counts[verdict], to_string(verdict)));
  page.footer.push_back(
      fmt::format("{}: {}", plural(static_cast<std::int64_t>(comparison.lines.size()), "value"),
                  fmt::join(parts, ", ")));
  return page;
}

ReportPage paper_trace(const Paper& paper, const PaperComparison& comparison) {
  PageSection out{"ours",
                  {},
                  {{{"table", false},
                    {"method", false},
                    {"column", false},
                    {"number", false},
                    {"value"},
                    {"runs", false},
                    {"SQL", false}},
                   {}},
                  {}};
  for (const PaperLine& line : comparison.lines) {
    if (!line.ours) continue;
    const PaperTable& table = paper.tables[line.table];
    out.table.rows.push_back({table.name, table.rows[line.row].name,
                              table.columns[line.column].name, line.metric,
                              fmt::format("{}", line.ours->value), line.run_id, line.sql});
  }
  for (const PaperOrder& order : comparison.orders) {
    const PaperTable& table = paper.tables[order.table];
    out.table.rows.push_back(
        {table.name, table.rows[order.first].name + " − " + table.rows[order.second].name, "",
         order.metric, fmt::format("{}", order.difference.value), order.run_ids, order.sql});
  }
  return {{std::move(out)}, {}};
}

ReportPage papers_page(const std::vector<NamedPaper>& papers) {
  PageSection section{"papers",
                      {"published tables, with strata report paper NAME beside ours"},
                      {{{"paper", false},
                        {"title", false},
                        {"arXiv", false},
                        {"read in", false},
                        {"tables"},
                        {"values"},
                        {"of methods in strata"},
                        {"doubtful"},
                        {"conflicting"}},
                       {}},
                      {}};
  std::size_t all = 0;
  for (const auto& [name, paper] : papers) {
    std::size_t known = 0, doubtful = 0, conflicting = 0;
    for (const PaperTable& table : paper.tables)
      for (const PaperRow& row : table.rows)
        for (const PublishedValue& value : row.values) {
          if (!value.values.empty() && row.strategy) ++known;
          if (value.values.size() == 1 && !value.note.empty()) ++doubtful;
          if (value.values.size() > 1) ++conflicting;
        }
    all += paper.published();
    section.table.rows.push_back({name, paper.title, paper.arxiv, paper.read,
                                  fmt::format("{}", paper.tables.size()),
                                  fmt::format("{}", paper.published()), fmt::format("{}", known),
                                  fmt::format("{}", doubtful), fmt::format("{}", conflicting)});
  }
  return {{std::move(section)},
          {fmt::format("{}, {}", plural(static_cast<std::int64_t>(papers.size()), "paper"),
                       plural(static_cast<std::int64_t>(all), "value"))}};
}

}  // namespace strata
