// Hydra and OmegaConf as oracle: tests/golden/config_cases.json, made by
// tools/make_config_golden.py.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "runner/config/compose.h"
#include "runner/config/yaml_reader.h"
#include "tests/unit/config/temp_tree.h"

namespace strata::config {
namespace {

using nlohmann::json;

const json& golden() {
  static const json kGolden = [] {
    const char* root = std::getenv("STRATA_SOURCE_DIR");
    const std::string folder = root == nullptr ? "." : root;
    std::ifstream file(folder + "/tests/golden/config_cases.json");
    return json::parse(file);
  }();
  return kGolden;
}

std::string name_of(const json& example) {
  std::string name = example.at("multirun").get<bool>() ? "-m" : "";
  for (const auto& override : example.at("overrides")) name += ' ' + override.get<std::string>();
  return name;
}

Result<std::vector<Composed>> compose_case(const TempTree& tree, const json& example) {
  const auto environment = golden().at("environment").get<std::map<std::string, std::string>>();
  ComposeOptions options;
  options.search_path = {tree.path()};
  options.overrides = example.at("overrides").get<std::vector<std::string>>();
  options.multirun = example.at("multirun").get<bool>();
  options.environment = [environment](const std::string& name) -> std::optional<std::string> {
    const auto found = environment.find(name);
    if (found == environment.end()) return std::nullopt;
    return found->second;
  };
  return compose(options);
}

// Where we mean to differ; docs/configuration.md says why.
const std::set<std::string>& deliberate_differences() {
  static const std::set<std::string> kDifferences = {
      " experiment=listed",           // a config file that is a list
      "-m seed=str(choice(1,true))",  // Hydra forgets the cast on its way to the job
  };
  return kDifferences;
}

TEST(ConfigGolden, ComposesAndRefusesWhatHydraDoes) {
  const TempTree tree(golden().at("files").get<std::map<std::string, std::string>>());
  std::size_t accepted = 0;
  for (const json& example : golden().at("cases")) {
    if (deliberate_differences().contains(name_of(example))) continue;
    SCOPED_TRACE(name_of(example));
    const auto jobs = compose_case(tree, example);
    if (example.at("jobs").is_null()) {
      EXPECT_FALSE(jobs) << "Hydra refuses this: " << example.at("error");
      continue;
    }
    if (!jobs) {
      ADD_FAILURE() << jobs.error().text();
      continue;
    }
    ++accepted;
    const json& expected = example.at("jobs");
    EXPECT_EQ(jobs->size(), expected.size());
    for (std::size_t i = 0; i < std::min(jobs->size(), expected.size()); ++i) {
      EXPECT_EQ((*jobs)[i].config.to_json().dump(), expected[i].dump()) << "job " << i;
    }
  }
  EXPECT_GE(accepted, 100U);
}

TEST(ConfigGolden, ComposesTheSameFromTheOverridesOfAJob) {
  const TempTree tree(golden().at("files").get<std::map<std::string, std::string>>());
  for (const json& example : golden().at("cases")) {
    if (!example.at("multirun").get<bool>()) continue;
    const auto jobs = compose_case(tree, example);
    if (!jobs) continue;
    SCOPED_TRACE(name_of(example));
    for (const Composed& job : *jobs) {
      const json alone = {{"overrides", job.overrides}, {"multirun", false}};
      const auto again = compose_case(tree, alone);
      ASSERT_TRUE(again) << again.error().text();
      EXPECT_EQ(again->at(0).config, job.config);
    }
  }
}

TEST(ConfigGolden, ReadsPlainScalarsAsOmegaConfDoes) {
  const std::map<std::string, std::string> kTypes = {{"null", "NoneType"},
                                                     {"a boolean", "bool"},
                                                     {"an integer", "int"},
                                                     {"a real number", "float"},
                                                     {"a string", "str"}};
  for (const json& scalar : golden().at("scalars")) {
    const std::string text = scalar.at("text");
    SCOPED_TRACE(text);
    const auto read = read_yaml("v: " + text + "\n", "text");
    if (scalar.at("type") == "error") {
      EXPECT_FALSE(read) << "OmegaConf refuses this: " << scalar.at("value");
      continue;
    }
    if (!read) {
      ADD_FAILURE() << read.error().text();
      continue;
    }
    const Value& value = *read->find("v");
    EXPECT_EQ(kTypes.at(value.type_name()), scalar.at("type"));
    EXPECT_EQ(value.to_json().dump(), scalar.at("value").dump());
  }
}

}  // namespace
}  // namespace strata::config
