// The YAML that is shipped, against the structs that read it.
#include "runner/experiment_config.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

namespace strata {
namespace {

std::vector<std::filesystem::path> shipped() {
  const char* source = std::getenv("STRATA_SOURCE_DIR");
  return {std::filesystem::path(source != nullptr ? source : ".") / "configs"};
}

Result<std::vector<Job>> jobs(std::vector<std::string> overrides, bool multirun = false) {
  return load_jobs(
      {.config_dirs = shipped(), .overrides = std::move(overrides), .multirun = multirun});
}

TEST(ExperimentConfigTest, EveryShippedOptionOfEveryGroupBinds) {
  std::size_t options = 0;
  for (const std::string& group : config::groups(shipped())) {
    // Of convert and score: convert_config_test.cc, score_config_test.cc. Papers:
    // paper_config_test.cc.
    if (group == "text" || group == "recipe" || group == "judge") continue;
    if (group == "paper" || group == "experiment/paper") continue;
    for (const std::string& option : config::group_options(shipped(), group)) {
      ++options;
      std::vector<std::string> overrides = {fmt::format("{}={}", group, option)};
      // What only the user can know.
      if (group == "model" && option == "directory") overrides.emplace_back("model.path=/m");
      if (group == "strategy" && option == "file") overrides.emplace_back("strategy.path=/p");
      if (group == "benchmark" && option == "jsonl") overrides.emplace_back("benchmark.path=/q");
      const auto bound = jobs(overrides);
      EXPECT_TRUE(bound) << group << "=" << option << ": " << bound.error().text();
    }
  }
  EXPECT_GE(options, 15u);
}

TEST(ExperimentConfigTest, DefaultsAreTheDocumentedOnes) {
  const ExperimentConfig config = jobs({})->at(0).config;
  EXPECT_EQ(config.strategy_name(), "nll_guided");
  EXPECT_EQ(config.benchmark_name(), "niah");
  EXPECT_EQ(config.benchmark_split(), Split::kTest);
  EXPECT_EQ(config.mixer.window, 128);
  EXPECT_EQ(config.budget.fraction, 0.25);
  EXPECT_EQ(config.decode_rule, DecodeRule::kSame);
  EXPECT_EQ(config.device, "cpu");
  EXPECT_EQ(config.db, "results.db");
}

TEST(ExperimentConfigTest, CalibrationMayComeFromAnotherBenchmark) {
  EXPECT_EQ(jobs({})->at(0).config.calibration_benchmark_name(), "");
  const auto loaded = jobs({"calibration=multi_passkey", "calibration.benchmark.words=5",
                            "calibration.benchmark.slots=20", "calibration.samples=3"});
  ASSERT_TRUE(loaded) << loaded.error().text();
  const ExperimentConfig& config = loaded->at(0).config;
  EXPECT_EQ(config.benchmark_name(), "niah");
  EXPECT_EQ(config.calibration_benchmark_name(), "multi_passkey");
  EXPECT_EQ(config.calibration.benchmark.find("words")->to_json(), 5);
  EXPECT_EQ(config.calibration.benchmark.find("slots")->to_json(), 20);
  EXPECT_EQ(config.calibration.benchmark.find("answer_passkeys")->to_json(), 10);
  const auto typo = jobs({"calibration=multi_passkey", "calibration.benchmark.wrods=5"});
  ASSERT_FALSE(typo);
  EXPECT_NE(typo.error().text().find("calibration.benchmark.wrods"), std::string::npos);
  EXPECT_NE(typo.error().hint.find("words"), std::string::npos) << typo.error().text();
  const auto bad = jobs({"calibration=multi_passkey", "calibration.benchmark.words=many"});
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().text().find("calibration.benchmark.words"), std::string::npos)
      << bad.error().text();
  const auto unknown = jobs({"++calibration.benchmark={name: nihil}"});
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().text().find("unknown benchmark 'nihil'"), std::string::npos)
      << unknown.error().text();
}

