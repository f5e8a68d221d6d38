// An ablation as a page.
#include "results/reports/ablation.h"
#include "results/reports/format.h"
#include "results/reports/row_source.h"

namespace strata {
namespace {

constexpr double kPercent = 100;
constexpr double kGiga = 1e9;
constexpr std::size_t kInteractions = 40;  // the clearest ones

std::string place(std::size_t setting) { return fmt::format("S{}", setting + 1); }

PageSection effects_section(const Ablation& ablation) {
  PageSection out{
      "effects",
      {"main effects: a value of a swept key against the reference value, in settings that are "
       "the same in every other key"},
      {{{"key", false},
        {"value", false},
        {"against", false},
        {"settings"},
        {"Δ gap closed, points"},
        {"ΔNLL"}},
       {}},
      {}};
  for (const Effect& effect : ablation.effects)
    out.table.rows.push_back(
        {effect.key, effect.value, effect.reference, fmt::format("{}", effect.settings),
         with_interval(effect.gap_closed, kPercent, 1, true),
         effect.nll ? with_interval(Estimate{*effect.nll, {}}, 1, 3, true) : kNoValue});
  return out;
}

PageSection interactions_section(const Ablation& ablation) {
  PageSection out{"interactions",
                  {"interactions: how much the effect of a key changes with another key's value"},
                  {{{"effect of", false},
                    {"at", false},
                    {"against", false},
                    {"settings"},
                    {"Δ gap closed, points"}},
                   {}},
                  {}};
  for (const Interaction& row : ablation.interactions) {
    if (out.table.rows.size() == kInteractions) break;
    out.table.rows.push_back({fmt::format("{}={} (not {})", row.key, row.value, row.reference),
                              fmt::format("{}={}", row.other_key, row.with), row.without,
                              fmt::format("{}", row.settings),
                              with_interval(row.gap_closed, kPercent, 1, true)});
  }
  if (ablation.interactions.size() > kInteractions)
    out.notes.push_back(
        fmt::format("the {} clearest of {}", kInteractions, ablation.interactions.size()));
  return out;
}

std::string front_text(const ParetoPoint& point) {
  if (point.on_flops_front && point.on_kv_front) return "both";
  return point.on_flops_front ? "FLOPs" : "KV";
}

PageSection pareto_section(const Ablation& ablation) {
  PageSection out{
      "pareto",
      {"Pareto fronts: no other plan of the setting has as low an NLL at as few FLOPs (or KV "
       "bytes)"},
      {{{"strategy", false},
        {"budget", false},
        {"NLL"},
        {"GFLOP"},
        {"KV a sample"},
        {"front", false},
        {"setting", false}},
       {}},
      {}};
  for (const ParetoPoint& point : ablation.pareto)
    out.table.rows.push_back(
        {point.name, point.budget, number(point.nll, 3),
         shown(point.flops / kGiga, fmt::format("{:.4g}", point.flops / kGiga)),
         shown(point.kv_bytes, bytes(point.kv_bytes)), front_text(point), place(point.setting)});
  return out;
}

PageSection curves_section(const Ablation& ablation) {
  PageSection out{
      "curves",
      {"budget curves: NLL against the units kept, and whether it is equivalent to full attention"},
      {{{"strategy", false},
        {"kept"},
        {"of"},
        {"unit", false},
        {"seeds"},
        {"NLL"},
        {"ΔNLL to full"},
        {"equivalent?", false},
        {"n needed"},
        {"setting", false}},
       {}},
      {}};
  for (const BudgetCurve& curve : ablation.curves)
    for (const CurvePoint& point : curve.points)
      out.table.rows.push_back(
          {curve.name, fmt::format("{}", point.units), fmt::format("{}", point.of), curve.unit,
           fmt::format("{}", point.seeds), number(point.nll, 3),
           with_interval(point.nll_minus_full, 1, 3, true),
           std::string(to_string(point.equivalence.answer)),
           point.equivalence.n_needed ? fmt::format("{}", *point.equivalence.n_needed) : kNoValue,
           place(curve.setting)});
  return out;
}

PageSection needed_section(const Ablation& ablation) {
  PageSection out{
      "needed",
      {"how many units must keep full attention: the smallest budget that is equivalent to full"},
      {{{"strategy", false}, {"unit", false}, {"needed", false}, {"setting", false}}, {}},
      {}};
  for (const BudgetCurve& curve : ablation.curves)
    out.table.rows.push_back({curve.name, curve.unit, curve.needed, place(curve.setting)});
  return out;
}

PageSection agreement_section(const Ablation& ablation) {
  PageSection out{"agreement",
                  {"agreement of selections: over calibration sets, and with the selector whose "
                   "set is nearest"},
                  {{{"strategy", false},
                    {"sets"},
                    {"different"},
                    {"J"},
                    {"lowest"},
                    {"ρ"},
                    {"nearest", false},
                    {"J to it"},
                    {"ρ to it"},
                    {"kept"},
                    {"chance"},
                    {"setting", false}},
                   {}},
                  {}};
  for (const Agreement& row : ablation.agreements)
    out.table.rows.push_back(
        {row.name, fmt::format("{}", row.seeds), fmt::format("{}", row.different_sets),
         number(row.jaccard, 2), number(row.lowest_jaccard, 2), number(row.spearman, 2),
         row.nearest.empty() ? kNoValue : row.nearest, number(row.nearest_jaccard, 2),
         number(row.nearest_spearman, 2), fmt::format("{}", row.units),
         number(row.chance_jaccard, 2), place(row.setting)});
  return out;
}

PageSection transfer_section(const Ablation& ablation) {
  PageSection out{
      "transfer",
      {"task transfer: calibrated elsewhere against calibrated on what is evaluated, on the same "
       "samples"},
      {{{"strategy", false},
        {"calibrated on", false},
        {"runs"},
        {"NLL, transferred"},
        {"NLL, own"},
        {"regret"},
        {"p"},
        {"q"},
        {"evaluated on", false}},
       {}},
      {}};
  for (const Transfer& row : ablation.transfers)
    out.table.rows.push_back({row.name, row.calibrated_on, fmt::format("{}", row.seeds),
                              number(row.transferred_nll, 3), number(row.own_nll, 3),
                              with_interval(row.regret, 1, 3, true), p_text(row.p), p_text(row.q),
                              place(row.setting)});
  return out;
}

// What "S1" stands for.
std::vector<std::string> setting_lines(const Ablation& ablation) {
  std::vector<std::string> lines = {"settings:"};
  for (std::size_t i = 0; i < ablation.settings.size(); ++i)
    lines.push_back(fmt::format("{}: {}", place(i), ablation.settings[i]));
  return lines;
}

}  // namespace

ReportPage ablation_page(const Ablation& ablation) {
  ReportPage page;
  std::vector<std::string> swept = {"swept keys:"};
  swept.insert(swept.end(), ablation.swept.begin(), ablation.swept.end());
  page.sections.push_back({"swept", std::move(swept), {}, {}});
  page.sections.push_back({"settings", setting_lines(ablation), {}, {}});
  for (PageSection section :
       {effects_section(ablation), interactions_section(ablation), pareto_section(ablation),
        curves_section(ablation), needed_section(ablation), agreement_section(ablation),
        transfer_section(ablation)})
    if (!section.table.rows.empty()) page.sections.push_back(std::move(section));
  page.footer = {
      "Effects: runs of a setting are averaged over seeds, draws and offsets first; intervals are "
      "t over "
      "settings, 95 %: how far an effect varies between them, not the error of sampling.",
      fmt::format(
          "ΔNLL to full, regret: paired, 95 %, mean over runs, t over independent samples or "
          "bootstrap "
          "over clusters. Equivalent: two one-sided t tests over clusters at ±{:g} nat, 5 %; "
          "inconclusive also below {} clusters; n needed: clusters that a power of 80 % takes. p: "
          "sign "
          "flips of whole clusters; q: Benjamini and Hochberg over all transfers.",
          kNllMargin, kClustersForInference),
      "J, ρ: Jaccard of the sets and Spearman of the scores, mean over pairs of calibration sets; "
      "chance: expected Jaccard of two "
      "random sets "
      "of that size. @n: calibration prompts. A front is picked on the test samples: it describes, "
      "it does not choose. Masks of one model: no claims "
      "about others."};
  for (const std::string& note : ablation.notes) page.footer.push_back("note: " + note);
  return page;
}

ReportPage ablation_trace(const Ablation& ablation) {
  PageSection out{"runs",
                  setting_lines(ablation),
                  {{{"strategy", false},
                    {"setting", false},
                    {"NLL"},
                    {"gap closed"},
                    {"run", false},
                    {"selection", false},
                    {"experiment", false},
                    {"SQL of the NLL", false}},
                   {}},
                  {}};
  for (const UsedRun& run : ablation.runs)
    out.table.rows.push_back({run.name, place(run.setting), fmt::format("{}", run.nll),
                              run.gap_closed ? fmt::format("{}", *run.gap_closed) : kNoValue,
                              run.source.run_id, run.source.selection_id, run.source.experiment_id,
                              mean_sql(kNllSql, run.source)});
  return {{std::move(out)}, {}};
}

}  // namespace strata
