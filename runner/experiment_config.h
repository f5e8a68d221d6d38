// ExperimentConfig: everything that one job depends on, typed. Bound from the composed YAML and
// overrides; each key is declared here or in a strategy's or benchmark's config struct, and nowhere
// else.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "benchmarks/benchmark.h"
#include "core/budget.h"
#include "core/config/binder.h"
#include "core/config/fields.h"
#include "core/config/value.h"
#include "core/mask.h"
#include "core/mixer_spec.h"
#include "core/result.h"
#include "models/mixers/linear_branch_config.h"
#include "runner/config/compose.h"

namespace strata {

// Which signs of a bug are looked for (docs/diagnostics.md).
enum class Diagnostics { kBasic, kFull };

namespace config {
template <>
struct EnumTable<Diagnostics> {
  static constexpr std::array<std::pair<Diagnostics, std::string_view>, 2> kNames{
      {{Diagnostics::kBasic, "basic"}, {Diagnostics::kFull, "full"}}};
};
template <>
struct EnumTable<DecodeRule> {
  static constexpr std::array<std::pair<DecodeRule, std::string_view>, 2> kNames{
      {{DecodeRule::kSame, "same"}, {DecodeRule::kFull, "full"}}};
};
template <>
struct EnumTable<Granularity> {
  static constexpr std::array<std::pair<Granularity, std::string_view>, 3> kNames{
      {{Granularity::kLayer, "layer"},
       {Granularity::kKvHead, "kv_head"},
       {Granularity::kQueryHead, "query_head"}}};
};
template <>
struct EnumTable<Rounding> {
  static constexpr std::array<std::pair<Rounding, std::string_view>, 3> kNames{
      {{Rounding::kFloor, "floor"},
       {Rounding::kNearest, "nearest"},
       {Rounding::kCeiling, "ceiling"}}};
};
template <>
struct EnumTable<BudgetMode> {
  static constexpr std::array<std::pair<BudgetMode, std::string_view>, 2> kNames{
      {{BudgetMode::kExact, "exact"}, {BudgetMode::kAtMost, "at_most"}}};
};
}  // namespace config

struct ModelConfig {
  std::string name;
  std::string path;
  std::string chat_template = "model";
  std::string branches;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("name", self.name, "what tables call it; 'none' where no model is needed");
    visit("path", self.path, "Hugging Face directory: config.json, safetensors, tokenizer.json");
    visit("chat_template", self.chat_template,
          "model (the directory's own), none, or a template's name");
    visit("branches", self.branches,
          "directory of trained linear branches (strata convert); empty = none");
  }
};

struct MixerConfig {
  std::string kind = "sliding_window";
  std::optional<LinearKind> linear;
  std::int64_t window = 128;
  std::int64_t sinks = 4;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("kind", self.kind, "what replaces full attention",
          config::one_of({"sliding_window", "linear_attention"}));
    visit("linear", self.linear, "which linear attention; null with a sliding window");
    visit("window", self.window,
          "tokens that a windowed query sees, its own included; with linear attention no more than "
          "the distance beyond which benchmarks place needles",
          config::at_least(1));
    visit("sinks", self.sinks, "first tokens that every windowed query sees", config::at_least(0));
  }
};

struct BudgetConfig {
  double fraction = 0.25;
  std::optional<std::int64_t> units;
  Rounding rounding = Rounding::kFloor;
  BudgetMode mode = BudgetMode::kExact;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("fraction", self.fraction, "share of the layers that keep full attention");
    visit("units", self.units, "how many units keep it; overrides the fraction");
    visit("rounding", self.rounding, "of fraction x layers");
    visit("mode", self.mode, "exact, or at_most: units that gain nothing are left out");
  }
};

struct CalibrationConfig {
  std::int64_t samples = 8;
  std::optional<std::uint64_t> seed;
  config::Value benchmark;  // "name" and the benchmark's own keys
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("samples", self.samples, "prompts with answers that selectors may look at",
          config::at_least(1));
    visit("seed", self.seed, "null = derived from seed");
    visit("benchmark", self.benchmark,
          "where they are from (name and the benchmark's keys); null = the evaluated benchmark's "
          "calibration split");
  }
};

