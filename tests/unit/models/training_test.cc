// AdamW against torch's, and the loop that trains gates: the same curve whatever interrupts it.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/training/adam.h"
#include "models/training/gate_training.h"
#include "tests/unit/models/dense_oracle.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

TEST(AdamTest, TakesTheStepsOfTorchsAdamW) {
  std::ifstream in("tests/golden/adam.json");
  const nlohmann::json golden = nlohmann::json::parse(in);
  ASSERT_EQ(golden["cases"].size(), 4u);  // the last of them ascends
  for (const nlohmann::json& one : golden["cases"]) {
    auto values = one["start"].get<std::vector<double>>();
    Adam adam(values.size(), {.beta2 = one["beta2"], .weight_decay = one["weight_decay"]});
    for (std::size_t step = 0; step < one["gradients"].size(); ++step) {
      adam.step(values, one["gradients"][step].get<std::vector<double>>(), one["rate"]);
      const auto expected = one["after"][step].get<std::vector<double>>();
      for (std::size_t i = 0; i < values.size(); ++i)
        EXPECT_NEAR(values[i], expected[i], 1e-12) << "step " << step << ", value " << i;
    }
  }
}

TEST(AdamTest, TheFirstStepIsTheRateWhateverTheGradient) {
  std::vector<double> down = {1, 1, 1}, up = {1, 1, 1};
  const std::vector<double> gradient = {1e3, -1e-3, 0};
  Adam(3).step(down, gradient, 0.25);
  Adam(3).step(up, gradient, -0.25);
  const std::vector<double> expected = {0.75, 1.25, 1}, mirrored = {1.25, 0.75, 1};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(down[i], expected[i], 1e-5);
    EXPECT_NEAR(up[i], mirrored[i], 1e-5);
  }
}

TEST(AdamTest, GoesOnFromItsWrittenStateToTheBit) {
  Rng rng(1, "adam");
  std::vector<double> values(5, 0.0), copy;
  Adam adam(5), other(5);
  for (int step = 0; step < 20; ++step) {
    std::vector<double> gradient;
    for (int i = 0; i < 5; ++i) gradient.push_back(rng.normal());
    if (step == 7) {
      copy = values;
      ASSERT_TRUE(other.restore(nlohmann::json::parse(adam.state().dump())));
    }
    adam.step(values, gradient, 0.1);
    if (step >= 7) other.step(copy, gradient, 0.1);
  }
  EXPECT_EQ(values, copy);
}

TEST(AdamTest, ADamagedStateIsAnError) {
  const nlohmann::json whole = Adam(2).state();
  const auto message = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json state = whole;
    state[key] = value;
    Adam adam(2);
    const Status status = adam.restore(state);
    return status ? "none" : status.error().message;
  };
  EXPECT_EQ(message("mean", {1.0}), "\"mean\": expected a list of 2 numbers");
  EXPECT_EQ(message("square", {1.0, "x"}), "\"square\": expected a list of 2 numbers");
  EXPECT_EQ(message("square", {1.0, nullptr}), "\"square\": expected a list of 2 numbers");
  EXPECT_EQ(message("steps", -1), "\"steps\": expected a count");
  EXPECT_EQ(message("steps", UINT64_MAX), "\"steps\": expected a count");
  EXPECT_FALSE(Adam(2).restore("not an object"));
}

TEST(SamplesOfStepTest, EverySampleComesOnceAnEpoch) {
  constexpr std::int64_t kBatch = 3;
  constexpr std::size_t kSamples = 7;
  std::vector<std::vector<std::size_t>> epochs;
  std::vector<std::size_t> all;
  for (std::int64_t step = 0; step < 7; ++step)
    for (const std::size_t sample : samples_of_step(11, kSamples, kBatch, step))
      all.push_back(sample);
  ASSERT_EQ(all.size(), 3 * kSamples);
  for (std::size_t epoch = 0; epoch < 3; ++epoch) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(epoch * kSamples);
    epochs.emplace_back(begin, begin + kSamples);
    std::vector<std::size_t> sorted = epochs.back();
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(sorted, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5, 6}));
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
  EXPECT_NE(samples_of_step(12, kSamples, 7, 0), epochs[0]);
  EXPECT_EQ(samples_of_step(11, kSamples, 7, 0), epochs[0]);
  EXPECT_EQ(samples_of_step(11, 1, 3, 5), (std::vector<std::size_t>{0, 0, 0}));
}

