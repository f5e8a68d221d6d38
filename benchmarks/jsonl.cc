#include "benchmarks/jsonl.h"

#include <algorithm>

#include "benchmarks/packed_file.h"
#include "benchmarks/prompt.h"
#include "core/rng.h"
#include "core/sha256.h"

namespace strata {
namespace {

constexpr std::int64_t kGenerationSlack = 8;

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
    return fail(
        make_error(ErrorKind::kInvalidArgument,
                   "the {} split has {} of the file's {} items, asked for {}",
                   to_string(request.split), available, all.size(), request.count)
            .at(config_.path)
            .with_hint(fmt::format("{}; the field \"split\" (calibration, development, test) "
                                   "assigns items, else the hash of their id does",
                                   fewer_hint(request.split))));
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
