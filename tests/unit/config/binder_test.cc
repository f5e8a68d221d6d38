#include "core/config/binder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "runner/config/yaml_reader.h"

namespace strata::config {
enum class Spread { kStride, kBudget };
template <>
struct EnumTable<Spread> {
  static constexpr std::array kNames = {std::pair{Spread::kStride, std::string_view("stride")},
                                        std::pair{Spread::kBudget, std::string_view("budget")}};
};
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Inner {
  double fraction = 0.25;
  std::optional<std::int64_t> units;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("fraction", self.fraction, "share of full attention", between(0, 1));
    visit("units", self.units, "kept units");
  }
};

struct Outer {
  Spread by = Spread::kBudget;
  std::int64_t offset = 0;
  std::uint64_t seed = 7;
  int threads = 1;
  bool fast = false;
  std::string name = "x";
  std::string haystack = "noise";
  std::vector<double> rates = {0.5};
  Inner budget;
  std::vector<Inner> parts;
  Value raw;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("by", self.by, "how the kept layers are spread");
    visit("offset", self.offset, "first kept layer", at_least(0));
    visit("seed", self.seed, "seed");
    visit("threads", self.threads, "threads", at_least(1));
    visit("fast", self.fast, "take the fast path");
    visit("name", self.name, "a name");
    visit("haystack", self.haystack, "the haystack", one_of({"noise", "essay"}));
    visit("rates", self.rates, "rates", above(0));
    visit("budget", self.budget, "the budget");
    visit("parts", self.parts, "several budgets");
    visit("raw", self.raw, "bound later");
  }
};

Value yaml(const std::string& text) {
  auto value = read_yaml(text, "a.yaml");
  EXPECT_TRUE(value) << value.error().text();
  return value ? *value : Value();
}

std::string error_of(const std::string& text) {
  Outer outer;
  const Status status = bind(yaml(text), outer);
  return status ? "no error" : status.error().text();
}

TEST(Binder, ReadsEveryTypeOfField) {
  Outer outer;
  const Value value = yaml(
      "by: stride\noffset: 3\nseed: 18\nthreads: 2\nfast: true\nname: abc\nhaystack: essay\nrates: "
      "[1, 0.5]\n"
      "budget: {fraction: 1, units: 4}\nparts: [{fraction: 0.5}, {units: null}]\nraw: {any: "
      "[thing]}\n");
  const Status status = bind(value, outer);
  ASSERT_TRUE(status) << status.error().text();
  EXPECT_EQ(outer.by, Spread::kStride);
  EXPECT_EQ(outer.offset, 3);
  EXPECT_EQ(outer.seed, 18U);
  EXPECT_EQ(outer.threads, 2);
  EXPECT_TRUE(outer.fast);
  EXPECT_EQ(outer.name, "abc");
  EXPECT_EQ(outer.haystack, "essay");
  EXPECT_THAT(outer.rates, ElementsAre(1.0, 0.5));
  EXPECT_EQ(outer.budget.fraction, 1.0);
  EXPECT_EQ(outer.budget.units, 4);
  ASSERT_EQ(outer.parts.size(), 2U);
  EXPECT_EQ(outer.parts[0].fraction, 0.5);
  EXPECT_EQ(outer.parts[1].units, std::nullopt);
  EXPECT_EQ(*outer.raw.find("any.0"), Value("thing"));
}

TEST(Binder, KeepsWhatIsNotMentioned) {
  Outer outer;
  outer.offset = 5;
  ASSERT_TRUE(bind(yaml("fast: yes\n"), outer));
  EXPECT_EQ(outer.offset, 5);
  EXPECT_EQ(outer.budget.fraction, 0.25);
}

TEST(Binder, TakesNumbersFromTextBecauseTheEnvironmentIsText) {
  Outer outer;
  ASSERT_TRUE(bind(
      yaml("offset: '12'\nrates: ['0.5']\nfast: 'on'\nname: 12\nseed: '18446744073709551615'\n"),
      outer));
  EXPECT_EQ(outer.offset, 12);
  EXPECT_EQ(outer.rates[0], 0.5);
  EXPECT_TRUE(outer.fast);
  EXPECT_EQ(outer.name, "12");
  EXPECT_EQ(outer.seed, 18446744073709551615U);
}

TEST(Binder, NamesPlaceAndNearestKeyOfAnUnknownOne) {
  EXPECT_EQ(error_of("by: stride\nofset: 3\n"),
            "a.yaml:2:1: unknown key 'ofset'\n  hint: did you mean 'offset'?");
  EXPECT_EQ(error_of("budget:\n  fractoin: 3\n"),
            "a.yaml:2:3: unknown key 'budget.fractoin'\n  hint: did you mean 'fraction'?");
  EXPECT_EQ(error_of("budget: {zzz: 3}\n"),
            "a.yaml:1:10: unknown key 'budget.zzz'\n  hint: known keys: fraction, units");
}

