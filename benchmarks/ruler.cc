#include "benchmarks/ruler.h"

#include <nlohmann/json.hpp>

#include <algorithm>

#include "benchmarks/ruler_source.h"
#include "benchmarks/scoring.h"
#include "core/config/binder.h"
#include "core/sha256.h"

namespace strata {
namespace {

constexpr int kMaxLengthsTried = 64;

bool any_reference_counts(RulerTask task) {
  return task == RulerTask::kQa1 || task == RulerTask::kQa2;
}

std::int64_t count_of(const SampleRequest& request, const RulerSource& questions) {
  return request.count > 0 ? request.count : questions.size();  // 0 = all
}

class Ruler final : public Benchmark {
 public:
  explicit Ruler(RulerConfig config) : config_(std::move(config)) {}
  std::string_view name() const override { return "ruler"; }

  Result<std::vector<Sample>> samples(const SampleRequest& request) const override;
  std::map<std::string, double> score(const Sample& sample,
                                      const Response& response) const override;
  std::int64_t generation_limit(const Sample& sample) const override {
    return sample.metadata.at("generation_limit").get<std::int64_t>();
  }
  Result<std::string> data_id(const SampleRequest& request) const override;

 private:
  RulerRoom room(const SampleRequest& request, std::int64_t length) const {
    const std::int64_t limit = config_.generation_limit;
    return {request, length, limit > 0 ? limit : ruler_generation(config_.task),
            config_.variant == RulerVariant::kLmEval};
  }
  Result<std::unique_ptr<RulerSource>> source(const RulerSetting& setting) const;
  Status check(const SampleRequest& request) const;
  Result<std::int64_t> longest_of_the_smallest(const SampleRequest& request,
                                               std::int64_t length) const;
  Result<Error> too_short(const SampleRequest& request, std::int64_t count) const;
  Sample finish(const SampleRequest& request, RulerFit&& fit) const;
  void place(const SampleRequest& request, const RulerFit& fit, nlohmann::json& metadata) const;

  RulerConfig config_;
};

Result<std::unique_ptr<RulerSource>> Ruler::source(const RulerSetting& setting) const {
  switch (config_.task) {
    case RulerTask::kVt: return make_vt_source(setting);
    case RulerTask::kCwe: return make_cwe_source(setting);
    case RulerTask::kFwe: return make_fwe_source(setting);
    case RulerTask::kQa1:
    case RulerTask::kQa2: return make_qa_source(setting);
    default: return make_niah_source(setting);
  }
}

Status Ruler::check(const SampleRequest& request) const {
  if (request.count < 1 && !any_reference_counts(config_.task))
    return fail(ErrorKind::kInvalidArgument,
                "RULER's {} has no end: expected at least 1 sample, got {}",
                config::enum_name(config_.task), request.count);
  if (config_.distractors > 0 && !is_ruler_niah(config_.task) && config_.task != RulerTask::kVt)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected 0 (needles and chains have distractors, {} has none), got {}",
                           config::enum_name(config_.task), config_.distractors)
                    .at("benchmark.distractors"));
  if (request.max_positions > 0 && config_.length > request.max_positions) {
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected at most {} (the model's positions), got {}",
                           request.max_positions, config_.length)
                    .at("benchmark.length"));
  }
  return {};
}

// What the request's longest sample takes with the smallest haystack, drawn for this length.
Result<std::int64_t> Ruler::longest_of_the_smallest(const SampleRequest& request,
                                                    std::int64_t length) const {
  ASSIGN_OR_RETURN(const auto questions, source({config_, request, length}));
  const RulerRoom all = room(request, length);
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < count_of(request, *questions); ++i) {
    ASSIGN_OR_RETURN(const auto draft, questions->draft(i));
    ASSIGN_OR_RETURN(const RulerFit fit, smallest_fit(all, *draft));
    longest = std::max(longest, all.needed(fit));
  }
  return longest;
}

// The smallest length at which every sample of the request can be made, while those of the length
// below cannot.
Result<Error> Ruler::too_short(const SampleRequest& request, std::int64_t count) const {
  std::int64_t length = config_.length;
  bool fits = false;
  for (int tried = 0; tried < kMaxLengthsTried; ++tried) {
    ASSIGN_OR_RETURN(const std::int64_t longest,
                     longest_of_the_smallest(request, fits ? length - 1 : length));
    if (fits && longest > length - 1) break;
    if (fits)
      --length;
    else if (longest <= length)
      fits = true;
    else
      length = longest;
  }
  return make_error(ErrorKind::kInvalidArgument,
                    "expected at least {} for {} samples of {}, which take so much with the "
                    "smallest haystack, got {}",
                    length, count, config::enum_name(config_.task), config_.length)
      .at("benchmark.length")
      .with_hint(fmt::format("benchmark.length={} is enough", length));
}

Result<std::vector<Sample>> Ruler::samples(const SampleRequest& request) const {
  RETURN_IF_ERROR(check(request));
  ASSIGN_OR_RETURN(const auto questions, source({config_, request, config_.length}));
  const RulerRoom all = room(request, config_.length);
  std::vector<Sample> samples;
  const std::int64_t count = count_of(request, *questions);
  for (std::int64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const auto draft, questions->draft(i));
    ASSIGN_OR_RETURN(std::optional<RulerFit> fit, fit_units(all, *draft));
    if (!fit) {
      ASSIGN_OR_RETURN(Error error, too_short(request, count));
      return fail(std::move(error));
    }
    samples.push_back(finish(request, *std::move(fit)));
  }
  return samples;
}

