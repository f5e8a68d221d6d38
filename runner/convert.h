// `strata convert`: linear branches of a model trained to do what its attention does (stage 1), and
// where a plan is trained too, the hybrid of both (stages 2 and 3), saved with the record of how.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "core/progress.h"
#include "core/result.h"
#include "runner/convert_config.h"

namespace strata {

struct Converted {
  std::string id;         // of the model with what was made
  std::string words;      // what was made, for a person
  nlohmann::json record;  // strata.json's transform
};

// A conversion that was stopped goes on where its checkpoints, beside `directory`, are. Errors:
// something lies at `directory` already; those of text, trainings and files; text that would be
// looked at more often than text.max_repeats; kInterrupted.
Result<Converted> convert(const ConvertConfig& config, const std::filesystem::path& directory,
                          Progress& progress);

}  // namespace strata
