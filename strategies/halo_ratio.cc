#include "strategies/halo_ratio.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "strategies/builtin.h"
#include "strategies/nll_scorer.h"

namespace strata {

HaloRatios halo_ratios(const std::vector<double>& recall, const std::vector<double>& commonsense,
                       double eps, double cap) {
  const double best_recall = *std::max_element(recall.begin(), recall.end());
  const auto best = std::max_element(commonsense.begin(), commonsense.end());
  HaloRatios out;
  out.epsilon_unit = static_cast<std::size_t>(best - commonsense.begin());
  for (std::size_t unit = 0; unit < recall.size(); ++unit) {
    out.numerator.push_back(best_recall - recall[unit]);
    out.denominator.push_back(*best - commonsense[unit] + eps);
    out.score.push_back(std::min(cap, out.numerator[unit] / out.denominator[unit]));
  }
  return out;
}

Spread spread_over_units(const std::vector<std::vector<double>>& rows) {
  std::vector<std::vector<double>> centred = rows;
  for (std::vector<double>& row : centred) {
    const double mean =
        std::accumulate(row.begin(), row.end(), 0.0) / static_cast<double>(row.size());
    for (double& value : row) value -= mean;
  }
  const UnitScores units = means_over_samples(centred);
  const auto root_mean_square = [](const std::vector<double>& values, double count) {
    return std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0) / count);
  };
  const auto n = static_cast<double>(units.score.size());
  return {root_mean_square(units.score, n - 1), root_mean_square(units.standard_error, n)};
}

Status check_spread(const std::vector<std::vector<double>>& rows) {
  constexpr double kStandardErrors = 3;
  if (rows.size() < 2)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "1 calibration sample says nothing of how certain the denominator is; "
                           "expected at least 2")
                    .with_hint("set calibration.samples"));
  const Spread spread = spread_over_units(rows);
  if (spread.deviation > 0 && spread.deviation >= kStandardErrors * spread.standard_error)
    return {};
  return fail(
      make_error(ErrorKind::kUnsupported,
                 "the denominator is noise: NLL of local text differs between units by a standard "
                 "deviation of {:.3g} nats, expected at least {} standard errors of {:.3g}",
                 spread.deviation, kStandardErrors, spread.standard_error)
          .with_hint(
              "raise strategy.text_tokens or calibration.samples, lower mixer.window, or use a "
              "haystack of natural text (benchmark.haystack)"));
}

namespace {

// One sample's text: the haystack's last tokens, then what stands before the answer, then the
// answer.
struct HaloText {
  Tokens scored;
  std::size_t begin = 0;   // of the scored part in the prompt
  std::size_t local = 0;   // first tokens of the scored part: the haystack's
  std::size_t answer = 0;  // last ones
};

Result<HaloText> text_of(const SelectionRequest& request, const Sample& sample,
                         std::int64_t text_tokens) {
  const auto found = sample.metadata.find("haystack_tokens");
  if (found == sample.metadata.end() || !found->is_array() || found->size() != 2 ||
      !(*found)[1].is_number_integer())
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "the sample does not say where its haystack is; expected metadata "
                           "'haystack_tokens'")
                    .with_hint("calibrate on a benchmark with haystacks: benchmark=niah"));
  const auto end = (*found)[1].get<std::int64_t>(), begin = end - text_tokens;
  const auto* sliding = std::get_if<SlidingWindow>(&request.cheap);
  const auto prompt = static_cast<std::int64_t>(sample.prompt.size());
  if (sliding == nullptr && (begin < 1 || end > prompt))
    return fail(make_error(ErrorKind::kUnsupported,
                           "the last {} tokens of the haystack, {} to {}: expected them in the {} "
                           "tokens of the prompt, behind the first",
                           text_tokens, begin, end, prompt)
                    .with_hint("lower strategy.text_tokens, or set a longer benchmark.length"));
  const std::int64_t unchanged = sliding == nullptr ? 0 : sliding->window + sliding->sinks;
  if (begin - 1 < unchanged || end > prompt)
    return fail(
        make_error(ErrorKind::kUnsupported,
                   "the last {} tokens of the haystack, {} to {}, are read from position {} "
                   "on; windowing changes nothing before position {} (window and sinks)",
                   text_tokens, begin, end, begin - 1, unchanged)
            .with_hint("lower strategy.text_tokens or mixer.window, or set a longer "
                       "benchmark.length"));
  HaloText text{.scored = Tokens(sample.prompt.begin() + begin, sample.prompt.end()),
                .begin = static_cast<std::size_t>(begin),
                .local = static_cast<std::size_t>(text_tokens),
                .answer = sample.answer.size()};
  text.scored.insert(text.scored.end(), sample.answer.begin(), sample.answer.end());
  return text;
}

double minus_mean(std::span<const double> nll) {
  return -std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size());
}

