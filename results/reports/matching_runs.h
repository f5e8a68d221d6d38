// The runs of a database that filters by stored keys choose.
#pragma once

#include <set>
#include <span>
#include <string>
#include <vector>

#include "results/reports/stored_keys.h"
#include "results/store.h"

namespace strata {

// By start; all where no filter is given. Errors: a key that no run has (a typing error).
Result<std::vector<RunRow>> matching_runs(const Store& store, std::span<const KeyFilter> where);

// "no run has a key 'calibraton.samples'", with those like it as the hint.
Error unknown_key(const std::string& key, const std::set<std::string>& known,
                  const std::string& database);

}  // namespace strata
