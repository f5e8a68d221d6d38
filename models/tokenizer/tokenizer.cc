#include "models/tokenizer/tokenizer.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "core/sha256.h"
#include "models/tokenizer/added_tokens.h"
#include "models/tokenizer/bpe.h"
#include "models/tokenizer/nfc.h"
#include "models/tokenizer/tokenizer_json.h"
#include "models/tokenizer/unicode.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr std::uintmax_t kMaxFileBytes = 256U << 20;

// The file's bytes, or nullopt where there is no such file.
Result<std::optional<std::string>> read_if_there(const std::filesystem::path& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error == std::errc::no_such_file_or_directory) return std::nullopt;
  if (error) return fail(ErrorKind::kIo, "{}: {}", path.string(), error.message());
  if (size > kMaxFileBytes) {
    return fail(ErrorKind::kInvalidFile, "{}: expected at most {} bytes, got {}", path.string(),
                kMaxFileBytes, size);
  }
  std::string bytes(size, '\0');
  std::ifstream file(path, std::ios::binary);
  if (!file.read(bytes.data(), static_cast<std::streamsize>(size))) {
    return fail(ErrorKind::kIo, "{}: cannot read its {} bytes", path.string(), size);
  }
  return bytes;
}

// The object in a JSON file; an empty one where there is no such file.
Result<json> read_object(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::optional<std::string> text, read_if_there(path));
  if (!text) return json::object();
  auto value = parse_json(*text);
  if (!value) return fail(std::move(value).error().at(path.string()));
  if (!value->is_object())
    return fail(ErrorKind::kInvalidFile, "{}: expected a JSON object", path.string());
  return value;
}

json member(const json& object, const char* key) { return object.value(key, json()); }

// The text of `bos_token` and its like: a string, or an object with `content`; nullopt where null
// or missing.
Result<std::optional<std::string>> token_text(const json& config, const char* key,
                                              const std::filesystem::path& path) {
  json value = member(config, key);
  if (value.is_object()) value = member(value, "content");
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return value.get<std::string>();
  return fail(ErrorKind::kInvalidFile, "{}: {}: expected a token's text", path.string(), key);
}

// `eos_token_id`: a number, a list of numbers, or missing.
Result<Tokens> eos_ids(const json& config, const std::filesystem::path& path) {
  json value = member(config, "eos_token_id");
  if (value.is_null()) return Tokens{};
  if (!value.is_array()) value = json::array({value});
  Tokens ids;
  for (const json& id : value) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > std::numeric_limits<TokenId>::max()) {
      return fail(ErrorKind::kInvalidFile, "{}: eos_token_id: expected token ids", path.string());
    }
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

// transformers' order: chat_template.jinja, else `chat_template` of tokenizer_config.json: a text,
// or a list of named ones of which "default" counts.
Result<std::optional<std::string>> find_chat_template(const std::filesystem::path& model_dir,
                                                      const json& config) {
  ASSIGN_OR_RETURN(std::optional<std::string> file,
                   read_if_there(model_dir / "chat_template.jinja"));
  if (file) return file;
  json value = member(config, "chat_template");
  if (value.is_array()) {
    json chosen;
    for (const json& entry : value) {
      if (entry.is_object() && member(entry, "name") == "default")
        chosen = member(entry, "template");
    }
    value = std::move(chosen);
  }
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return value.get<std::string>();
  return fail(ErrorKind::kInvalidFile, "{}: chat_template: expected a text",
              (model_dir / "tokenizer_config.json").string());
}

std::string tokenizer_id(std::string_view tokenizer_json,
                         const std::optional<std::string>& chat_template) {
  Sha256 hash;
  hash.update_u64(tokenizer_json.size()).update(tokenizer_json);
  hash.update_u64(chat_template.has_value() ? 1 : 0);
  if (chat_template) hash.update_u64(chat_template->size()).update(*chat_template);
  return hash.hex_digest();
}

std::vector<Bpe::Entry> bpe_entries(const std::vector<std::string>& tokens,
                                    const std::vector<bool>& in_bpe) {
  std::vector<Bpe::Entry> entries;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (in_bpe[i]) entries.push_back({tokens[i], static_cast<TokenId>(i)});
  }
  return entries;
}

}  // namespace

