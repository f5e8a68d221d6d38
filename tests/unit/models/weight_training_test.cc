#include "models/training/weight_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "core/rng.h"
#include "models/checkpoint/checkpoint.h"
#include "models/decoder/decoder.h"
#include "models/training/training_checkpoint.h"
#include "models/training/weight_gradients.h"
#include "tests/unit/checkpoint/model_files.h"
#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/one_pass.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

std::vector<double> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().to(at::kDouble).contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

Tensors weights_of(const Model& model) {
  Weights handles = model.decoder().weights();
  Tensors out;
  for (const WeightPart& part : weight_parts(model.decoder().architecture(), handles))
    out.push_back(part.tensor->detach().clone());
  return out;
}

bool same_bits(const Tensors& a, const Tensors& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const at::Tensor& x, const at::Tensor& y) { return at::equal(x, y); });
}

// Asks to stop, or does something else, once a number of steps is done.
class Watcher final : public Progress {
 public:
  std::int64_t stop_at = -1;
  std::function<void(std::int64_t)> after_step = [](std::int64_t) {};
  void begin(std::string_view, std::int64_t) override { done_ = 0; }
  void advance(std::int64_t steps) override {
    done_ += steps;
    after_step(done_);
  }
  void end() override {}
  bool stop_requested() const override { return done_ == stop_at; }

 private:
  std::int64_t done_ = 0;
};

// Other gates in each pass, drawn around a mean that descends.
class RandomGates final : public GateLearner {
 public:
  explicit RandomGates(std::size_t units) : means_(units, 0.5) {}
  std::vector<double> gates(std::int64_t step, std::size_t pass) override {
    Rng rng(3, fmt::format("gates {} {}", step, pass));
    std::vector<double> out;
    for (const double mean : means_) out.push_back(std::clamp(mean + 0.5 * rng.normal(), 0.0, 1.0));
    return out;
  }
  nlohmann::json update(std::int64_t, std::span<const GatedGradient> passes) override {
    for (const GatedGradient& pass : passes)
      for (std::size_t u = 0; u < means_.size(); ++u) means_[u] -= 0.1 * pass.gradient[u];
    return nlohmann::json::object();
  }
  nlohmann::json state() const override { return means_; }
  Status restore(const nlohmann::json& state) override {
    means_ = state.get<std::vector<double>>();
    return {};
  }

 private:
  std::vector<double> means_;
};

class WeightTrainingTest : public ::testing::Test {
 protected:
  void make(at::ScalarType dtype) {
    Rng rng(5, "weight training");
    Architecture architecture = testing::tiny_architecture(3, 4, 2);
    architecture.tie_word_embeddings = true;
    Weights weights = testing::random_weights(architecture, rng, dtype);
    weights.lm_head = weights.embedding;
    model_ = Model::in_memory("tiny", architecture, weights);
    draw_texts(architecture.vocabulary);
  }
  void draw_texts(std::int64_t vocabulary) {
    Rng rng(6, "texts");
    for (int i = 0; i < 3; ++i) {
      Tokens& text = texts_.emplace_back();
      for (int t = 0; t < 40; ++t)
        text.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocabulary))));
    }
    for (const Tokens& text : texts_)
      samples_.push_back({.prompt = std::span(text).first(36),
                          .answer = std::span(text).last(4),
                          .scored = static_cast<std::int64_t>(text.size()) - 1});
  }
  Mask mask() const { return Mask(Granularity::kLayer, model_->layout(), false).with(1, true); }
  GateTraining training(std::int64_t steps) const {
    return {.attention = {.granularity = Granularity::kLayer,
                          .kept = FullAttention{},
                          .cheap = SlidingWindow{6, 2},
                          .rule = DecodeRule::kSame},
            .steps = steps,
            .batch = 2,
            .seed = 9,
            .identity = "test",
            .seconds_between_checkpoints = 0};
  }
  Result<nlohmann::json> train(WeightTrainer& trainer, GateLearner& learner,
                               const GateTraining& training, Progress& progress) {
    MeteredModel metered(*model_);
    Result<nlohmann::json> curve =
        train_weights(metered, samples_, training, trainer, learner, progress);
    meter_ = metered.meter();
    return curve;
  }

  std::unique_ptr<Model> model_;
  std::vector<Tokens> texts_;
  std::vector<TrainingSample> samples_;
  SilentProgress silent_;
  Meter meter_;
};