class HaloRatio final : public SelectionStrategy {
 public:
  explicit HaloRatio(HaloRatioConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override {
    return fmt::format("halo_ratio{}{}", released() ? "_released" : "",
                       config_.recall == HaloRecall::kTfExact ? "[tf_exact]" : "");
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    const nlohmann::json key = {{"measure", "halo ratio"},
                                {"eps", eps()},
                                {"cap", config_.cap.value_or(0)},
                                {"variant", config::enum_name(config_.variant)},
                                {"recall", config::enum_name(config_.recall)},
                                {"text_tokens", config_.text_tokens},
                                {"reuse", config_.reuse}};
    ASSIGN_OR_RETURN(SharedScores scored,
                     shared_scores(request, context, key, [&] { return score(request, context); }));
    return keep_highest(request, std::move(scored), k);
  }

 private:
  HaloRatioConfig config_;

  bool released() const { return config_.variant == HaloVariant::kReleased; }
  double eps() const { return config_.eps.value_or(released() ? 1e-10 : 1e-6); }
  double cap() const {
    return config_.cap.value_or(released() ? 50 : std::numeric_limits<double>::infinity());
  }

  // Both metrics of one sample, with each unit under the cheap mixer in turn.
  struct Metrics {
    std::vector<double> recall, commonsense;
  };
  Result<Metrics> metrics(const SelectionRequest& request, MeteredModel& model,
                          const Sample& sample, const ActivationReuse& reuse) const {
    ASSIGN_OR_RETURN(const HaloText text, text_of(request, sample, config_.text_tokens));
    const ForcedRequest forced{.prompt = std::span(sample.prompt).first(text.begin),
                               .answer = text.scored,
                               .prompt_length = static_cast<std::int64_t>(sample.prompt.size())};
    const Mask full(request.granularity, request.layout, true);
    std::vector<std::size_t> all(full.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    ASSIGN_OR_RETURN(const std::vector<AnswerScore> scores,
                     score_toggles(model, request, forced, full, all, reuse));
    Metrics out;
    for (const AnswerScore& score : std::span(scores).subspan(1)) {
      out.commonsense.push_back(minus_mean(std::span(score.nll).first(text.local)));
      const bool exact = std::equal(sample.answer.begin(), sample.answer.end(),
                                    score.argmax.end() - static_cast<std::ptrdiff_t>(text.answer));
      out.recall.push_back(config_.recall == HaloRecall::kTfExact
                               ? (exact ? 1.0 : 0.0)
                               : minus_mean(std::span(score.nll).last(text.answer)));
    }
    return out;
  }

  Result<SharedScores> score(const SelectionRequest& request, SelectionContext& context) const {
    const std::vector<Sample>& samples = context.calibration->samples;
    const ActivationReuse reuse{config_.reuse,
                                (static_cast<std::uint64_t>(config_.reuse_mib) << 20) /
                                    static_cast<std::uint64_t>(context.model->workers())};
    std::vector<std::vector<double>> recall(samples.size()), commonsense(samples.size());
    RETURN_IF_ERROR(for_each_calibration_sample(
        context, "scoring units", all_samples(*context.calibration),
        [&](MeteredModel& model, std::size_t i) -> Status {
          ASSIGN_OR_RETURN(Metrics here, metrics(request, model, samples[i], reuse));
          recall[i] = std::move(here.recall);
          commonsense[i] = std::move(here.commonsense);
          return {};
        }));
    RETURN_IF_ERROR(check_spread(commonsense));
    const std::vector<double> r = means_over_samples(recall).score;
    const std::vector<double> c = means_over_samples(commonsense).score;
    HaloRatios ratios = halo_ratios(r, c, eps(), cap());
    const Spread spread = spread_over_units(commonsense);
    SharedScores out;
    out.scores.score = std::move(ratios.score);
    out.scores.standard_error.assign(r.size(), std::numeric_limits<double>::quiet_NaN());
    out.diagnostics = {
        {"measure", "recall lost over common sense lost, under cheap attention"},
        {"recall_metric",
         fmt::format(
             "{} of the answer, a proxy of SQuAD, FDA and SWDE",
             config_.recall == HaloRecall::kTfExact ? "teacher-forced exactness" : "minus NLL")},
        {"commonsense_metric",
         fmt::format("minus NLL of the last {} haystack tokens, a proxy of HellaSwag and ARC",
                     config_.text_tokens)},
        {"recall", r},
        {"commonsense", c},
        {"numerator", ratios.numerator},
        {"denominator", ratios.denominator},
        {"epsilon_unit", ratios.epsilon_unit},
        {"eps", eps()},
        {"commonsense_spread", spread.deviation},
        {"commonsense_standard_error", spread.standard_error}};
    return out;
  }
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const HaloRatioConfig& config) {
  return std::make_unique<HaloRatio>(config);
}

}  // namespace strata
