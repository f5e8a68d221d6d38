// A selection of kl_ls that was interrupted or killed, on a small random model: it goes on to the
// same bits, and nothing is done twice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "models/training/training_checkpoint.h"
#include "tests/unit/strategies/kl_ls_selection.h"

namespace strata {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Keys;

// Stops at the `stop`th question whether to, and knows what was begun.
class Stopping final : public Progress {
 public:
  explicit Stopping(int stop) : left_(stop) {}
  void begin(std::string_view stage, std::int64_t) override { stages.emplace_back(stage); }
  void advance(std::int64_t) override {}
  void end() override {}
  bool stop_requested() const override { return --left_ < 0; }

  std::vector<std::string> stages;

 private:
  mutable int left_;
};

// Copies a folder whenever something is heard, as a killed process would leave it.
class Copying final : public Progress {
 public:
  Copying(fs::path folder, fs::path copies)
      : folder_(std::move(folder)), copies_(std::move(copies)) {}
  void begin(std::string_view, std::int64_t) override { copy(); }
  void advance(std::int64_t) override { copy(); }
  void end() override { copy(); }
  bool stop_requested() const override { return false; }

  std::vector<fs::path> made;

 private:
  void copy() {
    made.push_back(copies_ / std::to_string(made.size()));
    fs::create_directories(made.back());
    if (fs::exists(folder_)) fs::copy(folder_, made.back(), fs::copy_options::recursive);
  }
  fs::path folder_, copies_;
};

class KlLsResumeTest : public testing::KlLsSelectionTest {
 protected:
  static Keys of(std::int64_t steps, const Keys& more) {
    return short_steps(steps, [&] {
      Keys keys = more;
      keys.emplace_back("checkpoint_seconds", 0);
      return keys;
    }());
  }
  // With each place where state is kept: layers alone, texts set apart, a shared student, all
  // weights, rounds.
  static std::vector<Keys> every_kind() {
    const Keys rounds = {{"stop_round", 1}, {"stop_window", 1}, {"stop_threshold", 1}};
    Keys all = rounds;
    all.insert(all.end(), {{"train", "all"}, {"shared_steps", 1}, {"proxy", "held_out"}});
    return {of(3, {}), of(2, {{"shared_steps", 2}, {"proxy", "held_out"}}),
            of(0, {{"shared_steps", 2}}), of(3, rounds), of(3, all)};
  }
  // Without a checkpoint where it can do without.
  Made undisturbed(const Keys& keys) {
    checkpoint_ = folder_.path() / "undisturbed" / "run.json";
    Made made = made_by(keys);
    fs::remove_all(checkpoint_.parent_path());
    return made;
  }

  testing::TemporaryDirectory folder_;
};

TEST_F(KlLsResumeTest, HoweverOftenInterruptedItComesToTheSameBits) {
  for (const Keys& keys : every_kind()) {
    SCOPED_TRACE(made("kl_ls", keys)->label());
    const Made expected = undisturbed(keys);
    for (const int patience : {2, 5}) {  // at two questions a layer's step is taken
      checkpoint_ = folder_.path() / "interrupted" / "run.json";
      int interruptions = 0;
      for (;; ++interruptions) {
        ASSERT_LT(interruptions, 100);
        Stopping stopping(patience);
        progress_ = &stopping;
        const auto tried = select("kl_ls", keys);
        if (tried) break;
        ASSERT_EQ(tried.error().kind, ErrorKind::kInterrupted) << tried.error().text();
      }
      EXPECT_GT(interruptions, 0);
      progress_ = &silent_;
      expect_same(made_by(keys), expected);  // all of it was found
      fs::remove_all(checkpoint_.parent_path());
    }
  }
}

TEST_F(KlLsResumeTest, WhereverKilledItComesToTheSameBits) {
  for (const Keys& keys : every_kind()) {
    SCOPED_TRACE(made("kl_ls", keys)->label());
    const Made expected = undisturbed(keys);
    checkpoint_ = folder_.path() / "killed" / "run.json";
    Copying copying(checkpoint_.parent_path(), folder_.path() / "copies");
    progress_ = &copying;
    expect_same(made_by(keys), expected);
    progress_ = &silent_;
    EXPECT_GT(copying.made.size(), 3U);
    // Of many, every third: begins, steps and ends of layers come by turns.
    const std::size_t stride = copying.made.size() > 9 ? 3 : 1;
    for (std::size_t i = 0; i < copying.made.size(); i += stride) {
      SCOPED_TRACE(i);
      checkpoint_ = copying.made[i] / "run.json";
      expect_same(made_by(keys), expected);
    }
    fs::remove_all(folder_.path() / "copies");
    fs::remove_all(folder_.path() / "killed");
  }
}

TEST_F(KlLsResumeTest, NoFinishedLayerIsTrainedAgain) {
  const Keys keys = of(3, {});
  checkpoint_ = folder_.path() / "run.json";
  // Three layers of a question before each and one before each of 3 steps, and a step of the next.
  Stopping stopping(3 * (1 + 3) + 2);
  progress_ = &stopping;
  const auto stopped = select("kl_ls", keys);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().message,
            "interrupted after 1 of 3 steps of distilling with layer 3 restored");
  Stopping patient(1000);
  progress_ = &patient;
  ASSERT_TRUE(select("kl_ls", keys));
  EXPECT_THAT(patient.stages,
              ElementsAre("distilling with layer 3 restored", "distilling with layer 4 restored"));
}

TEST_F(KlLsResumeTest, LeavesNothingBehindItsCheckpointIsRemovedWith) {
  for (const Keys& keys : every_kind()) {
    checkpoint_ = folder_.path() / "state" / "run.json";
    ASSERT_TRUE(select("kl_ls", keys));
    EXPECT_TRUE(fs::exists(checkpoint_));
    remove_checkpoint(checkpoint_);
    EXPECT_TRUE(fs::is_empty(checkpoint_.parent_path()));
  }
  // Weights of finished layers go as soon as nobody needs them.
  ASSERT_TRUE(select("kl_ls", of(2, {})));
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(checkpoint_.parent_path()))
    left.push_back(entry.path().filename());
  EXPECT_THAT(left, ElementsAre("run.json"));
}

TEST_F(KlLsResumeTest, AnotherTrainingsCheckpointIsRefused) {
  checkpoint_ = folder_.path() / "run.json";
  ASSERT_TRUE(select("kl_ls", of(2, {})));
  const auto refused = [&](const Keys& keys) {
    const auto tried = select("kl_ls", keys);
    ASSERT_FALSE(tried);
    EXPECT_EQ(tried.error().where, std::vector<std::string>{checkpoint_.string()});
    EXPECT_THAT(tried.error().message, HasSubstr("it is of another configuration, model or data"));
    EXPECT_EQ(tried.error().hint, "delete it to train from the first step");
  };
  refused(of(2, {{"tail", 0.5}}));
  request_.seed = 1;
  refused(of(2, {}));
  request_.seed = 0;
  request_.budget.units = 2;  // the same trainings
  EXPECT_TRUE(select("kl_ls", of(2, {})));
  calibration_.id = "another";
  refused(of(2, {}));
  // Damaged by hand.
  calibration_.id = content_id(calibration_.samples);
  std::string text = testing::read_file(checkpoint_);
  text.replace(text.find("\"losses\":["), 10, "\"losses\":[0.5,");
  testing::write_file(checkpoint_, text);
  EXPECT_THAT(select("kl_ls", of(2, {})).error().message,
              HasSubstr("\"losses\": expected a list of 2 numbers"));
}

}  // namespace
}  // namespace strata
