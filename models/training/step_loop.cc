#include "models/training/step_loop.h"

#include <chrono>
#include <utility>

namespace strata {

Result<nlohmann::json> run_steps(MeteredModel& model, const StepLoop& loop, Progress& progress) {
  const Meter before = model.meter();
  std::int64_t next = 0;
  nlohmann::json curve = nlohmann::json::array();
  if (!loop.checkpoint.empty())
    RETURN_IF_ERROR(restore_checkpoint(
        loop.checkpoint, loop.identity, loop.steps,
        [&](const TrainingState& state, const std::filesystem::path& weights) -> Status {
          RETURN_IF_ERROR(loop.restore(state, weights));
          next = state.next;
          curve = state.curve;
          model.absorb(state.cost);
          return {};
        }));
  const auto save = [&]() -> Status {
    if (loop.checkpoint.empty()) return {};
    return write_checkpoint(
        loop.checkpoint, loop.identity,
        {next, curve, model.meter() - before, loop.state ? loop.state() : nlohmann::json()},
        loop.save_weights);
  };
  const auto step = [&]() -> Status {
    ASSIGN_OR_RETURN(nlohmann::json point, loop.step(next));
    if (is_on_curve(next, loop.steps)) {
      point["step"] = next;
      curve.push_back(std::move(point));
    }
    ++next;
    return {};
  };

  const std::int64_t found = next;
  progress.begin(loop.title, loop.steps);
  progress.advance(next);
  auto saved = std::chrono::steady_clock::now();
  Status status;
  while (next < loop.steps) {
    status = step();
    if (!status) break;
    progress.advance(1);
    const auto now = std::chrono::steady_clock::now();
    if (std::chrono::duration<double>(now - saved).count() < loop.seconds_between_checkpoints)
      continue;
    status = save();
    if (!status) break;
    saved = now;
  }
  progress.end();
  const bool well = status || status.error().kind == ErrorKind::kInterrupted;
  // What was found and not gone beyond lies there already.
  if (well && (next > found || !std::filesystem::exists(loop.checkpoint))) RETURN_IF_ERROR(save());
  RETURN_IF_ERROR(status);
  return curve;
}

}  // namespace strata
