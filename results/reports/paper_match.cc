#include "results/reports/paper_match.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "results/reports/format.h"
#include "results/reports/row_source.h"

namespace strata {
namespace {

constexpr double kLengthTolerance = 0.1;   // "32K" is 32000 or 32768; questions vary in length
constexpr double kBudgetTolerance = 0.02;  // 8 of 30 layers are a quarter
constexpr const char* kMemory = "longmemeval";
constexpr const char* kJudged = "judged";
constexpr const char* kSwaaRubrics = "swaa";
constexpr const char* kMetrics[] = {"string_match", "gen_contains", "gen_exact", "tf_exact"};

// What a run's benchmark configuration says under a key; "" = nothing.
nlohmann::json asked(const RunRow& run, const char* key) {
  const auto config = parse_json(run.benchmark_config_json);
  if (!config || !config->is_object() || !config->contains(key)) return {};
  return (*config)[key];
}

std::int64_t length_of(const OurRuns& ours, const Evaluation& evaluation) {
  const nlohmann::json length = asked(evaluation.run, "length");
  if (length.is_number_integer()) return length.get<std::int64_t>();
  const DataFacts& facts = ours.data.data.at(evaluation.experiment.data_id);
  double tokens = 0;
  for (const SampleRow& sample : facts.samples) tokens += static_cast<double>(sample.prompt_tokens);
  return std::llround(tokens / static_cast<double>(std::max<std::size_t>(facts.samples.size(), 1)));
}

// A model that was given as a directory is named by its path.
std::string short_name(const std::string& name) {
  const std::size_t end = name.find_last_not_of('/');
  const std::size_t slash = name.find_last_of('/', end);
  return slash == std::string::npos ? name : name.substr(slash + 1, end - slash);
}

double budget_of(const Evaluation& evaluation) {
  return evaluation.run.budget_fraction.value_or(kv_share(evaluation.plan));
}

class Reasons {
 public:
  template <typename T>
  void compare(const char* what, const T& ours, const std::optional<T>& published) {
    compare(what, ours, published, published && *published == ours);
  }
  template <typename T>
  void compare(const char* what, const T& ours, const std::optional<T>& published, bool same) {
    if (!published)
      texts.push_back(fmt::format("{} not stated", what));
    else if (!same)
      texts.push_back(fmt::format("{} {}, published {}", what, ours, *published));
  }
  std::vector<std::string> texts;
};

void compare_mixer(const Evaluation& evaluation, const PaperSetting& published, Reasons& reasons) {
  if (!published.window && !published.linear) {
    reasons.texts.emplace_back("what replaces full attention not stated");
    return;
  }
  const RunRow& run = evaluation.run;
  const std::string linear = linear_of(run, &evaluation.plan);
  if (published.linear) {
    reasons.compare("linear attention", linear.empty() ? std::string("none") : linear,
                    published.linear);
    return;
  }
  if (!linear.empty()) reasons.texts.push_back(linear + ", published a window");
  reasons.compare("window", run.window, published.window);
  reasons.compare("sinks", run.sinks, published.sinks);
  reasons.compare("decode rule", std::string(to_string(run.decode_rule)), published.decode_rule);
}

std::string task_of(const RunRow& run) {
  const nlohmann::json task = asked(run, "task");
  return task.is_string() ? task.get<std::string>() : "";
}

bool is_question(const RunRow& run, const PaperSetting& published) {
  return published.benchmark == run.benchmark &&
         (!published.task || *published.task == task_of(run));
}

std::vector<std::string> setting_reasons(const OurRuns& ours, const Evaluation& evaluation,
                                         const PaperSetting& published) {
  Reasons reasons;
  reasons.compare("model", short_name(ours.data.models.at(evaluation.experiment.model_id).name),
                  published.model);
  reasons.compare("benchmark", evaluation.run.benchmark, published.benchmark);
  if (published.benchmark == evaluation.run.benchmark) {
    const std::string task_text = task_of(evaluation.run);
    if (published.task || !task_text.empty()) reasons.compare("task", task_text, published.task);
  }
  const std::int64_t length = length_of(ours, evaluation);
  reasons.compare(
      "length", length, published.length,
      published.length && std::abs(static_cast<double>(length - *published.length)) <=
                              kLengthTolerance * static_cast<double>(*published.length));
  if (!is_reference(evaluation, "full")) {
    if (!is_reference(evaluation, "none"))
      reasons.compare("budget", std::round(budget_of(evaluation) * 1e4) / 1e4, published.fraction,
                      is_at_budget(evaluation, published.fraction));
    compare_mixer(evaluation, published, reasons);
  }
  if (!published.trained)
    reasons.texts.emplace_back("tuning of the weights not stated");
  else if (*published.trained != !evaluation.training.empty())
    reasons.texts.emplace_back(*published.trained ? "weights as they are, published tuned"
                                                  : "tuned weights, published as they are");
  return std::move(reasons.texts);
}

// 0 to 1, a sample each; null where it was not measured.
const std::vector<double>* metric_values(const Evaluation& evaluation, std::string_view metric) {
  const std::vector<double>* values = metric == "string_match"   ? &evaluation.string_match
                                      : metric == "gen_contains" ? &evaluation.gen_contains
                                      : metric == "gen_exact"    ? &evaluation.gen_exact
                                      : metric == "tf_exact"     ? &evaluation.tf_exact
                                                                 : nullptr;
  return values == nullptr || values->empty() ? nullptr : values;
}

bool is_published(const JudgeIdentity& judge, const PaperSetting& published) {
  return judge.model == published.judge && judge.rubrics == kSwaaRubrics;
}

// The samples of which the judge gave a verdict of both responses.
PairedAnswers judged_pairs(const JudgeIdentity& judge, const JudgedResponses& first,
                           const JudgedResponses& second, const DataFacts& facts) {
  PairedAnswers out;
  std::map<std::size_t, std::size_t> numbers;  // of clusters, without gaps
  for (std::size_t i = 0; i < facts.samples.size(); ++i) {
    const auto a = first.find(facts.samples[i].id), b = second.find(facts.samples[i].id);
    if (a == first.end() || b == second.end() || !a->second.official || !b->second.official)
      continue;
    out.first.push_back(*a->second.official ? 1 : 0);
    out.second.push_back(*b->second.official ? 1 : 0);
    out.clusters.push_back(numbers.try_emplace(facts.clusters[i], numbers.size()).first->second);
  }
  out.metric = fmt::format("judged by {}", judge.text());
  if (out.first.size() < facts.samples.size())
    out.metric += fmt::format(", {} of {}", out.first.size(), facts.samples.size());
  return out;
}

std::optional<PairedAnswers> judged_answers(const OurRuns& ours, const Evaluation& first,
                                            const Evaluation& second,
                                            const PaperSetting& published) {
  std::optional<PairedAnswers> best;
  const auto a = ours.judged.find(first.run.id), b = ours.judged.find(second.run.id);
  if (a == ours.judged.end() || b == ours.judged.end()) return best;
  for (const auto& [judge, of_first] : a->second) {
    const auto of_second = b->second.find(judge);
    if (of_second == b->second.end()) continue;
    PairedAnswers pairs = judged_pairs(judge, of_first, of_second->second,
                                       ours.data.data.at(first.experiment.data_id));
    if (pairs.first.empty()) continue;
    pairs.sql = fmt::format(
        "SELECT avg(a.official - b.official) FROM {} AS a JOIN {} AS b USING (sample_id)",
        judgements_sql(first.source(), judge), judgements_sql(second.source(), judge));
    if (is_published(judge, published)) return pairs;
    if (!best || pairs.first.size() > best->first.size()) best = std::move(pairs);
  }
  return best;
}

// What a judge said of all questions of an evaluation: the published judge's, or else another's.
struct Judged {
  Estimate share;
  JudgeIdentity judge;
  std::size_t without = 0;  // questions without a verdict
};
std::optional<Judged> judged(const OurRuns& ours, const Evaluation& evaluation,
                             const PaperSetting& published) {
  std::optional<Judged> found;
  for (const MemoryBlock& block : ours.memory) {
    if (block.source.run_id != evaluation.run.id) continue;
    for (const MemoryTable& table : block.tables) {
      if (!table.judge) continue;
      const bool same = is_published(*table.judge, published);
      for (const MemoryRow& row : table.rows)
        if (row.name == kOverall && row.judge.official.share && (same || !found))
          found = {*row.judge.official.share, *table.judge, row.questions - row.judge.official.n};
    }
  }
  return found;
}

OurNumber number_of(const OurRuns& ours, const Evaluation& evaluation,
                    const PaperSetting& published) {
  OurNumber out{.evaluation = &evaluation,
                .metric = published.metric.value_or(""),
                .same_question = is_question(evaluation.run, published),
                .reasons = setting_reasons(ours, evaluation, published)};
  if (published.unit != "percent" && published.unit != "share")
    out.reasons.push_back(fmt::format("a value in {}", published.unit.value_or("an unknown unit")));
  if (published.metric == kJudged) {
    if (const std::optional<Judged> found = judged(ours, evaluation, published)) {
      out.estimate = found->share;
      out.judge = found->judge;
      if (!is_published(found->judge, published))
        out.reasons.push_back(fmt::format("judge {}, published {} (swaa prompts)",
                                          found->judge.text(),
                                          published.judge.value_or("not stated")));
      if (found->without > 0)
        out.reasons.push_back(plural(static_cast<std::int64_t>(found->without), "question") +
                              " without a verdict");
      return out;
    }
  }
  BootstrapOptions options;
  options.clusters = ours.data.data.at(evaluation.experiment.data_id).clusters;
  if (const std::vector<double>* values = metric_values(evaluation, out.metric)) {
    out.estimate = share_estimate(*values, options);
    return out;
  }
  const std::string wanted = out.metric.empty() ? "not stated" : out.metric;
  out.metric.clear();
  for (const char* metric : kMetrics) {
    const std::vector<double>* values = metric_values(evaluation, metric);
    if (values == nullptr) continue;
    out.estimate = share_estimate(*values, options);
    out.metric = metric;
    break;
  }
  out.reasons.push_back(
      fmt::format("metric {}, published {}", out.metric.empty() ? kNoValue : out.metric, wanted));
  return out;
}

// "nll_restore[x]" and "nll_restore_x" are of nll_restore, "periodic_stride[1]" is of periodic[1].
bool is_of_method(const std::string& label, const std::string& method) {
  if (label == method) return true;
  const std::size_t bracket = method.find('[');
  const std::string base = method.substr(0, bracket);
  if (!label.starts_with(base) || label.size() == base.size()) return false;
  const char next = label[base.size()];
  if (bracket == std::string::npos) return next == '[' || next == '_';
  return next == '_' && label.ends_with(method.substr(bracket));
}

double order_of(const Evaluation& evaluation) {
  return evaluation.run.calibration_nll.value_or(std::numeric_limits<double>::infinity());
}

}  // namespace

Result<OurRuns> our_runs(const Store& store, const LeaderboardRequest& request) {
  OurRuns ours;
  ASSIGN_OR_RETURN(ours.data, load_leaderboard_data(store, request));
  std::erase_if(ours.data.evaluations, [](const Evaluation& evaluation) {
    return !evaluation.shown || evaluation.split != kTestSplit ||
           evaluation.run.benchmark == kRunningText;
  });
  if (std::any_of(ours.data.evaluations.begin(), ours.data.evaluations.end(),
                  [](const Evaluation& e) { return e.run.benchmark == kMemory; })) {
    // Questions of another kind under this name are no reason to say nothing of the rest.
    if (auto memory = memory_report(store, {}))
      ours.memory = std::move(*memory);
    else if (memory.error().kind != ErrorKind::kNotFound)
      return fail(std::move(memory).error());
  }
  for (const Evaluation& evaluation : ours.data.evaluations) {
    ASSIGN_OR_RETURN(const std::vector<JudgementRow> rows,
                     store.judgements_of(evaluation.experiment.id));
    if (!rows.empty())
      ours.judged[evaluation.run.id] = judged_responses(rows, evaluation.executions);
  }
  return ours;
}

bool is_reference(const Evaluation& evaluation, std::string_view name) {
  return evaluation.run.group == name;
}

bool is_at_budget(const Evaluation& evaluation, const std::optional<double>& fraction) {
  return is_reference(evaluation, "full") || is_reference(evaluation, "none") ||
         (fraction && std::abs(budget_of(evaluation) - *fraction) <= kBudgetTolerance);
}

std::vector<const Evaluation*> runs_of_method(const OurRuns& ours, const std::string& method) {
  std::vector<const Evaluation*> found;
  for (const Evaluation& evaluation : ours.data.evaluations) {
    if (is_of_method(evaluation.run.label, method)) found.push_back(&evaluation);
  }
  std::stable_sort(found.begin(), found.end(), [&](const Evaluation* a, const Evaluation* b) {
    const bool a_exact = a->run.label == method, b_exact = b->run.label == method;
    if (a_exact != b_exact) return a_exact;
    if (order_of(*a) != order_of(*b)) return order_of(*a) < order_of(*b);
    return a->run.started > b->run.started;
  });
  return found;
}

std::string query_of(const OurNumber& number) {
  const RowSource source = number.evaluation->source();
  return number.judge ? judged_share_sql(source, *number.judge, kOverall)
                      : mean_sql(metric_sql(number.metric), source);
}

std::optional<OurNumber> closest_run(const OurRuns& ours, const std::string& method,
                                     const PaperSetting& published) {
  std::vector<OurNumber> closest;
  for (const Evaluation* evaluation : runs_of_method(ours, method)) {
    OurNumber next = number_of(ours, *evaluation, published);
    if (!closest.empty() && next.reasons.size() > closest[0].reasons.size()) continue;
    if (!closest.empty() && next.reasons.size() < closest[0].reasons.size()) closest.clear();
    closest.push_back(std::move(next));
  }
  if (closest.empty()) return std::nullopt;
  if (closest[0].evaluation->run.group == "random")
    std::sort(closest.begin(), closest.end(), [](const OurNumber& a, const OurNumber& b) {
      return a.estimate.value_or(Estimate{}).value < b.estimate.value_or(Estimate{}).value;
    });
  const bool drawn = closest[0].evaluation->run.group == "random";
  return std::move(closest[drawn ? (closest.size() - 1) / 2 : 0]);
}

std::optional<PairedAnswers> paired_answers(const OurRuns& ours, const Evaluation& first,
                                            const Evaluation& second,
                                            const PaperSetting& published) {
  if (published.metric == kJudged)
    if (std::optional<PairedAnswers> pairs = judged_answers(ours, first, second, published))
      return pairs;
  for (const char* metric : kMetrics) {
    const std::vector<double>* a = metric_values(first, metric);
    const std::vector<double>* b = metric_values(second, metric);
    if (a != nullptr && b != nullptr)
      return PairedAnswers{metric,
                           difference_sql(metric_sql(metric), second.source(), first.source()), *a,
                           *b, ours.data.data.at(first.experiment.data_id).clusters};
  }
  return std::nullopt;
}

}  // namespace strata
