// The published tables and their sweeps that are shipped, and what is said of files that are wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "runner/config/compose.h"
#include "runner/experiment_config.h"
#include "runner/paper.h"

namespace strata {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

std::vector<std::filesystem::path> shipped() {
  const char* source = std::getenv("STRATA_SOURCE_DIR");
  return {std::filesystem::path(source != nullptr ? source : ".") / "configs"};
}

const PaperRow& row_of(const Paper& paper, const std::string& table, const std::string& row) {
  for (const PaperTable& each : paper.tables)
    for (const PaperRow& found : each.rows)
      if (each.name == table && found.name.starts_with(row)) return found;
  static const PaperRow kNone;
  ADD_FAILURE() << table << ": no row " << row;
  return kNone;
}

TEST(PaperConfigTest, EveryShippedPaperReads) {
  const auto papers = all_papers(shipped());
  ASSERT_TRUE(papers) << papers.error().text();
  EXPECT_GE(papers->size(), 13U);
  const std::vector<std::string> strategies = config::group_options(shipped(), "strategy");
  for (const auto& [name, paper] : *papers) {
    EXPECT_GT(paper.published(), 0U) << name;
    for (const PaperTable& table : paper.tables)
      for (const PaperRow& row : table.rows)
        if (row.strategy) {
          EXPECT_THAT(strategies, Contains(row.strategy->substr(0, row.strategy->find('['))))
              << name << ": " << row.name << ": no such method";
        }
  }
}

TEST(PaperConfigTest, DisagreeingSourcesStandBesideEachOther) {
  const auto swaa = read_paper(shipped(), "swaa");
  ASSERT_TRUE(swaa) << swaa.error().text();
  const PaperRow& odd = row_of(*swaa, "table1", "row 18");
  EXPECT_EQ(odd.values.at(0).values, (std::vector<double>{68.8, 70.8}));
  EXPECT_EQ(odd.values.at(1).values, (std::vector<double>{50.6, 50.4}));
  const auto restore = read_paper(shipped(), "qk_restore");
  ASSERT_TRUE(restore) << restore.error().text();
  EXPECT_EQ(row_of(*restore, "restore", "HypeNet-9B S2 256K").values.at(2).values,
            (std::vector<double>{44.0, 19.6}));
  const auto postnas = read_paper(shipped(), "postnas");
  ASSERT_TRUE(postnas) << postnas.error().text();
  EXPECT_EQ(row_of(*postnas, "cost", "placement").values.at(0).values,
            (std::vector<double>{808, 2561.3}));
}

TEST(PaperConfigTest, TheSweepOfEveryPaperComposes) {
  const std::vector<std::string> sweeps = config::group_options(shipped(), "experiment/paper");
  EXPECT_GE(sweeps.size(), 9U);
  const std::vector<std::string> papers = config::group_options(shipped(), "paper");
  for (const std::string& name : sweeps) {
    EXPECT_THAT(papers, Contains(name));
    const auto jobs = load_jobs({.config_dirs = shipped(),
                                 .overrides = {"experiment=paper/" + name, "model.path=/m"},
                                 .multirun = false});
    ASSERT_TRUE(jobs) << name << ": " << jobs.error().text();
    EXPECT_EQ(jobs->at(0).config.db, "paper_" + name + ".db");
    const auto without = load_jobs(
        {.config_dirs = shipped(), .overrides = {"experiment=paper/" + name}, .multirun = false});
    EXPECT_FALSE(without) << name << " names a model of its own";
  }
}

// Every "# strata run …" line of the sweeps.
TEST(PaperConfigTest, TheCommandsInTheSweepsCompose) {
  std::size_t commands = 0;
  for (const std::string& name : config::group_options(shipped(), "experiment/paper")) {
    std::ifstream file(shipped()[0] / "experiment/paper" / (name + ".yaml"));
    const std::string mark = "# strata run -m ";
    for (std::string line; std::getline(file, line);) {
      if (!line.starts_with(mark)) continue;
      ++commands;
      std::vector<std::string> words;
      std::istringstream text(line.substr(mark.size()));
      for (std::string word; text >> word;) words.push_back(word);
      EXPECT_EQ(words.at(0), "experiment=paper/" + name);
      const auto jobs = load_jobs({.config_dirs = shipped(), .overrides = words, .multirun = true});
      ASSERT_TRUE(jobs) << line << "\n" << jobs.error().text();
      EXPECT_GE(jobs->size(), 1U);
    }
  }
  EXPECT_GE(commands, 9U);
}

TEST(PaperConfigTest, ErrorsNameFileAndLine) {
  const std::filesystem::path file = std::filesystem::path(::testing::TempDir()) / "wrong.yaml";
  const auto error = [&](const std::string& yaml) {
    std::ofstream(file) << yaml;
    const auto paper = read_paper({}, file.string());
    return paper ? "no error" : paper.error().text();
  };
  const std::string head = "title: T\narxiv: '1'\nread: note\ntables:\n";
  EXPECT_THAT(error(head + "  - {name: t, source: s, columns: [{name: a}], rows: [\n"
                           "     {name: r, values: [1, 2]}]}\n"),
              AllOf(HasSubstr("wrong.yaml:6:"), HasSubstr("a list of 1 values")));
  EXPECT_THAT(error(head + "  - {name: t, source: s, sauce: x}\n"),
              AllOf(HasSubstr("wrong.yaml:5:"), HasSubstr("sauce")));
  EXPECT_THAT(error(head + "  - {name: t, source: s, setting: {length: 0}}\n"),
              AllOf(HasSubstr("wrong.yaml:5:"), HasSubstr("at least 1")));
  EXPECT_THAT(error("title: [\n"), HasSubstr("wrong.yaml:"));
  EXPECT_THAT(error(""), HasSubstr("wrong.yaml"));
  std::filesystem::remove(file);
}

TEST(PaperConfigTest, AnUnknownPaperNamesTheNearest) {
  const auto paper = read_paper(shipped(), "flash_morph");
  ASSERT_FALSE(paper);
  EXPECT_THAT(paper.error().text(), HasSubstr("did you mean 'flashmorph'?"));
  EXPECT_FALSE(read_paper(shipped(), "../paper/swaa"));
}

}  // namespace
}  // namespace strata
