// NllScorer: the change of a measure of teacher-forced text when one unit is toggled: answer NLL
// (NLL-guided selection, arXiv 2606.27791), or the divergence from full attention.
//
// s_u(C) = mean over samples of [M(C without u) − M(C with u)], M = mean over positions of −log p
// (nats a token), or of KL(full attention ‖ C) at temperature 1. C = nothing kept is restore-one, C
// = everything kept is ablate-one. With reuse, one run of C keeps its layers' inputs (what does not
// fit the memory is run a second time) and a toggle resumes at its layer; without, every toggle
// runs from the first layer. Scores agree up to rounding. The standard error is that of the mean
// over independent samples.
#pragma once

#include "strategies/mask_losses.h"
#include "strategies/scorer.h"
#include "strategies/shared_scores.h"

namespace strata {

enum class Measure {
  kAnswerNll,
  kAnswerDivergence,        // at the answer's positions
  kDivergenceBeyondWindow,  // at the prompt's positions ≥ window (linear attention: at all of
                            // them); looks at no answer
};
std::string_view to_string(Measure measure);

// The context's score and then each toggle's, on one text (its plan aside).
Result<std::vector<AnswerScore>> score_toggles(MeteredModel& model, const SelectionRequest& request,
                                               ForcedRequest text, const Mask& context,
                                               std::span<const std::size_t> candidates,
                                               const ActivationReuse& reuse);

class NllScorer final : public SampledScorer {
 public:
  NllScorer(const SelectionRequest& request, SelectionContext& context, ActivationReuse reuse,
            Measure measure = Measure::kAnswerNll);

  Result<UnitScores> score(const Mask& context, std::span<const std::size_t> candidates) override;
  std::size_t samples() const override;
  Result<ScoreTensor> gains(const Mask& context, std::span<const std::size_t> candidates,
                            std::span<const std::size_t> samples) override;

 private:
  const SelectionRequest& request_;
  SelectionContext& context_;
  ActivationReuse reuse_;  // of one worker
  Measure measure_;

  // One sample's, of the context and of each toggle.
  struct Toggled {
    std::vector<double> measured;  // at each position
    bool right = false;            // of answers: every token is the likeliest one
  };
  Result<std::vector<Toggled>> toggles(MeteredModel& model, const Sample& sample,
                                       const Mask& context,
                                       std::span<const std::size_t> candidates) const;
  // [sample][0 = context, then candidates]
  Result<std::vector<std::vector<Toggled>>> all_toggles(const Mask& context,
                                                        std::span<const std::size_t> candidates,
                                                        std::span<const std::size_t> samples);
  ScoreTensor tensor_of(const Mask& context, std::span<const std::size_t> candidates,
                        std::span<const std::size_t> samples,
                        const std::vector<std::vector<Toggled>>& toggled) const;
};

// Every unit toggled alone, where nothing (restore) or everything (ablate) is kept; computed once
// for all who ask.
Result<SharedScores> score_all_units(const SelectionRequest& request, SelectionContext& context,
                                     bool restore, const ActivationReuse& reuse, Measure measure);

}  // namespace strata
