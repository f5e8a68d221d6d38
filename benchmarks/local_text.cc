#include "benchmarks/local_text.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "benchmarks/haystack.h"
#include "benchmarks/scoring.h"
#include "core/config/binder.h"
#include "core/sha256.h"
#include "models/tokenizer/tokenizer.h"

namespace strata {
namespace {

// Sentences tokenised together may differ from the sum of theirs by a few tokens: stretches of
// essays have these to spare, so that windows stay within theirs.
constexpr std::int64_t kSpareTokens = 16;

class LocalText final : public Benchmark {
 public:
  explicit LocalText(LocalTextConfig config) : config_(config) {}
  std::string_view name() const override { return "local_text"; }

  Result<std::vector<Sample>> samples(const SampleRequest& request) const override;
  std::map<std::string, double> score(const Sample& sample,
                                      const Response& response) const override;
  std::int64_t generation_limit(const Sample& /*sample*/) const override { return 0; }
  Result<std::string> data_id(const SampleRequest& request) const override;

 private:
  std::int64_t prompt_tokens() const {
    return config_.prompt_tokens > 0 ? config_.prompt_tokens : config_.length / 2;
  }
  Status check(const SampleRequest& request) const;
  Result<Tokens> window_of(const SampleRequest& request, const HaystackText& text,
                           const std::string& separator) const;
  Sample sample_of(const SampleRequest& request, const HaystackText& text, Tokens window) const;

  LocalTextConfig config_;
};

Status LocalText::check(const SampleRequest& request) const {
  if (request.count < 1 && config_.text == TextSource::kBundled)
    return fail(ErrorKind::kInvalidArgument,
                "bundled text has no end: expected at least 1 sample, got {}", request.count);
  if (request.max_positions > 0 && config_.length > request.max_positions)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected at most {} (the model's positions), got {}",
                           request.max_positions, config_.length)
                    .at("benchmark.length"));
  const auto prefix = std::ssize(request.tokenizer.prefix());
  if (prompt_tokens() <= prefix || prompt_tokens() >= config_.length)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected {} to {} (the prompt begins with {} of the checkpoint's own, "
                           "and a token of benchmark.length is scored), got {}",
                           prefix + 1, config_.length - 1, prefix, prompt_tokens())
                    .at("benchmark.prompt_tokens"));
  return {};
}

// The first `length` tokens of the text behind the checkpoint's prefix.
Result<Tokens> LocalText::window_of(const SampleRequest& request, const HaystackText& text,
                                    const std::string& separator) const {
  const Tokens prefix = request.tokenizer.prefix();
  const auto wanted = static_cast<std::size_t>(config_.length) - prefix.size();
  const std::int64_t sentences = text.source.value("sentences", std::int64_t{-1});
  std::string joined;
  Tokens tokens;
  std::int64_t read = 0;
  std::size_t estimate = 0;
  for (std::size_t enough = wanted; tokens.size() < wanted; ++enough) {
    while (estimate < enough) {
      if (read++ == sentences)
        return fail(make_error(ErrorKind::kInvalidArgument,
                               "expected {} tokens of text, but the {} split has {}",
                               config_.length, to_string(request.split), estimate)
                        .at("benchmark.length"));
      const std::string sentence = (joined.empty() ? "" : separator) + text.next_unit();
      estimate += request.tokenizer.encode_plain(sentence).size();
      joined += sentence;
    }
    tokens = request.tokenizer.encode_plain(joined);
  }
  tokens.insert(tokens.begin(), prefix.begin(), prefix.end());
  tokens.resize(static_cast<std::size_t>(config_.length));
  return tokens;
}

Sample LocalText::sample_of(const SampleRequest& request, const HaystackText& text,
                            Tokens window) const {
  const auto cut = window.begin() + prompt_tokens();
  Sample sample;
  sample.prompt.assign(window.begin(), cut);
  sample.answer.assign(cut, window.end());
  sample.prompt_text = request.tokenizer.decode_text(sample.prompt);
  sample.answers = {request.tokenizer.decode_text(sample.answer)};
  sample.metadata = {{"text", config::enum_name(config_.text)},
                     {"split", to_string(request.split)},
                     {"source", text.source},
                     {"haystack_tokens", {request.tokenizer.prefix().size(), window.size()}},
                     {"first_informative_query", prompt_tokens() - 1},
                     {"first_answer_token", sample.answer.front()},
                     {"length", config_.length}};
  set_content_id(sample, name());
  sample.cluster = sample.id;
  return sample;
}

Result<std::vector<Sample>> LocalText::samples(const SampleRequest& request) const {
  RETURN_IF_ERROR(check(request));
  ASSIGN_OR_RETURN(const Haystack haystack,
                   make_haystack({haystack_of(config_.text), HaystackStart::kRandom,
                                  config_.length + kSpareTokens},
                                 request));
  const std::string stream =
      fmt::format("local_text/{}/{}", config_.length, to_string(request.split));
  std::vector<Sample> samples;
  std::set<std::string> stretches;
  for (std::int64_t i = 0; request.count == 0 || i < request.count; ++i) {
    const HaystackText text = haystack.open({i, fmt::format("{}/{}", stream, i), request.seed, {}});
    if (!text.cluster.empty() && !stretches.insert(text.cluster).second) {
      if (request.count == 0) break;
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "the {} split has {} windows of {} tokens that do not overlap, got {}",
                             to_string(request.split), i, config_.length, request.count)
                      .at("benchmark.samples")
                      .with_hint("lower benchmark.samples or benchmark.length, or 0 for all"));
    }
    ASSIGN_OR_RETURN(Tokens window, window_of(request, text, haystack.separator));
    samples.push_back(sample_of(request, text, std::move(window)));
  }
  return samples;
}

std::map<std::string, double> LocalText::score(const Sample& sample,
                                               const Response& response) const {
  auto scores = score_answer(sample, response);
  scores.erase("tf_exact");  // of a whole text: never
  if (const auto nll = scores.find("answer_nll"); nll != scores.end())
    scores["perplexity"] = std::exp(nll->second);
  return scores;
}

Result<std::string> LocalText::data_id(const SampleRequest& request) const {
  ASSIGN_OR_RETURN(const std::string text, haystack_content_id(haystack_of(config_.text), request));
  return Sha256()
      .update("local_text 1")
      .update(text)
      .update(config::config_hash(config::to_json(config_)))
      .hex_digest();
}

}  // namespace

std::unique_ptr<Benchmark> make_local_text(LocalTextConfig config) {
  STRATA_CHECK(config.length >= 2 && config.prompt_tokens >= 0);
  return std::make_unique<LocalText>(config);
}

}  // namespace strata
