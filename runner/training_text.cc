#include "runner/training_text.h"

#include <algorithm>
#include <set>

#include "benchmarks/chat_sessions.h"
#include "benchmarks/documents.h"
#include "core/json_reader.h"
#include "core/rng.h"
#include "core/sha256.h"
#include "models/checkpoint/safetensors.h"
#include "models/checkpoint/safetensors_writer.h"
#include "models/meter_json.h"
#include "models/sampled_text.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

std::uint64_t text_seed(const ConvertConfig& config) {
  return config.text.seed.value_or(derive_seed(config.seed, "text"));
}

fs::path data_file(const ConvertConfig& config, const std::string& name) {
  ExperimentConfig where;
  where.data = config.data;
  return data_dir(where) / name;  // `name` where it is absolute
}

Result<TokenId> separator_of(const TextConfig& text, const Tokenizer& tokenizer) {
  if (!text.separator.empty()) {
    const std::optional<TokenId> id = tokenizer.token_id(text.separator);
    if (id) return *id;
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected the text of an added token, got '{}'", text.separator)
                    .at("text.separator"));
  }
  if (!tokenizer.eos().empty()) return tokenizer.eos().front();
  return fail(
      make_error(ErrorKind::kInvalidArgument, "the checkpoint names no token that ends generation")
          .at("text.separator")
          .with_hint("name the token that stands between documents"));
}

// Documents until there are enough.
class Collector {
 public:
  Collector(const Tokenizer& tokenizer, TokenId separator, std::int64_t wanted)
      : tokenizer_(tokenizer), separator_(separator), wanted_(wanted) {}

  bool add(std::string_view document) {
    const Tokens tokens = tokenizer_.encode_plain(document);
    stream.tokens.insert(stream.tokens.end(), tokens.begin(), tokens.end());
    stream.tokens.push_back(separator_);
    ++documents;
    return std::ssize(stream.tokens) < wanted_;
  }

  TextStream stream;
  std::int64_t documents = 0;

 private:
  const Tokenizer& tokenizer_;
  TokenId separator_;
  std::int64_t wanted_;
};

Result<TextStream> from_folder(const ConvertConfig& config, Collector& collect,
                               Progress& progress) {
  RETURN_IF_ERROR(for_each_document(
      config.text.path, text_seed(config), [&](const Document& document) -> Result<bool> {
        if (progress.stop_requested())
          return fail(ErrorKind::kInterrupted, "interrupted while reading text");
        return collect.add(document.text);
      }));
  collect.stream.source = {{"path", config.text.path}};
  return std::move(collect.stream);
}

Result<TextStream> from_sessions(const ConvertConfig& config, Collector& collect) {
  std::set<std::string> evaluated;
  for (const std::string& name : config.text.exclude) {
    Result<std::vector<ChatSession>> sessions = read_sessions(data_file(config, name));
    if (!sessions) return fail(std::move(sessions).error().at("text.exclude"));
    for (const ChatSession& session : *sessions) evaluated.insert(session.id);
  }
  ASSIGN_OR_RETURN(std::vector<ChatSession> sessions,
                   read_sessions(data_file(config, config.text.path)));
  const std::size_t all = sessions.size();
  std::erase_if(sessions,
                [&](const ChatSession& session) { return evaluated.contains(session.id); });
  const std::size_t left = sessions.size();
  Rng rng(text_seed(config), "sessions to train on");
  rng.shuffle(sessions);
  nlohmann::json ids = nlohmann::json::array();  // so that who evaluates can see that they differ
  for (const ChatSession& session : sessions) {
    ids.push_back(session.id);
    if (!collect.add(session.text)) break;
  }
  collect.stream.source = {{"path", config.text.path},
                           {"exclude", config.text.exclude},
                           {"sessions", all},
                           {"sessions_evaluated", all - left},
                           {"session_ids", std::move(ids)}};
  return std::move(collect.stream);
}

// What the teacher wrote so far, in a file of its own.
class SampledFile {
 public:
  SampledFile(fs::path file, std::string identity)
      : file_(std::move(file)), identity_(std::move(identity)) {}

  // What it cost is added to the meter.
  Status load(Tokens& tokens, MeteredModel& model) const {
    std::error_code code;
    if (!fs::exists(file_, code)) return {};
    ASSIGN_OR_RETURN(const SafetensorsFile stored, SafetensorsFile::open(file_));
    const TensorView* view = stored.find("tokens");
    const auto identity = stored.metadata().find("identity");
    if (view == nullptr || view->dtype != DType::kI32 || view->shape.size() != 1 ||
        identity == stored.metadata().end() || identity->second != identity_)
      return fail(make_error(ErrorKind::kInvalidFile,
                             "expected text that this conversion's teacher wrote, got another")
                      .at(file_.string())
                      .with_hint("delete it to have the text written anew"));
    if (const auto cost = stored.metadata().find("cost"); cost != stored.metadata().end()) {
      ASSIGN_OR_RETURN(const nlohmann::json json, parse_json(cost->second));
      ASSIGN_OR_RETURN(const Meter meter, meter_from_json(json));
      model.absorb(meter);
    }
    tokens.resize(view->bytes.size() / sizeof(TokenId));
    std::copy(view->bytes.begin(), view->bytes.end(),
              std::as_writable_bytes(std::span(tokens)).begin());
    return {};
  }
  Status save(const Tokens& tokens, const Meter& cost) const {
    std::error_code exists;
    fs::create_directories(file_.parent_path(), exists);
    const TensorView view{.name = "tokens",
                          .dtype = DType::kI32,
                          .shape = {std::ssize(tokens)},
                          .bytes = std::as_bytes(std::span(tokens))};
    return write_safetensors(file_, std::span(&view, 1),
                             {{"identity", identity_}, {"cost", to_json(cost).dump()}});
  }