TEST(GatedPassBytesTest, GrowsWithTokensLayersAndWidth) {
  const ModelShape small{.heads = {.layers = 4, .query_heads = 4, .kv_heads = 2},
                         .hidden = 256,
                         .head_dim = 64,
                         .intermediate = 512,
                         .vocabulary = 1000};
  ModelShape wide = small;
  wide.hidden = 512;
  for (const std::int64_t rows : {1, 100, 5000})
    for (const int layers : {0, 1, 2, 3}) {
      EXPECT_LE(gated_pass_bytes(small, rows, layers), gated_pass_bytes(small, rows, layers + 1));
      EXPECT_LT(gated_pass_bytes(small, rows, layers), gated_pass_bytes(small, rows + 100, layers));
      EXPECT_LT(gated_pass_bytes(small, rows, layers), gated_pass_bytes(wide, rows, layers));
    }
  EXPECT_LT(gated_pass_bytes(small, 5000, 1), gated_pass_bytes(small, 5000, 4));
}

// Steps down the gradient from random gates of every pass, and remembers what it saw.
class Walker final : public GateLearner {
 public:
  explicit Walker(std::size_t units) : values_(units, 0.5) {}

  std::vector<double> gates(std::int64_t step, std::size_t pass) override {
    Rng rng(5, fmt::format("walker {} {}", step, pass));
    std::vector<double> gates;
    for (const double value : values_)
      gates.push_back(std::clamp(value + 0.3 * (rng.uniform() - 0.5), 0.0, 1.0));
    return gates;
  }
  nlohmann::json update(std::int64_t, std::span<const GatedGradient> passes) override {
    for (const GatedGradient& pass : passes)
      for (std::size_t u = 0; u < values_.size(); ++u) values_[u] -= 0.1 * pass.gradient[u];
    return {{"first", values_[0]}};
  }
  nlohmann::json state() const override { return {{"values", values_}}; }
  Status restore(const nlohmann::json& state) override {
    ASSIGN_OR_RETURN(values_, numbers_of(state, "values", values_.size()));
    return {};
  }
  const std::vector<double>& values() const { return values_; }

 private:
  std::vector<double> values_;
};

// Asks to stop once so many steps are done, or once it was asked so often.
class StopAt final : public Progress {
 public:
  explicit StopAt(std::int64_t steps, std::int64_t questions = INT64_MAX)
      : steps_(steps), questions_(questions) {}
  void begin(std::string_view stage, std::int64_t) override { title = stage; }
  void advance(std::int64_t steps) override { done_ += steps; }
  void end() override {}
  bool stop_requested() const override { return done_ >= steps_ || ++asked_ > questions_; }

  std::string title;

 private:
  std::int64_t steps_, questions_, done_ = 0;
  mutable std::int64_t asked_ = 0;
};

struct Trained {
  nlohmann::json curve;
  std::vector<double> values;
  Meter meter;
};

class GateTrainingTest : public ::testing::Test {
 protected:
  static constexpr std::int64_t kSteps = 9;

  GateTrainingTest() {
    Rng rng(7, "gate training");
    const Architecture architecture = testing::tiny_architecture(3, 4, 2);
    model_ = Model::in_memory("tiny", architecture,
                              testing::random_weights(architecture, rng, at::kDouble));
    const auto tokens = [&](int count) {
      Tokens out;
      for (int i = 0; i < count; ++i) out.push_back(static_cast<TokenId>(rng.below(11)));
      return out;
    };
    for (int i = 0; i < 4; ++i) texts_.emplace_back(tokens(20 + 3 * i), tokens(2 + i % 2));
    for (const auto& [prompt, answer] : texts_) samples_.push_back({prompt, answer, 0});
    training_ = {.attention = {.granularity = Granularity::kKvHead, .cheap = SlidingWindow{4, 1}},
                 .steps = kSteps,
                 .batch = 3,
                 .seed = 2,
                 .identity = "this one",
                 .seconds_between_checkpoints = 0};
  }
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / "strata_gate_training";
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path checkpoint() const { return folder_ / "training" / "state.json"; }

