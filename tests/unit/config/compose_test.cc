#include "runner/config/compose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/config/binder.h"
#include "runner/config/yaml_reader.h"
#include "tests/unit/config/temp_tree.h"

namespace strata::config {
namespace {

using testing::ElementsAre;

const std::map<std::string, std::string>& files() {
  static const std::map<std::string, std::string> kFiles = {
      {"config.yaml",
       "defaults:\n  - model: tiny\n  - strategy: periodic\n  - optional extra: none\n  - "
       "experiment: null\n  - _self_\n\n"
       "seed: 7\nbudget: {fraction: 0.25}\nneeded: ???\n"},
      {"model/tiny.yaml", "name: tiny\n"},
      {"model/large.yaml", "name: large\n"},
      {"strategy/periodic.yaml", "name: periodic\n"},
      {"strategy/random.yaml", "name: random\ndraws: 4\n"},
      {"experiment/wide.yaml",
       "# @package _global_\ndefaults:\n  - override /model: large\n  - _self_\nseed: 9\n"},
      {"experiment/loop.yaml", "defaults:\n  - loop\n"},
      {"experiment/typo.yaml", "# @package _global_\ndefaults:\n  - override /modle: large\n"},
      {"experiment/inside.yaml", "# @package _global_\ndefaults:\n  - /model: ${strategy}\n"},
      {"experiment/laughs.yaml",
       "a: xxxxxxxxxx\nb: ${.a}${.a}${.a}${.a}${.a}${.a}${.a}${.a}\nc: "
       "${.b}${.b}${.b}${.b}${.b}${.b}${.b}${.b}\n"
       "d: ${.c}${.c}${.c}${.c}${.c}${.c}${.c}${.c}\ne: ${.d}${.d}${.d}${.d}${.d}${.d}${.d}${.d}\n"
       "f: ${.e}${.e}${.e}${.e}${.e}${.e}${.e}${.e}\n"},
  };
  return kFiles;
}

struct PeriodicKeys {
  std::string name = "periodic";
  std::int64_t offset = 0;
  std::int64_t start = 1;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("name", self.name, "which strategy");
    visit("offset", self.offset, "first kept layer");
    visit("start", self.start, "where to start");
  }
};

ComposeOptions options_for(const TempTree& tree, std::vector<std::string> overrides) {
  ComposeOptions options;
  options.search_path = {tree.path()};
  options.overrides = std::move(overrides);
  return options;
}

std::string error_of(std::vector<std::string> overrides, bool multirun = false) {
  const TempTree tree(files());
  ComposeOptions options = options_for(tree, std::move(overrides));
  options.multirun = multirun;
  const auto composed = compose(options);
  return composed ? "no error" : tree.without_path(composed.error().text());
}

TEST(Compose, ErrorsSayWhatWhereExpectedGotAndAHint) {
  EXPECT_EQ(error_of({"model=larg"}),
            "command line: 'model=larg':7: the group 'model' has no option 'larg'\n"
            "  hint: did you mean 'large'? options: large, tiny");
  EXPECT_EQ(error_of({"model=3"}),
            "command line: 'model=3':7: 'model' is a group: expected the name of an option, got "
            "the integer 3\n"
            "  hint: options: large, tiny");
  EXPECT_EQ(error_of({"budget.fractoin=1"}),
            "command line: 'budget.fractoin=1':1: unknown key 'budget.fractoin'\n  hint: did you "
            "mean 'budget.fraction'?");
  EXPECT_EQ(error_of({"budget.zzzzzzzzz=1"}),
            "command line: 'budget.zzzzzzzzz=1':1: unknown key 'budget.zzzzzzzzz'\n  hint: keys of "
            "budget: fraction");
  EXPECT_EQ(error_of({"+seed=1"}),
            "command line: '+seed=1':2: 'seed' is already there\n"
            "  hint: to change it write seed=1, to add or change it ++seed=1");
  EXPECT_EQ(error_of({"~strategy=random"}),
            "command line: '~strategy=random':2: 'strategy' is in no defaults list, so it cannot "
            "be deleted");
  EXPECT_EQ(error_of({"budget=[1]"}),
            "command line: 'budget=[1]':8: budget: expected a mapping, got a list\n  hint: it is a "
            "mapping at config.yaml:9:9");
  EXPECT_EQ(error_of({"fraction=0.5"}),
            "command line: 'fraction=0.5':1: unknown key 'fraction'\n  hint: did you mean "
            "'budget.fraction'?");
  EXPECT_EQ(error_of({"experiment=typo"}),
            "experiment/typo.yaml:3:5: 'modle' is in no defaults list, so it cannot be "
            "overridden\n  hint: did you mean 'model'?");
  EXPECT_EQ(error_of({"experiment=inside"}),
            "experiment/inside.yaml:3:13: interpolation inside a defaults list is not supported: "
            "'${strategy}'");
  EXPECT_EQ(error_of({"seed=1,2"}),
            "command line: 'seed=1,2':1: this is a sweep, which needs --multirun\n"
            "  hint: write [a,b] for a list; quote the value for a string with a comma");
  EXPECT_EQ(error_of({"seed=glob(*)"}, true),
            "command line: 'seed=glob(*)':1: glob() chooses among the options of a group, which "
            "'seed' is not\n"
            "  hint: groups: experiment, model, strategy");
  EXPECT_EQ(error_of({"seed=${sed}"}),
            "command line: 'seed=${sed}':6: '${sed}' refers to a key that is not there\n  hint: "
            "did you mean 'seed'?");
  EXPECT_EQ(error_of({"seed=${now:1}"}),
            "command line: 'seed=${now:1}':6: expected ${key}, ${oc.env:NAME,default}, "
            "${oc.select:key,default} or "
            "${oc.decode:text}, got '${now:1}'");
}

TEST(Compose, CirclesAndExplosionsEndInAnError) {
  EXPECT_THAT(error_of({"experiment=loop"}), testing::HasSubstr("go in a circle"));
  EXPECT_THAT(error_of({"seed=${seed}"}), testing::HasSubstr("goes in a circle"));
  EXPECT_THAT(error_of({"experiment=laughs"}), testing::HasSubstr("more than"));
  EXPECT_THAT(error_of({"seed=range(1000)", "+a=range(1000)"}, true),
              testing::HasSubstr("at most 100000 jobs"));
}

TEST(Compose, AMissingPrimaryConfigNamesTheFolder) {
  ComposeOptions options;
  options.search_path = {"/nowhere/at/all"};
  const auto composed = compose(options);
  ASSERT_FALSE(composed);
  EXPECT_EQ(composed.error().text(),
            "there is no config 'config.yaml'\n  hint: looked in /nowhere/at/all");
}

TEST(Compose, AKeyOfTheSchemaNeedsNoPlusAndCanBeReferredTo) {
  const TempTree tree(files());
  ComposeOptions options = options_for(tree, {"strategy.offset=3", "seed=${strategy.start}"});
  EXPECT_FALSE(compose(options));
  options.schema = [](const Value& config) -> Result<Value> {
    Map map;
    if (*config.find("strategy.name") == Value("periodic"))
      map.set("strategy", to_value(PeriodicKeys{}));
    return Value(std::move(map));
  };
  const auto composed = compose(options);
  ASSERT_TRUE(composed) << composed.error().text();
  const Value& config = composed->at(0).config;
  EXPECT_EQ(*config.find("strategy.offset"), Value(3));
  EXPECT_EQ(*config.find("seed"), Value(1));
  EXPECT_TRUE(config.find("needed")->is_mandatory());
  PeriodicKeys bound;
  EXPECT_TRUE(bind(*config.find("strategy"), bound));
  EXPECT_EQ(bound.offset, 3);

  options.overrides = {"strategy.ofset=3"};
  EXPECT_EQ(compose(options).error().text(),
            "command line: 'strategy.ofset=3':1: unknown key 'strategy.ofset'\n  hint: did you "
            "mean 'strategy.offset'?");
  options.overrides = {"strategy=random", "strategy.offset=3"};
  EXPECT_FALSE(compose(options)) << "offset belongs to periodic only";
}

TEST(Compose, AMandatoryValueOfAFileStaysMandatoryOverTheSchema) {
  const TempTree tree(files());
  ComposeOptions options = options_for(tree, {});
  options.schema = [](const Value&) { return read_yaml("needed: 3\nseed: 1\n", "schema"); };
  const auto composed = compose(options);
  ASSERT_TRUE(composed) << composed.error().text();
  EXPECT_TRUE(composed->at(0).config.find("needed")->is_mandatory());
  EXPECT_EQ(*composed->at(0).config.find("seed"), Value(7));
}

TEST(Compose, TheFirstFolderOfTheSearchPathWinsFileByFile) {
  const TempTree own({{"model/tiny.yaml", "name: mine\n"}, {"model/new.yaml", "name: new\n"}});
  const TempTree tree(files());
  ComposeOptions options = options_for(tree, {});
  options.search_path = {own.path(), tree.path()};
  EXPECT_EQ(*compose(options)->at(0).config.find("model.name"), Value("mine"));
  EXPECT_THAT(group_options(options.search_path, "model"), ElementsAre("large", "new", "tiny"));
  EXPECT_THAT(groups(options.search_path), ElementsAre("experiment", "model", "strategy"));
}

TEST(Compose, EachJobOfASweepSaysItsOverrides) {
  const TempTree tree(files());
  ComposeOptions options =
      options_for(tree, {"strategy=periodic,random", "seed=1", "budget.fraction=0.5,1e-3"});
  options.multirun = true;
  const auto jobs = compose(options);
  ASSERT_TRUE(jobs) << jobs.error().text();
  ASSERT_EQ(jobs->size(), 4U);
  EXPECT_THAT(jobs->at(1).overrides,
              ElementsAre("strategy=periodic", "seed=1", "budget.fraction=0.001"));
  EXPECT_THAT(jobs->at(2).overrides,
              ElementsAre("strategy=random", "seed=1", "budget.fraction=0.5"));
}

TEST(Compose, PositionsLeadBackToTheFileOrTheOverride) {
  const TempTree tree(files());
  const auto composed = compose(options_for(tree, {"experiment=wide", "budget.fraction=0.5"}));
  ASSERT_TRUE(composed) << composed.error().text();
  const Value& config = composed->at(0).config;
  EXPECT_EQ(tree.without_path(config.find("model.name")->pos.text()), "model/large.yaml:1:7");
  EXPECT_EQ(config.find("budget.fraction")->pos.text(), "command line: 'budget.fraction=0.5':17");
}

TEST(Compose, UnresolvedKeepsInterpolationsAsWritten) {
  const TempTree tree(files());
  ComposeOptions options = options_for(tree, {"seed=${budget.fraction}"});
  options.resolve = false;
  EXPECT_EQ(*compose(options)->at(0).config.find("seed"), Value("${budget.fraction}"));
}

TEST(DefaultsTree, ShowsEntriesChoicesAndAbsentOnes) {
  const TempTree tree(files());
  const auto text = defaults_tree(options_for(tree, {"experiment=wide"}));
  ASSERT_TRUE(text) << text.error().text();
  EXPECT_EQ(*text,
            "config\n  model: large\n  strategy: periodic\n  extra: none (absent)\n  experiment: "
            "wide\n    _self_\n  _self_\n");
}

}  // namespace
}  // namespace strata::config
