#include "runner/convert.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <thread>

#include "core/rng.h"
#include "core/sha256.h"
#include "models/checkpoint/json_fields.h"
#include "models/convert/branch_checkpoint.h"
#include "models/convert/save_model.h"
#include "models/decoder/decoder.h"
#include "models/decoder/linear_heads.h"
#include "models/device_memory.h"
#include "models/meter_json.h"
#include "models/precision.h"
#include "models/training/branch_training.h"
#include "models/training/hybrid_training.h"
#include "models/training/save_student.h"
#include "models/training/training_checkpoint.h"
#include "runner/training_text.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

template <typename Stage>
double tokens_of(const Stage& stage) {
  return static_cast<double>(stage.training.steps) * static_cast<double>(stage.training.batch) *
         static_cast<double>(stage.length);
}

class Conversion {
 public:
  Conversion(const ConvertConfig& config, const fs::path& directory, Progress& progress)
      : config_(config), directory_(directory), progress_(progress), state_(directory) {
    state_ += ".training";
  }
  Result<Converted> run();

 private:
  bool trains_hybrid() const {
    return config_.stage2.training.steps + config_.stage3.training.steps > 0;
  }
  Status load();
  Status start_branches();
  Status read_plan();
  Status check_alignment();
  Status read_text();
  Status align();
  Status train_hybrid(const char* name, const HybridStage& stage);
  // What the progress calls a stage, if the bytes that it needs are there.
  template <typename Stage>
  Result<std::string> title_of(const char* name, const Stage& stage, std::uint64_t needed);
  // Trains `learner` on texts of a stage's length and records what came of it under `name`.
  template <typename Stage>
  Status train(const char* name, const Stage& stage, const std::string& title,
               TextLearner& learner);
  template <typename Stage>
  Result<std::vector<Tokens>> texts_for(const char* name, const Stage& stage) const;
  std::uint64_t order_seed(const char* name, std::uint64_t own) const {
    return derive_seed(config_.seed, fmt::format("{} {}", name, own));
  }
  fs::path checkpoint(const char* name) const { return state_ / fmt::format("{}.json", name); }
  Result<Converted> save();

  const ConvertConfig& config_;
  const fs::path& directory_;
  Progress& progress_;
  fs::path state_;  // checkpoints
  std::unique_ptr<Model> teacher_;
  std::optional<MeteredModel> metered_;
  std::optional<TextTools> tools_;
  std::optional<AttentionPlan> plan_;
  TextStream stream_;
  std::vector<LayerBranch> branches_;
  std::string alignment_title_;
  std::unique_ptr<Model> student_;                 // may share the teacher's weights
  std::shared_ptr<const StudentMasters> masters_;  // of student_; null: the teacher's weights
  nlohmann::json record_;  // every number that the result depends on, then what came of it
  nlohmann::json outcome_ = nlohmann::json::object();
};

Status Conversion::start_branches() {
  const Decoder& decoder = teacher_->decoder();
  std::vector<std::int64_t> layers = config_.layers;
  if (layers.empty())
    for (int layer = 0; layer < teacher_->layout().layers; ++layer)
      if (!plan_ || !linear_heads_of(*plan_, layer).empty()) layers.push_back(layer);
  if (layers.empty()) return {};  // a plan without linear attention
  if (layers.back() >= teacher_->layout().layers)
    return fail(make_error(ErrorKind::kInvalidArgument, "expected layers below {}, got {}",
                           teacher_->layout().layers, layers.back())
                    .at("layers"));
  for (const std::int64_t layer : layers)
    branches_.push_back(LayerBranch::initial(decoder.architecture(), decoder.weights(),
                                             static_cast<int>(layer), config_.branch));
  return {};
}

Status Conversion::load() {
  const int threads = config_.threads > 0
                          ? config_.threads
                          : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  ASSIGN_OR_RETURN(teacher_, Model::load(config_.model.path, {.device = config_.device,
                                                              .dtype = config_.dtype,
                                                              .threads = threads}));
  allow_tf32(config_.tf32);
  metered_.emplace(*teacher_);
  ASSIGN_OR_RETURN(tools_, load_text_tools(config_.model));
  record_ = {{"method", kConvertMethod},  {"numerics", kNumericsVersion},
             {"teacher", teacher_->id()}, {"branch", config::to_json(config_.branch)},
             {"seed", config_.seed},      {"dtype", config_.dtype}};
  if (config_.device != "cpu") record_["tf32"] = config_.tf32;
  if (config_.model.branches.empty()) return {};
  ASSIGN_OR_RETURN(branches_, load_branches(*teacher_, config_.model.branches));
  ASSIGN_OR_RETURN(record_["start"], branches_id(*teacher_, config_.model.branches));
  record_["branch"] = config::to_json(branches_[0].config());
  return {};
}

