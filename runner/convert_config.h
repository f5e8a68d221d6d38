// ConvertConfig: everything that `strata convert` depends on, typed; bound from
// configs/convert.yaml and overrides. Keys that branches and trainings have are declared with them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config/fields.h"
#include "core/result.h"
#include "models/mixers/linear_branch_config.h"
#include "models/training/branch_training_config.h"
#include "models/training/hybrid_training.h"
#include "runner/config/compose.h"
#include "runner/experiment_config.h"

namespace strata {

struct TextConfig {
  std::string source = "folder";
  std::string path;
  std::vector<std::string> exclude;
  std::int64_t tokens = 0;
  double max_repeats = 1;
  double temperature = 1;
  std::int64_t sample_tokens = 0;
  std::int64_t sample_batch = 32;
  std::string separator;
  std::optional<std::uint64_t> seed;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("source", self.source,
          "folder: a folder of *.txt, *.jsonl, *.jsonl.gz (field text); teacher: text that the "
          "model itself writes; sessions: chat sessions of a LongMemEval file",
          config::one_of({"folder", "teacher", "sessions"}));
    visit("path", self.path,
          "folder: the folder; sessions: the file, from data= (or STRATA_DATA) where relative");
    visit("exclude", self.exclude,
          "sessions: files whose sessions are left out, by what was said in them: all that is "
          "evaluated");
    visit("tokens", self.tokens,
          "how many are taken of the text; 0: as many as all stages look at, over max_repeats",
          config::at_least(0));
    visit("max_repeats", self.max_repeats,
          "how often a token may be looked at, over all stages; more is an error",
          config::above(0));
    visit("temperature", self.temperature, "teacher: of the sampling (inferred)",
          config::between(1e-3, 1e3));
    visit("sample_tokens", self.sample_tokens,
          "teacher: tokens of a text that it writes; 0: of the longest stage (inferred)",
          config::at_least(0));
    visit("sample_batch", self.sample_batch, "teacher: texts written at once", config::at_least(1));
    visit("separator", self.separator,
          "text of the added token between documents; empty: the first token that ends "
          "generation (inferred)");
    visit("seed", self.seed,
          "of the files' order and the teacher's sampling; null = derived from seed");
  }
};

// A training and the length of its texts, keys side by side.
struct AlignmentStage {
  std::int64_t length = 512;
  BranchTraining training;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("length", self.length, "tokens of a text (HALO, FlashMorph, RADLADS: 512)",
          config::at_least(2));
    BranchTraining::fields(self.training, visit);
  }
};
struct HybridStage {
  std::int64_t length = 512;
  HybridTraining training;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("length", self.length, "tokens of a text (distillation: 512; long texts: 16384)",
          config::at_least(2));
    HybridTraining::fields(self.training, visit);
  }
};

struct ConvertConfig {
  ModelConfig model;
  TextConfig text;
  LinearBranchConfig branch;
  std::vector<std::int64_t> layers;
  std::string plan;
  AlignmentStage stage1;
  HybridStage stage2;
  HybridStage stage3 = {.length = 16384, .training = {.rate = 1e-5, .loss = HybridLoss::kNll}};
  std::uint64_t seed = 0;
  std::string device = "cpu";
  std::string dtype = "float32";
  int threads = 0;
  bool tf32 = false;
  double checkpoint_seconds = 300;
  std::int64_t max_shard_mib = 5120;
  std::optional<double> peak_flops;
  std::string data;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("model", self.model,
          "the teacher; with model.branches, the branches that training begins with");
    visit("text", self.text, "what is trained on");
    visit("branch", self.branch, "the linear attention; not used with model.branches");
    visit("layers", self.layers,
          "which get a branch; empty: all, or those that the plan makes linear",
          config::at_least(0));
    visit("plan", self.plan,
          "plan.json (or a selection.json) of the hybrid that stages 2 and 3 train; empty: every "
          "layer linear");
    visit("stage1", self.stage1, "alignment of each branch with its layer's attention");
    visit("stage2", self.stage2, "distillation of the teacher's next token under the plan");
    visit("stage3", self.stage3, "training on longer text under the plan");
    visit("seed", self.seed, "from which the seeds of texts and orders derive");
    visit("device", self.device, "where the model runs", config::one_of({"cpu", "cuda"}));
    visit("dtype", self.dtype, "of the teacher's weights and activations",
          config::one_of({"float32", "bfloat16", "float64"}));
    visit("threads", self.threads, "CPU threads of an operation; 0 = all cores",
          config::at_least(0));
    visit("tf32", self.tf32,
          "cuda: products of float32, as branches have, with 10 bits of mantissa: several times as "
          "fast (inferred: false)");
    visit("checkpoint_seconds", self.checkpoint_seconds,
          "how often the state is written, so that a killed conversion goes on from there",
          config::at_least(0));
    visit("max_shard_mib", self.max_shard_mib, "largest file of branches", config::at_least(1));
    visit("peak_flops", self.peak_flops,
          "FLOP/s that the device can do at most (H100, bfloat16: 9.89e14): the record then has "
          "the share reached; null = unknown",
          config::above(0));
    visit("data", self.data, "folder with data sets; default: the environment's STRATA_DATA");
  }
};

struct ConvertJob {
  ConvertConfig config;
  config::Value composed;
};

// Composes, binds and checks; touches no model. One job: sweeps are refused.
Result<ConvertJob> load_convert(const LoadRequest& request);
config::ComposeOptions convert_options(const LoadRequest& request);

}  // namespace strata
