#include "tests/unit/strategies/tiny_selection.h"

#include <algorithm>
#include <cmath>

#include "core/sha256.h"
#include "strategies/registry.h"

namespace strata::testing {

TinySelectionTest::TinySelectionTest() {
  Rng rng(3, "tiny selection");
  architecture_ = tiny_architecture(kLayers, 4, 2);
  weights_ = random_weights(architecture_, rng, at::kDouble);
  model_ = Model::in_memory("tiny", architecture_, weights_);
  for (int s = 0; s < kSamples; ++s) {
    Sample sample;
    for (int i = 0; i < kPrompt; ++i) sample.prompt.push_back(static_cast<TokenId>(rng.below(11)));
    for (int i = 0; i < kAnswer; ++i) sample.answer.push_back(static_cast<TokenId>(rng.below(11)));
    sample.id = sha256_hex(std::to_string(s));
    calibration_.samples.push_back(sample);
  }
  calibration_.id = content_id(calibration_.samples);
  request_.layout = model_->layout();
  request_.cheap = SlidingWindow{kWindow, kSinks};
  request_.budget.units = 2;
}

std::unique_ptr<SelectionStrategy> TinySelectionTest::made(const char* name, const Keys& keys) {
  config::Map map;
  map.set("name", name);
  for (const auto& [key, value] : keys) map.set(key, value);
  return *make_strategy(config::Value(map));
}

Result<Selection> TinySelectionTest::select(const char* name, const Keys& keys, Meter* meter) {
  MeteredModel metered(*model_);
  SelectionContext context{.model = &metered,
                           .calibration = &calibration_,
                           .cache = cache_,
                           .checkpoint = checkpoint_,
                           .progress = progress_};
  Result<Selection> selection = made(name, keys)->select(request_, context);
  if (meter != nullptr) *meter = metered.meter();
  return selection;
}

Matrix TinySelectionTest::answer_logits(const Sample& sample, const AttentionPlan& plan) const {
  Tokens tokens = sample.prompt;
  tokens.insert(tokens.end(), sample.answer.begin(), sample.answer.end());
  const auto prompt = static_cast<std::int64_t>(sample.prompt.size());
  Matrix rows = logits(tokens, plan, prompt);
  rows.erase(rows.begin(), rows.begin() + prompt - 1);
  rows.pop_back();
  return rows;
}

std::vector<OracleQk> TinySelectionTest::full_qk(const Tokens& tokens) const {
  std::vector<OracleQk> layers;
  oracle_logits(architecture_, weights_, tokens, AttentionPlan::full(request_.layout),
                static_cast<std::int64_t>(tokens.size()), &layers);
  return layers;
}

namespace {

double log_total(const std::vector<double>& logits) {
  double total = 0;
  for (const double value : logits) total += std::exp(value);
  return std::log(total);
}

}  // namespace

ClosedForm closed_form(const std::vector<double>& distances) {
  std::vector<double> ordered = distances;
  std::sort(ordered.begin(), ordered.end());
  const auto layers = static_cast<double>(distances.size());
  ClosedForm out{.lambda = (ordered[0] + ordered[1]) / layers, .gates = {}};
  for (const double distance : distances)
    out.gates.push_back(std::clamp(1 - out.lambda * layers / (2 * distance), 0.0, 1.0));
  return out;
}

double nll_of(const std::vector<double>& logits, TokenId target) {
  return log_total(logits) - logits[static_cast<std::size_t>(target)];
}

double kl_of(const std::vector<double>& teacher_logits, const std::vector<double>& logits) {
  const double teacher = log_total(teacher_logits), student = log_total(logits);
  double sum = 0;
  for (std::size_t v = 0; v < logits.size(); ++v)
    sum += std::exp(teacher_logits[v] - teacher) *
           ((teacher_logits[v] - teacher) - (logits[v] - student));
  return sum;
}

std::vector<std::size_t> highest(const std::vector<double>& scores, std::size_t k) {
  std::vector<std::size_t> units;
  while (units.size() < k) {
    std::size_t best = scores.size();
    for (std::size_t i = 0; i < scores.size(); ++i)
      if (std::find(units.begin(), units.end(), i) == units.end() &&
          (best == scores.size() || scores[i] > scores[best]))
        best = i;
    units.push_back(best);
  }
  std::sort(units.begin(), units.end());
  return units;
}

}  // namespace strata::testing
