// From the defaults lists of the files and the group overrides of the command line to the ordered
// list of files that make up the configuration, each with the package (dotted path) that it goes
// under. Hydra's algorithm.
#pragma once

#include <string>
#include <vector>

#include "core/config/value.h"
#include "core/result.h"
#include "runner/config/override.h"
#include "runner/config/repository.h"

namespace strata::config {

inline constexpr std::size_t kMaxDefaultsDepth = 32;
inline constexpr std::size_t kMaxDefaultsNodes = 10'000;

struct ComposedFile {
  std::string config_path;  // "strategy/periodic"
  std::string package;      // "strategy", "" = the root
};

struct DefaultsList {
  std::vector<ComposedFile> files;         // later ones win
  std::vector<const Override*> overrides;  // those of values, not of groups; in the order given
  std::string tree;                        // one line an entry, two spaces a level
};

// No override may be a sweep. `overrides` must outlive the result.
Result<DefaultsList> build_defaults_list(Repository& repository, const std::string& config_name,
                                         const std::vector<Override>& overrides);

}  // namespace strata::config