TEST(Binder, SaysWhatItExpectedAndGot) {
  EXPECT_EQ(error_of("offset: 1.5\n"),
            "a.yaml:1:9: offset: expected an integer, got the real number 1.5");
  EXPECT_EQ(error_of("offset: 2.0\n"),
            "a.yaml:1:9: offset: expected an integer, got the real number 2.0\n  hint: write 2");
  EXPECT_EQ(error_of("offset: 3x\n"),
            "a.yaml:1:9: offset: expected an integer, got the string '3x'");
  EXPECT_EQ(error_of("offset: -1\n"),
            "a.yaml:1:9: offset: expected at least 0, got the integer -1");
  EXPECT_EQ(error_of("offset: null\n"), "a.yaml:1:9: offset: expected an integer, got null");
  EXPECT_EQ(
      error_of("seed: -1\n"),
      "a.yaml:1:7: seed: expected an integer from 0 to 18446744073709551615, got the integer -1");
  EXPECT_THAT(error_of("threads: 5000000000\n"),
              HasSubstr("threads: expected an integer from -2147483648 to 2147483647"));
  EXPECT_EQ(error_of("rates: [1, 0]\n"),
            "a.yaml:1:12: rates.1: expected above 0, got the integer 0");
  EXPECT_EQ(error_of("rates: 1\n"), "a.yaml:1:8: rates: expected a list, got the integer 1");
  EXPECT_EQ(
      error_of("budget: [1]\n"),
      "a.yaml:1:9: budget: expected a mapping, got a list\n  hint: its keys: fraction, units");
  EXPECT_EQ(
      error_of("budget: {fraction: 1.5}\n"),
      "a.yaml:1:20: budget.fraction: expected at least 0 and at most 1, got the real number 1.5");
  EXPECT_EQ(error_of("fast: 1\n"), "a.yaml:1:7: fast: expected true or false, got the integer 1");
  EXPECT_EQ(error_of("name: 0.5\n"),
            "a.yaml:1:7: name: expected a string, got the real number 0.5\n  hint: put the value "
            "in quotes");
  EXPECT_EQ(error_of("by: strid\n"),
            "a.yaml:1:5: by: expected one of stride, budget, got the string 'strid'\n  hint: did "
            "you mean 'stride'?");
  EXPECT_EQ(error_of("haystack: hay\n"),
            "a.yaml:1:11: haystack: expected one of noise, essay, got the string 'hay'");
}

TEST(Binder, RefusesNanWhereABoundIsAsked) {
  EXPECT_THAT(error_of("budget: {fraction: .nan}\n"),
              HasSubstr("expected at least 0 and at most 1"));
}

TEST(Binder, AsksForMandatoryValues) {
  EXPECT_EQ(error_of(fmt::format("budget:\n  units: {}\n", kMandatory)),
            fmt::format("a.yaml:2:10: budget.units is mandatory ({}) and was not given\n"
                        "  hint: give it on the command line: budget.units=…",
                        kMandatory));
}

TEST(Binder, PrefixesThePathOfAPartAndSparesOthersKeys) {
  Inner inner;
  const BindOptions options{.path = "strategy.budget", .also_known = {"name"}};
  EXPECT_TRUE(bind(yaml("name: x\nfraction: 0.5\n"), inner, options));
  EXPECT_EQ(bind(yaml("fraction: a\n"), inner, options).error().text(),
            "a.yaml:1:11: strategy.budget.fraction: expected a real number, got the string 'a'");
}

TEST(Binder, WhatItWritesReadsBackEqual) {
  Outer outer;
  outer.by = Spread::kStride;
  outer.seed = 18446744073709551615U;
  outer.budget.units = 3;
  outer.parts.resize(2);
  outer.rates = {1e-30, 3.0};
  Outer again;
  again.rates.clear();
  const Status status = bind(to_value(outer), again);
  ASSERT_TRUE(status) << status.error().text();
  EXPECT_EQ(to_json(again).dump(), to_json(outer).dump());
  EXPECT_EQ(to_json(outer)["by"], "stride");
}

TEST(Binder, HashesMeaningAndNotOrder) {
  EXPECT_EQ(config_hash(yaml("a: 1\nb: {c: 2, d: 3}\n").to_json()),
            config_hash(yaml("b: {d: 3, c: 2}\na: 1\n").to_json()));
  EXPECT_NE(config_hash(yaml("a: 1\n").to_json()), config_hash(yaml("a: 1.0\n").to_json()));
  EXPECT_NE(config_hash(yaml("a: .inf\n").to_json()), config_hash(yaml("a: .nan\n").to_json()));
  EXPECT_EQ(config_hash(nlohmann::json::object()),  // SHA-256 of "{}"
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

TEST(Binder, DescribesEveryLeafInOrder) {
  const std::vector<FieldHelp> help = describe(Outer{}, "run");
  std::vector<std::string> lines;
  lines.reserve(help.size());
  for (const FieldHelp& field : help) {
    lines.push_back(field.path + "|" + field.type + "|" + field.default_text + "|" +
                    field.constraint);
  }
  EXPECT_THAT(lines,
              ElementsAre("run.by|stride | budget|budget|", "run.offset|integer|0|at least 0",
                          "run.seed|integer|7|", "run.threads|integer|1|at least 1",
                          "run.fast|true | false|false|", "run.name|string|x|",
                          "run.haystack|string|noise|one of noise, essay",
                          "run.rates|list of real|[0.5]|above 0",
                          "run.budget.fraction|real|0.25|at least 0 and at most 1",
                          "run.budget.units|integer | null|null|", "run.parts|list of mapping|[]|",
                          "run.raw|mapping|null|"));
  EXPECT_THAT(help[0].choices, ElementsAre("stride", "budget"));
  EXPECT_THAT(help[6].choices, ElementsAre("noise", "essay"));
  EXPECT_EQ(help[1].help, "first kept layer");
}

TEST(Nearest, KnowsTypingMistakesAndLeavesOtherWordsAlone) {
  const std::vector<std::string> known = {"offset", "fraction", "by"};
  EXPECT_EQ(nearest("ofset", known), "offset");
  EXPECT_EQ(nearest("fratcion", known), "fraction");
  EXPECT_EQ(nearest("yb", known), "by");
  EXPECT_EQ(nearest("window", known), std::nullopt);
  EXPECT_EQ(nearest(std::string(5000, 'a'), known), std::nullopt);
}

}  // namespace
}  // namespace strata::config
