// Comparisons as pages.
#include "results/reports/block_render.h"
#include "results/reports/compare.h"
#include "results/reports/format.h"

namespace strata {
namespace {

std::string equivalence_text(const MetricComparison& metric) {
  if (!metric.equivalence) return kNoValue;
  const EquivalenceTest& test = *metric.equivalence;
  const std::string needed =
      test.n_needed ? fmt::format(", n {}", *test.n_needed) : std::string(", n of 1");
  return fmt::format("{} (±{:g}{})", to_string(test.answer), *metric.margin, needed);
}

std::string about(const char* place, const ComparedRun& run) {
  return fmt::format("{}: {} · run {} · {} · plan {} · {}", place, run.label, short_id(run.id),
                     run.model_name, short_id(run.plan_id), joined(run.environments, "; "));
}

std::string right_text(const std::optional<double>& right) {
  if (!right) return kNoValue;
  return *right == 1 ? "right" : *right == 0 ? "wrong" : fmt::format("{:.2f}", *right);
}

TextTable metric_table(const RunComparison& comparison) {
  TextTable table{{{"metric", false},
                   {"samples"},
                   {"A"},
                   {"B"},
                   {"B − A"},
                   {"test", false},
                   {"p"},
                   {"Holm p"},
                   {"t p"},
                   {"detectable"},
                   {"equivalence", false}},
                  {}};
  for (const MetricComparison& metric : comparison.metrics)
    table.rows.push_back({metric.metric, fmt::format("{}", metric.samples),
                          fmt::format("{:.4f}", metric.first), fmt::format("{:.4f}", metric.second),
                          with_interval(metric.difference, 1, 4, true), metric.test,
                          p_text(metric.p), p_text(metric.holm_p), p_text(metric.paired_t_p),
                          number(metric.detectable, 4), equivalence_text(metric)});
  return table;
}

TextTable changed_table(const RunComparison& comparison) {
  TextTable table{{{"sample", false},
                   {"A", false},
                   {"B", false},
                   {"ΔNLL"},
                   {"answer", false},
                   {"A said", false},
                   {"B said", false},
                   {"prompt ends", false}},
                  {}};
  for (const ChangedSample& sample : comparison.changed)
    table.rows.push_back(
        {short_id(sample.sample_id), right_text(sample.first_right),
         right_text(sample.second_right),
         sample.nll_change ? fmt::format("{:+.3f}", *sample.nll_change) : std::string(kNoValue),
         sample.answer, sample.first_text, sample.second_text, sample.prompt_end});
  return table;
}

std::vector<std::string> footer() {
  return {
      fmt::format(
          "B − A over the samples that both answered, 95 %: t over independent samples, bootstrap "
          "over clusters else. McNemar (exact) where answers are 0/1 and samples independent; else "
          "sign flips of whole clusters (exact up to {} clusters, then 9,999 drawn with a fixed "
          "seed), from {} clusters on. t p: paired t test of independent samples.",
          kClustersForAllFlips, kClustersForInference),
      "detectable: the true difference that a test of this many samples finds with a power of 80 "
      "%. "
      "equivalence: two one-sided t tests against the margin at 5 % (n: samples or clusters that a "
      "power "
      "of 80 % takes where there is no difference).",
      "A difference of two masks is no claim about the selectors that chose them: that takes "
      "calibration "
      "seeds (strata report claims)."};
}

}  // namespace

ReportPage compare_page(const RunComparison& comparison) {
  ReportPage page;
  std::string samples = fmt::format(
      "{} in common, {}", plural(static_cast<std::int64_t>(comparison.shared), "sample"),
      plural(static_cast<std::int64_t>(comparison.clusters), "cluster"));
  if (comparison.only_first + comparison.only_second > 0)
    samples += fmt::format(" · {} answered by A alone, {} by B alone", comparison.only_first,
                           comparison.only_second);
  PageSection metrics{"metrics",
                      {about("A", comparison.first), about("B", comparison.second), samples},
                      metric_table(comparison),
                      {}};
  if (comparison.first.plan_id == comparison.second.plan_id)
    metrics.notes.emplace_back("both runs have the same plan");
  page.sections.push_back(std::move(metrics));
  if (comparison.same_text_compared)
    page.sections.push_back(
        {"changed",
         {fmt::format("{} became right or wrong, {} of {} texts differ; shown: {}",
                      plural(static_cast<std::int64_t>(comparison.changed_answers), "answer"),
                      comparison.different_texts, comparison.shared, comparison.changed.size())},
         changed_table(comparison),
         {}});
  page.footer = footer();
  return page;
}

ReportPage compare_trace(const RunComparison& comparison) {
  PageSection section{"trace", {}, {}, {}};
  for (const ComparedRun* run : {&comparison.first, &comparison.second})
    section.lines.push_back(fmt::format("{}: run {} · experiment {} · executions {}",
                                        run == &comparison.first ? "A" : "B", run->id,
                                        run->experiment_id, joined(run->executions, " ")));
  for (const MetricComparison& metric : comparison.metrics) {
    const bool nll = metric.metric == "answer_nll";
    const auto value = [&](const char* of) {
      return nll ? fmt::format("(SELECT avg(value) FROM json_each({}.answer_nll_json))", of)
                 : fmt::format("{}.metrics_json ->> '{}'", of, metric.metric);
    };
    section.lines.push_back(
        fmt::format("{} B − A: SELECT avg({} - {}) FROM responses AS a JOIN responses AS b USING "
                    "(sample_id) WHERE "
                    "a.experiment_id = '{}' AND a.execution_id IN ({}) AND b.experiment_id = '{}' "
                    "AND b.execution_id "
                    "IN ({});",
                    metric.metric, value("b"), value("a"), comparison.first.experiment_id,
                    sql_list(comparison.first.executions), comparison.second.experiment_id,
                    sql_list(comparison.second.executions)));
  }
  return {{std::move(section)}, {}};
}

ReportPage compare_page(const DatabaseComparison& comparison) {
  PageSection section{
      "pairs",
      {fmt::format("{} of the same question in both databases; Holm over all of them",
                   plural(static_cast<std::int64_t>(comparison.pairs.size()), "run"))},
      {{{"run", false},
        {"A", false},
        {"B", false},
        {"samples"},
        {"plan", false},
        {"texts differ"},
        {"right ↔ wrong"},
        {"NLL A"},
        {"NLL B"},
        {"B − A"},
        {"p"},
        {"Holm p"}},
       {}},
      comparison.notes};
  for (std::size_t i = 0; i < comparison.pairs.size(); ++i) {
    const RunComparison& pair = comparison.pairs[i];
    const bool same = pair.first.plan_id == pair.second.plan_id;
    std::vector<std::string> cells = {pair.first.label,
                                      short_id(pair.first.id),
                                      short_id(pair.second.id),
                                      fmt::format("{}", pair.shared),
                                      same ? "same" : "other",
                                      fmt::format("{}", pair.different_texts),
                                      fmt::format("{}", pair.changed_answers)};
    std::vector<std::string> scored(5, kNoValue);
    if (const MetricComparison* nll = pair.nll())
      scored = {fmt::format("{:.4f}", nll->first), fmt::format("{:.4f}", nll->second),
                with_interval(nll->difference, 1, 4, true), p_text(nll->p),
                p_text(comparison.nll_holm[i])};
    cells.insert(cells.end(), scored.begin(), scored.end());
    section.table.rows.push_back(std::move(cells));
  }
  ReportPage page{{std::move(section)}, footer()};
  page.footer.insert(
      page.footer.begin(),
      "'strata report compare A B db=FILE' with two runs of one database shows every "
      "metric and the samples that changed.");
  return page;
}

}  // namespace strata
