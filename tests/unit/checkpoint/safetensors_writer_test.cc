#include "models/checkpoint/safetensors_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/checkpoint/model_files.h"

namespace strata {
namespace {

using testing::read_file;

TEST(SafetensorsWriter, WritesWhatTheReferenceWroteByteForByte) {
  const char* sample = "tests/golden/safetensors_sample.safetensors";
  const Result<SafetensorsFile> file = SafetensorsFile::open(sample);
  ASSERT_TRUE(file) << file.error().text();
  const testing::TemporaryDirectory folder;
  const auto copy = folder.path() / "copy.safetensors";
  ASSERT_TRUE(write_safetensors(copy, file->tensors(), file->metadata()));
  EXPECT_EQ(read_file(copy), read_file(sample));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(SafetensorsWriter, AlignsEveryTensorToItsDtype) {
  const testing::TemporaryDirectory folder;
  const auto path = folder.path() / "aligned.safetensors";
  const std::string bytes(64, 'x');
  std::vector<TensorView> tensors;
  for (const auto& [dtype, count] : std::vector<std::pair<DType, std::int64_t>>{
           {DType::kU8, 3}, {DType::kBF16, 5}, {DType::kF64, 2}, {DType::kF32, 7}})
    tensors.push_back({.name = std::string(to_string(dtype)),
                       .dtype = dtype,
                       .shape = {count},
                       .bytes = testing::bytes_of(bytes).first(static_cast<std::size_t>(count) *
                                                               bits_per_element(dtype) / 8)});
  ASSERT_TRUE(write_safetensors(path, tensors));
  const std::string content = read_file(path);
  const Result<SafetensorsFile> file = SafetensorsFile::from_bytes(testing::bytes_of(content));
  ASSERT_TRUE(file) << file.error().text();
  ASSERT_EQ(file->tensors().size(), tensors.size());
  for (const TensorView& tensor : file->tensors()) {
    const auto offset = reinterpret_cast<const char*>(tensor.bytes.data()) - content.data();
    EXPECT_EQ(offset % (bits_per_element(tensor.dtype) / 8), 0) << tensor.name;
  }
}

TEST(SafetensorsWriter, SaysWhereItCannotWrite) {
  const Status status = write_safetensors("/nowhere/at/all/model.safetensors", {});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::kIo);
  EXPECT_THAT(status.error().text(), ::testing::HasSubstr("/nowhere/at/all/model.safetensors"));
}

}  // namespace
}  // namespace strata
