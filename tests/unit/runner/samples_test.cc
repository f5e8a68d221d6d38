// Samples as a job draws them: which split they come from, and that no split shares content with
// another. No model is loaded.
#include "runner/samples.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "benchmarks/registry.h"
#include "tests/unit/benchmarks/fixture.h"

namespace strata {
namespace {

class SamplesTest : public ::testing::TestWithParam<const char*> {
 protected:
  static ExperimentConfig config(const std::string& split) {
    const char* source = std::getenv("STRATA_SOURCE_DIR");
    std::vector<std::string> overrides = {std::string("benchmark=") + GetParam(),
                                          "benchmark.length=4096", "calibration.samples=6",
                                          "benchmark.samples=6", "benchmark.split=" + split};
    if (overrides[0] == "benchmark=ruler")  // by default of published files
      for (const char* own : {"task=niah_multikey_1", "essays=bundled", "words=bundled"})
        overrides.push_back(std::string("benchmark.") + own);
    auto jobs = load_jobs(
        {.config_dirs = {std::filesystem::path(source != nullptr ? source : ".") / "configs"},
         .overrides = overrides});
    EXPECT_TRUE(jobs) << jobs.error().text();
    return jobs->at(0).config;
  }

  std::vector<Sample> drawn(const ExperimentConfig& config, Split split) const {
    const auto benchmark = make_benchmark(config.benchmark_name(), config.benchmark_own());
    EXPECT_TRUE(benchmark) << benchmark.error().text();
    auto samples = draw_samples(config, **benchmark, text_, /*max_positions=*/0, split);
    EXPECT_TRUE(samples) << samples.error().text();
    return samples ? *std::move(samples) : std::vector<Sample>();
  }

 private:
  const Model model_ = small_model();
  const TextTools text_{model_.tokenizer, model_.chat};
};

TEST_P(SamplesTest, TheSplitThatAJobNamesIsDrawnAndSharesNothingWithTheOthers) {
  std::vector<std::vector<Sample>> all;
  for (const std::string split : {"test", "development"}) {
    const ExperimentConfig job = config(split);
    all.push_back(drawn(job, job.benchmark_split()));
    ASSERT_EQ(all.back().size(), 6U);
    for (const Sample& sample : all.back()) EXPECT_EQ(sample.metadata["split"], split);
  }
  all.push_back(drawn(config("test"), Split::kCalibration));
  // What is calibrated on does not depend on what is evaluated.
  const auto same = drawn(config("development"), Split::kCalibration);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(same[i].id, all[2][i].id);
  for (std::size_t a = 0; a < all.size(); ++a)
    for (std::size_t b = 0; b < all.size(); ++b) {
      if (a == b) continue;
      const Status disjoint = check_disjoint(all[a], all[b]);
      EXPECT_TRUE(disjoint) << disjoint.error().text();
    }
}

INSTANTIATE_TEST_SUITE_P(Benchmarks, SamplesTest,
                         ::testing::Values("niah", "multi_passkey", "local_text", "ruler"),
                         [](const auto& one) { return std::string(one.param); });

}  // namespace
}  // namespace strata
