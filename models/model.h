// Model: a language model loaded from a Hugging Face directory, and MeteredModel, the only way to
// run it.
//
// Batch-first: the lengths and plans of a batch may differ. Weights are immutable and shared; a
// MeteredModel, its sessions and traces belong to one thread. This header is free of LibTorch.
//
// MeteredModel counts what it runs (tokens, layer·tokens, FLOPs, evaluations, seconds), so that
// what a selection cost is never a strategy's own claim.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/result.h"
#include "core/tokens.h"
#include "models/shape.h"

namespace strata {

// Raised only when numbers may change for the same experiment.
inline constexpr int kNumericsVersion = 3;

struct LoadOptions {
  std::string device = "cpu";     // cpu | cuda
  std::string dtype = "float32";  // float32 | bfloat16 | float64
  int threads = 1;                // of one operation, process-wide
  // Directory of trained linear branches (models/convert/branch_checkpoint.h); empty = none.
  std::filesystem::path branches = {};
};

struct RunLimits {
  std::int64_t prefill_chunk = 4096;  // tokens of one sequence at once
  std::int64_t batch_rows = 1024;     // rows of all sequences at once; at least a sequence's chunk
};

struct KeptLogits;  // of one run, at its scored positions

// Teacher-forced answer: −log p (nats) and the most likely token at each answer position.
struct AnswerScore {
  std::vector<double> nll;
  Tokens argmax;
  std::vector<double> divergence;  // KL(reference ‖ this), nats; empty without a reference
  std::shared_ptr<const KeptLogits> logits;  // where asked for: a reference for others
  double mean_nll() const;
};

// Tokens drawn at random (models/sampling.h) in place of the likeliest. Sequence i of a session
// draws from random stream first_stream + i of the seed, which begins anew with each call.
struct Sampling {
  double temperature = 1;  // above 0
  std::uint64_t seed = 0;
  std::int64_t first_stream = 0;
};

struct GenerationSpec {
  std::int64_t max_new_tokens = 16;
  std::vector<TokenId> stop;         // not part of what is returned
  std::optional<Sampling> sampling;  // none: greedy
};

struct Meter {
  double forward_tokens = 0;     // tokens that entered a forward pass at any layer
  double layer_tokens = 0;       // rows computed, summed over layers
  double backward_tokens = 0;    // tokens whose activations got a gradient
  double flops = 0;              // forward and backward
  std::int64_t evaluations = 0;  // teacher-forced answers scored
  double seconds = 0;            // of computing, summed over threads
  std::uint64_t peak_bytes = 0;  // of KV caches and kept layer inputs at once

  Meter& operator+=(const Meter& other);
  Meter operator-(const Meter& earlier) const;  // what was run since (the peak stays)
};

class Checkpoint;
class Decoder;
class LayerBranch;
struct Architecture;
struct BatchState;
struct Weights;

// Threads of one operation, for the whole process: 1 where samples are spread over threads
// (models/parallel.h).
void set_operation_threads(int threads);

class Model {
 public:
  // A directory may be a hybrid (models/convert/hybrid_checkpoint.h). Errors: what
  // Checkpoint::open, read_hybrid and load_branches say; an unknown device or dtype; a device that
  // is not there.
  static Result<std::unique_ptr<Model>> load(const std::filesystem::path& directory,
                                             const LoadOptions& options);
  // A model that exists in memory alone, under the id given. For models/ and its tests.
  static std::unique_ptr<Model> in_memory(std::string id, Architecture architecture,
                                          Weights weights);
  static std::unique_ptr<Model> in_memory(std::string id, Architecture architecture,
                                          Weights weights, std::vector<LayerBranch> branches);
  ~Model();

  // ModelId; with branches or a plan of its own, the SHA-256 of that and of what these are.
  const std::string& id() const;
  const ModelShape& shape() const;
  const HeadLayout& layout() const { return shape().heads; }
  // The hybrid that the checkpoint is: of save_hybrid, or by its own config.
  AttentionPlan native_plan() const;
  // Whether there are weights for every mixer of a plan of this layout: a cell of linear attention
  // needs a branch of its kind in its layer. kUnsupported: the first layer that has none.
  Status check_mixers(const AttentionPlan& plan) const;
  const LoadOptions& options() const;
  std::int64_t parameters() const;
  std::string device_name() const;       // "cpu", "cuda:NVIDIA H100 80GB HBM3"
  const Decoder& decoder() const;        // for models/ and its tests
  const Checkpoint* checkpoint() const;  // null where the model exists in memory alone

