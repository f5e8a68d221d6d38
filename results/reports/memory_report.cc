#include "results/reports/memory_report.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "results/reports/format.h"
#include "results/reports/leaderboard_data.h"
#include "results/reports/matching_runs.h"
#include "results/reports/memory_facts.h"
#include "results/reports/picked_responses.h"

namespace strata {
namespace {

constexpr int kDraws = 4000;

// A question of an experiment, and what is known of its response.
struct Asked {
  MemoryFacts facts;
  std::size_t type = 0;  // in kQuestionTypes
  std::size_t cluster = 0;
  bool answered = false;
  std::string sample_id;
  std::optional<double> checker;
};

using Verdicts = std::vector<std::optional<double>>;  // one a question

// Numbers from 0 without gaps, in order of appearance.
std::vector<std::size_t> renumbered(const std::vector<std::size_t>& clusters) {
  std::map<std::size_t, std::size_t> numbers;
  std::vector<std::size_t> out;
  out.reserve(clusters.size());
  for (const std::size_t cluster : clusters)
    out.push_back(numbers.try_emplace(cluster, numbers.size()).first->second);
  return out;
}

class Scores {
 public:
  explicit Scores(const std::vector<Asked>& asked) : asked_(asked) {}

  using Belongs = std::function<bool(const Asked&)>;

  VerdictShare share(const Verdicts& verdicts, const Belongs& belongs) const {
    std::vector<double> values;
    std::vector<std::size_t> clusters;
    for (std::size_t i = 0; i < asked_.size(); ++i) {
      if (!verdicts[i] || !belongs(asked_[i])) continue;
      values.push_back(*verdicts[i]);
      clusters.push_back(asked_[i].cluster);
    }
    VerdictShare out{.n = values.size(), .share = {}};
    if (values.empty()) return out;
    clusters = renumbered(clusters);
    out.share = share_estimate(values, {.draws = kDraws, .clusters = clusters});
    return out;
  }

  // The mean of the types' shares, over those that have a verdict; whole clusters are drawn.
  VerdictShare task_averaged(const Verdicts& verdicts) const {
    std::vector<std::size_t> clusters;
    std::vector<const Asked*> judged;
    std::vector<double> values;
    for (std::size_t i = 0; i < asked_.size(); ++i) {
      if (!verdicts[i]) continue;
      clusters.push_back(asked_[i].cluster);
      judged.push_back(&asked_[i]);
      values.push_back(*verdicts[i]);
    }
    VerdictShare out{.n = values.size(), .share = {}};
    if (values.empty()) return out;
    clusters = renumbered(clusters);
    const std::size_t count = 1 + *std::max_element(clusters.begin(), clusters.end());
    std::vector<Sums> of_cluster(count);
    Sums all{};
    for (std::size_t i = 0; i < values.size(); ++i)
      for (Sums* sums : {&of_cluster[clusters[i]], &all}) {
        (*sums)[judged[i]->type].first += values[i];
        (*sums)[judged[i]->type].second += 1;
      }
    out.share = Estimate{mean_of_types(all), std::nullopt};
    if (count < 2) return out;
    const ClusterDraws draws(count, kDraws, 0);
    std::vector<double> means;
    means.reserve(kDraws);
    for (int draw = 0; draw < kDraws; ++draw) {
      Sums drawn{};
      for (const std::uint32_t cluster : draws.of(draw))
        for (std::size_t t = 0; t < drawn.size(); ++t) {
          drawn[t].first += of_cluster[cluster][t].first;
          drawn[t].second += of_cluster[cluster][t].second;
        }
      means.push_back(mean_of_types(drawn));
    }
    const double tail = (1 - kConfidence) / 2;
    const Interval interval{quantile(means, tail), quantile(means, 1 - tail)};
    if (interval.low < interval.high) out.share->interval = interval;
    return out;
  }

 private:
  using Sums = std::array<std::pair<double, double>, kQuestionTypes.size()>;  // of values, of ones

  static double mean_of_types(const Sums& sums) {
    double total = 0;
    int types = 0;
    for (const auto& [sum, n] : sums)
      if (n > 0) {
        total += sum / n;
        ++types;
      }
    return types == 0 ? 0 : total / types;
  }

  const std::vector<Asked>& asked_;
};

// What one judge said of each question.
struct JudgedQuestions {
  JudgedQuestions(const JudgedResponses& responses, const std::vector<Asked>& asked) {
    for (const Asked& question : asked) {
      const auto judged = responses.find(question.sample_id);
      latest.push_back(judged == responses.end() ? nullptr : &judged->second);
      if (latest.back() == nullptr) continue;
      const JudgementRow& row = *latest.back();
      if (!row.reported_model.empty()) reported_models.insert(row.reported_model);
      rubric_hashes[row.rubric].insert(row.rubric_hash);
    }
  }

