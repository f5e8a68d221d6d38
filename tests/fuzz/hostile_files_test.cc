// One format's fuzz target over its corpus, ten thousand seeded mutations of valid files, and large
// files made to cost much. Each is refused, or taken and sound, within the limits of guard.h.
//
// STRATA_MUTATIONS=N and STRATA_FUZZ_SEED=N look further than the test run does.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "core/result.h"
#include "tests/fuzz/bombs.h"
#include "tests/fuzz/guard.h"
#include "tests/fuzz/seeds.h"
#include "tests/fuzz/target.h"

namespace strata::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMutations = 10'000;
constexpr std::uint64_t kSeed = 20240607;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

fs::path environment_path(const char* name, const char* otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? fs::path(otherwise) : fs::path(text);
}

struct CorpusFile {
  std::string name;
  std::string content;
};
std::vector<CorpusFile> corpus() {
  std::vector<CorpusFile> files;
  const fs::path folder =
      environment_path("STRATA_SOURCE_DIR", ".") / "tests/fuzz/corpus" / kFormat.name;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::ifstream stream(entry.path(), std::ios::binary);
    files.push_back(
        {entry.path().filename().string(), {std::istreambuf_iterator<char>(stream), {}}});
  }
  std::sort(files.begin(), files.end(),
            [](const CorpusFile& a, const CorpusFile& b) { return a.name < b.name; });
  return files;
}

std::vector<std::string> seeds() {
  std::vector<std::string> out = made_seeds();
  for (CorpusFile& file : corpus())
    if (file.name.starts_with("valid-")) out.push_back(std::move(file.content));
  return out;
}

void run_target(std::string_view input) {
  accepted = false;
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

class HostileFiles : public ::testing::Test {
 protected:
  HostileFiles()
      : guard_(run_target, environment_path("STRATA_BINARY_DIR", "build") / "hostile",
               std::string(kFormat.name)) {}

  void expect_within_limits(std::string_view input, const std::string& what) {
    const auto complaint = guard_.run(input, what);
    EXPECT_FALSE(complaint) << *complaint;
  }

  Guard guard_;
};

TEST_F(HostileFiles, EveryValidFileIsAccepted) {
  ASSERT_FALSE(seeds().empty());
  // For libFuzzer, which has no other way to them.
  for (const std::string& seed : made_seeds())
    std::ofstream(environment_path("STRATA_BINARY_DIR", "build") / "hostile" /
                      fmt::format("{}-seed", kFormat.name),
                  std::ios::binary)
        << seed;
  for (const std::string& seed : seeds()) {
    expect_within_limits(seed, "a valid file");
    EXPECT_TRUE(accepted) << seed.substr(0, 300);
  }
}

TEST_F(HostileFiles, EveryCorpusFileKeepsTheLimits) {
  for (const CorpusFile& file : corpus()) {
    expect_within_limits(file.content, file.name);
    EXPECT_FALSE(accepted && file.name.starts_with("bad-")) << file.name;
  }
}

TEST_F(HostileFiles, EveryMutationKeepsTheLimits) {
  const std::uint64_t seed = from_environment("STRATA_FUZZ_SEED", kSeed);
  const std::uint64_t mutations = from_environment("STRATA_MUTATIONS", kMutations);
  const Mutator mutator(kFormat.shape, seeds(), kFormat.tokens);
  Rng rng(seed, fmt::format("mutations of {}", kFormat.name));
  std::uint64_t taken = 0;
  for (std::uint64_t i = 0; i < mutations && !HasFailure(); ++i) {
    expect_within_limits(mutator.next(rng), fmt::format("seed {}, mutation {}", seed, i));
    if (accepted) ++taken;
  }
  // Both sides of the border were visited.
  EXPECT_GT(taken, mutations / 100);
  EXPECT_LT(taken, mutations * 19 / 20);
  RecordProperty("mutations", std::to_string(mutations));
  RecordProperty("accepted", std::to_string(taken));
  RecordProperty("slowest_us", std::to_string(guard_.slowest().count() / 1000));
}

TEST_F(HostileFiles, EveryBombKeepsTheLimits) {
  for (const Bomb& bomb : bombs_of(kFormat.name)) {
    expect_within_limits(bomb.content, bomb.name);
    EXPECT_EQ(accepted, bomb.accepted) << bomb.name;
  }
}

}  // namespace
}  // namespace strata::fuzz