 private:
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  Status attach_from(const std::filesystem::path& branches);
  std::unique_ptr<Impl> impl_;
};

// The keys and values of a prompt's first tokens, which are the same under every plan whose
// windowed cells see that far (models/row_plan.h, shared_prefix): computed once, used by all plans.
class SharedPrefix {
 public:
  std::int64_t length() const { return length_; }
  double seconds() const { return seconds_; }  // it took to compute

 private:
  friend class MeteredModel;
  std::shared_ptr<const BatchState> state_;
  std::int64_t length_ = 0;
  double seconds_ = 0;
};

struct Request {
  std::span<const TokenId> prompt;
  const AttentionPlan* plan = nullptr;
  std::int64_t max_new_tokens = 0;       // room to keep behind the prompt
  const SharedPrefix* prefix = nullptr;  // of this very prompt
};

// Sequences after their prompts. Sequences of one length under one plan are stored and decoded as a
// batch. Movable; fork() copies the states.
class Session {
 public:
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  std::size_t size() const;
  std::uint64_t kv_bytes(std::size_t index) const;  // allocated for a sequence
  double prefill_seconds(
      std::size_t index) const;  // its share of the prefill, shared prefix included
  Session fork() const;

  // Scores an answer for each sequence; the session stays as it is.
  Result<std::vector<AnswerScore>> score(std::span<const Tokens> answers) const;
  // Greedy, or as the spec draws; advances the session. A sequence ends at its stop token; its
  // batch goes on until all of it ended.
  Result<std::vector<Tokens>> generate(const GenerationSpec& spec);

 private:
  friend class MeteredModel;
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct ForcedRequest {
  std::span<const TokenId> prompt;
  std::span<const TokenId> answer;  // at least one token
  const AttentionPlan* plan = nullptr;
  std::int64_t prompt_length = 0;  // P of the visibility rule, where it is not the prompt's size
  std::shared_ptr<const KeptLogits> reference = nullptr;  // of a run with an equally long answer
  bool keep_logits = false;
};

// A plan that agrees with a trace's plan in all layers below `layer`.
struct Toggle {
  int layer = 0;
  const AttentionPlan* plan = nullptr;
};

// A teacher-forced run that kept the inputs of its layers, so that a plan which differs from layer
// ℓ on resumes there. Where not all of them fit the memory it was given, the first ones are kept,
// and of the others the one that was needed last: toggles by rising layer then cost the run of
// those layers once more.
class Trace {
 public:
  ~Trace();
  Trace(Trace&&) noexcept;
  Trace& operator=(Trace&&) noexcept;
  const AnswerScore& score() const;
  std::uint64_t bytes() const;  // of the kept inputs
  int kept_layers() const;

 private:
  friend class MeteredModel;
  struct Impl;
  explicit Trace(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class MeteredModel {
 public:
  // workers: threads that for_each_sample may use (models/parallel.h).
  explicit MeteredModel(const Model& model, RunLimits limits = {}, int workers = 1);

  const Model& model() const { return model_; }
  const HeadLayout& layout() const { return model_.layout(); }
  const RunLimits& limits() const { return limits_; }
  const Meter& meter() const { return *meter_; }
  Meter take_meter();  // and start again from zero
  void absorb(const Meter& meter);

  int workers() const { return workers_; }
  MeteredModel worker() const {
    return MeteredModel(model_, limits_, 1);
  }  // with a meter of its own

  // Errors: an empty prompt, a length beyond the model's positions, a token outside the vocabulary,
  // a plan of another layout, one that Model::check_mixers refuses.
  Status check(std::span<const TokenId> tokens, std::int64_t total_length,
               const AttentionPlan& plan) const;

  // Errors of all that follow: those of check, out of memory.
  Result<SharedPrefix> share(std::span<const TokenId> prompt, std::int64_t length);
  Result<Session> prefill(std::span<const Request> requests);

  // Prompt and answer in one pass.
  Result<std::vector<AnswerScore>> score(std::span<const ForcedRequest> requests);
  // As score, keeping layer inputs, at least the first layer's. Rows below shared_length (at most
  // the prompt's) are run once and never again.
  Result<Trace> trace(const ForcedRequest& request, std::int64_t shared_length,
                      std::uint64_t memory_bytes);
  // Scores toggles of a trace, in order; by rising layer (else inputs that were not kept are run
  // again and again). As many as fit batch_rows share the products of a layer: one joins the batch
  // at its layer.
  Result<std::vector<AnswerScore>> resume(Trace& trace, std::span<const Toggle> toggles);

 private:
  friend class Session;

  const Model& model_;
  RunLimits limits_;
  int workers_;
  std::shared_ptr<Meter> meter_;
};

}  // namespace strata
