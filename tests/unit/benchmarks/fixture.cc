#include "fixture.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "benchmarks/bundled_text.h"
#include "benchmarks/word_lists.h"

namespace strata {
namespace {

using nlohmann::json;

// GPT-2's printable stand-in for each byte.
std::string stand_in(unsigned byte) {
  const auto printable = [](unsigned b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  };
  unsigned code = byte;
  if (!printable(byte)) {
    code = 256;
    for (unsigned b = 0; b < byte; ++b) code += printable(b) ? 0U : 1U;
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0U | code >> 6U), static_cast<char>(0x80U | (code & 0x3FU))};
}

std::string stand_ins(std::string_view text) {
  std::string out;
  for (const char c : text) out += stand_in(static_cast<unsigned char>(c));
  return out;
}

std::set<std::string> common_words() {
  std::set<std::string> words;
  const std::string text =
      "One of the special magic numbers for is: A number hidden within following text. Make sure "
      "to memorize it. I "
      "will quiz you about afterwards. What mentioned in provided text? The grass green. sky blue. "
      "sun yellow. Here "
      "we go. There and back again. assistant system user helpful named and was that had with from "
      "who";
  for (const std::string& word : split_words(text)) words.insert(" " + word);
  for (const Split split : {Split::kCalibration, Split::kDevelopment, Split::kTest}) {
    const BundledLibrary library(split);
    BundledText sentences(library, Rng(1, "fixture words"));
    for (int i = 0; i < 1500; ++i)
      for (const std::string& word : split_words(sentences.next_sentence()))
        words.insert(" " + word);
  }
  return words;
}

json tokenizer_json(bool whole_numbers) {
  json vocab = json::object();
  json merges = json::array();
  int next = 0;
  const auto add = [&](const std::string& token) {
    if (!vocab.contains(token)) vocab[token] = next++;
  };
  const std::vector<std::string> special = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  json added = json::array();
  for (const std::string& token : special) {
    added.push_back({{"id", next},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    add(token);
  }
  for (unsigned byte = 0; byte < 256; ++byte) add(stand_in(byte));
  std::set<std::pair<std::string, std::string>> known;
  const auto merge = [&](const std::string& left, const std::string& right) {
    if (!known.insert({left, right}).second) return;
    merges.push_back(json::array({left, right}));
    add(left + right);
  };
  for (const std::string& word : common_words())
    for (std::size_t i = 1; i < word.size(); ++i)
      merge(stand_ins(word.substr(0, i)), stand_ins(word.substr(i, 1)));
  if (whole_numbers)
    for (char digit = '0'; digit <= '9'; ++digit) merge(stand_ins(" "), std::string(1, digit));
  json stages = json::array();
  if (!whole_numbers) stages.push_back({{"type", "Digits"}, {"individual_digits", true}});
  stages.push_back({{"type", "ByteLevel"},
                    {"add_prefix_space", false},
                    {"trim_offsets", true},
                    {"use_regex", true}});
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", stages}}},
          {"post_processor", nullptr},
          {"decoder",
           {{"type", "ByteLevel"},
            {"add_prefix_space", true},
            {"trim_offsets", true},
            {"use_regex", true}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", merges}}}};
}

template <typename T>
T expect(Result<T> result) {
  STRATA_CHECK(result.has_value(), "{}", result.error().text());
  return *std::move(result);
}

Model load(const std::filesystem::path& directory, std::string_view chat) {
  const Tokenizer tokenizer = expect(Tokenizer::load(directory));
  return {tokenizer, expect(ChatTemplate::for_model(tokenizer, chat))};
}

}  // namespace

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "strata_benchmarks_XXXXXX").string();
  STRATA_CHECK(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code code;
  std::filesystem::remove_all(path_, code);
}

std::filesystem::path TempDir::write(std::string_view name, std::string_view content) const {
  auto path = path_ / name;
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

SampleRequest Model::request(std::int64_t count, std::uint64_t seed, Split split) const {
  return {.count = count,
          .seed = seed,
          .split = split,
          .tokenizer = tokenizer,
          .chat = chat,
          .max_positions = 0,
          .window = 0,
          .data_dir = {}};
}

Model small_model(bool whole_numbers) {
  const TempDir directory;
  directory.write("tokenizer.json", tokenizer_json(whole_numbers).dump());
  return load(directory.path(), "smollm2");
}

const Model* smollm2_model() {
  static const std::unique_ptr<Model> kModel = []() -> std::unique_ptr<Model> {
    const char* given = std::getenv("STRATA_SMOLLM2");
    const char* cache = std::getenv("XDG_CACHE_HOME");
    const char* home = std::getenv("HOME");
    std::filesystem::path directory = given != nullptr ? given : "";
    if (given == nullptr && (cache != nullptr || home != nullptr)) {
      const auto base =
          cache != nullptr ? std::filesystem::path(cache) : std::filesystem::path(home) / ".cache";
      directory = base / "strata" / "models" / "smollm2-135m-instruct";
    }
    if (!std::filesystem::exists(directory / "tokenizer.json")) return nullptr;
    return std::make_unique<Model>(load(directory, "model"));
  }();
  return kModel.get();
}

}  // namespace strata
