// A small tokenizer.json made by hand, and a model directory to put it in.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "models/tokenizer/tokenizer.h"

namespace strata::toy {

inline std::string utf8(unsigned code) {  // of a code point below 0x800
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0U | code >> 6), static_cast<char>(0x80U | (code & 0x3FU))};
}

// The 256 bytes in byte-level writing have ids 0 to 255 in the order of the bytes; merged tokens
// follow.
inline nlohmann::json document() {
  nlohmann::json vocabulary;
  unsigned moved = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    vocabulary[utf8(printable ? byte : moved++)] = byte;
  }
  const nlohmann::json merges = {"h e", "l l", "he ll", "hell o", "Ġ w", "a a", "Ã ©"};
  int id = 256;
  for (const char* token : {"he", "ll", "hell", "hello", "Ġw", "aa", "Ã©"})
    vocabulary[token] = id++;
  const auto added = [](int index, const char* text, bool special) {
    return nlohmann::json{{"id", index},       {"content", text}, {"single_word", false},
                          {"lstrip", false},   {"rstrip", false}, {"normalized", false},
                          {"special", special}};
  };
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens",
           {added(263, "<|im_start|>", true), added(264, "<|im_end|>", true),
            added(265, "<tool>", false)}},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Digits"}, {"individual_digits", true}},
              {{"type", "ByteLevel"},
               {"add_prefix_space", false},
               {"trim_offsets", true},
               {"use_regex", true}}}}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocabulary},
            {"merges", merges}}}};
}

// A directory that lives as long as the object.
class ModelDirectory {
 public:
  ModelDirectory() {
    path_ = (std::filesystem::temp_directory_path() / "strata-toy-XXXXXX").string();
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  ~ModelDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ModelDirectory(const ModelDirectory&) = delete;
  ModelDirectory& operator=(const ModelDirectory&) = delete;

  ModelDirectory& write(const std::string& name, const std::string& text) {
    std::ofstream(std::filesystem::path(path_) / name, std::ios::binary) << text;
    return *this;
  }
  ModelDirectory& write(const std::string& name, const nlohmann::json& value) {
    return write(name, value.dump());
  }

  Result<Tokenizer> load() const { return Tokenizer::load(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline Tokenizer load(const nlohmann::json& document) {
  ModelDirectory directory;
  Result<Tokenizer> loaded = directory.write("tokenizer.json", document).load();
  STRATA_CHECK(loaded.has_value(), "{}", loaded.error().text());
  return *std::move(loaded);
}

// The toy with every token that a known chat template writes, <|begin_of_text|> as its BOS.
inline Tokenizer load_for_chats(const nlohmann::json& config = {{"bos_token", "<|begin_of_text|>"}},
                                const nlohmann::json& base = document()) {
  nlohmann::json with_chat_tokens = base;
  nlohmann::json& added = with_chat_tokens["added_tokens"];
  for (const char* text : {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                           "<|eot_id|>", "<think>", "</think>"})
    added.push_back({{"id", 263 + added.size()}, {"content", text}, {"special", true}});
  ModelDirectory directory;
  Result<Tokenizer> loaded = directory.write("tokenizer.json", with_chat_tokens)
                                 .write("tokenizer_config.json", config)
                                 .load();
  STRATA_CHECK(loaded.has_value(), "{}", loaded.error().text());
  return *std::move(loaded);
}

// The ids of the bytes of `text`, none merged.
inline Tokens bytes(std::string_view text) {
  Tokens ids;
  for (const char c : text) ids.push_back(static_cast<std::uint8_t>(c));
  return ids;
}

}  // namespace strata::toy