  Result<Trained> train(const GateTraining& training, Progress& progress, int workers = 1) const {
    MeteredModel model(*model_, {}, workers);
    Walker walker(6);
    ASSIGN_OR_RETURN(nlohmann::json curve,
                     train_gates(model, samples_, training, walker, progress));
    return Trained{std::move(curve), walker.values(), model.meter()};
  }
  Trained undisturbed(const GateTraining& training, int workers = 1) const {
    SilentProgress progress;
    auto trained = train(training, progress, workers);
    STRATA_CHECK(trained.has_value(), "{}", trained.error().text());
    return *std::move(trained);
  }
  // Stopped by `stop`, then carried on from the checkpoint with everything else anew.
  Trained in_two(GateTraining training, StopAt stop) const {
    training.checkpoint = checkpoint();
    const auto stopped = train(training, stop);
    EXPECT_FALSE(stopped);
    EXPECT_EQ(stopped.error().kind, ErrorKind::kInterrupted);
    return undisturbed(training);
  }
  static void expect_same_path(const Trained& got, const Trained& expected) {
    EXPECT_EQ(got.curve, expected.curve);
    EXPECT_EQ(got.values, expected.values);
  }
  static void expect_same_cost(const Trained& got, const Trained& expected) {
    EXPECT_EQ(got.meter.flops, expected.meter.flops);
    EXPECT_EQ(got.meter.forward_tokens, expected.meter.forward_tokens);
    EXPECT_EQ(got.meter.backward_tokens, expected.meter.backward_tokens);
    EXPECT_EQ(got.meter.layer_tokens, expected.meter.layer_tokens);
    EXPECT_EQ(got.meter.evaluations, expected.meter.evaluations);
  }
  // Of a training that finds `text` as its checkpoint.
  Error error_with(const std::string& text) const {
    fs::create_directories(checkpoint().parent_path());
    std::ofstream(checkpoint(), std::ios::binary) << text;
    GateTraining training = training_;
    training.checkpoint = checkpoint();
    SilentProgress progress;
    const auto trained = train(training, progress);
    EXPECT_FALSE(trained) << text;
    return trained ? Error{} : trained.error();
  }

  std::unique_ptr<Model> model_;
  std::vector<std::pair<Tokens, Tokens>> texts_;
  std::vector<TrainingSample> samples_;
  GateTraining training_;
  fs::path folder_;
};

TEST_F(GateTrainingTest, IsTheSameToTheBitAgainAndOnTwoWorkers) {
  const Trained once = undisturbed(training_);
  ASSERT_EQ(once.curve.size(), static_cast<std::size_t>(kSteps));
  EXPECT_EQ(once.curve[4]["step"], 4);
  EXPECT_NE(once.values, std::vector<double>(6, 0.5));
  for (const int workers : {1, 2}) {
    const Trained again = undisturbed(training_, workers);
    expect_same_path(again, once);
    expect_same_cost(again, once);
  }
  GateTraining other = training_;
  other.seed = 3;
  EXPECT_NE(undisturbed(other).values, once.values);
}

TEST_F(GateTrainingTest, InterruptedBetweenStepsItGoesOnAsIfNothingHadHappened) {
  const Trained expected = undisturbed(training_);
  Rng rng(8, "interruptions");
  for (const auto step : {std::int64_t{0}, rng.between(1, kSteps - 2), kSteps - 1}) {
    fs::remove_all(folder_);
    const Trained got = in_two(training_, StopAt(step));
    expect_same_path(got, expected);
    expect_same_cost(got, expected);
  }
}

// The step that was interrupted is run again, and what it had cost stays in the bill.
TEST_F(GateTrainingTest, InterruptedWithinAStepItRepeatsThatStep) {
  const Trained expected = undisturbed(training_);
  double most = 0;
  for (std::int64_t questions = 1; questions < 9; ++questions) {
    fs::remove_all(folder_);
    const Trained got = in_two(training_, StopAt(INT64_MAX, questions));
    expect_same_path(got, expected);
    EXPECT_GE(got.meter.flops, expected.meter.flops);
    most = std::max(most, got.meter.flops);
  }
  EXPECT_GT(most, expected.meter.flops);
}

// Rows of the teacher are kept in memory alone: a second process computes them again.
TEST_F(GateTrainingTest, DistillationGoesOnTooAndPaysForItsTeacherAgain) {
  for (const PassLoss loss : {PassLoss::kHidden, PassLoss::kAlignment}) {
    fs::remove_all(folder_);
    GateTraining distilled = training_;
    distilled.loss = loss;
    const Trained expected = undisturbed(distilled);
    const Trained got = in_two(distilled, StopAt(5));
    expect_same_path(got, expected);
    EXPECT_GT(got.meter.flops, expected.meter.flops);
    EXPECT_EQ(got.meter.backward_tokens, expected.meter.backward_tokens);
  }
}

