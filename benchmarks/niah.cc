#include "benchmarks/niah.h"

#include <nlohmann/json.hpp>
#include <set>

#include "benchmarks/niah_builder.h"
#include "benchmarks/scoring.h"
#include "core/config/binder.h"
#include "core/sha256.h"

namespace strata {
namespace {

class Niah final : public Benchmark {
 public:
  explicit Niah(NiahConfig config) : config_(config) {}
  std::string_view name() const override { return "niah"; }

  Result<std::vector<Sample>> samples(const SampleRequest& request) const override;
  std::map<std::string, double> score(const Sample& sample,
                                      const Response& response) const override;
  std::int64_t generation_limit(const Sample& sample) const override {
    return sample.metadata.at("generation_limit").get<std::int64_t>();
  }
  Result<std::string> data_id(const SampleRequest& request) const override;

 private:
  Status check(const SampleRequest& request, const NeedlePool& pool) const;
  Result<KeyWords> key_words(const SampleRequest& request) const;

  NiahConfig config_;
};

Result<KeyWords> Niah::key_words(const SampleRequest& request) const {
  if (config_.words == KeyWordSource::kBundled) return bundled_key_words();
  auto words = wonder_key_words(request.data_dir);
  if (words) return words;
  return fail(std::move(words).error().with_hint(
      "set STRATA_DATA to the folder that holds wonderwords/, or use benchmark.words=bundled"));
}

Status Niah::check(const SampleRequest& request, const NeedlePool& pool) const {
  if (request.count < 1)
    return fail(ErrorKind::kInvalidArgument, "niah has no end: expected at least 1 sample, got {}",
                request.count);
  if (request.max_positions > 0 && config_.length > request.max_positions) {
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected at most {} (the model's positions), got {}",
                           request.max_positions, config_.length)
                    .at("benchmark.length"));
  }
  // Half of the keys at most, so that drawing without repetition stays quick.
  const auto most = static_cast<std::int64_t>(pool.key_count() / 2);
  if (request.count > most) {
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "the {} split has keys for {} samples, got {}", to_string(request.split),
                           most, request.count)
                    .with_hint("benchmark.words=wonderwords has many more"));
  }
  return {};
}

Result<std::vector<Sample>> Niah::samples(const SampleRequest& request) const {
  ASSIGN_OR_RETURN(const KeyWords words, key_words(request));
  const NeedlePool pool(words, request.split);
  RETURN_IF_ERROR(check(request, pool));
  ASSIGN_OR_RETURN(
      const Haystack haystack,
      make_haystack({config_.haystack, config_.haystack_start, config_.length}, request));
  const NiahSetting setting{config_, request, haystack, pool};
  const std::string stream =
      fmt::format("niah/{}/{}/{}/{}", config::enum_name(config_.task),
                  config::enum_name(config_.haystack), config_.length, to_string(request.split));
  Rng rng(request.seed, stream + "/asked");
  std::set<std::string, std::less<>> asked;  // no two samples ask for the same key or value
  std::vector<Sample> samples;
  for (std::int64_t i = 0; i < request.count; ++i) {
    const NiahQuestion question{i, pool.draw(rng, asked), fmt::format("{}/{}", stream, i)};
    ASSIGN_OR_RETURN(Sample sample, build_niah_sample(setting, question));
    samples.push_back(std::move(sample));
  }
  return samples;
}

std::map<std::string, double> Niah::score(const Sample& sample, const Response& response) const {
  auto scores = score_answer(sample, response);
  if (response.text)
    scores["string_match_all"] =
        string_match_all(sample.answer_given + *response.text, sample.answers);
  return scores;
}

Result<std::string> Niah::data_id(const SampleRequest& request) const {
  ASSIGN_OR_RETURN(const std::string haystack, haystack_content_id(config_.haystack, request));
  ASSIGN_OR_RETURN(const KeyWords words, key_words(request));
  Sha256 hash;
  hash.update("niah 1").update(haystack).update(config::config_hash(config::to_json(config_)));
  for (const auto* list : {&words.adjectives, &words.nouns})
    for (const std::string& word : *list) hash.update_u64(word.size()).update(word);
  return hash.hex_digest();
}

}  // namespace

std::unique_ptr<Benchmark> make_niah(NiahConfig config) {
  STRATA_CHECK(config.length >= 1 && config.keys >= 2 && config.min_distance >= -1);
  return std::make_unique<Niah>(config);
}

}  // namespace strata