Status Conversion::read_plan() {
  if (!trains_hybrid()) return {};
  const HeadLayout layout = teacher_->layout();
  if (config_.plan.empty()) {
    const Mask none(Granularity::kLayer, layout, false);
    const LinearAttention linear{branches_.empty() ? config_.branch.kind
                                                   : branches_[0].config().kind};
    ASSIGN_OR_RETURN(plan_,
                     AttentionPlan::from_mask(none, FullAttention{}, linear, DecodeRule::kSame));
  } else {
    constexpr std::uint64_t kLargest = std::uint64_t{16} << 20;
    const auto parse = [&]() -> Result<AttentionPlan> {
      ASSIGN_OR_RETURN(const std::string text, json_fields::read_text(config_.plan, kLargest));
      ASSIGN_OR_RETURN(const nlohmann::json json, json_fields::parse_object(text));
      if (!json.contains("plan")) return AttentionPlan::from_json(json, layout);
      const json_fields::Fields selection(json);  // selection.json
      for (const char* key : {"label", "group", "supervision"}) {
        ASSIGN_OR_RETURN(record_["selected"][key], selection.string_or(key, "unknown"));
      }
      return AttentionPlan::from_json(json["plan"], layout);
    };
    Result<AttentionPlan> plan = parse();
    if (!plan) return fail(std::move(plan).error().at(config_.plan).at("plan"));
    plan_ = *std::move(plan);
  }
  record_["plan"] = plan_->to_json();
  if (!record_.contains("selected")) {
    const std::string name =
        config_.plan.empty() ? "none" : fmt::format("plan[{:.8}]", plan_->id());
    record_["selected"] = {{"label", name}, {"group", name}, {"supervision", "unknown"}};
  }
  return {};
}

// Before text is sampled, which takes minutes.
Status Conversion::check_alignment() {
  if (config_.stage1.training.steps == 0 || branches_.empty()) return {};
  ASSIGN_OR_RETURN(alignment_title_,
                   title_of("stage1", config_.stage1,
                            branch_training_bytes(teacher_->shape(), branches_,
                                                  config_.stage1.training, config_.stage1.length)));
  return {};
}

Status Conversion::read_text() {
  double looked_at = 0;
  std::int64_t longest = 0;
  const auto add = [&](const auto& stage) {
    if (stage.training.steps == 0) return;
    looked_at += tokens_of(stage);
    longest = std::max(longest, stage.length);
  };
  if (!branches_.empty()) add(config_.stage1);
  add(config_.stage2);
  add(config_.stage3);
  if (longest == 0) return {};
  if (longest > teacher_->shape().max_positions)
    return fail(ErrorKind::kInvalidArgument,
                "texts of {} tokens are asked for; the model has {} positions", longest,
                teacher_->shape().max_positions);
  const TextConfig& text = config_.text;
  const auto wanted = text.tokens > 0
                          ? text.tokens
                          : static_cast<std::int64_t>(std::ceil(looked_at / text.max_repeats));
  ASSIGN_OR_RETURN(
      stream_, read_text_stream(config_, *tools_, wanted, longest, state_, *metered_, progress_));
  record_["text"] = stream_.source;
  const double there = static_cast<double>(stream_.tokens.size());
  const double repeats = looked_at / there;
  outcome_["tokens"] = looked_at;
  outcome_["repeats"] = repeats;
  // A text's last, cut-off part is never looked at.
  if (repeats > text.max_repeats * (1 + 1e-9))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected at least {} tokens of text, got {}: each would be looked at "
                           "{:.2f} times, more than text.max_repeats={:g}",
                           static_cast<std::int64_t>(std::ceil(looked_at / text.max_repeats)),
                           stream_.tokens.size(), repeats, text.max_repeats)
                    .at("text")
                    .with_hint(fmt::format("text.max_repeats={:g}, fewer steps, or more text",
                                           std::ceil(repeats * 100) / 100)));
  return {};
}

template <typename Stage>
Result<std::vector<Tokens>> Conversion::texts_for(const char* name, const Stage& stage) const {
  if (stage.length <= std::ssize(stream_.prefix))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected more than the checkpoint's prefix of {} tokens, got {}",
                           stream_.prefix.size(), stage.length)
                    .at(fmt::format("{}.length", name)));
  std::vector<Tokens> texts = texts_of(stream_, stage.length);
  if (texts.empty())
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "the text has {} tokens, less than one text of {}",
                           stream_.tokens.size(), stage.length)
                    .at(fmt::format("{}.length", name)));
  return texts;
}

template <typename Stage>
Result<std::string> Conversion::title_of(const char* name, const Stage& stage,
                                         std::uint64_t needed) {
  ASSIGN_OR_RETURN(
      const std::uint64_t there,
      check_memory(*teacher_, needed, name, "what is loaded",
                   "fewer texts or tokens at once (stage1.batch, stage2.rows_at_once, …), a "
                   "narrower dtype, or a device with more memory"));
  outcome_["stages"][name]["estimated_bytes"] = needed;
  return fmt::format("{} ({} texts of {} tokens a step; needs about {}, {} free)", name,
                     stage.training.batch, stage.length, readable_bytes(needed),
                     readable_bytes(there));
}

