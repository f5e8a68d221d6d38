#include "benchmarks/documents.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <map>

#include "fixture.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

class DocumentsTest : public ::testing::Test {
 protected:
  DocumentsTest() : folder_(fs::path(::testing::TempDir()) / "strata_documents_test") {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~DocumentsTest() override { fs::remove_all(folder_); }
  void write(const std::string& name, std::string_view content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }
  Result<std::vector<Document>> read(std::uint64_t seed = 0, std::size_t most = 1000) const {
    std::vector<Document> all;
    RETURN_IF_ERROR(for_each_document(folder_, seed, [&](Document document) -> Result<bool> {
      all.push_back(std::move(document));
      return all.size() < most;
    }));
    return all;
  }
  std::string refusal() const {
    const auto all = read();
    if (all) return "no error";
    std::string text = all.error().text();
    const std::size_t at = text.find(folder_.string());
    return at == std::string::npos ? text : text.replace(at, folder_.string().size(), "DIR");
  }

  fs::path folder_;
};

TEST_F(DocumentsTest, TextAndLinesOfJsonAreDocuments) {
  write("a.txt", "one\ntwo\n");
  write("b.jsonl",
        "{\"text\": \"three\", \"other\": [1]}\n\n{\"text\": \" \"}\n{\"text\": \"four\"}");
  write("blank.txt", " \n");
  write("ignored.md", "five");
  const gzFile packed = gzopen((folder_ / "c.jsonl.gz").c_str(), "wb");
  gzputs(packed, "{\"text\": \"six\"}\n");
  gzclose(packed);
  std::map<std::string, std::string> found;
  const std::vector<Document> all = *read();
  for (const Document& document : all)
    found[fs::path(document.name).filename().string()] = document.text;
  EXPECT_EQ(found, (std::map<std::string, std::string>{{"a.txt", "one\ntwo\n"},
                                                       {"b.jsonl:1", "three"},
                                                       {"b.jsonl:4", "four"},
                                                       {"c.jsonl.gz:1", "six"}}));
}

TEST_F(DocumentsTest, TheSeedDrawsTheOrderAndEnoughIsEnough) {
  for (int i = 0; i < 20; ++i) write(fmt::format("{:02}.txt", i), fmt::format("text {}", i));
  const auto names = [&](std::uint64_t seed) {
    const std::vector<Document> all = *read(seed);
    std::vector<std::string> out;
    for (const Document& document : all) out.push_back(document.name);
    return out;
  };
  EXPECT_EQ(names(1), names(1));
  EXPECT_NE(names(1), names(2));
  EXPECT_EQ(read(1, 3)->size(), 3);
}

TEST_F(DocumentsTest, WhatIsWrongIsNamedWithItsPlace) {
  EXPECT_EQ(refusal(),
            "DIR: expected a folder with *.txt, *.jsonl or *.jsonl.gz, found none of them");
  write("a.jsonl", "{\"text\": \"fine\"}\n{\"text\": 3}\n");
  EXPECT_EQ(refusal(), "DIR/a.jsonl:2: field 'text': expected a string, got a number");
  write("a.jsonl", "{\"txt\": \"\"}");
  EXPECT_EQ(refusal(), "DIR/a.jsonl:1: field 'text': expected a string, got none");
  write("a.jsonl", "[1]");
  EXPECT_EQ(refusal(), "DIR/a.jsonl:1: expected a JSON object, got a array");
  write("a.jsonl", "{\"text\": \"cut");
  EXPECT_NE(refusal().find("DIR/a.jsonl:1: invalid JSON at byte"), std::string::npos);
  write("a.jsonl", "{\"text\": \"\xff\"}");
  EXPECT_EQ(refusal(), "DIR/a.jsonl:1: expected UTF-8, byte 11 of the line is not");
  fs::remove(folder_ / "a.jsonl");
  write("a.txt", "fine \xff");
  EXPECT_EQ(refusal(), "DIR/a.txt: expected UTF-8, byte 6 is not");
  fs::remove_all(folder_);
  EXPECT_NE(refusal().find("but it cannot be read"), std::string::npos);
}

}  // namespace
}  // namespace strata