struct ExperimentConfig {
  ModelConfig model;
  config::Value strategy;   // "name" and the strategy's own keys
  config::Value benchmark;  // "name", "samples", "seed" and the benchmark's own keys
  CalibrationConfig calibration;
  MixerConfig mixer;
  BudgetConfig budget;
  DecodeRule decode_rule = DecodeRule::kSame;
  Granularity granularity = Granularity::kLayer;
  std::uint64_t seed = 0;
  std::string device = "cpu";
  std::string dtype = "float32";
  int threads = 0;
  std::int64_t batch = 16;
  Diagnostics diagnostics = Diagnostics::kBasic;
  std::string db = "results.db";
  std::string data;

  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("model", self.model, "the language model");
    visit("strategy", self.strategy, "the selector");
    visit("benchmark", self.benchmark, "what the model is asked");
    visit("calibration", self.calibration, "what selectors may look at");
    visit("mixer", self.mixer, "the cheap attention");
    visit("budget", self.budget, "how much full attention is kept");
    visit("decode_rule", self.decode_rule,
          "what queries behind the prompt see: the mixer's rule (same) or everything (full)");
    visit("granularity", self.granularity, "what is selected");
    visit("seed", self.seed,
          "from which benchmark.seed, calibration.seed and strategy.seed derive");
    visit("device", self.device, "where the model runs", config::one_of({"cpu", "cuda"}));
    visit("dtype", self.dtype, "of weights and activations",
          config::one_of({"float32", "bfloat16", "float64"}));
    visit("threads", self.threads, "CPU threads; samples are spread over them; 0 = all cores",
          config::at_least(0));
    visit("batch", self.batch, "samples that are generated together", config::at_least(1));
    visit("diagnostics", self.diagnostics,
          "signs of a bug that are looked for: basic, those that need no further pass; full, all, "
          "metered apart from the selection");
    visit("db", self.db, "results database (SQLite)");
    visit("data", self.data,
          "folder with essays and word lists; default: the environment's STRATA_DATA");
  }

  std::int64_t benchmark_samples() const;  // 0 = all
  Split benchmark_split() const;           // of what is evaluated: test or development
  std::uint64_t benchmark_seed() const;
  std::uint64_t calibration_seed() const;
  std::uint64_t strategy_seed() const;
  config::Value benchmark_own() const;             // without name, samples, split, seed
  std::string calibration_benchmark_name() const;  // "" = the evaluated one
  std::string benchmark_name() const;
  std::string strategy_name() const;
  MixerSpec cheap_mixer() const {
    if (mixer.linear) return LinearAttention{*mixer.linear};
    return SlidingWindow{mixer.window, mixer.sinks};
  }
  Budget core_budget() const {
    return {budget.fraction, budget.units, budget.rounding, budget.mode};
  }
};

// benchmark.length, where the benchmark has one.
Result<std::int64_t> benchmark_length(const ExperimentConfig& config);

struct Job {
  ExperimentConfig config;
  config::Value composed;              // what --cfg job prints
  std::vector<std::string> overrides;  // of this job
};

struct LoadRequest {
  std::vector<std::filesystem::path> config_dirs;
  std::vector<std::string> overrides;
  bool multirun = false;
};

// Composes, binds and checks every job: unknown keys, types, strategy and benchmark keys, a mixer
// that cannot follow the decode rule. No model is touched.
Result<std::vector<Job>> load_jobs(const LoadRequest& request);
// The typed form of a composed configuration, as checked as load_jobs has it.
Result<ExperimentConfig> bind_experiment(const config::Value& composed);
// Composition alone, for --cfg job (unresolved) and --info defaults-tree.
config::ComposeOptions compose_options(const LoadRequest& request);

}  // namespace strata