// AdamW with clipping in plain loops, on gradients of a model of its own.
TEST_F(WeightTrainingTest, StepsAreThoseOfAdamW) {
  make(at::kDouble);
  const WeightOptions options{.rate = 0.01, .weight_decay = 0.1, .clip = 0.5};
  WeightTrainer trainer(*model_, options);
  WeightTrainer twin(*model_, {});  // only computes
  FixedGates gates(mask());
  ASSERT_TRUE(train(trainer, gates, training(4), silent_));

  std::vector<std::vector<double>> values, means, squares;
  for (const at::Tensor& weight : weights_of(twin.model())) {
    values.push_back(values_of(weight));
    means.emplace_back(values.back().size(), 0.0);
    squares.emplace_back(values.back().size(), 0.0);
  }
  bool clipped = false;
  for (int step = 0; step < 4; ++step) {
    twin.gradients().clear();
    MeteredModel metered(twin.model());
    const std::vector<double> shut = {0, 1, 0};
    for (const std::size_t i : samples_of_step(9, samples_.size(), 2, step))
      ASSERT_TRUE(testing::gate_gradient(metered, training(4).attention,
                                         {.prompt = samples_[i].prompt,
                                          .answer = samples_[i].answer,
                                          .gates = shut,
                                          .scored = samples_[i].scored,
                                          .weights = &twin.gradients()},
                                         std::uint64_t{1} << 40));
    std::vector<std::vector<double>> gradients;
    double norm = 0;
    for (const at::Tensor& sum : twin.gradients().sums()) {
      gradients.push_back(values_of(sum));
      for (double& g : gradients.back()) {
        g /= 2;
        norm += g * g;
      }
    }
    norm = std::sqrt(norm);
    clipped |= norm > 0.5;
    Weights handles = twin.model().decoder().weights();
    const auto parts = weight_parts(twin.model().decoder().architecture(), handles);
    for (std::size_t w = 0; w < parts.size(); ++w) {
      double* live = parts[w].tensor->detach().mutable_data_ptr<double>();
      for (std::size_t i = 0; i < values[w].size(); ++i) {
        const double g = gradients[w][i] * std::min(1.0, 0.5 / (norm + 1e-6));
        means[w][i] = 0.9 * means[w][i] + 0.1 * g;
        squares[w][i] = 0.95 * squares[w][i] + 0.05 * g * g;
        const double mean = means[w][i] / (1 - std::pow(0.9, step + 1));
        const double square = squares[w][i] / (1 - std::pow(0.95, step + 1));
        values[w][i] -= 0.01 * (0.1 * values[w][i] + mean / (std::sqrt(square) + 1e-8));
        live[i] = values[w][i];
      }
    }
  }
  EXPECT_TRUE(clipped);
  const Tensors trained = weights_of(trainer.model());
  for (std::size_t w = 0; w < trained.size(); ++w) {
    const std::vector<double> got = values_of(trained[w]);
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], values[w][i], 1e-9);
  }
}

TEST_F(WeightTrainingTest, LearnsItsTextAndLeavesTheParentAsItWas) {
  make(at::kFloat);
  const Tensors before = weights_of(*model_);
  WeightTrainer trainer(*model_, {.rate = 0.01});
  FixedGates gates(mask());
  const Result<nlohmann::json> curve = train(trainer, gates, training(60), silent_);
  ASSERT_TRUE(curve) << curve.error().text();
  EXPECT_LT(curve->back()["loss"].get<double>(), 0.5 * curve->front()["loss"].get<double>());
  EXPECT_GT(curve->front()["gradient_norm"].get<double>(), 0);
  EXPECT_TRUE(same_bits(weights_of(*model_), before));
  EXPECT_EQ(meter_.backward_tokens, 60.0 * 2 * 39);
  // What is computed under the mask's plan is what was trained.
  MeteredModel metered(trainer.model());
  const GateTraining t = training(1);
  const AttentionPlan plan =
      *AttentionPlan::from_mask(mask(), t.attention.kept, t.attention.cheap, t.attention.rule);
  const ForcedRequest forced{samples_[0].prompt, samples_[0].answer, &plan};
  EXPECT_LT((*metered.score(std::span(&forced, 1)))[0].mean_nll(),
            0.5 * curve->front()["loss"].get<double>());
}