// Where the evidence is; nothing where the tokenizer changes the text.
void Ruler::place(const SampleRequest& request, const RulerFit& fit,
                  nlohmann::json& metadata) const {
  if (fit.encoded.offsets.empty()) return;
  const auto context = fit.tokens_of({0, fit.text.context.size()});
  metadata["haystack_tokens"] = context;
  const auto last = std::ssize(fit.encoded.prompt) - 1;
  nlohmann::json needles = nlohmann::json::array();
  nlohmann::json depths = nlohmann::json::array();
  nlohmann::json distances = nlohmann::json::array();
  for (const auto& bytes : fit.text.evidence) {
    const auto span = fit.tokens_of(bytes);
    needles.push_back(span);
    depths.push_back(static_cast<double>(span[0] - context[0]) /
                     static_cast<double>(context[1] - context[0]));
    distances.push_back(last - span[1]);
  }
  if (!fit.text.asked.empty()) {
    std::int64_t nearest = last;
    for (const std::size_t i : fit.text.asked)
      nearest = std::min(nearest, distances[i].get<std::int64_t>());
    metadata["needle"] = needles[fit.text.asked[0]];
    metadata["depth"] = depths[fit.text.asked[0]];
    metadata["distance"] = nearest;  // of the nearest that the answer needs
    if (request.window > 0) {
      metadata["window"] = request.window;
      metadata["beyond_window"] = nearest >= request.window;
    }
  }
  metadata["needles"] = std::move(needles);
  metadata["depths"] = std::move(depths);
  metadata["distances"] = std::move(distances);
}

Sample Ruler::finish(const SampleRequest& request, RulerFit&& fit) const {
  Sample sample;
  sample.metadata = std::move(fit.text.metadata);
  sample.metadata.update({{"task", config::enum_name(config_.task)},
                          {"variant", config::enum_name(config_.variant)},
                          {"split", to_string(request.split)},
                          {"first_informative_query", fit.encoded.prompt.size() - 1},
                          {"first_answer_token", fit.encoded.answer.front()},
                          {"answer_tokens", fit.encoded.answer.size()},
                          {"length", config_.length},
                          {"shortfall", config_.length - fit.length()},
                          {"generation_limit", fit.limit},
                          {"units", fit.units},
                          {"joint_tokenisation", fit.encoded.joint}});
  sample.metadata["asked_needles"] = fit.text.asked;
  place(request, fit, sample.metadata);
  sample.prompt_text = std::move(fit.encoded.text);
  sample.prompt = std::move(fit.encoded.prompt);
  sample.answer = std::move(fit.encoded.answer);
  sample.answers = std::move(fit.text.references);
  sample.answer_given = std::move(fit.answer_given);
  set_content_id(sample, name());
  sample.cluster = fit.text.cluster.empty() ? sample.id : std::move(fit.text.cluster);
  return sample;
}

std::map<std::string, double> Ruler::score(const Sample& sample, const Response& response) const {
  auto scores = score_answer(sample, response);
  if (!response.text) return scores;
  const std::string text = sample.answer_given + *response.text;
  const double share = string_match_all(text, sample.answers);
  if (any_reference_counts(config_.task)) {
    // lm_eval divides by the number of references.
    scores["string_match_part"] =
        config_.variant == RulerVariant::kLmEval ? share : scores.at("gen_contains");
    return scores;
  }
  scores["string_match_all"] = share;
  scores["gen_contains"] = share == 1.0 ? 1.0 : 0.0;         // every reference
  if (sample.answers.size() > 1) scores.erase("gen_exact");  // the order is free
  return scores;
}

Result<std::string> Ruler::data_id(const SampleRequest& request) const {
  Sha256 hash;
  hash.update("ruler 1").update(config::config_hash(config::to_json(config_)));
  if (is_ruler_niah(config_.task)) RETURN_IF_ERROR(hash_niah_source(config_, request, hash));
  if (config_.task == RulerTask::kCwe) RETURN_IF_ERROR(hash_cwe_source(config_, request, hash));
  if (any_reference_counts(config_.task)) RETURN_IF_ERROR(hash_qa_source(config_, request, hash));
  return hash.hex_digest();
}

}  // namespace

std::string RulerSetting::stream(std::int64_t index) const {
  return fmt::format("ruler/{}/{}/{}/{}", config::enum_name(config.task), length,
                     to_string(request.split), index < 0 ? "all" : std::to_string(index));
}

std::string ruler_answer_prefix(const RulerSetting& setting, std::string prefix,
                                std::string_view delimiter) {
  if (!setting.lm_eval()) return prefix;
  const auto begin = prefix.find_first_not_of(' ');
  const auto end = prefix.find_last_not_of(' ');
  std::string stripped = prefix.substr(begin, end - begin + 1);
  return setting.request.chat.is_none() ? std::string(delimiter) + stripped : stripped;
}

std::int64_t ruler_generation(RulerTask task) {
  switch (task) {
    case RulerTask::kVt: return 30;
    case RulerTask::kCwe: return 120;
    case RulerTask::kFwe: return 50;
    case RulerTask::kQa1:
    case RulerTask::kQa2: return 32;
    default: return 128;
  }
}

bool is_ruler_niah(RulerTask task) { return task < RulerTask::kVt; }

std::unique_ptr<Benchmark> make_ruler(RulerConfig config) {
  STRATA_CHECK(config.length >= 1 && config.generation_limit >= 0);
  return std::make_unique<Ruler>(std::move(config));
}

}  // namespace strata
