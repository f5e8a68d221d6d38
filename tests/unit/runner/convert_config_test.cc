// The YAML of conversions that is shipped, against the struct that reads it.
#include "runner/convert_config.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace strata {
namespace {

std::vector<std::filesystem::path> shipped() {
  const char* source = std::getenv("STRATA_SOURCE_DIR");
  return {std::filesystem::path(source != nullptr ? source : ".") / "configs"};
}

Result<ConvertJob> load(std::vector<std::string> overrides) {
  return load_convert({.config_dirs = shipped(), .overrides = std::move(overrides)});
}
std::string refusal(std::vector<std::string> overrides) {
  const Result<ConvertJob> job = load(std::move(overrides));
  return job ? "no error" : job.error().text();
}

TEST(ConvertConfigTest, EveryShippedTextAndRecipeBinds) {
  int options = 0;
  for (const char* group : {"text", "recipe"})
    for (const std::string& option : config::group_options(shipped(), group)) {
      ++options;
      const auto bound =
          load({fmt::format("{}={}", group, option),
                group == std::string("text") && option != "folder" ? "seed=1" : "text.path=/t"});
      EXPECT_TRUE(bound) << group << "=" << option << ": " << bound.error().text();
    }
  EXPECT_EQ(options, 7);
}

TEST(ConvertConfigTest, RecipesHaveTheTokensOfTheirPapers) {
  const auto tokens = [](const auto& stage) {
    return static_cast<double>(stage.training.steps * stage.training.batch * stage.length);
  };
  const ConvertConfig flashmorph = load({"text.path=/t", "recipe=flashmorph"})->config;
  EXPECT_NEAR(tokens(flashmorph.stage1), 320e6, 0.03 * 320e6);
  EXPECT_NEAR(tokens(flashmorph.stage2), 1e9, 0.05e9);
  EXPECT_NEAR(tokens(flashmorph.stage3), 1e9, 0.05e9);
  EXPECT_EQ(flashmorph.stage2.training.loss, HybridLoss::kDivergence);
  EXPECT_EQ(flashmorph.stage3.training.loss, HybridLoss::kNll);
  EXPECT_EQ(flashmorph.stage3.length, 16384);
  const ConvertConfig radlads = load({"text.path=/t", "recipe=radlads"})->config;
  EXPECT_NEAR(tokens(radlads.stage1), 100e6, 1e6);
  const ConvertConfig brief = load({"text.path=/t"})->config;
  EXPECT_EQ(brief.stage1.training.steps, 200);
  EXPECT_EQ(brief.stage2.training.steps, 0);
}

TEST(ConvertConfigTest, WhatCannotBeIsRefusedBeforeAModelIsRead) {
  EXPECT_NE(refusal({}).find("text.path"), std::string::npos) << refusal({});
  EXPECT_NE(refusal({"text.path=/t", "stage1.stpes=3"}).find("did you mean 'stage1.steps'?"),
            std::string::npos);
  EXPECT_NE(refusal({"text.path=/t", "stage2.temperature=0"}).find("stage2.temperature"),
            std::string::npos);
  EXPECT_NE(refusal({"text.path=/t", "layers=[3,1]"}).find("expected rising layers"),
            std::string::npos);
  EXPECT_NE(
      refusal({"text.path=/t", "stage1.steps=0", "model.branches=/b"}).find("no stage has a step"),
      std::string::npos);
  EXPECT_NE(refusal({"text=teacher", "text.max_repeats=0"}).find("text.max_repeats"),
            std::string::npos);
}

}  // namespace
}  // namespace strata