struct Tokenizer::Data {
  explicit Data(TokenizerSpec spec);

  Tokens encode(std::string_view text, bool plain) const;
  void encode_piece(std::string_view text, std::span<const Splitter> stages, Bpe::Scratch& scratch,
                    Tokens& out) const;
  Result<TokenId> find(const std::string& token) const;
  Status read_stop_ids(const std::filesystem::path& model_dir, const json& config);

  std::vector<std::string> tokens;  // before bpe, which refers to them
  std::vector<bool> special;
  std::unordered_map<std::string, TokenId> added_ids;
  AddedTokens raw_added;         // found in the text as it is,
  AddedTokens normalized_added;  // then these, in what is left once it is normalized
  bool nfc;
  std::vector<Splitter> splitters;
  Bpe bpe;
  Tokens prefix;
  std::optional<TokenId> bos;
  std::vector<TokenId> eos;
  std::string id;
  std::optional<std::string> chat_template;
};

Tokenizer::Data::Data(TokenizerSpec spec)
    : tokens(std::move(spec.tokens)),
      special(tokens.size()),
      nfc(spec.nfc),
      splitters(std::move(spec.splitters)),
      bpe(bpe_entries(tokens, spec.in_bpe), spec.merges, spec.options),
      prefix(std::move(spec.prefix)) {
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalized;
  std::string buffer;
  for (AddedToken& token : spec.added) {
    special[static_cast<std::size_t>(token.id)] = token.special;
    added_ids.emplace(token.text, token.id);
    if (nfc && token.normalized) token.text = std::string(unicode::nfc(token.text, buffer));
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  raw_added = AddedTokens(std::move(raw));
  normalized_added = AddedTokens(std::move(normalized));
}

void Tokenizer::Data::encode_piece(std::string_view text, std::span<const Splitter> stages,
                                   Bpe::Scratch& scratch, Tokens& out) const {
  if (stages.empty()) return bpe.encode_word(text, scratch, out);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = stages.front()(text, begin);
    encode_piece(text.substr(begin, end - begin), stages.subspan(1), scratch, out);
    begin = end;
  }
}

Tokens Tokenizer::Data::encode(std::string_view text, bool plain) const {
  std::string repaired;
  if (!unicode::is_valid_utf8(text)) text = repaired = unicode::replace_invalid_utf8(text);
  Tokens out;
  out.reserve(text.size() / 4 + 4);
  Bpe::Scratch scratch;
  std::string normal;
  std::vector<AddedTokens::Part> outer;
  std::vector<AddedTokens::Part> inner;
  raw_added.split(text, plain, outer);
  for (const AddedTokens::Part& part : outer) {
    if (part.id) {
      out.push_back(*part.id);
      continue;
    }
    inner.clear();
    normalized_added.split(nfc ? unicode::nfc(part.text, normal) : part.text, plain, inner);
    for (const AddedTokens::Part& piece : inner) {
      if (piece.id) {
        out.push_back(*piece.id);
      } else {
        encode_piece(piece.text, splitters, scratch, out);
      }
    }
  }
  return out;
}

// The id of a token that a configuration names by its text.
Result<TokenId> Tokenizer::Data::find(const std::string& token) const {
  if (const auto added = added_ids.find(token); added != added_ids.end()) return added->second;
  const std::string bytes = byte_level_bytes(token).value_or(token);
  const auto found = std::find(tokens.begin(), tokens.end(), bytes);
  if (found != tokens.end() && !bytes.empty()) return static_cast<TokenId>(found - tokens.begin());
  return fail(ErrorKind::kInvalidFile, "the token {} is not in tokenizer.json", json(token).dump());
}

Status Tokenizer::Data::read_stop_ids(const std::filesystem::path& model_dir, const json& config) {
  const std::filesystem::path path = model_dir / "tokenizer_config.json";
  const auto find_named = [&](const char* key) -> Result<std::optional<TokenId>> {
    ASSIGN_OR_RETURN(const std::optional<std::string> text, token_text(config, key, path));
    if (!text) return std::nullopt;
    Result<TokenId> found = find(*text);
    if (!found) return fail(std::move(found).error().at(key).at(path.string()));
    return *found;
  };
  ASSIGN_OR_RETURN(bos, find_named("bos_token"));
  ASSIGN_OR_RETURN(const std::optional<TokenId> end, find_named("eos_token"));

  for (const char* name : {"generation_config.json", "config.json"}) {
    ASSIGN_OR_RETURN(const json model_config, read_object(model_dir / name));
    ASSIGN_OR_RETURN(eos, eos_ids(model_config, model_dir / name));
    if (!eos.empty()) break;
  }
  if (end) eos.push_back(*end);
  std::sort(eos.begin(), eos.end());
  eos.erase(std::unique(eos.begin(), eos.end()), eos.end());
  return {};
}

