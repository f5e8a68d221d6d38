// Composition of one configuration (or, with multirun, of one a job) from a tree of YAML files and
// the command line's overrides, in Hydra's language. docs/configuration.md says what is the same as
// Hydra and what is not.
//
// Promises: the same files, overrides and environment give the same result; every error names
// file:line:column or the override and its column. Does no output and knows no struct: the schema
// comes from the caller. Reads files at each call; keeps no state between calls.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/config/value.h"
#include "core/result.h"

namespace strata::config {

// All keys that the typed structs know, with their defaults (to_value), for a config composed from
// the files: the strategy's struct depends on what `strategy.name` says there. It is merged below
// the files, as Hydra does with structured configs: a key of the schema that no file mentions can
// be set with a plain key=value, can be referred to by ${key}, and shows in --cfg job. Called with
// files merged and nothing resolved yet.
using Schema = std::function<Result<Value>(const Value& files)>;
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

struct ComposeOptions {
  std::vector<std::filesystem::path> search_path;  // config folders; the first that has a file wins
  std::string config_name = "config";
  std::vector<std::string> overrides;
  bool multirun = false;  // allow sweeps: one Composed for each job, the last sweep varying fastest
  bool resolve = true;    // replace ${…}; false keeps them as written
  Schema schema;  // may be empty: then only keys that the files mention can be set without '+'
  Environment environment;  // for ${oc.env:…}; empty = the process's environment
};

struct Composed {
  Value config;                        // a mapping
  std::vector<std::string> overrides;  // this job's, sweeps replaced by the job's value
};

inline constexpr std::size_t kMaxJobs = 100'000;

// At least one element; exactly one without multirun.
Result<std::vector<Composed>> compose(const ComposeOptions& options);

// The tree of --info defaults-tree, one line an entry, two spaces a level.
Result<std::string> defaults_tree(const ComposeOptions& options);

// Names of the options of a group ("strategy" → full, none, …), sorted: for completion. Empty if
// there is none.
std::vector<std::string> group_options(const std::vector<std::filesystem::path>& search_path,
                                       const std::string& group);
// Every folder below the search path that holds options, sorted ("benchmark", "strategy").
std::vector<std::string> groups(const std::vector<std::filesystem::path>& search_path);

}  // namespace strata::config
