// Strategies that run no model.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "strategies/config_registry.h"
#include "strategies/registry.h"

namespace strata {
namespace {

constexpr HeadLayout kLayout{.layers = 30, .query_heads = 9, .kv_heads = 3};

config::Value named(const char* name,
                    const std::vector<std::pair<std::string, config::Value>>& keys = {}) {
  config::Map map;
  map.set("name", name);
  for (auto& [key, value] : keys) map.set(key, value);
  return map;
}

Result<Mask> select(const config::Value& strategy,
                    const SelectionRequest& request = {.layout = kLayout}) {
  auto made = make_strategy(strategy);
  if (!made) return fail(made.error());
  SilentProgress progress;
  SelectionContext context{.progress = &progress};
  auto selection = (*made)->select(request, context);
  if (!selection) return fail(selection.error());
  return selection->mask;
}

std::vector<std::size_t> kept(const config::Value& strategy) {
  return select(strategy)->kept_units();
}

TEST(StrategiesTest, FullAndNoneIgnoreTheBudget) {
  EXPECT_EQ(select(named("full"))->kept(), 30u);
  EXPECT_EQ(select(named("none"))->kept(), 0u);
  for (const char* name : {"full", "native", "none"})
    EXPECT_FALSE((*make_strategy(named(name)))->uses_budget());
}

TEST(StrategiesTest, TheCommandLineKnowsWhichIgnoreTheBudget) {
  for (const StrategyInfo& info : strategy_infos()) {
    const auto made = make_strategy(named(std::string(info.name).c_str()));
    ASSERT_TRUE(made) << info.name << ": " << made.error().text();
    EXPECT_EQ((*made)->uses_budget(), info.uses_budget) << info.name;
  }
}

TEST(StrategiesTest, NativeIsTheCheckpointsOwnHybrid) {
  const HeadLayout layout{3, 4, 2};
  const AttentionPlan native = *AttentionPlan::from_cells(
      Granularity::kLayer, layout,
      {{FullAttention{}, DecodeRule::kSame}, {SlidingWindow{9, 0}, DecodeRule::kSame}}, {1, 0, 1});
  SilentProgress progress;
  SelectionContext context{.progress = &progress};
  const auto selection =
      (*make_strategy(named("native")))->select({.layout = layout, .native = native}, context);
  EXPECT_EQ(selection->plan, native);
  EXPECT_EQ(selection->mask.kept_units(), std::vector<std::size_t>{1});
}

TEST(StrategiesTest, PeriodicByBudgetKeepsExactlyKAtEveryOffset) {
  // K = 7 of 30: floor(offset + 30 j / 7).
  EXPECT_EQ(kept(named("periodic", {{"offset", 0}})),
            (std::vector<std::size_t>{0, 4, 8, 12, 17, 21, 25}));
  EXPECT_EQ(kept(named("periodic", {{"offset", 3}})),
            (std::vector<std::size_t>{3, 7, 11, 15, 20, 24, 28}));
  EXPECT_EQ(select(named("periodic", {{"offset", 4}})).error().text(),
            "strategy.offset is 4; expected 0 to 3 for 7 of 30 layers");
  EXPECT_EQ(select(named("periodic")).error().text(),
            "strategy.offset is not set, which means every offset; expected one\n"
            "  hint: strategy.offset=0 to 3");
  EXPECT_EQ(select(named("random")).error().text(),
            "strategy.draw is not set, which means every draw; expected one\n"
            "  hint: strategy.draw=0 is the first");
  const auto every = (*make_strategy(named("periodic")))->variants({.layout = kLayout});
  EXPECT_EQ(every->key, "offset");
  EXPECT_EQ(every->values, (std::vector<std::int64_t>{0, 1, 2, 3}));
}

TEST(StrategiesTest, PeriodicByStrideMayDifferFromTheBudget) {
  // Stride 4 over 30 layers: 8, 8, 7, 7.
  const std::size_t expected[] = {8, 8, 7, 7};
  for (int offset = 0; offset < 4; ++offset)
    EXPECT_EQ(kept(named("periodic", {{"by", "stride"}, {"offset", offset}})).size(),
              expected[offset]);
}

TEST(StrategiesTest, EndsAreTheFirstHalfRoundedUpAndTheLastHalfRoundedDown) {
  EXPECT_EQ(kept(named("ends")), (std::vector<std::size_t>{0, 1, 2, 3, 27, 28, 29}));  // K = 7
  SelectionRequest request{.layout = kLayout};
  for (int k = 1; k <= 30; ++k) {
    request.budget.units = k;
    std::vector<std::size_t> expected;
    for (std::size_t layer = 0; layer < 30; ++layer)
      if (layer < static_cast<std::size_t>(std::ceil(k / 2.0)) ||
          layer >= 30 - static_cast<std::size_t>(std::floor(k / 2.0)))
        expected.push_back(layer);
    EXPECT_EQ(select(named("ends"), request)->kept_units(), expected);
  }
  // KV heads: whole layers, three a layer.
  request.granularity = Granularity::kKvHead;
  request.budget.units = 9;
  const auto plan = request.plan(*select(named("ends"), request));
  EXPECT_EQ(full_attention_of(*plan).kept_units(), (std::vector<std::size_t>{0, 1, 29}));
  request.budget.units = 10;
  EXPECT_EQ(select(named("ends"), request).error().text(),
            "ends keeps whole layers: 10 units are not a multiple of the 3 units a layer");
  EXPECT_EQ((*make_strategy(named("ends")))->needs().supervision(), "none");
}

TEST(StrategiesTest, AreGivenWhatTheyAskForAndNoMore) {
  CalibrationSet all{
      "set",
      {{.id = "a",
        .prompt = {1, 2, 3},
        .answer = {4},
        .prompt_text = "text",
        .answers = {"four"},
        .answer_given = " ",
        .cluster = "c",
        .metadata = {
            {"needle", {1, 2}}, {"value", "four"}, {"counterfactual", {{"answer", {5}}}}}}}};
  const CalibrationSet prompts = given({.prompts = true}, all);
  EXPECT_EQ(prompts.id, "set");
  EXPECT_EQ(prompts.samples[0].id, "a");
  EXPECT_EQ(prompts.samples[0].cluster, "c");
  EXPECT_EQ(prompts.samples[0].prompt, (Tokens{1, 2, 3}));
  EXPECT_TRUE(prompts.samples[0].answer.empty());
  EXPECT_TRUE(prompts.samples[0].answers.empty());
  EXPECT_TRUE(prompts.samples[0].metadata.empty());
  const CalibrationSet spans = given({.spans = true}, all);
  EXPECT_EQ(spans.samples[0].metadata, (nlohmann::json{{"needle", {1, 2}}}));
  EXPECT_TRUE(spans.samples[0].answer.empty());
  EXPECT_EQ(given({.answers = true}, all).samples[0].metadata,
            (nlohmann::json{{"needle", {1, 2}}, {"value", "four"}}));
  EXPECT_EQ(given({.pairs = true}, all).samples[0].metadata, all.samples[0].metadata);
  EXPECT_EQ(given({.answers = true}, all).samples[0].answer, (Tokens{4}));
}

TEST(StrategiesTest, RandomDrawsAreReproducibleDistinctAndUniform) {
  EXPECT_EQ(kept(named("random", {{"draw", 3}})), kept(named("random", {{"draw", 3}})));
  std::set<std::vector<std::size_t>> sets;
  std::vector<int> counts(30);
  for (int draw = 0; draw < 600; ++draw) {
    const std::vector<std::size_t> units = kept(named("random", {{"draw", draw}}));
    EXPECT_EQ(units.size(), 7u);
    sets.insert(units);
    for (const std::size_t unit : units) ++counts[unit];
  }
  EXPECT_GT(sets.size(), 590u);
  for (const int count : counts)
    EXPECT_NEAR(count, 140, 50);  // 600 · 7/30, 4.8 standard deviations
  EXPECT_NE(select(named("random", {{"draw", 0}}), {.layout = kLayout, .seed = 1})->kept_units(),
            kept(named("random", {{"draw", 0}})));
}

TEST(StrategiesTest, FileReadsPlansAndRefusesOthers) {
  const std::filesystem::path path =
      std::filesystem::path(::testing::TempDir()) / "strata_plan.json";
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  const Mask mask = Mask::of_layers(kLayout, {2, 9, 29});
  write(AttentionPlan::from_mask(mask, FullAttention{}, SlidingWindow{64, 4}, DecodeRule::kSame)
            ->to_json()
            .dump());
  const config::Value strategy = named("file", {{"path", path.string()}});
  EXPECT_EQ(*select(strategy), mask);
  write(R"({"mask": )" + to_json(mask).dump() + "}");
  EXPECT_EQ(*select(strategy), mask);
  write("{");
  EXPECT_EQ(select(strategy).error().text(), path.string() + ": invalid JSON at byte 2");
  write("{}");
  EXPECT_NE(select(strategy).error().text().find("no 'cells' and no 'mask'; expected a plan"),
            std::string::npos);
  EXPECT_NE(
      select(strategy, {.layout = {.layers = 4, .query_heads = 2, .kv_heads = 2}}).error().text(),
      "");
  std::filesystem::remove(path);
  EXPECT_NE(select(strategy).error().text().find("there is no such file"), std::string::npos);
}

TEST(RegistryTest, UnknownNamesAndKeysNameTheNearest) {
  EXPECT_NE(make_strategy(named("periodik")).error().text().find("did you mean 'periodic'?"),
            std::string::npos);
  EXPECT_NE(make_strategy(named("periodic", {{"ofset", 1}}))
                .error()
                .text()
                .find("did you mean 'offset'?"),
            std::string::npos);
  std::vector<std::string> names;
  for (const StrategyInfo& info : strategy_infos()) names.emplace_back(info.name);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const std::string& name : names) EXPECT_TRUE(make_strategy(named(name.c_str()))) << name;
}

}  // namespace
}  // namespace strata