template <typename Stage>
Status Conversion::train(const char* name, const Stage& stage, const std::string& title,
                         TextLearner& learner) {
  ASSIGN_OR_RETURN(const std::vector<Tokens> texts, texts_for(name, stage));
  const Meter before = metered_->take_meter();
  const PeakMemory peak(*teacher_);
  ASSIGN_OR_RETURN(nlohmann::json curve,
                   train_on_texts(*metered_, texts,
                                  {.title = title,
                                   .steps = stage.training.steps,
                                   .batch = stage.training.batch,
                                   .seed = order_seed(name, stage.training.seed),
                                   .checkpoint = checkpoint(name),
                                   .identity = sha256_hex(record_.dump() + name),
                                   .seconds_between_checkpoints = config_.checkpoint_seconds},
                                  learner, progress_));
  const Meter cost = metered_->meter();
  const double tokens = tokens_of(stage);
  nlohmann::json& out = outcome_["stages"][name];
  out.update({{"tokens", tokens},
              {"texts", texts.size()},
              {"repeats",
               tokens / (static_cast<double>(texts.size()) * static_cast<double>(stage.length))},
              {"curve", std::move(curve)},
              {"cost", to_json(cost)},
              {"tokens_per_second", cost.seconds > 0 ? tokens / cost.seconds : 0.0},
              {"peak_bytes", peak.bytes()}});
  if (config_.peak_flops && cost.seconds > 0)
    out["share_of_peak_flops"] = cost.flops / cost.seconds / *config_.peak_flops;
  metered_->absorb(before);
  return {};
}

Status Conversion::align() {
  record_["layers"] = nlohmann::json::array();
  for (const LayerBranch& branch : branches_) record_["layers"].push_back(branch.layer());
  record_["stage1"] = config::to_json(config_.stage1);
  if (config_.stage1.training.steps == 0 || branches_.empty()) return {};
  BranchTrainer trainer(*teacher_, branches_, config_.stage1.training);
  return train("stage1", config_.stage1, alignment_title_, trainer);
}

Status Conversion::train_hybrid(const char* name, const HybridStage& stage) {
  record_[name] = config::to_json(stage);
  if (stage.training.steps == 0) return {};
  const Decoder& decoder = teacher_->decoder();
  if (student_ == nullptr)
    student_ = Model::in_memory(teacher_->id() + " with branches", decoder.architecture(),
                                decoder.weights(), branches_);
  RETURN_IF_ERROR(HybridTrainer::check(*student_, *plan_, stage.training));
  ASSIGN_OR_RETURN(
      const std::string title,
      title_of(name, stage, HybridTrainer::bytes(*student_, *plan_, stage.training, stage.length)));
  HybridTrainer trainer(*teacher_, *student_, *plan_, stage.training, masters_);
  RETURN_IF_ERROR(train(name, stage, title, trainer));
  masters_ = trainer.masters();
  student_ = std::move(trainer).release();
  return {};
}

Result<Converted> Conversion::save() {
  Converted out;
  out.record = record_;
  out.record.update(outcome_);
  // What papers train for is a hundred to a thousand times as much.
  constexpr double kFewTokens = 1e8;
  out.record["shortened"] = outcome_.value("tokens", 0.0) < kFewTokens;
  const auto shard = static_cast<std::uint64_t>(config_.max_shard_mib) << 20;
  if (student_ == nullptr) {
    RETURN_IF_ERROR(save_branches(*teacher_, branches_, directory_, shard, out.record));
    ASSIGN_OR_RETURN(out.id, branches_id(*teacher_, directory_));
    out.words = fmt::format("linear branches of {} layers", branches_.size());
    return out;
  }
  ASSIGN_OR_RETURN(out.id, save_student(*teacher_, *student_, masters_.get(), *plan_, out.record,
                                        directory_, shard));
  out.words = "hybrid model";
  return out;
}

Result<Converted> Conversion::run() {
  RETURN_IF_ERROR(check_free_for_model(directory_));
  RETURN_IF_ERROR(load());
  RETURN_IF_ERROR(read_plan());
  if (branches_.empty()) RETURN_IF_ERROR(start_branches());
  RETURN_IF_ERROR(check_alignment());
  RETURN_IF_ERROR(read_text());
  RETURN_IF_ERROR(align());
  RETURN_IF_ERROR(train_hybrid("stage2", config_.stage2));
  RETURN_IF_ERROR(train_hybrid("stage3", config_.stage3));
  outcome_["cost"] = to_json(metered_->meter());
  ASSIGN_OR_RETURN(Converted converted, save());
  std::error_code gone;
  fs::remove(state_ / "text.safetensors", gone);
  remove_checkpoints({checkpoint("stage1"), checkpoint("stage2"), checkpoint("stage3")});
  return converted;
}

}  // namespace

Result<Converted> convert(const ConvertConfig& config, const fs::path& directory,
                          Progress& progress) {
  return Conversion(config, directory, progress).run();
}

}  // namespace strata
