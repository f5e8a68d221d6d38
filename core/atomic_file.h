// Files that are there whole or not at all.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>

#include "core/result.h"

namespace strata {

// To a temporary name beside it, synced, renamed, the folder synced: a reader, and whoever comes
// after a crash, sees the old file or the whole new one.
Status write_atomically(const std::filesystem::path& path, std::string_view bytes);
// The parts one behind the other.
Status write_atomically(const std::filesystem::path& path, std::span<const std::string_view> parts);

}  // namespace strata
