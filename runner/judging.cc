#include "runner/judging.h"

#include <array>
#include <set>

#include "benchmarks/judge/judge_pool.h"
#include "benchmarks/judge/plain_text.h"
#include "benchmarks/judge/rubric.h"
#include "core/model_reply.h"
#include "core/sha256.h"
#include "results/reports/matching_runs.h"
#include "results/reports/memory_facts.h"
#include "results/reports/needle_facts.h"
#include "results/reports/picked_responses.h"
#include "runner/utc_now.h"

namespace strata {
namespace {

// A response that is to be judged: a row without its outcome, and what is asked.
struct Question {
  JudgementRow row;
  VerdictRule rule = VerdictRule::kYesNo;
};

// What the rubrics ask of a sample; none where it is another benchmark's.
std::optional<MemoryFacts> facts_for(RubricSet set, const SampleRow& sample) {
  if (set != RubricSet::kNeedle) return memory_facts(sample);
  const std::optional<NeedleFacts> needle = needle_facts(sample);
  if (!needle || needle->question.empty() || needle->answer.empty()) return std::nullopt;
  return MemoryFacts{.question_id = {},
                     .question_type = {},
                     .question = needle->question,
                     .answer = needle->answer};
}

Error nothing_to_judge(RubricSet set, std::size_t experiments) {
  if (set == RubricSet::kNeedle)
    return make_error(ErrorKind::kNotFound,
                      "expected responses of benchmark=niah_grid, got {} experiments of other "
                      "questions",
                      experiments)
        .with_hint("judge.rubric=longmemeval judges those of LongMemEval");
  return make_error(ErrorKind::kNotFound,
                    "expected responses to questions of LongMemEval, got {} experiments of other "
                    "questions",
                    experiments)
      .with_hint(
          "samples say so by question_type, question_id and question in their metadata "
          "(docs/judge.md); judge.rubric=needle judges benchmark=niah_grid");
}

class Scorer {
 public:
  Scorer(Store& store, const ScoreRequest& request, Endpoint endpoint, ApiKey key)
      : store_(store),
        request_(request),
        endpoint_(std::move(endpoint)),
        key_(std::move(key)),
        settings_(judge_settings_json(request.judge)) {}

  Result<Scored> score(Progress& progress) {
    RETURN_IF_ERROR(collect());
    Scored out;
    if (!request_.dry_run) {
      RETURN_IF_ERROR(record_empty());
      progress.begin("judge " + one_line(request_.judge.model, 40),
                     static_cast<std::int64_t>(prompts_.size()));
      Status status = judge_all(
          request_.judge, endpoint_, key_, prompts_,
          [&](std::size_t i, const ChatOutcome& outcome) { return take(i, outcome, progress); },
          progress);
      progress.end();
      if (!status)
        out.error = std::move(status).error();
      else if (counts_.failed > 0)
        out.error = make_error(ErrorKind::kIo, "{} of {} calls failed; the last: {}",
                               counts_.failed, counts_.asked, last_error_)
                        .at(endpoint_.host)
                        .with_hint("they count for nothing; the same command asks again");
    }
    out.counts = counts_;
    return out;
  }

 private:
  Status collect() {
    ASSIGN_OR_RETURN(const std::vector<RunRow> runs, matching_runs(store_, request_.where));
    ASSIGN_OR_RETURN(const Executions executions, all_executions(store_));
    std::set<std::string> seen;
    for (const RunRow& run : runs)
      if (run.experiment_id && seen.insert(*run.experiment_id).second)
        RETURN_IF_ERROR(collect_from(*run.experiment_id, executions));
    if (counts_.experiments > 0) return {};
    return fail(nothing_to_judge(request_.judge.rubric, seen.size()).at(store_.path()));
  }

  Status collect_from(const std::string& experiment_id, const Executions& executions) {
    ASSIGN_OR_RETURN(const ExperimentRow experiment, store_.experiment(experiment_id));
    ASSIGN_OR_RETURN(const std::vector<SampleRow> samples, store_.samples_of(experiment.data_id));
    std::map<std::string, MemoryFacts> questions;
    for (const SampleRow& sample : samples)
      if (auto facts = facts_for(request_.judge.rubric, sample))
        questions.emplace(sample.id, *std::move(facts));
    if (questions.empty()) {
      ++counts_.other_experiments;
      return {};
    }
    ++counts_.experiments;
    ASSIGN_OR_RETURN(const DataRow data, store_.data(experiment.data_id));
    ASSIGN_OR_RETURN(const PickedResponses picked,
                     pick_responses(store_, executions, experiment, data));
    RETURN_IF_ERROR(note_judged(experiment_id));
    std::size_t answered = 0;
    for (const ResponseRow& response : picked.responses) {
      const auto facts = questions.find(response.sample_id);
      if (facts == questions.end()) continue;
      ++answered;
      RETURN_IF_ERROR(add(response, facts->second));
    }
    counts_.missing += questions.size() - answered;
    return {};
  }

  // What makes two judgements one: asked of the same judge, about the same response.
  static std::array<std::string, 6> identity(const JudgementRow& row) {
    return {row.sample_id, row.execution_id,  row.judge_model,
            row.endpoint,  row.settings_json, row.prompt_hash};
  }

