// The YAML of judges that is shipped, against the struct that reads it, and what errors keep to
// themselves.
#include "runner/score_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace strata {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::filesystem::path> shipped() {
  const char* source = std::getenv("STRATA_SOURCE_DIR");
  return {std::filesystem::path(source != nullptr ? source : ".") / "configs"};
}

Result<ScoreConfig> load(std::vector<std::string> overrides) {
  return load_score({.config_dirs = shipped(), .overrides = std::move(overrides)});
}

TEST(ScoreConfigTest, EveryShippedJudgeBinds) {
  int options = 0;
  for (const std::string& option : config::group_options(shipped(), "judge")) {
    ++options;
    const auto bound =
        load({"judge=" + option, "judge.url=http://localhost:8001/v1", "judge.model=m"});
    EXPECT_TRUE(bound) << option << ": " << bound.error().text();
  }
  EXPECT_EQ(options, 4);
}

TEST(ScoreConfigTest, TheOfficialJudgeIsThePapers) {
  const ScoreConfig config = *load({"judge=official"});
  EXPECT_EQ(config.judge.model, "gpt-4o-2024-08-06");
  EXPECT_EQ(config.judge.temperature, 0);
  EXPECT_EQ(config.judge.max_tokens, 10);
  EXPECT_EQ(config.judge.rubric, RubricSet::kLongMemEval);
  EXPECT_EQ(config.db, "results.db");
  const ScoreConfig swaa = *load({"judge=swaa", "judge.url=http://localhost/v1", "judge.model=m"});
  EXPECT_EQ(swaa.judge.temperature, 1);
  EXPECT_EQ(swaa.judge.max_tokens, std::nullopt);
}

TEST(ScoreConfigTest, ErrorsKeepSecretsToThemselves) {
  for (const char* word :
       {"judge.key=s3cret", "+judge.api_key=s3cret", "key=s3cret", "judge.url=http://h/?k=s3cret",
        "judge.url=[s3cret]", "judge.key_env={a:s3cret}", "++judge.url=a=s3cret", "~s3cret"}) {
    const auto refused = load({word, "judge.model=m"});
    ASSERT_FALSE(refused) << word;
    EXPECT_THAT(refused.error().text(), Not(HasSubstr("s3cret"))) << word;
  }
  EXPECT_THAT(load({"judge.retrys=3"}).error().text(),
              HasSubstr("unknown key 'judge.retrys'\n  hint: did you mean 'judge.retries'?"));
}

}  // namespace
}  // namespace strata
