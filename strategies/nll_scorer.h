// NllScorer: the change of teacher-forced answer NLL when one unit is toggled (NLL-guided
// selection, arXiv 2606.27791).
//
// s_u(C) = mean over samples of [NLL(C without u) − NLL(C with u)], NLL = mean nats a token over
// the answer. C = nothing kept is restore-one, C = everything kept is ablate-one. With reuse, one
// run of C keeps its layers' inputs (what does not fit the memory is run a second time) and a
// toggle resumes at its layer; without, every toggle runs from the first layer. Scores agree up to
// rounding. The standard error is that of the mean over independent samples.
#pragma once

#include "strategies/mask_losses.h"
#include "strategies/scorer.h"

namespace strata {

class NllScorer final : public SampledScorer {
 public:
  NllScorer(const SelectionRequest& request, SelectionContext& context, ActivationReuse reuse)
      : request_(request), context_(context), reuse_(reuse) {}

  Result<UnitScores> score(const Mask& context, std::span<const std::size_t> candidates) override;
  std::size_t samples() const override;
  Result<SampleGains> gains(const Mask& context, std::span<const std::size_t> candidates,
                            std::span<const std::size_t> samples) override;

 private:
  const SelectionRequest& request_;
  SelectionContext& context_;
  ActivationReuse reuse_;

  // NLL at each answer position of the context and of each toggle, [sample].
  Result<std::vector<NllRows>> run(const Mask& context, std::span<const std::size_t> candidates,
                                   std::span<const std::size_t> samples) const;
};

}  // namespace strata
