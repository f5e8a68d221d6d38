// Selectors by gradients on the planted problems (docs/planted_problem.md): as planted_test.cc.
#include <gtest/gtest.h>

#include "tests/unit/strategies/planted_table.h"
#include "tests/unit/strategies/training_keys.h"

namespace strata::testing {
namespace {

config::Value list(const std::vector<double>& values) {
  config::List out;
  for (const double value : values) out.emplace_back(value);
  return config::Value(out);
}

std::vector<Method> methods() {
  const Outcome solves{Verdict::kSolves}, blind{Verdict::kBlind}, untried{Verdict::kUntried},
      drifts{Verdict::kDrifts};
  const Outcome picks{Verdict::kPicks, {2, 4}};
  const PlantedKeys closed = {{"name", "gradient_attribution"}, {"gates", list({0.0})}},
                    middle = {{"name", "gradient_attribution"}},
                    greedy = {{"name", "gradient_attribution"}, {"searcher", "greedy"}},
                    path = {{"name", "gate_path"}, {"prompts", 1.0}},
                    quadratic = {{"name", "quadratic_surrogate"}, {"prompts", 1.0}},
                    consa = {{"name", "consa"},
                             {"training", training(200, 1)},
                             {"start", 3.0},
                             {"mask_rate", 0.2},
                             {"multiplier_rate", 0.2}},
                    long_consa = {{"name", "consa"},
                                  {"training", training(400, 1)},
                                  {"start", 3.0},
                                  {"ramp", 0.8}},
                    mixed = {{"name", "duo_attention"},
                             {"fa_stream", "mixed"},
                             {"rate", 0.1},
                             {"training", training(36, 1)}},
                    teacher = {{"name", "duo_attention"},
                               {"rate", 0.1},
                               {"training", training(36, 1)}},
                    morph = {{"name", "flashmorph"},
                             {"lambda", 0.02},
                             {"rate", 0.1},
                             {"training", training(36, 1)}},
                    morph_mixed = {{"name", "flashmorph"},
                                   {"kept", "mixed"},
                                   {"lambda", 0.02},
                                   {"rate", 0.1},
                                   {"training", training(36, 1)}},
                    morph_single = {{"name", "flashmorph"},
                                    {"stream", "single"},
                                    {"lambda", 0.02},
                                    {"rate", 0.1},
                                    {"training", training(36, 1)}},
                    loza = {{"name", "loza"},
                            {"loss", "answer"},
                            {"rate", 0.03},
                            {"training", training(20, 1)}};
  // clang-format off
  return {
      //                                 add     and     or      harm    and3     twin: layers, KV heads
      {"gradient at 0", closed,          {solves, blind,  picks,  solves, blind,   solves, solves}},
      {"gradient at half", middle,       {solves, solves, solves, solves, solves,  solves, solves}},
      {"gradient greedy", greedy,        {solves, blind,  solves, solves, blind,   solves, solves}},
      {"gate_path", path,                {solves, solves, solves, solves, solves,  solves, solves}},
      {"quadratic_surrogate", quadratic, {solves, solves, solves, solves, solves,  solves, solves}},
      {"consa", consa,                   {solves, solves, solves, solves, untried, solves, untried}},
      {"consa of 400 steps", long_consa, {untried, untried, untried, untried, solves, untried, untried}},
      {"duo_attention mixed", mixed,     {solves, solves, picks,  solves, solves,  solves, solves}},
      {"duo_attention teacher", teacher, {solves, solves, picks,  solves, solves,  solves, solves}},
      {"flashmorph", morph,              {solves, solves, picks,  solves, solves,  solves, solves}},
      {"flashmorph mixed", morph_mixed,  {solves, solves, picks,  solves, solves,  solves, solves}},
      {"flashmorph single", morph_single, {solves, solves, picks, solves, solves,  solves, solves}},
      {"loza", loza,                     {drifts, drifts, drifts, drifts, drifts,  drifts, drifts}},
  };
  // clang-format on
}

class PlantedLearnedTest : public PlantedBench, public ::testing::TestWithParam<Cell> {
 protected:
  PlantedLearnedTest() : PlantedBench(GetParam().problem) {}
};

TEST_P(PlantedLearnedTest, SolvesOrFailsAsTheTableSays) {
  expect_outcome(GetParam().outcome, select(GetParam().method.keys));
}

INSTANTIATE_TEST_SUITE_P(Cells, PlantedLearnedTest, ::testing::ValuesIn(cells_of(methods())),
                         [](const auto& one) { return name_of(one.param); });

}  // namespace
}  // namespace strata::testing