 private:
  fs::path file_;
  std::string identity_;
};

Result<TextStream> from_teacher(const ConvertConfig& config, const Tokenizer& tokenizer,
                                std::int64_t wanted, std::int64_t longest, const fs::path& state,
                                MeteredModel& model, Progress& progress) {
  SampledText how{.start = tokenizer.prefix(),
                  .length = config.text.sample_tokens > 0 ? config.text.sample_tokens : longest,
                  .temperature = config.text.temperature,
                  .seed = text_seed(config)};
  if (how.start.empty() && tokenizer.bos()) how.start = {*tokenizer.bos()};
  if (how.start.empty()) {
    ASSIGN_OR_RETURN(const TokenId separator, separator_of(config.text, tokenizer));
    how.start = {separator};
  }
  if (how.length <= std::ssize(how.start) || how.length > model.model().shape().max_positions)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected {} to {} (the start, and the model's positions), got {}",
                           how.start.size() + 1, model.model().shape().max_positions, how.length)
                    .at("text.sample_tokens"));
  const std::int64_t texts = (wanted + how.length - 1) / how.length;
  const nlohmann::json identity = {
      {"model", model.model().id()},    {"start", how.start}, {"length", how.length},
      {"temperature", how.temperature}, {"seed", how.seed},   {"batch", config.text.sample_batch},
      {"dtype", config.dtype}};
  const SampledFile file(state / "text.safetensors", sha256_hex(identity.dump()));
  TextStream stream;
  const Meter before = model.meter();
  RETURN_IF_ERROR(file.load(stream.tokens, model));
  std::int64_t done = std::ssize(stream.tokens) / how.length;
  progress.begin("sampling text from the teacher", texts);
  progress.advance(std::min(done, texts));
  while (done < texts) {
    if (progress.stop_requested())
      return fail(ErrorKind::kInterrupted, "interrupted after {} of {} texts of the teacher", done,
                  texts);
    // Whole batches, so that each text is rounded as it is without an interruption.
    ASSIGN_OR_RETURN(const std::vector<Tokens> more,
                     sample_texts(model, how, done, config.text.sample_batch));
    for (const Tokens& text : more)
      stream.tokens.insert(stream.tokens.end(), text.begin(), text.end());
    RETURN_IF_ERROR(file.save(stream.tokens, model.meter() - before));
    progress.advance(std::min(std::ssize(more), texts - done));
    done += std::ssize(more);
  }
  progress.end();
  stream.tokens.resize(static_cast<std::size_t>(texts * how.length));
  stream.source = {{"sampling_seed", how.seed},
                   {"temperature", how.temperature},
                   {"sample_tokens", how.length},
                   {"texts", texts},
                   {"start", how.start}};
  return stream;
}

}  // namespace

std::vector<Tokens> texts_of(const TextStream& stream, std::int64_t length) {
  const std::int64_t own = length - std::ssize(stream.prefix);
  STRATA_CHECK(own >= 1);
  std::vector<Tokens> texts;
  for (auto at = stream.tokens.begin(); stream.tokens.end() - at >= own; at += own) {
    Tokens& text = texts.emplace_back(stream.prefix);
    text.insert(text.end(), at, at + own);
  }
  return texts;
}

Result<TextStream> read_text_stream(const ConvertConfig& config, const TextTools& tools,
                                    std::int64_t wanted, std::int64_t longest,
                                    const fs::path& state, MeteredModel& model,
                                    Progress& progress) {
  const Tokenizer& tokenizer = tools.tokenizer;
  TextStream stream;
  if (config.text.source == "teacher") {
    ASSIGN_OR_RETURN(stream,
                     from_teacher(config, tokenizer, wanted, longest, state, model, progress));
  } else {
    ASSIGN_OR_RETURN(const TokenId separator, separator_of(config.text, tokenizer));
    if (std::ssize(tokenizer.prefix()) >= longest)
      return fail(ErrorKind::kInvalidArgument, "a text has no room behind the checkpoint's prefix");
    // A text's prefix is none of the stream's, and the last text may be cut off.
    Collector collect(tokenizer, separator, wanted + longest);
    ASSIGN_OR_RETURN(stream, config.text.source == "folder" ? from_folder(config, collect, progress)
                                                            : from_sessions(config, collect));
    stream.prefix = tokenizer.prefix();
    stream.source["documents"] = collect.documents;
    stream.source["seed"] = text_seed(config);
    if (stream.tokens.empty())
      return fail(make_error(ErrorKind::kInvalidArgument, "expected text to train on, got none")
                      .at("text.path"));
  }
  const auto bytes = [](const Tokens& tokens) { return std::as_bytes(std::span(tokens)); };
  stream.source["source"] = config.text.source;
  stream.source["tokens"] = stream.tokens.size();
  stream.source["id"] = Sha256()
                            .update_u64(stream.prefix.size())
                            .update(bytes(stream.prefix))
                            .update(bytes(stream.tokens))
                            .hex_digest();
  return stream;
}

}  // namespace strata
