#include "benchmarks/longmemeval.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "benchmarks/answer_checker.h"
#include "benchmarks/answer_text.h"
#include "benchmarks/longmemeval_builder.h"
#include "benchmarks/longmemeval_catalogue.h"
#include "benchmarks/packed_file.h"
#include "benchmarks/scoring.h"
#include "core/config/binder.h"
#include "core/model_reply.h"
#include "core/rng.h"
#include "core/sha256.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

class LongMemEval final : public Benchmark {
 public:
  explicit LongMemEval(LongMemEvalConfig config) : config_(std::move(config)) {}
  std::string_view name() const override { return "longmemeval"; }

  Result<std::vector<Sample>> samples(const SampleRequest& request) const override;
  std::map<std::string, double> score(const Sample& sample,
                                      const Response& response) const override;
  std::int64_t generation_limit(const Sample& sample) const override {
    return sample.metadata.at("generation_limit").get<std::int64_t>();
  }
  Result<std::string> data_id(const SampleRequest& request) const override;

 private:
  fs::path path(const SampleRequest& request) const {
    return request.data_dir / config_.path;  // config_.path where that is absolute
  }
  Status check(const SampleRequest& request) const;
  Result<std::vector<std::size_t>> asked(const Catalogue& catalogue,
                                         const SampleRequest& request) const;
  Result<std::vector<Sample>> build(const Catalogue& catalogue,
                                    const std::vector<std::size_t>& order,
                                    const SampleRequest& request) const;

  LongMemEvalConfig config_;
};

// Makes samples of some questions of the file; reads it anew, one question at a time.
class Pass {
 public:
  Pass(const LongMemEvalConfig& config, const SampleRequest& request, const Catalogue& catalogue,
       fs::path path)
      : config_(config), request_(request), catalogue_(catalogue), path_(std::move(path)) {}

  // Of each question a sample, none where it was dropped; in the order asked for.
  Result<std::vector<std::optional<Sample>>> run(const std::vector<std::size_t>& questions) {
    std::map<std::size_t, std::size_t> slots;
    std::vector<std::vector<std::string>> drawn(questions.size());
    for (std::size_t i = 0; i < questions.size(); ++i) {
      slots[questions[i]] = i;
      ASSIGN_OR_RETURN(drawn[i], draw_distractors(catalogue_, catalogue_.questions[questions[i]],
                                                  config_, request_.seed));
    }
    if (config_.sessions > 0 && config_.distractors == Distractors::kOthers)
      RETURN_IF_ERROR(read_texts(drawn));
    std::vector<std::optional<Sample>> samples(questions.size());
    RETURN_IF_ERROR(each_item([&](std::size_t q, LongMemEvalItem&& item) -> Status {
      const auto slot = slots.find(q);
      if (slot == slots.end()) return {};
      const CataloguedQuestion& known = catalogue_.questions[q];
      MemoryQuestion question{std::move(item), known.group, known.sessions};
      if (config_.sessions > 0)
        set_distractors(question, drawn[slot->second], texts_, config_, request_.seed);
      Result<std::optional<Sample>> sample = build_memory_sample(question, config_, request_);
      if (!sample) return fail(std::move(sample).error().at(path_.string()));
      samples[slot->second] = *std::move(sample);
      return {};
    }));
    return samples;
  }

 private:
  template <typename Take>
  Status each_item(Take&& take) {
    const auto changed = [&] {
      return fail(make_error(ErrorKind::kInvalidFile, "the file changed while it was read")
                      .at(path_.string()));
    };
    ASSIGN_OR_RETURN(LongMemEvalReader reader, LongMemEvalReader::open(path_));
    for (std::size_t q = 0;; ++q) {
      ASSIGN_OR_RETURN(std::optional<LongMemEvalItem> item, reader.next());
      if (!item) {
        if (q != catalogue_.questions.size()) return changed();
        return {};
      }
      if (q >= catalogue_.questions.size() || item->id != catalogue_.questions[q].id ||
          item->history.sessions.size() != catalogue_.questions[q].sessions.size())
        return changed();
      RETURN_IF_ERROR(take(q, *std::move(item)));
    }
  }

  Status read_texts(const std::vector<std::vector<std::string>>& drawn) {
    std::set<std::string> wanted;
    for (const std::vector<std::string>& ids : drawn) wanted.insert(ids.begin(), ids.end());
    RETURN_IF_ERROR(each_item([&](std::size_t q, LongMemEvalItem&& item) -> Status {
      for (std::size_t s = 0; s < item.history.sessions.size(); ++s) {
        const std::string& id = catalogue_.questions[q].sessions[s];
        if (wanted.erase(id) > 0) texts_.emplace(id, std::move(item.history.sessions[s]));
      }
      return {};
    }));
    STRATA_CHECK(wanted.empty());  // each_item() saw the file that was catalogued
    return {};
  }

  const LongMemEvalConfig& config_;
  const SampleRequest& request_;
  const Catalogue& catalogue_;
  fs::path path_;
  std::map<std::string, DatedSession> texts_;
};

Status LongMemEval::check(const SampleRequest& request) const {
  if (request.max_positions > 0 && config_.max_tokens > request.max_positions)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected at most {} (the model's positions), got {}",
                           request.max_positions, config_.max_tokens)
                    .at("benchmark.max_tokens"));
  return {};
}

