#include "models/training/training_checkpoint.h"

#include <vector>

#include "core/atomic_file.h"
#include "core/json_reader.h"
#include "models/checkpoint/json_fields.h"
#include "models/meter_json.h"
#include "models/training/adam.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "strata-training-1";

// Where the weights of a checkpoint lie that goes on at step `next`.
fs::path weights_file(const fs::path& checkpoint, std::int64_t next) {
  fs::path file = checkpoint;
  return file += fmt::format(".{}.safetensors", next);
}

// Of the files that are named behind the checkpoint, those whose whole name `which` says.
void remove_behind(const fs::path& checkpoint,
                   const std::function<bool(const std::string& name)>& which) {
  std::error_code code;
  const fs::path folder = checkpoint.has_parent_path() ? checkpoint.parent_path() : fs::path(".");
  const std::string prefix = checkpoint.filename().string() + ".";
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && which(name)) old.push_back(entry.path());
  }
  for (const fs::path& file : old) fs::remove(file, code);
}

Result<TrainingState> read(const fs::path& checkpoint, const std::string& identity,
                           std::int64_t steps) {
  constexpr std::uint64_t kLargest = std::uint64_t{256} << 20;
  ASSIGN_OR_RETURN(const std::string text, json_fields::read_text(checkpoint, kLargest));
  ASSIGN_OR_RETURN(const nlohmann::json file, parse_json(text));
  for (const char* key : {"format", "identity", "next", "curve", "meter", "learner"})
    if (!file.is_object() || !file.contains(key))
      return fail(ErrorKind::kInvalidFile, "no \"{}\"", key);
  if (file["format"] != kFormat || file["identity"] != identity)
    return fail(ErrorKind::kInvalidFile, "it is of another configuration, model or data");
  const Result<std::int64_t> next = count_of(file, "next");
  if (!next || *next > steps || !file["curve"].is_array())
    return fail(ErrorKind::kInvalidFile, "\"next\": expected a step of this training");
  ASSIGN_OR_RETURN(const Meter cost, meter_from_json(file["meter"]));
  return TrainingState{*next, file["curve"], cost, file["learner"]};
}

}  // namespace

Status write_checkpoint(const fs::path& checkpoint, const std::string& identity,
                        const TrainingState& state,
                        const std::function<Status(const fs::path& weights)>& save_weights) {
  const nlohmann::json file = {
      {"format", kFormat},    {"identity", identity},         {"next", state.next},
      {"curve", state.curve}, {"meter", to_json(state.cost)}, {"learner", state.learner}};
  std::error_code exists;
  fs::create_directories(checkpoint.parent_path(), exists);
  // Weights first: the checkpoint that is there always has its own.
  const fs::path weights = weights_file(checkpoint, state.next);
  if (save_weights) RETURN_IF_ERROR(save_weights(weights));
  RETURN_IF_ERROR(write_atomically(checkpoint, file.dump()));
  if (save_weights)
    remove_behind(checkpoint, [&](const std::string& name) {
      return name.find(".safetensors") != std::string::npos && name != weights.filename();
    });
  return {};
}

Status restore_checkpoint(
    const fs::path& checkpoint, const std::string& identity, std::int64_t steps,
    const std::function<Status(const TrainingState& state, const fs::path& weights)>& take) {
  if (!fs::exists(checkpoint)) return {};
  const auto restored = [&]() -> Status {
    ASSIGN_OR_RETURN(const TrainingState state, read(checkpoint, identity, steps));
    return take(state, weights_file(checkpoint, state.next));
  };
  const Status status = restored();
  if (status) return {};
  return fail(make_error(ErrorKind::kInvalidFile, "not a checkpoint of this training: {}",
                         status.error().message)
                  .at(checkpoint.string())
                  .with_hint("delete it to train from the first step"));
}

void remove_checkpoint(const fs::path& checkpoint) {
  std::error_code gone;
  fs::remove(checkpoint, gone);
  remove_behind(checkpoint, [](const std::string&) { return true; });
}

void remove_checkpoints(std::initializer_list<fs::path> checkpoints) {
  for (const fs::path& checkpoint : checkpoints) remove_checkpoint(checkpoint);
  std::error_code gone;
  fs::remove(checkpoints.begin()->parent_path(), gone);
}

bool is_on_curve(std::int64_t step, std::int64_t steps) {
  constexpr std::int64_t kPoints = 200;
  const std::int64_t stride = (steps + kPoints - 1) / kPoints;
  return step % stride == 0 || step + 1 == steps;
}

}  // namespace strata