  Status note_judged(const std::string& experiment_id) {
    judged_.clear();
    ASSIGN_OR_RETURN(const std::vector<JudgementRow> rows, store_.judgements_of(experiment_id));
    for (const JudgementRow& row : rows)
      if (row.verdict != JudgedAs::kFailed) judged_.insert(identity(row));
    return {};
  }

  Status add(const ResponseRow& response, const MemoryFacts& facts) {
    ASSIGN_OR_RETURN(const Rubric rubric,
                     rubric_for(request_.judge.rubric, facts.question_type, facts.abstention));
    const std::string answer(final_answer(response.text).text);
    std::string prompt = rubric.prompt(facts.question, facts.answer, answer);
    Question question;
    question.rule = rubric.rule;
    JudgementRow& row = question.row;
    row.experiment_id = response.experiment_id;
    row.sample_id = response.sample_id;
    row.execution_id = response.execution_id;
    row.judge_model = request_.judge.model;
    row.endpoint = endpoint_.host;
    row.settings_json = settings_;
    row.rubric = rubric.name;
    row.rubric_hash = rubric.hash();
    row.prompt_hash = sha256_hex(prompt);
    if (judged_.contains(identity(row))) {
      ++counts_.already;
    } else if (answer.empty()) {
      ++counts_.empty;
      empty_.push_back(std::move(row));
    } else {
      ++counts_.asked;
      questions_.push_back(std::move(question));
      prompts_.push_back(std::move(prompt));
    }
    return {};
  }

  // Nothing was answered: wrong, whoever judges.
  Status record_empty() {
    for (JudgementRow& row : empty_) {
      row.verdict = JudgedAs::kNo;
      row.official = false;
      row.judged = utc_now();
      RETURN_IF_ERROR(store_.record(std::move(row)));
    }
    counts_.asked = 0;  // from here on: of calls that ended
    return {};
  }

  Status take(std::size_t i, const ChatOutcome& outcome, Progress& progress) {
    JudgementRow row = questions_[i].row;
    row.attempts = outcome.attempts;
    row.error = outcome.error;
    row.latency_ms = outcome.latency_ms;
    row.reported_model = outcome.model;
    row.judged = utc_now();
    if (outcome.end == CallEnd::kReplied) {
      row.reply = outcome.reply;
      const Verdict verdict = read_verdict(questions_[i].rule, outcome.reply);
      row.official = verdict.official;
      row.verdict = !verdict.strict   ? JudgedAs::kUnparsable
                    : *verdict.strict ? JudgedAs::kYes
                                      : JudgedAs::kNo;
    }
    ++counts_.asked;
    switch (row.verdict) {
      case JudgedAs::kYes: ++counts_.yes; break;
      case JudgedAs::kNo: ++counts_.no; break;
      case JudgedAs::kUnparsable: ++counts_.unparsable; break;
      case JudgedAs::kFailed:
        ++counts_.failed;
        last_error_ = row.error;
        break;
    }
    RETURN_IF_ERROR(store_.record(std::move(row)));
    progress.advance(1);
    return {};
  }

  Store& store_;
  const ScoreRequest& request_;
  const Endpoint endpoint_;
  const ApiKey key_;
  const std::string settings_;
  std::set<std::array<std::string, 6>> judged_;  // of the experiment that is looked at
  std::vector<Question> questions_;
  std::vector<std::string> prompts_;  // of the questions
  std::vector<JudgementRow> empty_;
  ScoreCounts counts_;
  std::string last_error_;
};

}  // namespace

Result<Scored> score_responses(Store& store, const ScoreRequest& request, Progress& progress) {
  ASSIGN_OR_RETURN(Endpoint endpoint, endpoint_of(request.judge));
  ASSIGN_OR_RETURN(ApiKey key, ApiKey::from_environment(request.judge.key_env));
  if (key.empty() && !endpoint.loopback)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "the environment variable {} has no key for {}", request.judge.key_env,
                           endpoint.host)
                    .at("judge.key_env")
                    .with_hint("export it; only an endpoint on this machine may go without"));
  if (request.judge.model.empty())
    return fail(make_error(ErrorKind::kInvalidArgument, "expected a model's name, got none")
                    .at("judge.model"));
  return Scorer(store, request, std::move(endpoint), std::move(key)).score(progress);
}

std::string summary_line(const JudgeConfig& judge, const std::string& endpoint,
                         const ScoreCounts& counts, bool dry_run) {
  const auto responses = [](std::size_t n) {
    return fmt::format("{} response{}", n, n == 1 ? "" : "s");
  };
  std::string out;
  if (dry_run)
    out = fmt::format("{} would be judged by {} at {}", responses(counts.asked), judge.model,
                      endpoint);
  else
    out = fmt::format("{} judged by {} at {}: {} yes, {} no, {} unparsable, {} failed",
                      responses(counts.asked), judge.model, endpoint, counts.yes, counts.no,
                      counts.unparsable, counts.failed);
  if (counts.empty > 0) out += fmt::format("; {} empty, so wrong unasked", counts.empty);
  if (counts.already > 0) out += fmt::format("; {} judged before", counts.already);
  if (counts.missing > 0)
    out += fmt::format("; {} question{} without a response", counts.missing,
                       counts.missing == 1 ? "" : "s");
  return one_line(out, 1000);
}

}  // namespace strata
