// Which response stands for a sample where several executions answered it.
//
// Executions of one build, device, thread count, dtype and processor are one environment. The
// environment that answered most samples is picked (of those, the one that ran last), within it the
// latest execution; samples it lacks come from the next one.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "results/store.h"

namespace strata {

struct PickedResponses {
  std::vector<ResponseRow> responses;     // in the data set's order, unanswered samples left out
  std::vector<std::string> environments;  // of the picked ones, for people
  std::size_t disagreeing_samples = 0;    // another execution generated or scored otherwise
  // The samples that each picked execution stands for.
  std::map<std::string, std::vector<std::string>> samples_of_execution;
};

// Every execution of a database with the start of its run, by id: read once for many experiments.
struct StartedExecution {
  ExecutionRow row;
  std::string started;
};
using Executions = std::map<std::string, StartedExecution>;
Result<Executions> all_executions(const Store& store);

Result<PickedResponses> pick_responses(const Store& store, const Executions& executions,
                                       const ExperimentRow& experiment, const DataRow& data);

}  // namespace strata
