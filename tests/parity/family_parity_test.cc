// A tiny random checkpoint of each family against `transformers` in float32, under the plan that
// the checkpoint's own config names; tools/make_family_golden.py wrote both.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/model.h"
#include "models/training/gated_pass.h"
#include "runner/export.h"
#include "tests/parity/prompt_logits.h"
#include "tests/unit/models/device_test.h"
#include "tests/unit/models/one_pass.h"

namespace strata {
namespace {

class FamilyParityTest : public testing::DeviceTest {
 protected:
  struct Family {
    std::string name;
    std::unique_ptr<Model> model;
    nlohmann::json expected;
    AttentionPlan native_plan() const { return model->native_plan(); }
  };

  std::vector<Family> families(const std::string& dtype = "float32") const {
    std::vector<Family> out;
    for (const auto& entry : std::filesystem::directory_iterator("tests/golden/families")) {
      auto model = Model::load(entry.path(), {.device = GetParam(), .dtype = dtype, .threads = 1});
      EXPECT_TRUE(model) << model.error().text();
      if (!model) continue;
      std::ifstream in(entry.path() / "expected.json");
      out.push_back(
          {entry.path().filename().string(), *std::move(model), nlohmann::json::parse(in)});
    }
    std::sort(out.begin(), out.end(),
              [](const Family& a, const Family& b) { return a.name < b.name; });
    return out;
  }

  double worst_difference(const Family& family, const AttentionPlan& plan) const {
    return worst_difference(family, plan, family.expected);
  }

