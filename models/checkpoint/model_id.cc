#include "models/checkpoint/model_id.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/sha256.h"
#include "models/checkpoint/json_fields.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr int kFormat = 1;  // of the id and of the cache's files
constexpr std::uint64_t kMaxCacheFileBytes = 1u << 20;
// File times advance in ticks of up to some 10 ms, on some file systems of 1 s.
constexpr std::int64_t kSettled_ns = 1'100'000'000;

fs::path default_directory() {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  if (xdg != nullptr && fs::path(xdg).is_absolute()) return fs::path(xdg) / "strata" / "model_ids";
  const char* home = std::getenv("HOME");
  if (home != nullptr && fs::path(home).is_absolute())
    return fs::path(home) / ".cache" / "strata" / "model_ids";
  return {};
}

bool is_id(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// A cache needs no fsync: a file that a crash leaves half written is not valid JSON and is computed
// again.
void write_atomically(const fs::path& file, const std::string& text) {
  std::error_code code;
  fs::create_directories(file.parent_path(), code);
  std::string temporary = file.string() + ".XXXXXX";
  const int fd = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return;
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const bool closed = ::close(fd) == 0;
  if (!written || !closed || ::rename(temporary.c_str(), file.c_str()) != 0)
    ::unlink(temporary.c_str());
}

}  // namespace

std::string compute_model_id(const Architecture& architecture,
                             std::span<const TensorView* const> tensors) {
  Sha256 hash;
  const auto text = [&](std::string_view value) { hash.update_u64(value.size()).update(value); };
  text(fmt::format("strata model {}", kFormat));
  text(architecture.fingerprint());
  hash.update_u64(tensors.size());
  for (const TensorView* tensor : tensors) {
    text(tensor->name);
    text(to_string(tensor->dtype));
    hash.update_u64(tensor->shape.size());
    for (const std::int64_t dimension : tensor->shape)
      hash.update_u64(static_cast<std::uint64_t>(dimension));
    hash.update_u64(tensor->bytes.size()).update(tensor->bytes);
  }
  return hash.hex_digest();
}

ModelIdCache::ModelIdCache(fs::path cache_directory, const fs::path& model_directory,
                           const Architecture& architecture, std::span<const SafetensorsFile> files)
    : files_(files) {
  std::error_code code;
  const fs::path canonical = fs::canonical(model_directory, code);
  if (cache_directory.empty()) cache_directory = default_directory();
  if (code || cache_directory.empty()) return;
  nlohmann::json key = {{"format", kFormat},
                        {"directory", sha256_hex(canonical.native())},  // a path need not be UTF-8
                        {"architecture", sha256_hex(architecture.fingerprint())},
                        {"files", nlohmann::json::array()}};
  for (const SafetensorsFile& file : files) {
    const FileStamp& stamp = file.stamp();
    key["files"].push_back({{"name", sha256_hex(file.path().filename().native())},
                            {"size", stamp.size},
                            {"inode", stamp.inode},
                            {"modified_ns", stamp.modified_ns},
                            {"changed_ns", stamp.changed_ns}});
  }
  file_ = cache_directory / (key["directory"].get<std::string>().substr(0, 32) + ".json");
  key_ = key.dump();
}

std::optional<std::string> ModelIdCache::find() const {
  if (file_.empty()) return std::nullopt;
  const auto text = json_fields::read_text(file_, kMaxCacheFileBytes);
  if (!text) return std::nullopt;
  const auto json = json_fields::parse_object(*text);
  if (!json || !json->contains("key") || !json->contains("model_id")) return std::nullopt;
  const auto& id = json->at("model_id");
  if (json->at("key") != nlohmann::json::parse(key_) || !id.is_string() ||
      !is_id(id.get<std::string>()))
    return std::nullopt;
  return id.get<std::string>();
}

void ModelIdCache::store(const std::string& model_id) const {
  if (file_.empty()) return;
  const std::int64_t latest = now_ns() - kSettled_ns;
  for (const SafetensorsFile& file : files_) {
    const auto stamp = stamp_of(file.path());
    if (!stamp || *stamp != file.stamp()) return;
    if (std::max(stamp->modified_ns, stamp->changed_ns) > latest) return;
  }
  const nlohmann::json json = {{"key", nlohmann::json::parse(key_)}, {"model_id", model_id}};
  write_atomically(file_, json.dump() + "\n");
}

}  // namespace strata