TEST_F(WeightTrainingTest, HalfPrecisionModelsHaveMasterWeightsInFloat32) {
  make(at::kBFloat16);
  WeightTrainer trainer(*model_, {.rate = 1e-5});
  FixedGates gates(mask());
  ASSERT_TRUE(train(trainer, gates, training(20), silent_));
  const testing::TemporaryDirectory folder;
  ASSERT_TRUE(trainer.save(folder.path() / "state.safetensors"));
  const auto file = SafetensorsFile::open(folder.path() / "state.safetensors");
  ASSERT_TRUE(file);
  const TensorView* master = file->find("weight.model.layers.0.mlp.up_proj.weight");
  ASSERT_NE(master, nullptr);
  EXPECT_EQ(master->dtype, DType::kF32);
  // Steps far below bfloat16's precision add up in the master weights.
  std::vector<float> values(master->bytes.size() / sizeof(float));
  std::memcpy(values.data(), master->bytes.data(), master->bytes.size());
  const std::vector<double> start = values_of(model_->decoder().weights().layers[0].up);
  double moved = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    moved = std::max(moved, std::abs(static_cast<double>(values[i]) - start[i]));
  EXPECT_GT(moved, 5e-5);
  EXPECT_LT(moved, 4e-4);
}

class Resumed : public WeightTrainingTest, public ::testing::WithParamInterface<bool> {
 protected:
  std::unique_ptr<GateLearner> learner() const {
    if (GetParam()) return std::make_unique<RandomGates>(mask().size());
    return std::make_unique<FixedGates>(mask());
  }
  struct Trained {
    Tensors weights;
    nlohmann::json curve, gates;
  };
  Trained trained(const GateTraining& how) {
    WeightTrainer trainer(*model_, {.rate = 0.01});
    const auto gates = learner();
    const Result<nlohmann::json> curve = train(trainer, *gates, how, silent_);
    EXPECT_TRUE(curve) << curve.error().text();
    return {weights_of(trainer.model()), curve.value_or(nullptr), gates->state()};
  }
  static void expect_same(const Trained& a, const Trained& b) {
    EXPECT_TRUE(same_bits(a.weights, b.weights));
    EXPECT_EQ(a.curve, b.curve);
    EXPECT_EQ(a.gates, b.gates);
  }
};

TEST_P(Resumed, AfterAnInterruptGoesOnToTheSameBits) {
  make(at::kFloat);
  const Trained whole = trained(training(7));
  expect_same(whole, trained(training(7)));
  const testing::TemporaryDirectory folder;
  GateTraining how = training(7);
  how.checkpoint = folder.path() / "run.json";
  for (const std::int64_t stop_at : {2, 5}) {
    WeightTrainer trainer(*model_, {.rate = 0.01});
    const auto gates = learner();
    Watcher watcher;
    watcher.stop_at = stop_at;
    const auto stopped = train(trainer, *gates, how, watcher);
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().kind, ErrorKind::kInterrupted);
  }
  expect_same(whole, trained(how));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 2);  // its own weights only
  remove_checkpoint(how.checkpoint);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

// What a killed process leaves: a checkpoint some steps old, and weights that no checkpoint names.
TEST_P(Resumed, FromAnOldCheckpointGoesOnToTheSameBits) {
  make(at::kFloat);
  const testing::TemporaryDirectory folder;
  GateTraining how = training(7);
  how.checkpoint = folder.path() / "run.json";
  const fs::path kept = folder.path() / "kept";
  WeightTrainer trainer(*model_, {.rate = 0.01});
  const auto gates = learner();
  Watcher watcher;
  watcher.after_step = [&](std::int64_t done) {
    if (done != 4) return;  // files of step 3
    fs::create_directory(kept);
    for (const auto& entry : fs::directory_iterator(folder.path()))
      if (entry.is_regular_file()) fs::copy_file(entry, kept / entry.path().filename());
    testing::write_file(kept / "run.json.4.safetensors", "half of a file");
  };
  ASSERT_TRUE(train(trainer, *gates, how, watcher));
  how.checkpoint = kept / "run.json";
  const Trained resumed = trained(how);
  EXPECT_TRUE(same_bits(resumed.weights, weights_of(trainer.model())));
  EXPECT_EQ(resumed.gates, gates->state());
  EXPECT_FALSE(fs::exists(kept / "run.json.4.safetensors"));
}

