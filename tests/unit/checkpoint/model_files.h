// Model directories for tests: real files in a temporary folder, made of a list of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "models/checkpoint/checkpoint.h"

namespace strata::testing {

// Removed with all it holds.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct TestTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::string dtype = "F32";
  char fill = 1;      // every byte
  std::string bytes;  // instead of fill, where given
};

std::string safetensors_bytes(const std::vector<TestTensor>& tensors);
std::span<const std::byte> bytes_of(std::string_view text);
void write_file(const std::filesystem::path& path, std::string_view content);
std::string read_file(const std::filesystem::path& path);

// The error's text, or "no error"; `folder` in it becomes "DIR".
template <typename T>
std::string error_text(const Result<T>& result, const std::filesystem::path& folder = {}) {
  if (result) return "no error";
  std::string text = result.error().text();
  for (std::size_t at = 0;
       !folder.empty() && (at = text.find(folder.string())) != std::string::npos;)
    text.replace(at, folder.string().size(), "DIR");
  return text;
}

// A Llama of two layers, hidden 8, 4 query heads and 2 KV heads of size 2, intermediate 6,
// vocabulary 5.
std::string llama_config();
std::vector<TestTensor> llama_tensors();

}  // namespace strata::testing
