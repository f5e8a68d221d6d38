#include "benchmarks/jsonl.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "benchmarks/prompt.h"
#include "core/rng.h"
#include "core/sha256.h"

namespace strata {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{2} << 30U;  // unpacked
// What a packed file may unpack to: text packs to a tenth or so, what was made to burst to a
// thousandth.
constexpr std::size_t kMaxRatio = 100;
constexpr std::size_t kAlwaysUnpacked = std::size_t{16} << 20U;
constexpr std::int64_t kGenerationSlack = 8;

// The text of a plain or gzip file (zlib passes plain files through).
Result<std::string> read_maybe_gzip(const std::filesystem::path& path) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code))
    return fail(
        make_error(ErrorKind::kNotFound, "expected a file here, found none").at(path.string()));
  const std::uintmax_t size = std::filesystem::file_size(path, code);
  if (code)
    return fail(
        make_error(ErrorKind::kIo, "cannot look at it: {}", code.message()).at(path.string()));
  const std::size_t max_bytes =
      size > kMaxFileBytes / kMaxRatio
          ? kMaxFileBytes
          : std::max(kAlwaysUnpacked, kMaxRatio * static_cast<std::size_t>(size));
  const gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return fail(make_error(ErrorKind::kIo, "cannot open it").at(path.string()));
  std::string text;
  std::array<char, 1U << 16U> buffer{};
  int got = 0;
  while ((got = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()))) > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > max_bytes) break;
  }
  int error = Z_OK;
  const std::string reason = gzerror(file, &error);
  gzclose(file);
  if (got < 0 || (error != Z_OK && error != Z_STREAM_END)) {
    return fail(make_error(ErrorKind::kInvalidFile, "damaged or cut off: {}",
                           reason.empty() ? "unreadable" : reason)
                    .at(path.string()));
  }
  if (text.size() > max_bytes)
    return fail(make_error(ErrorKind::kInvalidFile, "expected at most {} bytes unpacked, got more",
                           max_bytes)
                    .at(path.string()));
  return text;
}

class Jsonl final : public Benchmark {
 public:
  explicit Jsonl(JsonlConfig config) : config_(std::move(config)) {}
  std::string_view name() const override { return "jsonl"; }

  Result<std::vector<Sample>> samples(const SampleRequest& request) const override;
  std::int64_t generation_limit(const Sample& sample) const override {
    return sample.metadata.at("generation_limit").get<std::int64_t>();
  }
  Result<std::string> data_id(const SampleRequest& request) const override;

 private:
  Result<Sample> make_sample(const JsonlItem& item, const ChatTemplate& chat,
                             const SampleRequest& request) const;

  JsonlConfig config_;
};

Result<Sample> Jsonl::make_sample(const JsonlItem& item, const ChatTemplate& chat,
                                  const SampleRequest& request) const {
  ASSIGN_OR_RETURN(EncodedPrompt encoded,
                   encode_prompt(request.tokenizer, chat, item.messages, "", item.answers.front()));
  const auto answer = static_cast<std::int64_t>(encoded.answer.size());
  const auto prompt = static_cast<std::int64_t>(encoded.prompt.size());
  const std::int64_t limit =
      config_.generation_limit > 0 ? config_.generation_limit : answer + kGenerationSlack;
  if (request.max_positions > 0 && prompt + std::max(limit, answer) > request.max_positions) {
    return fail(
        make_error(
            ErrorKind::kInvalidArgument,
            "expected prompt and generation within {} tokens (the model's positions), got {} + {}",
            request.max_positions, prompt, std::max(limit, answer))
            .with_hint("shorten the prompt; nothing is cut off silently"));
  }
  Sample sample;
  sample.metadata = {{"id", item.id},
                     {"line", item.line},
                     {"split", to_string(item.split)},
                     {"generation_limit", limit},
                     {"first_informative_query", prompt - 1},
                     {"joint_tokenisation", encoded.joint}};
  if (!item.metadata.empty()) sample.metadata["metadata"] = item.metadata;
  sample.prompt = std::move(encoded.prompt);
  sample.answer = std::move(encoded.answer);
  sample.prompt_text = std::move(encoded.text);
  sample.answers = item.answers;
  set_content_id(sample, "jsonl");
  sample.cluster = sample.id;
  return sample;
}

Result<std::vector<Sample>> Jsonl::samples(const SampleRequest& request) const {
  ASSIGN_OR_RETURN(const std::string text, read_maybe_gzip(config_.path));
  ASSIGN_OR_RETURN(const std::vector<JsonlItem> all, parse_jsonl(text, config_.path));
  std::vector<const JsonlItem*> items;
  for (const JsonlItem& item : all)
    if (item.split == request.split) items.push_back(&item);
  const auto available = static_cast<std::int64_t>(items.size());
  if (request.count < 0 || request.count > available || available == 0) {
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "the {} split has {} of the file's {} items, asked for {}",
                           to_string(request.split), available, all.size(), request.count)
                    .at(config_.path)
                    .with_hint("0 asks for all; the field \"split\" (calibration, development, "
                               "test) assigns items, "
                               "else the hash of their id does"));
  }
  // The seed says which items come first, so that a part of them is a fair draw.
  Rng(request.seed, fmt::format("jsonl/{}", to_string(request.split))).shuffle(items);
  if (request.count > 0) items.resize(static_cast<std::size_t>(request.count));
  ASSIGN_OR_RETURN(const ChatTemplate bare, ChatTemplate::for_model(request.tokenizer, "none"));
  std::vector<Sample> samples;
  for (const JsonlItem* item : items) {
    auto sample = make_sample(
        *item, config_.chat_template == PromptTemplate::kNone ? bare : request.chat, request);
    if (!sample)
      return fail(std::move(sample).error().at(fmt::format("{}:{}", config_.path, item->line)));
    samples.push_back(*std::move(sample));
  }
  return samples;
}

Result<std::string> Jsonl::data_id(const SampleRequest&) const {
  ASSIGN_OR_RETURN(const std::string text, read_maybe_gzip(config_.path));
  return Sha256()
      .update("jsonl 1 ")
      .update(config::enum_name(config_.chat_template))
      .update_u64(static_cast<std::uint64_t>(config_.generation_limit))
      .update(text)
      .hex_digest();
}

}  // namespace

std::unique_ptr<Benchmark> make_jsonl(JsonlConfig config) {
  return std::make_unique<Jsonl>(std::move(config));
}

}  // namespace strata
