// SelectionStrategy: what every selector is. It gets a request and a context and returns a mask
// with its evidence.
//
// A strategy sees answers only through the calibration set, runs the model only through the metered
// handle (which counts what the selection costs), and never sees a benchmark or the results. Used
// by one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/budget.h"
#include "core/mask.h"
#include "core/mixer_spec.h"
#include "core/plan.h"
#include "core/progress.h"
#include "core/result.h"
#include "core/sample.h"
#include "core/score_tensor.h"
#include "models/model.h"

namespace strata {

// What the selection is for.
struct SelectionRequest {
  HeadLayout layout;
  Granularity granularity = Granularity::kLayer;
  Budget budget;
  MixerSpec kept = FullAttention{};
  MixerSpec cheap = SlidingWindow{128, 4};
  DecodeRule rule = DecodeRule::kSame;
  std::uint64_t seed = 0;
  // What the checkpoint is by its own config.
  AttentionPlan native = AttentionPlan::full(layout);

  Result<AttentionPlan> plan(const Mask& mask) const {
    return AttentionPlan::from_mask(mask, kept, cheap, rule);
  }
};

// What a strategy must be given; missing needs are an error before the model loads. Also its
// "supervision".
struct CalibrationNeeds {
  bool pairs = false;    // calibration samples as they are, counterfactuals (core/sample.h) too
  bool answers = false;  // without those
  bool prompts = false;  // their prompts, without answers and metadata
  bool spans = false;    // prompts, and where in them the needles are
  bool model = false;    // runs the model at all

  bool any_samples() const { return pairs || answers || prompts || spans; }
  std::string_view supervision() const {
    return pairs ? "pairs" : answers ? "answers" : spans ? "spans" : prompts ? "text" : "none";
  }
};

// Of `all` what was asked for and no more, so that a strategy's supervision is what it says. The id
// stays: it names the samples.
CalibrationSet given(const CalibrationNeeds& needs, const CalibrationSet& all);

// A score for each unit (flat order of the mask), higher = more worth keeping; in nats where units
// are toggled or their gates differentiated, else in what the strategy's diagnostics name as
// "measure".
struct UnitScores {
  std::vector<double> score;
  std::vector<double> standard_error;         // paired over calibration samples; NaN for one sample
  std::shared_ptr<const ScoreTensor> tensor;  // what they are means of
  // Answer NLL of the context in which the units were scored, mean over the samples.
  double context_nll = std::numeric_limits<double>::quiet_NaN();
  // Where answers are scored, the share of them that is right, every token the likeliest one behind
  // the answer's own (teacher-forced: nothing is generated): of that context, and with each unit
  // toggled (0 where it is no candidate).
  double context_accuracy = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> accuracy;
};

struct Selection {
  Mask mask;
  // Where the strategy names the mixers itself; else the mask under the request's mixers.
  std::optional<AttentionPlan> plan = std::nullopt;
  std::optional<UnitScores> scores;
  nlohmann::json diagnostics = nlohmann::json::object();
  // Where something was learned, an object a step: "step", "loss" and what else there is to watch.
  nlohmann::json training = nullptr;
  // Where scores were computed before (for another strategy or budget), what that had cost.
  Meter reused_cost;
};

// Scores that several strategies and budgets share: computed once, handed out with what they cost.
class ScoreCache {
 public:
  virtual ~ScoreCache() = default;
  struct Entry {
    UnitScores scores;
    nlohmann::json diagnostics;  // of what gave the scores
    nlohmann::json training;     // as Selection's
    Meter cost;
  };
  virtual const Entry* find(const std::string& key) const = 0;
  virtual void insert(const std::string& key, Entry entry) = 0;
};

class WeightTrainer;  // models/training/weight_training.h

struct SelectionContext {
  MeteredModel* model = nullptr;  // null where needs().model is false
  const CalibrationSet* calibration =
      nullptr;                  // what needs() asks for; null where it asks for none
  ScoreCache* cache = nullptr;  // may be null
  // Where a training keeps its state while it runs; empty = nowhere.
  std::filesystem::path checkpoint;
  Progress* progress = nullptr;
  WeightTrainer* trainer = nullptr;  // of the model's weights, where a strategy may train them
};

class SelectionStrategy {
 public:
  virtual ~SelectionStrategy() = default;
  virtual CalibrationNeeds needs() const { return {}; }
  virtual bool uses_budget() const { return true; }  // false: run once in a sweep over budgets
  // Values of one of the strategy's keys, each a run of its own (every offset, every draw); empty =
  // just this one.
  struct Variants {
    std::string key;
    std::vector<std::int64_t> values;
  };
  virtual Result<Variants> variants(const SelectionRequest& request) const {
    (void)request;
    return Variants{};
  }
  virtual std::string label()
      const = 0;  // the row in a table: "periodic[1]", "nll_guided[restore]"
  // Rows of one group are one strategy's draws or offsets. Reports know full, none, random,
  // periodic and inverted, which stand outside the ranking; every other group is ranked.
  virtual std::string group() const = 0;
  virtual Result<Selection> select(const SelectionRequest& request, SelectionContext& context) = 0;
  // diagnostics=full: what this strategy looks at in a selection of its own by more passes of the
  // model. Lists "checks" and "signs_of_a_bug" (core/check.h) join the selection's; all else is put
  // beside its diagnostics. No part of what the selection costs.
  virtual Result<nlohmann::json> full_checks(const SelectionRequest& request,
                                             SelectionContext& context,
                                             const Selection& selection) const {
    (void)request, (void)context, (void)selection;
    return nlohmann::json::object();
  }
};

// K = units_to_keep(budget), which must not exceed what the mask can hold.
Result<std::size_t> units_of(const SelectionRequest& request);
// The same as whole layers, for strategies (`who`) that know no smaller unit. Errors: units that
// are no multiple of a layer's.
Result<std::int64_t> whole_layers_of(const SelectionRequest& request, std::string_view who);

}  // namespace strata