INSTANTIATE_TEST_SUITE_P(Gates, Resumed, ::testing::Bool(), [](const auto& test) {
  return std::string(test.param ? "Learned" : "Fixed");
});

TEST_F(WeightTrainingTest, ADamagedFileOfWeightsIsRefused) {
  make(at::kFloat);
  const testing::TemporaryDirectory folder;
  GateTraining how = training(2);
  how.checkpoint = folder.path() / "run.json";
  FixedGates gates(mask());
  {
    WeightTrainer trainer(*model_, {});
    ASSERT_TRUE(train(trainer, gates, how, silent_));
  }
  const fs::path file = folder.path() / "run.json.2.safetensors";
  fs::resize_file(file, fs::file_size(file) - 1);
  WeightTrainer trainer(*model_, {});
  const auto refused = train(trainer, gates, how, silent_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kInvalidFile);
  EXPECT_TRUE(refused.error().message.starts_with("not a checkpoint of this training"));
}

class SavedModel : public WeightTrainingTest {
 protected:
  void load(const fs::path& folder) {
    Result<std::unique_ptr<Model>> model = Model::load(folder, {});
    ASSERT_TRUE(model) << model.error().text();
    model_ = *std::move(model);
    texts_.clear();
    samples_.clear();
    draw_texts(40);
  }
  static AnswerScore score(const Model& model, const TrainingSample& sample) {
    MeteredModel metered(model);
    const AttentionPlan plan = AttentionPlan::full(model.layout());
    const ForcedRequest forced{sample.prompt, sample.answer, &plan};
    return (*metered.score(std::span(&forced, 1)))[0];
  }
};

TEST_F(SavedModel, LoadsAsWhatWasTrained) {
  for (const char* family : {"llama_tied", "gemma3", "gpt_oss", "qwen2"}) {
    const fs::path parent = fs::path("tests/golden/families") / family;
    load(parent);
    WeightTrainer trainer(*model_, {.rate = 0.01});
    FixedGates gates(mask());
    ASSERT_TRUE(train(trainer, gates, training(2), silent_));
    const testing::TemporaryDirectory folder;
    const fs::path out = folder.path() / "trained";
    const Result<std::string> id = trainer.save_model({{"method", "test"}}, out);
    ASSERT_TRUE(id) << id.error().text();
    EXPECT_NE(*id, model_->id());
    const auto origin = nlohmann::json::parse(testing::read_file(out / "strata.json"));
    EXPECT_EQ(origin["parents"], nlohmann::json::array({model_->id()}));
    EXPECT_EQ(origin["transform"]["method"], "test");
    const auto loaded = Model::load(out, {});
    ASSERT_TRUE(loaded) << loaded.error().text();
    EXPECT_EQ((*loaded)->id(), *id);
    const std::vector<double> got = score(**loaded, samples_[0]).nll;
    const std::vector<double> expected = score(trainer.model(), samples_[0]).nll;
    const std::vector<double> before = score(*model_, samples_[0]).nll;
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], expected[i], 1e-5) << family;
      EXPECT_GT(std::abs(got[i] - before[i]), 1e-4) << family;
    }
    const Result<std::string> again = trainer.save_model({}, out);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().kind, ErrorKind::kInvalidArgument);
  }
}

TEST_F(SavedModel, WithoutAStepIsTheParentByContent) {
  load("tests/golden/families/qwen3");
  const WeightTrainer trainer(*model_, {});
  const testing::TemporaryDirectory folder;
  const Result<std::string> id = trainer.save_model({}, folder.path() / "same");
  ASSERT_TRUE(id) << id.error().text();
  EXPECT_EQ(*id, model_->id());
}

}  // namespace
}  // namespace strata
