// The table of docs/planted_problem.md: what each selector must do with each planted problem, and a
// fixture that runs one on one.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "core/config/value.h"
#include "strategies/strategy.h"
#include "tests/unit/strategies/planted_problem.h"

namespace strata::testing {

using Units = std::vector<std::size_t>;
using PlantedKeys = std::vector<std::pair<std::string, config::Value>>;  // of strategy=

// Of a unit that does nothing: what random heads of their size may do to the NLL, in nats.
inline constexpr double kPlantedNoise = 1e-3;

// The columns of the table.
struct Problem {
  std::string name;
  Granularity granularity;
  std::vector<Units> best;
  double chance;        // of one random draw
  std::size_t samples;  // calibration questions that selectors get: whole rounds of what is asked
};
std::vector<Problem> problems();
std::string name_of(const Problem& problem);  // of a test

// What a selector must do with a problem.
enum class Verdict {
  kSolves,
  kBlind,   // sees nothing: every score is noise, so that its choice is one of chance, and wrong
  kAvoids,  // selects none of `units`, which a best set needs; empty = of any best set
  kPicks,   // selects exactly `units`, which is wrong
  kDrifts,  // moves a gate that does nothing a third as far as any planted one, or further: what it
            // selects is luck
  kUntried,  // nothing follows from its evidence
};
struct Outcome {
  Verdict verdict;
  Units units = {};
};

struct Method {
  std::string name;
  PlantedKeys keys;
  std::vector<Outcome> outcomes;  // one a problem
};

// A cell of the table that is tried.
struct Cell {
  std::size_t problem = 0;  // of problems()
  Method method;
  Outcome outcome;
};
std::vector<Cell> cells_of(const std::vector<Method>& methods);
std::string name_of(const Cell& cell);
// NOLINTNEXTLINE(readability-identifier-naming): googletest's name
inline void PrintTo(const Cell& cell, std::ostream* out) { *out << name_of(cell); }

// Scores that methods share, as in a sweep.
class PlantedCache final : public ScoreCache {
 public:
  const Entry* find(const std::string& key) const override {
    const auto it = entries_.find(key);
    return it == entries_.end() ? nullptr : &it->second;
  }
  void insert(const std::string& key, Entry entry) override { entries_[key] = std::move(entry); }

 private:
  std::map<std::string, Entry> entries_;
};

// One problem, loaded once for all tests of a program.
class PlantedBench {
 protected:
  explicit PlantedBench(std::size_t problem, const std::string& dtype = "float32");

  Selection select(const PlantedKeys& keys);
  void expect_outcome(const Outcome& outcome, const Selection& selection) const;
  void expect_drift(const Selection& selection) const;

  // The problem with the scores that were computed on it.
  struct Loaded {
    PlantedProblem planted;
    PlantedCache cache;
  };
  static Loaded& loaded(const std::string& name, const std::string& dtype);

  Problem problem_;
  Loaded& loaded_;
  const PlantedProblem& planted_;
  const PlantedSelection& truth_;
  CalibrationSet calibration_;  // what selectors get
  SelectionRequest request_;
  SilentProgress progress_;
};

}  // namespace strata::testing