  double worst_difference(const Family& family, const AttentionPlan& plan,
                          const nlohmann::json& answers) const {
    double worst = 0;
    for (const nlohmann::json& answer : answers) {
      const at::Tensor ours_NV =
          testing::prompt_logits(*family.model, answer["tokens"].get<Tokens>(), plan, 0);
      const auto vocabulary = ours_NV.size(1);
      for (std::size_t i = 0; i < answer["rows"].size(); ++i) {
        const float* ours =
            ours_NV.const_data_ptr<float>() + answer["rows"][i].get<std::int64_t>() * vocabulary;
        const auto theirs = answer["logits"][i].get<std::vector<double>>();
        EXPECT_EQ(static_cast<std::int64_t>(theirs.size()), vocabulary);
        for (std::size_t token = 0; token < theirs.size(); ++token)
          worst = std::max(worst, std::abs(static_cast<double>(ours[token]) - theirs[token]));
      }
    }
    return worst;
  }
};

TEST_P(FamilyParityTest, LogitsAgreeWithin1e5) {
  // The reference ran on a CPU; a GPU adds up in another order.
  const double bound = device().is_cpu() ? 1e-5 : 2e-5;
  const std::vector<Family> all = families();
  ASSERT_EQ(all.size(), 17u);
  for (const Family& family : all) {
    const double worst = worst_difference(family, family.native_plan());
    EXPECT_LT(worst, bound) << family.name;
    std::printf("%-15s worst logit difference %.1e\n", family.name.c_str(), worst);
  }
}

TEST_P(FamilyParityTest, AHybridUnderFullAttentionIsAnotherFunction) {
  int hybrids = 0;
  for (const Family& family : families()) {
    if (family.native_plan().is_full()) continue;
    ++hybrids;
    EXPECT_GT(worst_difference(family, AttentionPlan::full(family.model->layout())), 1e-2)
        << family.name;
  }
  EXPECT_EQ(hybrids, 9);
}

// Nothing but the config's own layer_types and sliding_window says so.
TEST_P(FamilyParityTest, AGptOssLoadsAsTheHybridThatItIs) {
  const auto windows_of = [](const AttentionPlan& plan) {
    std::vector<std::int64_t> windows;
    for (int layer = 0; layer < plan.layout().layers; ++layer) {
      const auto* sliding = std::get_if<SlidingWindow>(&plan.entry(layer, 0).mixer);
      windows.push_back(sliding == nullptr ? 0 : sliding->window);
    }
    return windows;
  };
  int seen = 0;
  for (const Family& family : families()) {
    if (!family.name.starts_with("gpt_oss")) continue;
    ++seen;
    using Windows = std::vector<std::int64_t>;
    EXPECT_EQ(windows_of(family.native_plan()),
              family.name == "gpt_oss" ? (Windows{8, 0, 8, 0}) : (Windows{0, 16, 16, 0}));
  }
  EXPECT_EQ(seen, 2);
}

TEST_P(FamilyParityTest, GreedyTokensAreTheSame) {
  for (const Family& family : families()) {
    MeteredModel model(*family.model, {.batch_rows = 16});  // prefill in several chunks
    const AttentionPlan plan = family.native_plan();
    std::vector<Tokens> prompts;
    prompts.reserve(family.expected.size());
    for (const nlohmann::json& answer : family.expected)
      prompts.push_back(answer["tokens"].get<Tokens>());
    std::vector<Request> requests;
    requests.reserve(prompts.size());
    for (const Tokens& prompt : prompts) requests.push_back({prompt, &plan, 48});
    Session session = *model.prefill(requests);
    const std::vector<Tokens> generated = *session.generate({.max_new_tokens = 48, .stop = {}});
    for (std::size_t i = 0; i < generated.size(); ++i)
      EXPECT_EQ(generated[i], family.expected[i]["greedy"].get<Tokens>())
          << family.name << ", prompt " << i;
  }
}

// tools/make_export_golden.py let transformers compute the plan with the config that we exported.
TEST_P(FamilyParityTest, AnExportedPlanIsTheSameFunctionInTransformers) {
  int exported = 0;
  for (const Family& family : families()) {
    const std::filesystem::path folder = "tests/golden/families/" + family.name;
    std::ifstream in(folder / "export.json");
    if (!in) continue;
    ++exported;
    const nlohmann::json golden = nlohmann::json::parse(in);
    const AttentionPlan plan = *AttentionPlan::from_json(golden["plan"], family.model->layout());
    // Full attention is further away than 2.
    EXPECT_LT(worst_difference(family, plan, nlohmann::json::array({golden})), 2e-5) << family.name;
    std::ifstream config(folder / "config.json");
    const std::string text(std::istreambuf_iterator<char>(config), {});
    EXPECT_EQ(*export_hf(plan, text, "config.json"), golden["config"].get<std::string>());
  }
  EXPECT_EQ(exported, 9);
}

// Gates between full and windowed attention, by central finite differences in float64: whatever a
// family does to attention (sink logits, norms of queries and keys, no rotary embedding, experts).
TEST_P(FamilyParityTest, GateGradientsAreFiniteDifferences) {
  const std::vector<Family> all = families("float64");
  ASSERT_EQ(all.size(), 17u);
  for (const Family& family : all) {
    SCOPED_TRACE(family.name);
    const auto tokens = family.expected.back()["tokens"].get<Tokens>();
    ASSERT_GE(tokens.size(), 16u);  // beyond the window
    const GatedAttention attention{.granularity = Granularity::kKvHead,
                                   .cheap = SlidingWindow{4, 1}};
    MeteredModel model(*family.model);
    const std::size_t units = Mask(attention.granularity, model.layout(), false).size();
    std::vector<double> gates(units, 0.4);
    const GatedRequest request{.prompt = std::span(tokens).first(tokens.size() - 4),
                               .answer = std::span(tokens).last(4),
                               .gates = gates};
    const auto pass = [&] {
      return *testing::gate_gradient(model, attention, request, std::uint64_t{1} << 40);
    };
    const GatedGradient here = pass();
    for (const std::size_t unit : {units / 3, units - 1}) {
      const auto loss_at = [&](double gate) {
        gates[unit] = gate;
        return pass().loss;
      };
      const double step = 1e-4;
      const double expected = (loss_at(0.4 + step) - loss_at(0.4 - step)) / (2 * step);
      gates[unit] = 0.4;
      EXPECT_GT(std::abs(expected), 1e-7) << "unit " << unit;  // there is something to see
      EXPECT_NEAR(here.gradient[unit], expected, 1e-4 * std::abs(expected)) << "unit " << unit;
    }
  }
}

STRATA_ON_EVERY_DEVICE(FamilyParityTest);

}  // namespace
}  // namespace strata