  std::vector<const JudgementRow*> latest;  // null: not asked
  std::set<std::string> reported_models;
  std::map<std::string, std::set<std::string>> rubric_hashes;  // by the rubric's name
};

class TableMaker {
 public:
  TableMaker(const std::vector<Asked>& asked, const JudgedQuestions* judged)
      : asked_(asked), judged_(judged), scores_(asked) {
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const JudgementRow* row = judged == nullptr ? nullptr : judged->latest[i];
      checker_.push_back(asked[i].checker);
      official_.emplace_back();
      strict_.emplace_back();
      if (row == nullptr) continue;
      if (row->official) official_.back() = *row->official ? 1 : 0;
      if (row->verdict == JudgedAs::kYes) strict_.back() = 1;
      if (row->verdict == JudgedAs::kNo) strict_.back() = 0;
    }
  }

  MemoryTable table() const {
    MemoryTable out;
    for (std::size_t t = 0; t < kQuestionTypes.size(); ++t)
      out.rows.push_back(
          row(std::string(kQuestionTypes[t]), [t](const Asked& asked) { return asked.type == t; }));
    std::erase_if(out.rows, [](const MemoryRow& row) { return row.questions == 0; });
    const std::size_t types = out.rows.size();
    MemoryRow overall = row(kOverall, [](const Asked&) { return true; });
    MemoryRow averaged = overall;
    averaged.name = kTaskAveraged;
    averaged.checker = scores_.task_averaged(checker_);
    averaged.judge.official = scores_.task_averaged(official_);
    averaged.judge.strict = scores_.task_averaged(strict_);
    out.notes = notes(out.rows, overall);
    if (types < kQuestionTypes.size())
      out.notes.push_back(
          fmt::format("task-averaged: over {} of {} types, the others are not asked", types,
                      kQuestionTypes.size()));
    out.rows.push_back(std::move(averaged));
    out.rows.push_back(std::move(overall));
    MemoryRow abstention =
        row(kAbstention, [](const Asked& asked) { return asked.facts.abstention; });
    if (abstention.questions > 0) out.rows.push_back(std::move(abstention));
    return out;
  }

 private:
  MemoryRow row(std::string name, const Scores::Belongs& belongs) const {
    MemoryRow out{.name = std::move(name)};
    out.checker = scores_.share(checker_, belongs);
    out.judge.official = scores_.share(official_, belongs);
    out.judge.strict = scores_.share(strict_, belongs);
    for (std::size_t i = 0; i < asked_.size(); ++i) {
      if (!belongs(asked_[i])) continue;
      ++out.questions;
      if (!asked_[i].answered) ++out.missing;
      if (judged_ != nullptr && asked_[i].answered) count(i, out.judge);
    }
    return out;
  }

  void count(std::size_t i, JudgedCells& cells) const {
    const JudgementRow* row = judged_->latest[i];
    if (row == nullptr) {
      ++cells.unasked;
      return;
    }
    if (row->verdict == JudgedAs::kFailed) ++cells.failed;
    if (row->verdict == JudgedAs::kUnparsable) {
      ++cells.unparsable;
      if (!row->official) ++cells.unreadable;
    }
    if (!checker_[i] || !official_[i]) return;
    ++cells.compared;
    if (*checker_[i] == *official_[i]) ++cells.agreed;
  }

  std::vector<std::string> notes(const std::vector<MemoryRow>& types,
                                 const MemoryRow& overall) const {
    std::vector<std::string> out;
    const VerdictShare& best = judged_ != nullptr ? overall.judge.official : overall.checker;
    if (overall.missing > 0 && best.share)
      out.push_back(fmt::format(
          "{} without a response: in no share, as officially; overall with these as wrong: {} %",
          plural(static_cast<std::int64_t>(overall.missing), "question"),
          percent(best.share->value * static_cast<double>(best.n) /
                  static_cast<double>(best.n + overall.missing))));
    if (judged_ == nullptr) return out;
    std::string without;
    for (const MemoryRow& row : types)
      if (row.judge.official.n == 0) without += (without.empty() ? "" : ", ") + row.name;
    if (!without.empty()) out.push_back("task-averaged by the judge: without " + without);
    const std::size_t lost =
        overall.judge.failed + overall.judge.unasked + overall.judge.unreadable;
    if (lost > 0)
      out.push_back(
          fmt::format("{} without a verdict: 'strata score' asks again those that failed "
                      "or were not asked",
                      plural(static_cast<std::int64_t>(lost), "response")));
    if (judged_->reported_models.size() > 1)
      out.emplace_back("the endpoint answered with more than one model: these are several judges");
    for (const auto& [rubric, hashes] : judged_->rubric_hashes)
      if (hashes.size() > 1)
        out.push_back(fmt::format("{}: judged by {} versions of its text", rubric, hashes.size()));
    return out;
  }

  const std::vector<Asked>& asked_;
  const JudgedQuestions* judged_;
  Scores scores_;
  Verdicts checker_, official_, strict_;
};

class Reporter {
 public:
  explicit Reporter(const Store& store) : store_(store) {}

