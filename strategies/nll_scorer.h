// NllScorer: the change of teacher-forced answer NLL when one unit is toggled (NLL-guided
// selection, arXiv 2606.27791).
//
// s_u(C) = mean over samples of [NLL(C without u) − NLL(C with u)], NLL = mean nats a token over
// the answer. C = nothing kept is restore-one, C = everything kept is ablate-one. With reuse, one
// run of C keeps every layer's input and a toggle resumes at its layer; without, every toggle runs
// from the first layer. Scores agree up to rounding.
#pragma once

#include "strategies/scorer.h"

namespace strata {

class NllScorer final : public UnitScorer {
 public:
  NllScorer(const SelectionRequest& request, SelectionContext& context, bool reuse)
      : request_(request), context_(context), reuse_(reuse) {}

  Result<UnitScores> score(const Mask& context, std::span<const std::size_t> candidates) override;

 private:
  const SelectionRequest& request_;
  SelectionContext& context_;
  bool reuse_;

  // NLL of the context and of each toggle, on one sample.
  Result<std::vector<double>> toggles(MeteredModel& model, const Sample& sample,
                                      const Mask& context,
                                      std::span<const std::size_t> candidates) const;
};

}  // namespace strata
