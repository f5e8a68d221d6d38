#include "benchmarks/niah_builder.h"

#include <algorithm>
#include <set>

#include "benchmarks/haystack_prompt.h"

namespace strata {
namespace {

PromptFrame frame_of(const NiahConfig& config, const Needle& asked) {
  return {.head = std::string(kNiahInstruction) + "\n",
          .tail = "\n" + niah_question(asked.key),
          .answer_prefix = niah_answer_prefix(asked.key),
          .answer = " " + asked.value,
          .length = config.length,
          .generation_limit = config.generation_limit};
}

class Builder {
 public:
  Builder(const NiahSetting& setting, const NiahQuestion& question)
      : setting_(setting),
        question_(question),
        rng_(setting.request.seed, question.stream + "/places"),
        distractor_rng_(setting.request.seed, question.stream + "/distractors"),
        used_{question.needle.key, question.needle.value},
        prompt_(
            setting.request, setting.haystack,
            setting.haystack.open({question.index, question.stream, setting.request.seed,
                                   [this] { return setting_.pool.draw(distractor_rng_, used_); }}),
            frame_of(setting.config, question.needle)) {}

  Result<Sample> build();

 private:
  std::int64_t min_distance() const {
    return setting_.config.min_distance >= 0 ? setting_.config.min_distance
                                             : setting_.request.window;
  }
  Error too_close(std::int64_t furthest) const;
  void add(const Needle& needle);
  Status place(std::int64_t budget, const FittedPrompt& empty);
  Result<nlohmann::json> counterfactual(const FittedPrompt& fitted) const;
  Result<Sample> finish(FittedPrompt&& fitted) const;

  const NiahSetting& setting_;
  const NiahQuestion& question_;
  Rng rng_;
  Rng distractor_rng_;
  std::set<std::string, std::less<>> used_;
  HaystackPrompt prompt_;
  std::vector<std::string> keys_;  // of the needles, the asked one first
};

Error Builder::too_close(std::int64_t furthest) const {
  return make_error(ErrorKind::kInvalidArgument,
                    "expected room for a needle {} tokens before the question, but at length {} it "
                    "can stand at most "
                    "{} before",
                    min_distance(), setting_.config.length, furthest)
      .at("benchmark.length")
      .with_hint("raise benchmark.length, or lower mixer.window or benchmark.min_distance");
}

void Builder::add(const Needle& needle) {
  keys_.push_back(needle.key);
  prompt_.insert(needle_sentence(needle));
}

// Chooses where the needles stand: the asked one uniformly among the places far enough from the
// question.
Status Builder::place(std::int64_t budget, const FittedPrompt& empty) {
  const std::size_t places = prompt_.places(budget);
  std::vector<Inserted>& needles = prompt_.inserted();
  std::set<std::size_t> taken;
  for (std::size_t i = 1; i < needles.size(); ++i) {
    do {
      needles[i].before = rng_.below(places);
    } while (places > 2 * needles.size() && !taken.insert(needles[i].before).second);
  }
  const auto last_prompt_token = static_cast<std::int64_t>(empty.encoded.prompt.size()) - 1;
  const std::int64_t behind_context = last_prompt_token - empty.encoded.token_at(empty.context_end);
  std::vector<std::size_t> valid;
  std::int64_t furthest = 0;
  for (std::size_t place = 0; place < places; ++place) {
    std::int64_t behind = budget - prompt_.tokens_before(place, budget) + behind_context;
    for (std::size_t i = 1; i < needles.size(); ++i)
      if (needles[i].before >= place) behind += needles[i].token_count;
    furthest = std::max(furthest, behind);
    if (behind >= min_distance() && !taken.contains(place)) valid.push_back(place);
  }
  if (valid.empty()) return fail(too_close(furthest));
  needles[0].before = valid[rng_.below(valid.size())];
  return {};
}

Result<Sample> Builder::build() {
  add(question_.needle);
  if (setting_.config.task == NiahTask::kMultikey)
    for (std::int64_t i = 1; i < setting_.config.keys; ++i)
      add(setting_.pool.draw(distractor_rng_, used_));
  ASSIGN_OR_RETURN(const FittedPrompt empty, prompt_.empty());
  ASSIGN_OR_RETURN(const std::int64_t budget, prompt_.room(empty));
  RETURN_IF_ERROR(place(budget, empty));
  Inserted& asked = prompt_.inserted()[0];
  while (true) {
    ASSIGN_OR_RETURN(FittedPrompt fitted, prompt_.fit(budget));
    const std::int64_t away = fitted.distance(fitted.inserted[0]);
    if (away >= min_distance()) return finish(std::move(fitted));
    if (asked.before == 0) return fail(too_close(away));
    --asked.before;  // the estimate was off by a token at the border
  }
}

// The asked needle with a value that no other has.
Result<nlohmann::json> Builder::counterfactual(const FittedPrompt& fitted) const {
  Rng rng(setting_.request.seed, question_.stream + "/counterfactual");
  std::set<std::string, std::less<>> used = used_;
  std::vector<std::string> sentences;
  for (const Inserted& sentence : fitted.inserted) sentences.push_back(sentence.text);
  nlohmann::json found;
  for (int draw = 0; found.is_null() && draw < kCounterfactualDraws; ++draw) {
    const Needle other{question_.needle.key, setting_.pool.draw(rng, used).value};
    sentences[0] = needle_sentence(other);
    ASSIGN_OR_RETURN(found, prompt_.counterfactual(fitted, sentences, " " + other.value));
  }
  return found;
}

Result<Sample> Builder::finish(FittedPrompt&& fitted) const {
  nlohmann::json metadata = prompt_.metadata(fitted, config::enum_name(setting_.config.haystack));
  const auto context = fitted.context_tokens();
  const auto needle = fitted.tokens_of(fitted.inserted[0]);
  const std::int64_t away = fitted.distance(fitted.inserted[0]);
  metadata["task"] = config::enum_name(setting_.config.task);
  metadata["key"] = question_.needle.key;
  metadata["value"] = question_.needle.value;
  metadata["keys"] = keys_;
  metadata["needle"] = needle;
  metadata["depth"] =
      static_cast<double>(needle[0] - context[0]) / static_cast<double>(context[1] - context[0]);
  metadata["distance"] = away;
  if (const std::int64_t window = setting_.request.window; window > 0) {
    metadata["window"] = window;
    metadata["beyond_window"] = away >= window;
  }
  if (setting_.request.split == Split::kCalibration) {
    ASSIGN_OR_RETURN(nlohmann::json other, counterfactual(fitted));
    if (!other.is_null()) metadata["counterfactual"] = std::move(other);
  }
  return prompt_.finish(std::move(fitted), std::move(metadata), {" " + question_.needle.value},
                        "niah");
}

}  // namespace

Result<Sample> build_niah_sample(const NiahSetting& setting, const NiahQuestion& question) {
  return Builder(setting, question).build();
}

}  // namespace strata
