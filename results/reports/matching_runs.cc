#include "results/reports/matching_runs.h"

#include <algorithm>

namespace strata {

Error unknown_key(const std::string& key, const std::set<std::string>& known,
                  const std::string& database) {
  constexpr std::size_t kMaxHint = 200;  // characters
  std::string near;
  const std::string tail = key.substr(key.rfind('.') + 1);
  for (const std::string& candidate : known)
    if (candidate.find(tail) != std::string::npos && near.size() < kMaxHint)
      near += (near.empty() ? "" : ", ") + candidate;
  return make_error(ErrorKind::kInvalidArgument, "no run has a key '{}'", key)
      .at(database)
      .with_hint(near.empty() ? "keys are columns of runs or keys of their configuration, as in "
                                "calibration.samples"
                              : "keys like it: " + near);
}

Result<std::vector<RunRow>> matching_runs(const Store& store, std::span<const KeyFilter> where) {
  ASSIGN_OR_RETURN(std::vector<RunRow> runs, store.runs());
  if (where.empty()) return runs;
  std::vector<RunRow> out;
  std::set<std::string> known;
  for (RunRow& run : runs) {
    std::optional<SelectionRow> selection;
    if (run.selection_id) {
      ASSIGN_OR_RETURN(selection, store.selection(*run.selection_id));
    }
    std::optional<ModelRow> model;
    if (run.experiment_id) {
      ASSIGN_OR_RETURN(const ExperimentRow experiment, store.experiment(*run.experiment_id));
      ASSIGN_OR_RETURN(model, store.model(experiment.model_id));
    }
    const StoredKeys keys(run, selection ? &*selection : nullptr, model ? &*model : nullptr);
    for (std::string& name : keys.names()) known.insert(std::move(name));
    if (std::all_of(where.begin(), where.end(), [&](const KeyFilter& filter) {
          return keys.value(filter.key) == filter.value;
        }))
      out.push_back(std::move(run));
  }
  for (const KeyFilter& filter : where)
    if (!known.contains(filter.key)) return fail(unknown_key(filter.key, known, store.path()));
  return out;
}

}  // namespace strata
