#include "models/attention_mass.h"

#include <algorithm>

#include "strategies/builtin.h"
#include "strategies/shared_scores.h"

namespace strata {
namespace {

// [begin, end) of the needle that is asked for.
Result<KeyRange> needle_of(const Sample& sample) {
  const auto found = sample.metadata.find("needle");
  const auto is_span = [](const nlohmann::json& span) {
    return span.is_array() && span.size() == 2 && span[0].is_number_integer() &&
           span[1].is_number_integer();
  };
  if (found == sample.metadata.end() || !is_span(*found))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "the sample does not say where its needle is; expected metadata "
                           "'needle' with its first token and the one behind its last")
                    .with_hint("calibrate on a benchmark that places needles: benchmark=niah"));
  const KeyRange span{(*found)[0].get<std::int64_t>(), (*found)[1].get<std::int64_t>()};
  if (span.begin < 0 || span.begin >= span.end ||
      span.end > static_cast<std::int64_t>(sample.prompt.size()))
    return fail(ErrorKind::kInvalidArgument,
                "the needle is said to be tokens {} to {} of a prompt of {}", span.begin, span.end,
                sample.prompt.size());
  return span;
}

class AttentionMassStrategy final : public SelectionStrategy {
 public:
  explicit AttentionMassStrategy(AttentionMassConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.spans = true, .model = true}; }
  std::string label() const override {
    return fmt::format("attention_mass{}", config_.reduce == MassReduction::kMax ? "[max]" : "");
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    const nlohmann::json key = {{"measure", "attention mass on needle tokens"},
                                {"query_from_end", config_.query_from_end},
                                {"max_samples", config_.max_samples},
                                {"reduce", config::enum_name(config_.reduce)}};
    ASSIGN_OR_RETURN(SharedScores scored,
                     shared_scores(request, context, key, [&] { return score(request, context); }));
    return keep_highest(request, std::move(scored), k);
  }

 private:
  AttentionMassConfig config_;

  Result<std::vector<double>> masses(const SelectionRequest& request, MeteredModel& model,
                                     const Sample& sample) const {
    ASSIGN_OR_RETURN(const KeyRange needle, needle_of(sample));
    const MassQuery query{static_cast<std::int64_t>(sample.prompt.size()) - config_.query_from_end,
                          {needle}};
    if (query.row < needle.end)
      return fail(
          ErrorKind::kInvalidArgument,
          "query_from_end is {}; expected a token behind the needle, which ends at {} of {}",
          config_.query_from_end, needle.end, sample.prompt.size());
    // Later tokens are not seen.
    const auto seen = std::span(sample.prompt).first(static_cast<std::size_t>(query.row) + 1);
    ASSIGN_OR_RETURN(const AttentionMass mass, attention_mass(model, seen, std::span(&query, 1)));
    return mass.of_units(request.granularity, config_.reduce == MassReduction::kMax
                                                  ? HeadReduction::kMax
                                                  : HeadReduction::kMean);
  }

  Result<SharedScores> score(const SelectionRequest& request, SelectionContext& context) const {
    const std::vector<Sample>& all = context.calibration->samples;
    std::vector<std::size_t> samples = all_samples(*context.calibration);
    samples.resize(std::min(all.size(), static_cast<std::size_t>(config_.max_samples)));
    std::vector<std::vector<double>> rows(samples.size());
    RETURN_IF_ERROR(for_each_calibration_sample(
        context, "attention mass", samples, [&](MeteredModel& model, std::size_t i) -> Status {
          ASSIGN_OR_RETURN(rows[i], masses(request, model, all[samples[i]]));
          return {};
        }));
    return SharedScores{
        .scores = means_over_samples(rows),
        .diagnostics = {{"measure", "attention mass on needle tokens"}, {"samples", rows.size()}}};
  }
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const AttentionMassConfig& config) {
  return std::make_unique<AttentionMassStrategy>(config);
}

}  // namespace strata
