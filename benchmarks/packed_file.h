// Text files that may be packed by gzip, within limits.
#pragma once

#include <filesystem>
#include <string>

#include "core/result.h"

namespace strata {

// The text of a plain or gzip file, at most 2 GiB, and at most 100 times (16 MiB where that is
// less) what lies on the disk. Errors, at the path: kNotFound, kIo, kInvalidFile.
Result<std::string> read_maybe_gzip(const std::filesystem::path& path);

}  // namespace strata
