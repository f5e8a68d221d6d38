#include <gtest/gtest.h>

#include "benchmarks/essays.h"
#include "benchmarks/niah.h"
#include "fixture.h"

namespace strata {
namespace {

std::vector<Sample> samples_of(const NiahConfig& config, const SampleRequest& request) {
  auto samples = make_niah(config)->samples(request);
  EXPECT_TRUE(samples.has_value()) << samples.error().text();
  return samples ? *std::move(samples) : std::vector<Sample>{};
}

std::string error_of(const std::vector<Sample>& calibration, const std::vector<Sample>& test) {
  const Status status = check_disjoint(calibration, test);
  return status ? "disjoint" : status.error().text();
}

void expect_splits_disjoint(const Model& model, std::int64_t count, std::int64_t length) {
  const std::vector<Split> splits = {Split::kCalibration, Split::kDevelopment, Split::kTest};
  for (const auto haystack : {NiahHaystack::kBundled, NiahHaystack::kNeedle, NiahHaystack::kNoise})
    for (const Split a : splits)
      for (const Split b : splits) {
        if (a == b) continue;
        const NiahConfig config{
            .task = NiahTask::kMultikey, .haystack = haystack, .length = length};
        EXPECT_EQ(error_of(samples_of(config, model.request(count, 1, a)),
                           samples_of(config, model.request(count, 2, b))),
                  "disjoint")
            << config::enum_name(haystack);
      }
}

TEST(Disjoint, SplitsShareNothingWhateverTheSeeds) {
  expect_splits_disjoint(small_model(), 20, 700);
}

TEST(Disjoint, SplitsShareNothingWithSmolLm2) {
  SKIP_WITHOUT_SMOLLM2(model);
  expect_splits_disjoint(*model, 60, 2048);
}

class Planted : public testing::Test {
 protected:
  const Model model_ = small_model();
  const NiahConfig config_{.length = 700};
  std::vector<Sample> calibration_ = samples_of(config_, model_.request(3, 1, Split::kCalibration));
  std::vector<Sample> test_ = samples_of(config_, model_.request(4, 1, Split::kTest));

  // The place of `length` tokens of the sample's haystack that touch no needle.
  static std::size_t clear_of_needle(const Sample& sample, std::size_t length) {
    const auto begin = sample.metadata["haystack_tokens"][0].get<std::size_t>();
    const auto needle = sample.metadata["needle"][0].get<std::size_t>();
    return needle >= begin + length ? begin : sample.metadata["needle"][1].get<std::size_t>();
  }
  void plant(std::size_t length) {
    const std::size_t from = clear_of_needle(calibration_[2], length);
    const std::size_t to = clear_of_needle(test_[1], length);
    for (std::size_t i = 0; i < length; ++i)
      test_[1].prompt[to + i] = calibration_[2].prompt[from + i];
    places_ = fmt::format("(at tokens {} and {})", from, to);
  }
  std::string names(std::size_t a, std::size_t b) const {
    return fmt::format("calibration sample {} ({}) and evaluation sample {} ({}) share ", a,
                       calibration_[a].id.substr(0, 12), b, test_[b].id.substr(0, 12));
  }
  std::string places_;
  static constexpr const char* kHint =
      "\n  hint: calibrate on another split, or remove the sample from one of the two";
};

TEST_F(Planted, AWordThatBothSayIsTheirOwnIsNamed) {
  calibration_[1].metadata["own_words"] = {"ABCDE", "12345"};
  test_[3].metadata["own_words"] = {"FGHIJ", "54321"};
  EXPECT_EQ(error_of(calibration_, test_), "disjoint");
  test_[3].metadata["own_words"].push_back("ABCDE");
  const std::string error = error_of(calibration_, test_);
  EXPECT_NE(error.find("calibration sample 1 ("), std::string::npos) << error;
  EXPECT_NE(error.find("and evaluation sample 3 ("), std::string::npos) << error;
  EXPECT_NE(error.find(") share the word 'ABCDE'"), std::string::npos) << error;
}

TEST_F(Planted, ThirteenTokensOfHaystackAreRefusedNamingBothSamples) {
  plant(kSpanTokens);
  EXPECT_EQ(error_of(calibration_, test_),
            names(2, 1) + "13 tokens of haystack text " + places_ + kHint);
}

TEST_F(Planted, TwelveTokensOfHaystackPass) {
  plant(kSpanTokens - 1);
  EXPECT_EQ(error_of(calibration_, test_), "disjoint");
}

TEST_F(Planted, TheSamePromptIsRefused) {
  test_[3] = calibration_[0];
  EXPECT_EQ(error_of(calibration_, test_), names(0, 3) + "the whole prompt" + kHint);
}

TEST_F(Planted, ASharedKeyOrValueIsRefused) {
  const std::string key = calibration_[1].metadata["key"];
  const std::string text = test_[2].prompt_text;
  test_[2].prompt_text = text + " One of the special magic numbers for " + key + " is: 1.";
  EXPECT_EQ(error_of(calibration_, test_), names(1, 2) + "the needle key '" + key + "'" + kHint);
  const std::string value = calibration_[1].metadata["value"];
  test_[2].prompt_text =
      text + " One of the special magic numbers for some-thing is: " + value + ".";
  EXPECT_EQ(error_of(calibration_, test_), names(1, 2) + "the needle value " + value + kHint);
}

}  // namespace
}  // namespace strata
