// The limits of Guard fire: what the tests of hostile files rely on.
#include "tests/fuzz/guard.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>

#include "tests/fuzz/allocation_meter.h"

namespace strata::fuzz {
namespace {

using ::testing::HasSubstr;

class GuardTest : public ::testing::Test {
 protected:
  GuardTest() {
    std::string name = (std::filesystem::temp_directory_path() / "strata_guard_XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~GuardTest() override { std::filesystem::remove_all(folder_); }

  std::string complaint(const Guard::Target& target) {
    Guard guard(target, folder_, "test");
    return guard.run("the bytes", "input 7").value_or("none");
  }
  std::string offending() const {
    std::ifstream file(folder_ / "test-offending", std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::filesystem::path folder_;
};

TEST_F(GuardTest, AQuietTargetIsFine) {
  EXPECT_EQ(complaint([](std::string_view) {}), "none");
}

TEST_F(GuardTest, AnAllocationOf200MebibytesIsReportedWithTheBytes) {
  const std::string text =
      complaint([](std::string_view) { const std::string big(std::size_t{200} << 20, 'x'); });
  EXPECT_THAT(text, HasSubstr("input 7: 9 bytes allocated 2097"));
  EXPECT_THAT(text, HasSubstr(", expected at most 67108882; the input is in "));
  EXPECT_EQ(offending(), "the bytes");
}

TEST_F(GuardTest, AnAllocationThatWasFreedBeforeTheEndCounts) {
  const std::string text = complaint([](std::string_view) {
    { const std::vector<char> big(std::size_t{100} << 20); }
    const std::vector<char> small(100);
  });
  EXPECT_THAT(text, HasSubstr("allocated 1048"));
}

TEST_F(GuardTest, ManySmallAllocationsAddUp) {
  const std::string text = complaint([](std::string_view) {
    std::vector<std::unique_ptr<std::array<char, 1000>>> kept;
    kept.reserve(70'000);
    for (int i = 0; i < 70'000; ++i) kept.push_back(std::make_unique<std::array<char, 1000>>());
  });
  EXPECT_THAT(text, HasSubstr("allocated 7"));
}

TEST_F(GuardTest, ATargetOverASecondIsReportedWithTheBytes) {
  const std::string text = complaint([](std::string_view) {
    const std::clock_t begin = std::clock();
    while (1000 * (std::clock() - begin) < (kMaxTime.count() + 10) * CLOCKS_PER_SEC) {
    }
  });
  EXPECT_THAT(text,
              HasSubstr(fmt::format("ms, expected at most {}; the input is in", kMaxTime.count())));
  EXPECT_EQ(offending(), "the bytes");
}

TEST_F(GuardTest, AnExceptionIsReported) {
  const std::string text =
      complaint([](std::string_view) { throw std::runtime_error("unforeseen"); });
  EXPECT_THAT(text, HasSubstr("input 7: 9 bytes threw 'unforeseen'"));
}

TEST_F(GuardTest, ACrashLeavesItsInput) {
  EXPECT_DEATH(complaint([](std::string_view) { std::abort(); }),
               "crashed or hung on input 7; the input is in ");
  EXPECT_EQ(offending(), "the bytes");
}

TEST_F(GuardTest, AWildReadLeavesItsInput) {
  EXPECT_DEATH(complaint([](std::string_view) {
                 volatile int* const nowhere = nullptr;
                 *nowhere = 1;
               }),
               "crashed or hung on input 7; the input is in ");
  EXPECT_EQ(offending(), "the bytes");
}

TEST(AllocationMeter, CountsWhatIsHeldAndForgetsWhatWasFreed) {
  const std::size_t before = AllocationMeter::current_bytes();
  {
    const std::vector<char> held(1'000'000);
    EXPECT_GE(AllocationMeter::current_bytes(), before + 1'000'000);
  }
  EXPECT_EQ(AllocationMeter::current_bytes(), before);
}

TEST(AllocationMeter, RefusesWhatIsOverTheCeiling) {
  EXPECT_THROW(std::vector<char>(kAllocationCeiling + 1), std::bad_alloc);
  EXPECT_GT(AllocationMeter::peak_bytes(), kAllocationCeiling);
}

}  // namespace
}  // namespace strata::fuzz