TEST_F(GateTrainingTest, AFinishedTrainingIsReadFromItsCheckpoint) {
  GateTraining training = training_;
  training.checkpoint = checkpoint();
  const Trained first = undisturbed(training), second = undisturbed(training);
  expect_same_path(second, first);
  expect_same_cost(second, first);
}

TEST_F(GateTrainingTest, ALongCurveHasTwoHundredPointsAndItsEnd) {
  GateTraining training = training_;
  training.steps = 401;
  training.batch = 1;
  const Trained trained = undisturbed(training);
  ASSERT_EQ(trained.curve.size(), 135u);  // every third of 0 … 400, and the last
  EXPECT_EQ(trained.curve[1]["step"], 3);
  EXPECT_EQ(trained.curve.back()["step"], 400);
}

TEST_F(GateTrainingTest, ADamagedOrForeignCheckpointIsAnErrorWithItsPath) {
  GateTraining training = training_;
  training.checkpoint = checkpoint();
  StopAt stop(4);
  ASSERT_FALSE(train(training, stop));
  std::ifstream in(checkpoint());
  const nlohmann::json whole = nlohmann::json::parse(in);
  const auto with = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json file = whole;
    file[key] = value;
    return file.dump();
  };
  nlohmann::json no_flops = whole["meter"];
  no_flops.erase("flops");
  const std::string other = "it is of another configuration, model or data";
  const std::string step = "\"next\": expected a step of this training";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {with("identity", "another"), other},
      {with("format", "strata-training-2"), other},
      {with("next", kSteps + 1), step},
      {with("next", -1), step},
      {with("next", UINT64_MAX), step},
      {with("next", "4"), step},
      {with("curve", 1), step},
      {with("meter", no_flops), "\"flops\": expected a number"},
      {with("learner", {{"values", {1, 2}}}), "\"values\": expected a list of 6 numbers"},
      {"[]", "no \"format\""},
  };
  for (const auto& [text, message] : cases) {
    const Error error = error_with(text);
    EXPECT_EQ(error.kind, ErrorKind::kInvalidFile);
    EXPECT_EQ(error.text(), checkpoint().string() + ": not a checkpoint of this training: " +
                                message + "\n  hint: delete it to train from the first step");
  }
  const std::string text = whole.dump();
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{1}, text.size() / 2, text.size() - 1}) {
    const Error error = error_with(text.substr(0, length));
    EXPECT_EQ(error.kind, ErrorKind::kInvalidFile);
    EXPECT_EQ(error.where, std::vector<std::string>{checkpoint().string()});
    EXPECT_EQ(error.hint, "delete it to train from the first step");
  }
}

TEST_F(GateTrainingTest, AnUnwritableCheckpointIsAnError) {
  std::ofstream(folder_) << "a file where the folder should be";
  GateTraining training = training_;
  training.checkpoint = checkpoint();
  SilentProgress progress;
  const auto trained = train(training, progress);
  ASSERT_FALSE(trained);
  EXPECT_EQ(trained.error().kind, ErrorKind::kIo);
  EXPECT_EQ(trained.error().where, std::vector<std::string>{checkpoint().string()});
}

TEST_F(GateTrainingTest, SaysHowMuchMemoryAPassNeeds) {
  StopAt progress(INT64_MAX);
  ASSERT_TRUE(train(training_, progress));
  EXPECT_TRUE(progress.title.starts_with("training gates (0.7")) << progress.title;
  EXPECT_NE(progress.title.find(" GiB a pass of 32 tokens, "), std::string::npos) << progress.title;
}

// As many passes at a time as no machine has memory for.
TEST_F(GateTrainingTest, RefusesWhatCannotFitWithBothFigures) {
  GateTraining training = training_;
  constexpr int kWorkers = 1 << 24;
  training.batch = kWorkers;
  SilentProgress progress;
  const auto trained = train(training, progress, kWorkers);
  ASSERT_FALSE(trained);
  EXPECT_EQ(trained.error().kind, ErrorKind::kUnsupported);
  const std::uint64_t least = kWorkers * gated_pass_bytes(model_->shape(), 32, 0);
  const std::string start =
      fmt::format("training on 32 tokens needs about {:.2f} GiB beside the weights; ",
                  static_cast<double>(least) / (1 << 30));
  EXPECT_TRUE(trained.error().message.starts_with(start)) << trained.error().message;
  EXPECT_TRUE(trained.error().message.ends_with(" GiB are free")) << trained.error().message;
  EXPECT_EQ(trained.error().hint,
            "use shorter calibration prompts, fewer threads or a device with more memory");
}

}  // namespace
}  // namespace strata