// Questions in the order in which samples are taken.
Result<std::vector<std::size_t>> LongMemEval::asked(const Catalogue& catalogue,
                                                    const SampleRequest& request) const {
  std::vector<std::size_t> order;
  for (std::size_t q = 0; q < catalogue.questions.size(); ++q) {
    const CataloguedQuestion& question = catalogue.questions[q];
    if (question.asked &&
        (config_.questions == MemoryQuestions::kAll || question.split == request.split))
      order.push_back(q);
  }
  const auto available = static_cast<std::int64_t>(order.size());
  if (available == 0 || request.count > available)
    return fail(
        make_error(ErrorKind::kInvalidArgument,
                   "{} of the file's {} questions are of the {} split and of benchmark.items={} "
                   "and benchmark.types, asked for {}",
                   available, catalogue.questions.size(),
                   config_.questions == MemoryQuestions::kAll ? "whole" : to_string(request.split),
                   config::enum_name(config_.items), request.count)
            .at(path(request).string())
            .with_hint(std::string(fewer_hint(request.split)) +
                       "; benchmark.questions=all asks every split's"));
  // The seed says which come first, so that a part of them is a fair draw.
  Rng(request.seed, fmt::format("longmemeval/{}", to_string(request.split))).shuffle(order);
  return order;
}

Result<std::vector<Sample>> LongMemEval::build(const Catalogue& catalogue,
                                               const std::vector<std::size_t>& order,
                                               const SampleRequest& request) const {
  Pass pass(config_, request, catalogue, path(request));
  const std::size_t wanted =
      request.count > 0 ? static_cast<std::size_t>(request.count) : order.size();
  std::vector<Sample> samples;
  nlohmann::json dropped = nlohmann::json::array();  // since the last sample
  for (std::size_t next = 0; samples.size() < wanted && next < order.size();) {
    const std::size_t end = std::min(order.size(), next + wanted - samples.size());
    const std::vector<std::size_t> batch(order.begin() + static_cast<std::ptrdiff_t>(next),
                                         order.begin() + static_cast<std::ptrdiff_t>(end));
    ASSIGN_OR_RETURN(std::vector<std::optional<Sample>> made, pass.run(batch));
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (!made[i]) {
        dropped.push_back(catalogue.questions[batch[i]].id);
        continue;
      }
      if (!dropped.empty()) made[i]->metadata["truncation"]["dropped_before"] = std::move(dropped);
      dropped = nlohmann::json::array();
      samples.push_back(*std::move(made[i]));
    }
    next = end;
  }
  if (samples.empty() || (request.count > 0 && samples.size() < wanted))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "{} of {} questions fit, asked for {} (benchmark.truncation=drop)",
                           samples.size(), order.size(), request.count)
                    .at("benchmark.samples")
                    .with_hint("lower it, or leave out sessions: truncation=oldest_sessions, or "
                               "benchmark.sessions=K"));
  if (!dropped.empty()) samples.back().metadata["truncation"]["dropped_after"] = std::move(dropped);
  return samples;
}

Result<std::vector<Sample>> LongMemEval::samples(const SampleRequest& request) const {
  RETURN_IF_ERROR(check(request));
  Result<Catalogue> catalogue = catalogue_of(path(request), config_);
  if (!catalogue) {
    Error error = std::move(catalogue).error();
    if (error.kind == ErrorKind::kNotFound && request.data_dir.empty())
      error = std::move(error).with_hint(
          "set STRATA_DATA to the folder that holds longmemeval/, or benchmark.path to a file");
    return fail(std::move(error));
  }
  ASSIGN_OR_RETURN(const std::vector<std::size_t> order, asked(*catalogue, request));
  return build(*catalogue, order, request);
}

std::map<std::string, double> LongMemEval::score(const Sample& sample,
                                                 const Response& response) const {
  const nlohmann::json& metadata = sample.metadata;
  AnswerKey key{.type = QuestionType::kSingleSessionUser,
                .abstention = metadata.at("abstention").get<bool>(),
                .question = metadata.at("question").get<std::string>(),
                .answer = metadata.at("answer").get<std::string>()};
  for (const auto& [type, name] : config::EnumTable<QuestionType>::kNames)
    if (name == metadata.at("question_type").get_ref<const std::string&>()) key.type = type;
  Response heard = response;  // without reasoning
  bool unfinished = false;
  if (response.text) {
    const FinalAnswer answer = final_answer(*response.text);
    heard.text = std::string(answer.text);
    unfinished = answer.unfinished_thought;
  }
  auto scores = score_answer(sample, heard);
  const Verdict verdict =
      check_answer(key, response.text ? sample.answer_given + *response.text : sample.answer_given);
  if (verdict == Verdict::kUnscored) {  // the "answer" is a rubric
    for (const char* metric : {"gen_contains", "gen_exact", "tf_exact", "answer_nll"})
      scores.erase(metric);
    if (response.text) scores["unscored"] = 1;
  } else if (response.text) {
    scores["verbatim"] = scores["gen_contains"];
    scores["gen_contains"] = verdict == Verdict::kRight ? 1 : 0;
  }
  if (response.text) scores["unfinished_thought"] = unfinished ? 1 : 0;
  return scores;
}

Result<std::string> LongMemEval::data_id(const SampleRequest& request) const {
  ASSIGN_OR_RETURN(PackedFile file, PackedFile::open(path(request), kMaxDataBytes));
  Sha256 hash;
  LongMemEvalConfig named = config_;
  named.path.clear();  // the content counts, not its place
  hash.update("longmemeval 1").update(config::config_hash(config::to_json(named)));
  std::array<char, 1U << 16U> buffer{};
  while (true) {
    ASSIGN_OR_RETURN(const std::size_t got, file.read(buffer));
    if (got == 0) return hash.hex_digest();
    hash.update(std::string_view(buffer.data(), got));
  }
}

}  // namespace

std::unique_ptr<Benchmark> make_longmemeval(LongMemEvalConfig config) {
  STRATA_CHECK(config.sessions >= 0 && config.max_tokens >= 0 && config.generation_limit >= 0);
  return std::make_unique<LongMemEval>(std::move(config));
}

}  // namespace strata
