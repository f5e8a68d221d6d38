// A planted problem of tools/make_planted.py (docs/planted_problem.md), which the build writes into
// build/planted: a real checkpoint, questions for it, and what selection must find there.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "core/mask.h"
#include "core/mixer_spec.h"
#include "core/sample.h"
#include "models/model.h"

namespace strata::testing {

// What follows by arithmetic from what was planted, at one granularity. Units are numbered as in
// Mask; NLL and scores are means over the questions, in nats.
struct PlantedSelection {
  Granularity granularity = Granularity::kLayer;
  std::size_t units = 0;                       // K
  std::vector<std::vector<std::size_t>> best;  // every set of K units with the lowest NLL
  double nll = 0;                              // of such a set
  std::vector<double> restore, ablate;         // the score of each unit
};

struct PlantedProblem {
  std::unique_ptr<Model> model;
  CalibrationSet calibration;  // in the order of the maker; each with needle and counterfactual
  std::vector<Sample> test;
  SlidingWindow cheap;
  double nll_none = 0, nll_full = 0;
  std::vector<PlantedSelection> selections;

  const PlantedSelection& at(Granularity granularity) const;
};

// Loads it as the programs do. dtype: float32 or float64, of the computation.
PlantedProblem load_planted(const std::string& name, const std::string& dtype);

}  // namespace strata::testing
