#include "results/reports/picked_responses.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

namespace strata {
namespace {

// Executions whose answer NLL of one sample differs by more disagree: another device or dtype moves
// it by less.
constexpr double kNllTolerance = 0.01;

std::string environment_of(const ExecutionRow& row) {
  return fmt::format("{}\t{}\t{}\t{}\t{}", row.device, row.threads, row.dtype, row.cpu, row.build);
}

std::string shown(const ExecutionRow& row) {
  std::string text = fmt::format("{}, {} thread{}, {}", row.device, row.threads,
                                 row.threads == 1 ? "" : "s", row.dtype);
  if (!row.cpu.empty()) text += fmt::format(" ({})", row.cpu);
  return text;
}

struct Environment {
  std::map<std::string, const ResponseRow*> by_sample;
  std::string latest_start, shown;
};

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

bool disagree(const ResponseRow& a, const ResponseRow& b) {
  if (a.tokens != b.tokens || a.answer_nll.size() != b.answer_nll.size()) return true;
  return !a.answer_nll.empty() && std::abs(mean(a.answer_nll) - mean(b.answer_nll)) > kNllTolerance;
}

}  // namespace

Result<Executions> all_executions(const Store& store) {
  ASSIGN_OR_RETURN(const std::vector<RunRow> runs, store.runs());
  std::map<std::string, std::string> starts;
  for (const RunRow& run : runs) starts[run.id] = run.started;
  ASSIGN_OR_RETURN(std::vector<ExecutionRow> rows, store.executions());
  Executions out;
  for (ExecutionRow& row : rows) {
    std::string id = row.id, started = starts[row.run_id];
    out.emplace(std::move(id), StartedExecution{std::move(row), std::move(started)});
  }
  return out;
}

Result<PickedResponses> pick_responses(const Store& store, const Executions& executions,
                                       const ExperimentRow& experiment, const DataRow& data) {
  ASSIGN_OR_RETURN(const std::vector<ResponseRow> responses, store.responses_of(experiment.id));
  for (const ResponseRow& response : responses)
    if (!executions.contains(response.execution_id))
      return fail(
          make_error(ErrorKind::kNotFound, "table executions has no row {}", response.execution_id)
              .at(store.path()));
  std::map<std::string, Environment> environments;
  for (const ResponseRow& response : responses) {
    const StartedExecution& here = executions.at(response.execution_id);
    Environment& environment = environments[environment_of(here.row)];
    const ResponseRow*& slot = environment.by_sample[response.sample_id];
    if (slot == nullptr || here.started >= executions.at(slot->execution_id).started)
      slot = &response;
    environment.latest_start = std::max(environment.latest_start, here.started);
    environment.shown = shown(here.row);
  }
  std::vector<const Environment*> ordered;
  ordered.reserve(environments.size());
  for (const auto& [key, environment] : environments) ordered.push_back(&environment);
  std::stable_sort(ordered.begin(), ordered.end(), [](const Environment* a, const Environment* b) {
    return std::pair(a->by_sample.size(), a->latest_start) >
           std::pair(b->by_sample.size(), b->latest_start);
  });

  PickedResponses out;
  std::map<std::string, const ResponseRow*> picked;
  for (const DataRow::Item& item : data.items)
    for (const Environment* environment : ordered) {
      const auto it = environment->by_sample.find(item.sample_id);
      if (it == environment->by_sample.end()) continue;
      picked[item.sample_id] = it->second;
      out.samples_of_execution[it->second->execution_id].push_back(item.sample_id);
      out.responses.push_back(*it->second);
      if (std::find(out.environments.begin(), out.environments.end(), environment->shown) ==
          out.environments.end())
        out.environments.push_back(environment->shown);
      break;
    }
  std::set<std::string> disagreeing;
  for (const ResponseRow& response : responses)
    if (const auto it = picked.find(response.sample_id);
        it != picked.end() && disagree(*it->second, response))
      disagreeing.insert(response.sample_id);
  out.disagreeing_samples = disagreeing.size();
  return out;
}

}  // namespace strata
