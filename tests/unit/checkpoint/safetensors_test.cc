#include "models/checkpoint/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/sha256.h"
#include "tests/unit/checkpoint/model_files.h"

namespace strata {
namespace {

using nlohmann::json;
using testing::error_text;
using testing::TemporaryDirectory;

constexpr const char* kCases = "tests/golden/safetensors_cases.json";
constexpr const char* kSample = "tests/golden/safetensors_sample.safetensors";

std::string unhex(const std::string& hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

json cases() { return json::parse(testing::read_file(kCases)); }

json tensors_of(const SafetensorsFile& file) {
  json out = json::array();
  for (const TensorView& tensor : file.tensors())
    out.push_back({tensor.name, to_string(tensor.dtype), tensor.shape,
                   Sha256().update(tensor.bytes).hex_digest()});
  return out;
}

template <typename T>
std::vector<T> values(const SafetensorsFile& file, const char* name) {
  const TensorView* tensor = file.find(name);
  STRATA_CHECK(tensor != nullptr && tensor->bytes.size() % sizeof(T) == 0, "{}", name);
  std::vector<T> out(tensor->bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), tensor->bytes.data(), tensor->bytes.size());
  return out;
}

TEST(Safetensors, EveryBadCaseGivesItsErrorAsARealFile) {
  const TemporaryDirectory folder;
  const auto path = folder.path() / "case.safetensors";
  int bad = 0;
  for (const json& c : cases()) {
    if (c["error"].is_null()) continue;
    testing::write_file(path, unhex(c["bytes"]));
    EXPECT_EQ(error_text(SafetensorsFile::open(path), path),
              "DIR: " + c["error"].get<std::string>())
        << c["name"];
    ++bad;
  }
  EXPECT_GE(bad, 60);
}

TEST(Safetensors, EveryGoodCaseIsReadAsTheReferenceReadsIt) {
  int good = 0;
  for (const json& c : cases()) {
    if (!c["error"].is_null()) continue;
    const std::string content = unhex(c["bytes"]);
    const auto file = SafetensorsFile::from_bytes(testing::bytes_of(content));
    ASSERT_EQ(error_text(file), "no error") << c["name"];
    EXPECT_EQ(tensors_of(*file), c["tensors"]) << c["name"];
    ++good;
  }
  EXPECT_GE(good, 40);
}

TEST(Safetensors, NothingIsAcceptedThatTheReferenceRejects) {
  int stricter = 0;
  for (const json& c : cases()) {
    const std::string content = unhex(c["bytes"]);
    const bool accepted = SafetensorsFile::from_bytes(testing::bytes_of(content)).has_value();
    const bool reference = c["reference"] == "accepts";
    EXPECT_FALSE(accepted && !reference) << c["name"];
    // Refused beyond the reference: only what the format's text forbids, or beyond a limit of ours.
    EXPECT_EQ(reference && !accepted, c["stricter"].get<bool>()) << c["name"];
    stricter += c["stricter"].get<bool>();
  }
  EXPECT_EQ(stricter, 5);
}

TEST(Safetensors, EntriesBeyondTheLimitsAreRefused) {
  const auto error_of = [](const std::string& header) {
    std::string out;
    for (unsigned i = 0; i < 8; ++i)
      out += static_cast<char>(std::uint64_t{header.size()} >> 8 * i & 0xff);
    out += header;
    return error_text(SafetensorsFile::from_bytes(testing::bytes_of(out)));
  };
  std::string tensors, metadata;
  for (int i = 0; i < 100'000; ++i) {
    const char* comma = i == 0 ? "" : ",";
    tensors += fmt::format(R"({}"{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", comma, i);
    metadata += fmt::format(R"({}"{}":"")", comma, i);
  }
  EXPECT_EQ(error_of("{" + tensors + "}"), "no error");
  EXPECT_EQ(error_of("{" + tensors + R"(,"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
            "header: expected at most 100000 tensors, got more");
  EXPECT_EQ(error_of(R"({"__metadata__":{)" + metadata + "}}"), "no error");
  EXPECT_EQ(error_of(R"({"__metadata__":{)" + metadata + R"(,"x":""}})"),
            "header: '__metadata__': expected at most 100000 entries, got more");
}

TEST(Safetensors, AFileOfThePackageIsReadBackValueByValue) {
  const auto file = SafetensorsFile::open(kSample);
  ASSERT_EQ(error_text(file), "no error");
  EXPECT_EQ(file->metadata(),
            (std::map<std::string, std::string>{{"format", "np"}, {"note", "für strata"}}));
  std::vector<std::string> names;
  for (const TensorView& tensor : file->tensors()) names.push_back(tensor.name);
  EXPECT_EQ(names, (std::vector<std::string>{"bytes", "doubles", "empty", "flags", "floats",
                                             "halves", "integers", "scalar"}));
  EXPECT_EQ(values<float>(*file, "floats"),
            (std::vector<float>{-0.5F, -0.25F, 0, 0.25F, 0.5F, 0.75F}));
  EXPECT_EQ(values<double>(*file, "doubles"),
            (std::vector<double>{-0.5, -0.25, 0, 0.25, 0.5, 0.75}));
  EXPECT_EQ(values<std::uint16_t>(*file, "halves"),
            (std::vector<std::uint16_t>{0xb800, 0xb400, 0, 0x3400, 0x3800, 0x3a00}));
  EXPECT_EQ(values<std::int64_t>(*file, "integers"),
            (std::vector<std::int64_t>{-3, -2, -1, 0, 1, 2, 3}));
  EXPECT_EQ(values<std::uint8_t>(*file, "flags"), (std::vector<std::uint8_t>{1, 0, 1}));
  EXPECT_EQ(values<std::int32_t>(*file, "scalar"), (std::vector<std::int32_t>{7}));
  EXPECT_EQ(file->find("floats")->shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(file->find("scalar")->shape, std::vector<std::int64_t>{});
  EXPECT_EQ(file->find("empty")->shape, (std::vector<std::int64_t>{0, 4}));
  EXPECT_EQ(file->find("float"), nullptr);
  EXPECT_EQ(file->stamp().size, std::filesystem::file_size(kSample));
}

TEST(Safetensors, ViewsSurviveMovingTheFile) {
  auto file = SafetensorsFile::open(kSample);
  ASSERT_TRUE(file);
  const TensorView* view = file->find("floats");
  const std::byte* bytes = view->bytes.data();
  SafetensorsFile moved = *std::move(file);
  file = SafetensorsFile::open(kSample);
  EXPECT_EQ(moved.find("floats"), view);
  EXPECT_EQ(moved.find("floats")->bytes.data(), bytes);
  EXPECT_EQ(values<float>(moved, "floats")[5], 0.75F);
}

TEST(Safetensors, WhatIsNoRegularFileIsRefused) {
  const TemporaryDirectory folder;
  const auto open = [&](const char* name) {
    return error_text(SafetensorsFile::open(folder.path() / name), folder.path());
  };
  EXPECT_EQ(open("nothing"), "DIR/nothing: cannot open: No such file or directory");
  EXPECT_EQ(open(""), "DIR/: expected a regular file, got something else");
  ASSERT_EQ(::mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(open("pipe"), "DIR/pipe: expected a regular file, got something else");
  testing::write_file(folder.path() / "empty", "");
  EXPECT_EQ(open("empty"), "DIR/empty: expected at least 8 bytes, got 0");
}

TEST(Safetensors, EveryDTypeNameParsesToItself) {
  for (int i = 0; i <= static_cast<int>(DType::kU64); ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(parse_dtype(to_string(dtype)), dtype);
  }
  EXPECT_EQ(parse_dtype("float32"), std::nullopt);
}

}  // namespace
}  // namespace strata