Result<Tokenizer> Tokenizer::load(const std::filesystem::path& model_dir) {
  const std::filesystem::path path = model_dir / "tokenizer.json";
  ASSIGN_OR_RETURN(const std::optional<std::string> text, read_if_there(path));
  if (!text) {
    return fail(make_error(ErrorKind::kNotFound, "{}: there is no such file", path.string())
                    .with_hint("model.path= names a Hugging Face model directory: config.json, "
                               "*.safetensors, tokenizer.json"));
  }
  Result<TokenizerSpec> spec = parse_tokenizer_json(*text);
  if (!spec) return fail(std::move(spec).error().at(path.string()));
  auto data = std::make_shared<Data>(*std::move(spec));

  ASSIGN_OR_RETURN(const json config, read_object(model_dir / "tokenizer_config.json"));
  RETURN_IF_ERROR(data->read_stop_ids(model_dir, config));
  ASSIGN_OR_RETURN(data->chat_template, find_chat_template(model_dir, config));
  data->id = tokenizer_id(*text, data->chat_template);
  return Tokenizer(std::move(data));
}

Tokens Tokenizer::encode(std::string_view text) const { return data_->encode(text, false); }

Tokens Tokenizer::encode_plain(std::string_view text) const { return data_->encode(text, true); }

std::string Tokenizer::decode(std::span<const TokenId> tokens, bool skip_special) const {
  std::string bytes;
  for (const TokenId id : tokens) {
    if (!(skip_special && is_special(id))) bytes += token_bytes(id);
  }
  return bytes;
}

std::string Tokenizer::decode_text(std::span<const TokenId> tokens, bool skip_special) const {
  return unicode::replace_invalid_utf8(decode(tokens, skip_special));
}

std::string_view Tokenizer::token_bytes(TokenId id) const {
  const auto at = static_cast<std::size_t>(id);
  return id >= 0 && at < data_->tokens.size() ? std::string_view(data_->tokens[at])
                                              : std::string_view();
}

bool Tokenizer::is_special(TokenId id) const {
  const auto at = static_cast<std::size_t>(id);
  return id >= 0 && at < data_->special.size() && data_->special[at];
}

std::optional<TokenId> Tokenizer::token_id(std::string_view added_token) const {
  const auto found = data_->added_ids.find(std::string(added_token));
  return found == data_->added_ids.end() ? std::nullopt : std::optional(found->second);
}

int Tokenizer::vocab_size() const { return static_cast<int>(data_->tokens.size()); }
std::optional<TokenId> Tokenizer::bos() const { return data_->bos; }
const std::vector<TokenId>& Tokenizer::eos() const { return data_->eos; }
const Tokens& Tokenizer::prefix() const { return data_->prefix; }
const std::string& Tokenizer::id() const { return data_->id; }
const std::optional<std::string>& Tokenizer::chat_template_text() const {
  return data_->chat_template;
}

std::string StreamingDecoder::push(TokenId id) {
  if (skip_special_ && tokenizer_.is_special(id)) return {};
  held_ += tokenizer_.token_bytes(id);
  std::string out;
  std::string_view rest = held_;
  while (!rest.empty()) {
    const unicode::Character character = unicode::first_character(rest);
    if (character.state == unicode::Character::State::kTruncated) break;
    const bool complete = character.state == unicode::Character::State::kComplete;
    out += complete ? rest.substr(0, character.length) : unicode::kReplacement;
    rest.remove_prefix(character.length);
  }
  held_ = std::string(rest);
  return out;
}

std::string StreamingDecoder::finish() {
  return unicode::replace_invalid_utf8(std::exchange(held_, {}));
}

}  // namespace strata
