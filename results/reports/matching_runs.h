// Runs that filters let through, and what to say where they let none.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "results/reports/stored_keys.h"
#include "results/store.h"

namespace strata {

// 4 before 16, and text after numbers.
struct NaturalLess {
  bool operator()(const std::string& a, const std::string& b) const;
};

// The keys that runs have, and their values under those that are filtered by.
class SeenKeys {
 public:
  void add(const StoredKeys& keys, std::span<const KeyFilter> where);
  // A key that no run has is a typing error: kInvalidArgument, with keys like it.
  Status check(std::span<const KeyFilter> where, std::span<const std::string> by,
               const std::string& database) const;
  // "--where window=99: window is 128, 512": for a hint where nothing is left.
  std::string why_none(std::span<const KeyFilter> where) const;

 private:
  std::set<std::string> names_;
  std::map<std::string, std::set<std::string, NaturalLess>> values_;
};

// The runs that match every filter, by start; without filters all. Errors: a key that no run has,
// filters that none matches (kNotFound).
Result<std::vector<RunRow>> matching_runs(const Store& store, std::span<const KeyFilter> where);

}  // namespace strata
