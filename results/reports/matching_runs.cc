#include "results/reports/matching_runs.h"

#include <algorithm>
#include <charconv>

namespace strata {

namespace {

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && rest == end && !text.empty() ? std::optional(value) : std::nullopt;
}

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

}  // namespace

bool NaturalLess::operator()(const std::string& a, const std::string& b) const {
  const std::optional<double> x = number_in(a), y = number_in(b);
  if (x && y && *x != *y) return *x < *y;
  if (x.has_value() != y.has_value()) return x.has_value();
  return a < b;
}

void SeenKeys::add(const StoredKeys& keys, std::span<const KeyFilter> where) {
  for (std::string& name : keys.names()) names_.insert(std::move(name));
  for (const KeyFilter& filter : where)
    if (std::optional<std::string> value = keys.value(filter.key))
      values_[filter.key].insert(*std::move(value));
}

Status SeenKeys::check(std::span<const KeyFilter> where, std::span<const std::string> by,
                       const std::string& database) const {
  for (const KeyFilter& filter : where)
    if (!names_.contains(filter.key)) return fail(unknown_key(filter.key, names_, database));
  for (const std::string& key : by)
    if (!names_.contains(key)) return fail(unknown_key(key, names_, database));
  return {};
}

std::string SeenKeys::why_none(std::span<const KeyFilter> where) const {
  constexpr std::size_t kMost = 12;  // values
  std::string asked, there;
  for (const KeyFilter& filter : where) {
    asked += fmt::format("{}--where {}={}", asked.empty() ? "" : " ", filter.key, filter.value);
    const auto values = values_.find(filter.key);
    if (values == values_.end()) continue;
    there += fmt::format("{}{} is ", there.empty() ? "" : "; ", filter.key);
    std::size_t shown = 0;
    for (const std::string& value : values->second) {
      if (shown == kMost) {
        there += fmt::format(" and {} more", values->second.size() - shown);
        break;
      }
      there += (shown++ == 0 ? "" : ", ") + value;
    }
  }
  return asked + ": " + there;
}

Result<std::vector<RunRow>> matching_runs(const Store& store, std::span<const KeyFilter> where) {
  ASSIGN_OR_RETURN(std::vector<RunRow> runs, store.runs());
  if (where.empty()) return runs;
  std::vector<RunRow> out;
  SeenKeys seen;
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
    seen.add(keys, where);
    if (std::all_of(where.begin(), where.end(),
                    [&](const KeyFilter& filter) { return keys.matches(filter); }))
      out.push_back(std::move(run));
  }
  RETURN_IF_ERROR(seen.check(where, {}, store.path()));
  if (out.empty())
    return fail(make_error(ErrorKind::kNotFound, "no run matches the filters")
                    .at(store.path())
                    .with_hint(seen.why_none(where)));
  return out;
}

}  // namespace strata
