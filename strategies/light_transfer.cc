#include <algorithm>
#include <cmath>

#include "core/score_tensor.h"
#include "models/attention_mass.h"
#include "strategies/builtin.h"
#include "strategies/shared_scores.h"
#include "strategies/signs.h"

namespace strata {
namespace {

struct LazyKeys {
  std::int64_t last = 0, sink = 0, recent = 0;
};

class LightTransfer final : public SelectionStrategy {
 public:
  explicit LightTransfer(LightTransferConfig config) : config_(config) {}
  CalibrationNeeds needs() const override {
    return {.answers = released(), .prompts = true, .model = true};
  }
  std::string label() const override {
    return fmt::format("light_transfer{}{}", released() ? "_released" : "",
                       config_.aggregation == LazyAggregation::kVotes ? "[votes]" : "");
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    ASSIGN_OR_RETURN(const LazyKeys keys, keys_of(request));
    const nlohmann::json key = {{"measure", "lazy ratio"},
                                {"last", keys.last},
                                {"sink", keys.sink},
                                {"recent", keys.recent},
                                {"aggregation", config::enum_name(config_.aggregation)},
                                {"variant", config::enum_name(config_.variant)}};
    ASSIGN_OR_RETURN(SharedScores scored, shared_scores(request, context, key, [&] {
                       return score(request, context, keys);
                     }));
    Selection selection = keep_highest(request, std::move(scored), k);
    if (!released())
      note(selection.diagnostics,
           lazy_ratio_check(selection.diagnostics["highest_ratio"].get<double>()));
    return selection;
  }

 private:
  LightTransferConfig config_;

  bool released() const { return config_.variant == LazyVariant::kReleased; }

  Result<LazyKeys> keys_of(const SelectionRequest& request) const {
    const auto* sliding = std::get_if<SlidingWindow>(&request.cheap);
    if (sliding == nullptr && !(config_.w_sink && config_.w_recent))
      return fail(make_error(ErrorKind::kUnsupported, "{} has no window to take the keys from",
                             name_of(request.cheap))
                      .with_hint("set strategy.w_sink and strategy.w_recent"));
    return LazyKeys{config_.w_last, config_.w_sink ? *config_.w_sink : sliding->sinks,
                    config_.w_recent ? *config_.w_recent : sliding->window};
  }

  static Status check(const Sample& sample, const LazyKeys& keys) {
    const auto length = static_cast<std::int64_t>(sample.prompt.size());
    if (keys.recent >= length)
      return fail(
          make_error(ErrorKind::kInvalidArgument,
                     "w_recent is {}; expected fewer than the {} tokens of the prompt: every ratio "
                     "would be 1",
                     keys.recent, length)
              .with_hint("set strategy.w_recent, lower mixer.window, or ask for longer prompts"));
    if (keys.last > length)
      return fail(ErrorKind::kInvalidArgument,
                  "w_last is {}; expected at most the {} tokens of the prompt", keys.last, length);
    return {};
  }

  // Lazy ratio of each unit on one prompt.
  Result<std::vector<double>> ratios(const SelectionRequest& request, MeteredModel& model,
                                     const Sample& sample, const LazyKeys& keys) const {
    RETURN_IF_ERROR(check(sample, keys));
    Tokens tokens = sample.prompt;
    if (released()) tokens.insert(tokens.end(), sample.answer.begin(), sample.answer.end());
    const auto length = static_cast<std::int64_t>(tokens.size());
    std::vector<MassQuery> queries;
    for (std::int64_t row = length - keys.last; row < length; ++row) {
      const std::int64_t end = released() ? length : row + 1;
      queries.push_back(
          {row,
           {{0, std::min(keys.sink, end)}, {std::max<std::int64_t>(0, end - keys.recent), end}}});
    }
    ASSIGN_OR_RETURN(const AttentionMass mass, attention_mass(model, tokens, queries));
    std::vector<double> ratio = mass.of_units(request.granularity, HeadReduction::kMean);
    for (const double value : ratio)
      if (!std::isfinite(value))
        return fail(ErrorKind::kInternal, "a lazy ratio of {}: expected a number", value);
    return ratio;
  }

  // What a ratio says of the worth of a unit: the mass that windowed attention would not see, or
  // not being voted into the lazier half.
  std::vector<double> worth(const std::vector<double>& ratio) const {
    std::vector<double> out(ratio.size(), 1.0);
    if (config_.aggregation == LazyAggregation::kMeanRatio) {
      for (std::size_t unit = 0; unit < out.size(); ++unit) out[unit] -= ratio[unit];
      return out;
    }
    const std::vector<std::size_t> laziest = ranked(ratio);
    for (std::size_t i = 0; i < laziest.size() / 2; ++i) out[laziest[i]] = 0;
    return out;
  }

  Result<SharedScores> score(const SelectionRequest& request, SelectionContext& context,
                             const LazyKeys& keys) const {
    const std::vector<Sample>& samples = context.calibration->samples;
    std::vector<std::vector<double>> ratio(samples.size()), rows(samples.size());
    RETURN_IF_ERROR(for_each_calibration_sample(
        context, "lazy ratios", all_samples(*context.calibration),
        [&](MeteredModel& model, std::size_t i) -> Status {
          ASSIGN_OR_RETURN(ratio[i], ratios(request, model, samples[i], keys));
          rows[i] = worth(ratio[i]);
          return {};
        }));
    double highest = 0;
    for (const std::vector<double>& row : ratio)
      highest = std::max(highest, *std::max_element(row.begin(), row.end()));
    const bool votes = config_.aggregation == LazyAggregation::kVotes;
    return SharedScores{
        .scores = means_over_samples(rows),
        .diagnostics = {{"measure", votes ? "share of prompts that do not call the unit lazy"
                                          : "1 - lazy ratio"},
                        {"lazy_ratio", means_over_samples(ratio).score},
                        {"highest_ratio", highest},
                        {"w_last", keys.last},
                        {"w_sink", keys.sink},
                        {"w_recent", keys.recent}}};
  }
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const LightTransferConfig& config) {
  return std::make_unique<LightTransfer>(config);
}

}  // namespace strata