TEST(ExperimentConfigTest, TheCheapMixerIsAWindowOrANamedLinearAttention) {
  EXPECT_EQ(jobs({"mixer.window=9"})->at(0).config.cheap_mixer(), MixerSpec(SlidingWindow{9, 4}));
  EXPECT_EQ(jobs({"mixer=linear_attention"})->at(0).config.cheap_mixer(),
            MixerSpec(LinearAttention{LinearKind::kLightning}));
  EXPECT_EQ(jobs({"mixer.kind=linear_attention", "mixer.linear=gated_deltanet"})
                ->at(0)
                .config.cheap_mixer(),
            MixerSpec(LinearAttention{LinearKind::kGatedDeltaNet}));
  const auto error = [](std::vector<std::string> overrides) {
    const auto loaded = jobs(std::move(overrides));
    return loaded ? std::string("none") : loaded.error().text();
  };
  EXPECT_EQ(error({"mixer.kind=linear_attention"}),
            "mixer.linear: expected one of lightning, gla, gated_deltanet, got null\n"
            "  hint: mixer=linear_attention mixer.linear=lightning");
  EXPECT_EQ(error({"mixer.linear=gla"}),
            "mixer.linear: mixer.kind=sliding_window takes none, got gla\n"
            "  hint: set mixer.kind=linear_attention");
  EXPECT_EQ(error({"mixer=linear_attention", "decode_rule=full"}),
            "decode_rule: linear_attention keeps no keys that queries behind the prompt could see; "
            "expected same, got full\n  hint: set decode_rule=same");
  EXPECT_NE(error({"mixer=linear_attention", "mixer.linear=retnet"}).find("gated_deltanet"),
            std::string::npos);
}

TEST(ExperimentConfigTest, TheEvaluatedSplitIsTestOrDevelopmentAndNoKeyOfTheBenchmarkItself) {
  const auto loaded = jobs({"benchmark.split=development"});
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ(loaded->at(0).config.benchmark_split(), Split::kDevelopment);
  EXPECT_EQ(loaded->at(0).config.benchmark_own().find("split"), nullptr);
  for (const char* wrong : {"benchmark.split=calibration", "benchmark.split=dev"}) {
    const auto refused = jobs({wrong});
    ASSERT_FALSE(refused) << wrong;
    EXPECT_NE(refused.error().text().find("test, development"), std::string::npos)
        << refused.error().text();
  }
  // Calibration has its own.
  EXPECT_FALSE(jobs({"calibration=niah", "+calibration.benchmark.split=development"}));
}

TEST(ExperimentConfigTest, SeedsDeriveByPurposeAndCanBeSetAlone) {
  const ExperimentConfig base = jobs({})->at(0).config;
  EXPECT_NE(base.benchmark_seed(), base.calibration_seed());
  EXPECT_NE(base.benchmark_seed(), base.strategy_seed());
  const ExperimentConfig other = jobs({"seed=1"})->at(0).config;
  EXPECT_NE(base.benchmark_seed(), other.benchmark_seed());
  const ExperimentConfig alone = jobs({"calibration.seed=5"})->at(0).config;
  EXPECT_EQ(alone.calibration_seed(), 5u);
  EXPECT_EQ(alone.benchmark_seed(), base.benchmark_seed());
  EXPECT_EQ(jobs({"benchmark.seed=7"})->at(0).config.benchmark_seed(), 7u);
  EXPECT_EQ(jobs({"strategy.seed=9"})->at(0).config.strategy_seed(), 9u);
}

TEST(ExperimentConfigTest, SweepsGiveAJobForEachCombination) {
  const auto swept = jobs({"strategy=full,periodic", "budget.fraction=0.125,0.25,0.5"}, true);
  ASSERT_TRUE(swept) << swept.error().text();
  ASSERT_EQ(swept->size(), 6u);
  EXPECT_EQ((*swept)[0].config.strategy_name(), "full");
  EXPECT_EQ((*swept)[5].config.strategy_name(), "periodic");
  EXPECT_EQ((*swept)[5].config.budget.fraction, 0.5);
}

TEST(ExperimentConfigTest, AStrategysKeysNeedNoPlus) {
  const auto bound = jobs({"strategy=periodic", "strategy.offset=2"});
  ASSERT_TRUE(bound) << bound.error().text();
  EXPECT_EQ(*bound->at(0).config.strategy.find("offset")->if_int(), 2);
}

TEST(ExperimentConfigTest, WrongValuesSayWhereAndWhat) {
  const auto error = [](std::vector<std::string> overrides) {
    const auto bound = jobs(std::move(overrides));
    return bound ? std::string("accepted") : bound.error().text();
  };
  EXPECT_NE(error({"mixer.windw=3"}).find("did you mean 'mixer.window'?"), std::string::npos)
      << error({"mixer.windw=3"});
  EXPECT_NE(error({"mixer.window=0"}).find("at least 1"), std::string::npos);
  EXPECT_NE(error({"decode_rule=fulll"}).find("expected one of same, full"), std::string::npos)
      << error({"decode_rule=fulll"});
  EXPECT_NE(error({"benchmark.samples=-1"}).find("at least 0"), std::string::npos);
  EXPECT_NE(error({"strategy=periodic", "strategy.offset=x"}).find("strategy.offset"),
            std::string::npos);
  EXPECT_NE(error({"strategy.mode=restor"}).find("restore"), std::string::npos);
  EXPECT_NE(error({"benchmark.lenght=5"}).find("length"), std::string::npos);
  EXPECT_NE(error({"device=tpu"}).find("cpu"), std::string::npos);
}

}  // namespace
}  // namespace strata
