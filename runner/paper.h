// configs/paper: published tables as YAML.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "results/reports/paper_compare.h"

namespace strata {

// By name from the first folder that has paper/NAME.yaml; a name that ends in .yaml is a file.
Result<Paper> read_paper(const std::vector<std::filesystem::path>& config_dirs,
                         const std::string& name);

// By name. Errors: one that cannot be read.
Result<std::vector<NamedPaper>> all_papers(const std::vector<std::filesystem::path>& config_dirs);

}  // namespace strata
