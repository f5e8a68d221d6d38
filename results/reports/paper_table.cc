#include "results/reports/paper_table.h"

#include <cmath>
#include <set>

#include "core/config/binder.h"

namespace strata {
namespace {

using config::Value;

constexpr std::size_t kMaxSources = 8;  // that disagree about one number

struct ColumnYaml {
  std::string name;
  PaperSetting setting;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("name", self.name, "printed");
    visit("setting", self.setting, "over the table's");
  }
};

struct RowYaml {
  std::string name;
  std::optional<std::string> strategy;
  PaperSetting setting;
  Value values;
  std::vector<std::string> notes;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("name", self.name, "printed");
    visit("strategy", self.strategy, "name, label or group of runs");
    visit("setting", self.setting, "over the column's");
    visit("values", self.values, "one a column");
    visit("notes", self.notes, "for people");
  }
};

struct TableYaml {
  std::string name, source, read;
  PaperSetting setting;
  std::vector<ColumnYaml> columns;
  std::vector<RowYaml> rows;
  std::vector<std::string> notes;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("name", self.name, "one word");
    visit("source", self.source, "the table's number, or where else");
    visit("read", self.read, "in what, where not as the paper",
          config::one_of({"", "full_text", "code", "note", "summary"}));
    visit("setting", self.setting, "of all its numbers");
    visit("columns", self.columns, "at least one");
    visit("rows", self.rows, "at least one");
    visit("notes", self.notes, "for people");
  }
};

struct PaperYaml {
  std::string title, arxiv, read;
  std::vector<std::string> notes;
  std::vector<TableYaml> tables;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("title", self.title, "of the paper");
    visit("arxiv", self.arxiv, "its id, quoted");
    visit("read", self.read, "in what", config::one_of({"full_text", "code", "note", "summary"}));
    visit("notes", self.notes, "for people");
    visit("tables", self.tables, "at least one");
  }
};

struct CellYaml {
  std::vector<double> values;
  std::string note;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("values", self.values, "one, or those of the sources that disagree");
    visit("note", self.note, "why");
  }
};

template <typename... Args>
tl::unexpected<Error> wrong(const Value& where, fmt::format_string<Args...> format,
                            Args&&... args) {
  return fail(make_error(ErrorKind::kInvalidArgument, format, std::forward<Args>(args)...)
                  .at(where.pos.text()));
}

Result<PublishedValue> parse_cell(const Value& value, const std::string& row) {
  PublishedValue cell;
  if (value.is_null()) return cell;
  if (const std::int64_t* integer = value.if_int()) {
    cell.values = {static_cast<double>(*integer)};
  } else if (const double* real = value.if_double()) {
    cell.values = {*real};
  } else if (value.if_map() != nullptr) {
    CellYaml read;
    RETURN_IF_ERROR(config::bind(value, read, {.path = row + ".values", .also_known = {}}));
    if (read.values.empty() || read.values.size() > kMaxSources)
      return wrong(value, "'{}': expected 1 to {} values, got {}", row, kMaxSources,
                   read.values.size());
    if (read.note.empty())
      return wrong(value, "'{}': expected a note that says why the value is in doubt", row);
    cell = {read.values, read.note};
  } else {
    return wrong(value, "'{}': expected a number, null, or {{values: […], note: …}}, got {}", row,
                 value.describe());
  }
  for (const double number : cell.values)
    if (!std::isfinite(number)) return wrong(value, "'{}': expected a finite number", row);
  return cell;
}

Result<PaperRow> make_row(const RowYaml& read, std::size_t columns, const Value& where) {
  PaperRow row{read.name, read.strategy, read.setting, {}, read.notes};
  if (row.name.empty()) return wrong(where, "a row has no name");
  const config::List* cells = read.values.if_list();
  if (cells == nullptr || cells->size() != columns)
    return wrong(cells == nullptr ? where : read.values,
                 "'{}': expected a list of {} values, one a column, got {}", row.name, columns,
                 cells == nullptr ? read.values.describe() : fmt::format("{}", cells->size()));
  for (const Value& cell : *cells) {
    ASSIGN_OR_RETURN(row.values.emplace_back(), parse_cell(cell, row.name));
  }
  return row;
}

Result<PaperTable> make_table(const TableYaml& read, const std::string& paper_read,
                              const Value& where) {
  PaperTable table{read.name,    read.source, read.read.empty() ? paper_read : read.read,
                   read.setting, {},          {},
                   read.notes};
  if (table.name.empty() || table.source.empty())
    return wrong(where, "expected a table with a name and a source");
  if (read.columns.empty() || read.rows.empty())
    return wrong(where, "table '{}': expected at least one column and one row", table.name);
  for (const ColumnYaml& column : read.columns)
    table.columns.push_back({column.name, column.setting});
  const config::List& rows = *where.find("rows")->if_list();
  for (std::size_t i = 0; i < read.rows.size(); ++i) {
    ASSIGN_OR_RETURN(table.rows.emplace_back(),
                     make_row(read.rows[i], table.columns.size(), rows[i]));
  }
  return table;
}

template <typename T>
void fill(std::optional<T>& target, const std::optional<T>& from) {
  if (!target) target = from;
}

}  // namespace

PaperSetting PaperSetting::over(const PaperSetting& base) const {
  PaperSetting out = *this;
  fill(out.model, base.model);
  fill(out.benchmark, base.benchmark);
  fill(out.task, base.task);
  fill(out.metric, base.metric);
  fill(out.unit, base.unit);
  fill(out.judge, base.judge);
  fill(out.length, base.length);
  fill(out.fraction, base.fraction);
  fill(out.window, base.window);
  fill(out.sinks, base.sinks);
  fill(out.linear, base.linear);
  fill(out.decode_rule, base.decode_rule);
  fill(out.trained, base.trained);
  return out;
}

PaperSetting PaperTable::setting_of(const PaperRow& row, std::size_t column) const {
  return row.setting.over(columns[column].setting.over(setting));
}

std::size_t Paper::published() const {
  std::size_t count = 0;
  for (const PaperTable& table : tables)
    for (const PaperRow& row : table.rows)
      for (const PublishedValue& value : row.values)
        if (!value.values.empty()) ++count;
  return count;
}

Result<Paper> parse_paper(const Value& value) {
  PaperYaml read;
  RETURN_IF_ERROR(config::bind(value, read));
  Paper paper{read.title, read.arxiv, read.read, read.notes, {}};
  if (paper.title.empty() || paper.arxiv.empty() || paper.read.empty() || read.tables.empty())
    return wrong(value, "expected title, arxiv, read and at least one table");
  const config::List& tables = *value.find("tables")->if_list();
  std::set<std::string> names;
  for (std::size_t i = 0; i < read.tables.size(); ++i) {
    ASSIGN_OR_RETURN(paper.tables.emplace_back(),
                     make_table(read.tables[i], paper.read, tables[i]));
    if (!names.insert(paper.tables.back().name).second)
      return wrong(tables[i], "two tables are named '{}'", paper.tables.back().name);
  }
  return paper;
}

}  // namespace strata
