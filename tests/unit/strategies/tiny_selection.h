// A small random model with grouped heads in memory, calibration prompts for it, and strategies
// that run on them as the runner lets them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/config/value.h"
#include "core/sample.h"
#include "models/decoder/weights.h"
#include "strategies/strategy.h"
#include "tests/unit/models/dense_oracle.h"

namespace strata::testing {

using Keys = std::vector<std::pair<std::string, config::Value>>;

class MapScoreCache final : public ScoreCache {
 public:
  const Entry* find(const std::string& key) const override {
    const auto it = entries_.find(key);
    return it == entries_.end() ? nullptr : &it->second;
  }
  void insert(const std::string& key, Entry entry) override { entries_[key] = std::move(entry); }

 private:
  std::map<std::string, Entry> entries_;
};

class TinySelectionTest : public ::testing::Test {
 protected:
  static constexpr int kLayers = 5, kPrompt = 40, kAnswer = 4, kSamples = 3;
  static constexpr std::int64_t kWindow = 6, kSinks = 2;

  TinySelectionTest();

  static std::unique_ptr<SelectionStrategy> made(const char* name, const Keys& keys = {});
  Result<Selection> select(const char* name, const Keys& keys = {}, Meter* meter = nullptr);
  std::size_t units() const { return Mask(request_.granularity, request_.layout, false).size(); }

  // Of prompt and answer; rows of logits from the one that predicts the answer's first token on.
  Matrix answer_logits(const Sample& sample, const AttentionPlan& plan) const;
  // Of any tokens, all rows.
  Matrix logits(const Tokens& tokens, const AttentionPlan& plan, std::int64_t prompt_length) const {
    return oracle_logits(architecture_, weights_, tokens, plan, prompt_length);
  }
  std::vector<OracleQk> full_qk(const Tokens& tokens) const;

  Architecture architecture_;
  Weights weights_;
  std::unique_ptr<Model> model_;
  CalibrationSet calibration_;
  SelectionRequest request_;
  MapScoreCache* cache_ = nullptr;
  std::filesystem::path checkpoint_;  // of select()
  SilentProgress silent_;
  Progress* progress_ = &silent_;
};

// Where FlashMorph's single stream ends by hand: alpha = clip(1 - lambda L / (2 D)) of each layer's
// distance D, for the lambda that shuts the layer of the least and opens the next.
struct ClosedForm {
  double lambda = 0;
  std::vector<double> gates;
};
ClosedForm closed_form(const std::vector<double>& distances);

double nll_of(const std::vector<double>& logits, TokenId target);
double kl_of(const std::vector<double>& teacher_logits, const std::vector<double>& logits);
// The k highest, the first of equals.
std::vector<std::size_t> highest(const std::vector<double>& scores, std::size_t k);

}  // namespace strata::testing
