// Small files that are there whole or not at all.
#pragma once

#include <filesystem>
#include <string_view>

#include "core/result.h"

namespace strata {

// To a temporary name beside it, synced, renamed, the folder synced: a reader, and whoever comes
// after a crash, sees the old file or the whole new one.
Status write_atomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace strata