  Result<std::vector<MemoryBlock>> report(const std::vector<KeyFilter>& where) {
    ASSIGN_OR_RETURN(const std::vector<RunRow> runs, matching_runs(store_, where));
    ASSIGN_OR_RETURN(executions_, all_executions(store_));
    std::map<std::string, std::size_t> of_experiment;
    std::vector<MemoryBlock> blocks;
    for (const RunRow& run : runs) {
      if (!run.experiment_id) continue;
      if (const auto known = of_experiment.find(*run.experiment_id); known != of_experiment.end()) {
        ++blocks[known->second].other_runs;
        continue;
      }
      ASSIGN_OR_RETURN(std::optional<MemoryBlock> made, block(run));
      if (!made) continue;
      of_experiment[*run.experiment_id] = blocks.size();
      blocks.push_back(*std::move(made));
    }
    if (!blocks.empty()) return blocks;
    return fail(make_error(ErrorKind::kNotFound, "no run asks questions of LongMemEval")
                    .at(store_.path())
                    .with_hint("samples say so by question_type, question_id and question in "
                               "their metadata (docs/judge.md)"));
  }

 private:
  Result<std::optional<MemoryBlock>> block(const RunRow& run) {
    ASSIGN_OR_RETURN(const ExperimentRow experiment, store_.experiment(*run.experiment_id));
    ASSIGN_OR_RETURN(const DataRow data, store_.data(experiment.data_id));
    ASSIGN_OR_RETURN(std::vector<Asked> asked, questions_of(data));
    if (asked.empty()) return std::nullopt;
    ASSIGN_OR_RETURN(const PickedResponses picked,
                     pick_responses(store_, executions_, experiment, data));
    std::map<std::string, const ResponseRow*> responses;
    for (const ResponseRow& response : picked.responses) responses[response.sample_id] = &response;
    for (Asked& question : asked) {
      const auto response = responses.find(question.sample_id);
      if (response == responses.end()) continue;
      question.answered = true;
      const auto metric = response->second->metrics.find(kCheckerMetric);
      if (metric != response->second->metrics.end()) question.checker = metric->second;
    }
    ASSIGN_OR_RETURN(const ModelRow model, store_.model(experiment.model_id));
    ASSIGN_OR_RETURN(const PlanRow plan_row, store_.plan(experiment.plan_id));
    ASSIGN_OR_RETURN(const AttentionPlan plan, parse_plan(plan_row));
    std::set<std::size_t> clusters;
    for (const Asked& question : asked) clusters.insert(question.cluster);
    MemoryBlock out{.label = run.label,
                    .status = std::string(to_string(run.status)),
                    .model_name = model.name,
                    .plan_id = experiment.plan_id,
                    .mixer = mixer_text(run, &plan),
                    .questions = asked.size(),
                    .other_samples = data.items.size() - asked.size(),
                    .clusters = clusters.size(),
                    .environments = picked.environments,
                    .tables = {},
                    .source = {run.id, run.selection_id.value_or(""), experiment.id,
                               picked.samples_of_execution}};
    ASSIGN_OR_RETURN(const std::vector<JudgementRow> rows, store_.judgements_of(experiment.id));
    const auto judges = judged_responses(rows, picked.samples_of_execution);
    for (const auto& [judge, by_sample] : judges) {
      const JudgedQuestions judged(by_sample, asked);
      if (judged.rubric_hashes.empty()) continue;  // of samples that ask no question of LongMemEval
      out.tables.push_back(TableMaker(asked, &judged).table());
      out.tables.back().judge = judge;
      out.tables.back().reported_models.assign(judged.reported_models.begin(),
                                               judged.reported_models.end());
    }
    if (out.tables.empty()) out.tables.push_back(TableMaker(asked, nullptr).table());
    return out;
  }

  Result<std::vector<Asked>> questions_of(const DataRow& data) {
    ASSIGN_OR_RETURN(const std::vector<SampleRow> samples, store_.samples_of(data.id));
    std::vector<std::string> names;
    names.reserve(data.items.size());
    for (const DataRow::Item& item : data.items) names.push_back(item.cluster);
    const std::vector<std::size_t> clusters = cluster_numbers(names);
    std::vector<Asked> out;
    for (std::size_t i = 0; i < samples.size() && i < clusters.size(); ++i) {
      auto facts = memory_facts(samples[i]);
      if (!facts) continue;
      const auto type =
          std::find(kQuestionTypes.begin(), kQuestionTypes.end(), facts->question_type);
      out.push_back({.facts = *std::move(facts),
                     .type = static_cast<std::size_t>(type - kQuestionTypes.begin()),
                     .cluster = clusters[i],
                     .sample_id = samples[i].id});
    }
    return out;
  }

  const Store& store_;
  Executions executions_;
};

}  // namespace

Result<std::vector<MemoryBlock>> memory_report(const Store& store,
                                               const std::vector<KeyFilter>& where) {
  return Reporter(store).report(where);
}

}  // namespace strata
