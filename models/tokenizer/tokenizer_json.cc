#include "models/tokenizer/tokenizer_json.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "core/json_reader.h"
#include "models/tokenizer/unicode.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxSplitters = 64;   // each is a level of recursion
constexpr std::size_t kMaxHoles = 1 << 16;  // ids without a token: memory for no bytes of the file
constexpr std::size_t kMaxAddedTokenBytes = 4096;
constexpr std::size_t kMaxAddedBytes = 1 << 19;  // of all: finding them takes a node a byte

using Ids = std::unordered_map<std::string_view, TokenId>;  // token -> id; views of the document

template <typename... Args>
tl::unexpected<Error> unsupported(std::string place, fmt::format_string<Args...> format,
                                  Args&&... args) {
  return fail(make_error(ErrorKind::kUnsupported, format, std::forward<Args>(args)...)
                  .at(std::move(place)));
}

template <typename... Args>
tl::unexpected<Error> invalid(std::string place, fmt::format_string<Args...> format,
                              Args&&... args) {
  return fail(make_error(ErrorKind::kInvalidFile, format, std::forward<Args>(args)...)
                  .at(std::move(place)));
}

// A value for a message: short, whatever the file holds.
std::string shown(const json& value) {
  constexpr std::size_t kMaxShown = 120;
  if (value.is_object() || value.is_array()) return fmt::format("an {}", value.type_name());
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown) + "…";
  return text;
}

const json& member(const json& object, const char* key) {
  static const json kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

// Every key must be one we know of: what we do not know could change ids.
Status check_keys(const json& object, const std::string& place,
                  std::initializer_list<std::string_view> known) {
  if (!object.is_object()) return invalid(place, "expected an object, got {}", shown(object));
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return unsupported(place, "unknown key {}", shown(key));
    }
  }
  return {};
}

Result<bool> flag(const json& object, const std::string& place, const char* key,
                  bool fallback = false) {
  const json& value = member(object, key);
  if (value.is_null()) return fallback;
  if (!value.is_boolean())
    return invalid(place + "." + key, "expected true or false, got {}", shown(value));
  return value.get<bool>();
}

Result<std::string_view> type_of(const json& object, const std::string& place) {
  const json& type = member(object, "type");
  if (!object.is_object() || !type.is_string()) {
    return invalid(place, "expected an object with a `type`, got {}", shown(object));
  }
  return std::string_view(type.get_ref<const std::string&>());
}

Result<TokenId> id_of(const json& value, const std::string& place) {
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() > std::numeric_limits<TokenId>::max()) {
    return invalid(place, "expected a token id, got {}", shown(value));
  }
  return value.get<TokenId>();
}

// Byte-level BPE writes a byte as a character: itself, or 256 + its rank among unprintable ones.
constexpr std::array<std::int16_t, 512> make_bytes_of_characters() {
  std::array<std::int16_t, 512> bytes{};
  bytes.fill(-1);
  std::size_t moved = 256;
  for (std::int16_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    bytes[printable ? static_cast<std::size_t>(byte) : moved++] = byte;
  }
  return bytes;
}
constexpr std::array<std::int16_t, 512> kBytesOfCharacters = make_bytes_of_characters();

Status parse_vocabulary(const json& model, TokenizerSpec& spec, Ids& ids) {
  const std::string place = "model.vocab";
  const json& vocabulary = member(model, "vocab");
  if (!vocabulary.is_object() || vocabulary.empty()) {
    return invalid(place, "expected an object with tokens, got {}", shown(vocabulary));
  }
  const std::size_t limit = vocabulary.size() + kMaxHoles;
  for (const auto& [token, value] : vocabulary.items()) {
    ASSIGN_OR_RETURN(const TokenId id, id_of(value, place));
    const auto at = static_cast<std::size_t>(id);
    if (at >= limit)
      return invalid(place, "id {} of {} tokens leaves too large a gap", id, vocabulary.size());
    if (token.empty()) return invalid(place, "id {} belongs to an empty token", id);
    if (at >= spec.tokens.size()) {
      spec.tokens.resize(at + 1);
      spec.in_bpe.resize(at + 1);
    }
    if (!spec.tokens[at].empty()) return invalid(place, "id {} belongs to two tokens", id);
    const std::optional<std::string> bytes = byte_level_bytes(token);
    spec.in_bpe[at] = bytes.has_value();
    spec.tokens[at] = bytes.value_or(token);
    ids.emplace(token, id);
  }
  return {};
}

// "a b" or ["a", "b"].
Result<std::pair<std::string_view, std::string_view>> parts_of_merge(const json& merge,
                                                                     const std::string& place) {
  if (merge.is_string()) {
    const std::string_view text = merge.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos) {
      return std::pair(text.substr(0, space), text.substr(space + 1));
    }
  } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
             merge[1].is_string()) {
    return std::pair(std::string_view(merge[0].get_ref<const std::string&>()),
                     std::string_view(merge[1].get_ref<const std::string&>()));
  }
  return invalid(place, "expected \"a b\" or [\"a\", \"b\"], got {}", shown(merge));
}

Status parse_merges(const json& model, TokenizerSpec& spec, const Ids& ids) {
  const json& merges = member(model, "merges");
  if (!merges.is_array())
    return invalid("model.merges", "expected an array, got {}", shown(merges));
  spec.merges.reserve(merges.size());
  const auto find = [&](std::string_view token, const std::string& place) -> Result<TokenId> {
    const auto found = ids.find(token);
    if (found != ids.end()) return found->second;
    return invalid(place, "the token {} is not in the vocabulary", shown(json(token)));
  };
  std::string joined;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::string place = fmt::format("model.merges[{}]", i);
    ASSIGN_OR_RETURN(const auto parts, parts_of_merge(merges[i], place));
    ASSIGN_OR_RETURN(const TokenId left, find(parts.first, place));
    ASSIGN_OR_RETURN(const TokenId right, find(parts.second, place));
    joined.assign(parts.first).append(parts.second);
    ASSIGN_OR_RETURN(const TokenId result, find(joined, place));
    spec.merges.push_back({left, right, result});
  }
  return {};
}

Status parse_model(const json& model, TokenizerSpec& spec) {
  ASSIGN_OR_RETURN(const std::string_view type, type_of(model, "model"));
  if (type != "BPE")
    return unsupported("model.type", "expected BPE, got {}", shown(member(model, "type")));
  RETURN_IF_ERROR(
      check_keys(model, "model",
                 {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                  "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"}));
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const json& value = member(model, key);
    if (!value.is_null() && value != "" && value != 0.0) {
      return unsupported(fmt::format("model.{}", key), "expected null, got {}", shown(value));
    }
  }
  for (const char* key : {"fuse_unk", "byte_fallback"}) {
    ASSIGN_OR_RETURN(const bool set, flag(model, "model", key));
    if (set) return unsupported(fmt::format("model.{}", key), "expected false, got true");
  }
  ASSIGN_OR_RETURN(spec.options.ignore_merges, flag(model, "model", "ignore_merges"));
  Ids ids;
  RETURN_IF_ERROR(parse_vocabulary(model, spec, ids));
  if (const json& unknown = member(model, "unk_token"); !unknown.is_null()) {
    const auto found =
        unknown.is_string() ? ids.find(unknown.get_ref<const std::string&>()) : ids.end();
    if (found == ids.end())
      return invalid("model.unk_token", "expected a token, got {}", shown(unknown));
    spec.options.unknown = found->second;
  }
  return parse_merges(model, spec, ids);
}

Result<AddedToken> parse_added_token(const json& value, const std::string& place) {
  RETURN_IF_ERROR(check_keys(
      value, place, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}));
  AddedToken token;
  ASSIGN_OR_RETURN(token.id, id_of(member(value, "id"), place + ".id"));
  const json& content = member(value, "content");
  if (!content.is_string())
    return invalid(place + ".content", "expected a text, got {}", shown(content));
  token.text = content.get<std::string>();
  if (token.text.empty() || token.text.size() > kMaxAddedTokenBytes) {
    return invalid(place + ".content", "expected 1 to {} bytes, got {}", kMaxAddedTokenBytes,
                   token.text.size());
  }
  ASSIGN_OR_RETURN(const bool single_word, flag(value, place, "single_word"));
  if (single_word) return unsupported(place + ".single_word", "expected false, got true");
  ASSIGN_OR_RETURN(token.special, flag(value, place, "special"));
  ASSIGN_OR_RETURN(token.normalized, flag(value, place, "normalized", !token.special));
  ASSIGN_OR_RETURN(token.strip_left, flag(value, place, "lstrip"));
  ASSIGN_OR_RETURN(token.strip_right, flag(value, place, "rstrip"));
  return token;
}

Status parse_added_tokens(const json& added, TokenizerSpec& spec) {
  if (added.is_null()) return {};
  if (!added.is_array()) return invalid("added_tokens", "expected an array, got {}", shown(added));
  const std::size_t limit = spec.tokens.size() + added.size() + kMaxHoles;
  std::size_t added_bytes = 0;
  for (std::size_t i = 0; i < added.size(); ++i) {
    const std::string place = fmt::format("added_tokens[{}]", i);
    ASSIGN_OR_RETURN(AddedToken token, parse_added_token(added[i], place));
    const auto at = static_cast<std::size_t>(token.id);
    if (at >= limit) return invalid(place, "id {} leaves too large a gap", token.id);
    if (at >= spec.tokens.size()) {
      spec.tokens.resize(at + 1);
      spec.in_bpe.resize(at + 1);
    }
    const std::string bytes = byte_level_bytes(token.text).value_or(token.text);
    if (!spec.tokens[at].empty() && spec.tokens[at] != bytes) {
      return invalid(place, "id {} belongs to another token of the vocabulary", token.id);
    }
    added_bytes += token.text.size();
    if (added_bytes > kMaxAddedBytes)
      return invalid(place, "expected at most {} bytes of added tokens, got more", kMaxAddedBytes);
    spec.tokens[at] = bytes;
    spec.added.push_back(std::move(token));
  }
  return {};
}

Status parse_byte_level(const json& value, const std::string& place, TokenizerSpec& spec) {
  RETURN_IF_ERROR(
      check_keys(value, place, {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
  ASSIGN_OR_RETURN(const bool prefix_space, flag(value, place, "add_prefix_space", true));
  if (prefix_space) return unsupported(place + ".add_prefix_space", "expected false, got true");
  ASSIGN_OR_RETURN(const bool use_regex, flag(value, place, "use_regex", true));
  if (use_regex) spec.splitters.push_back(split_gpt2);
  return {};
}

Status parse_split(const json& value, const std::string& place, TokenizerSpec& spec) {
  RETURN_IF_ERROR(check_keys(value, place, {"type", "pattern", "behavior", "invert"}));
  ASSIGN_OR_RETURN(const bool invert, flag(value, place, "invert"));
  if (invert) return unsupported(place + ".invert", "expected false, got true");
  if (const json& behavior = member(value, "behavior"); behavior != "Isolated") {
    return unsupported(place + ".behavior", "expected Isolated, got {}", shown(behavior));
  }
  const json& pattern = member(value, "pattern");
  RETURN_IF_ERROR(check_keys(pattern, place + ".pattern", {"Regex"}));
  const json& regex = member(pattern, "Regex");
  const Splitter splitter =
      regex.is_string() ? splitter_of_pattern(regex.get_ref<const std::string&>()) : nullptr;
  if (splitter == nullptr) {
    return unsupported(place + ".pattern",
                       "expected Llama 3's or Qwen 2's regular expression, got {}", shown(regex));
  }
  spec.splitters.push_back(splitter);
  return {};
}

// The parts of a Sequence, or the value itself, each with its place.
std::vector<std::pair<json, std::string>> stages_of(const json& value, const char* root,
                                                    const char* list_name) {
  const json& list = member(value, list_name);
  if (!value.is_object() || member(value, "type") != "Sequence" || !list.is_array()) {
    return {{value, root}};
  }
  std::vector<std::pair<json, std::string>> stages;
  for (const json& stage : list) {
    stages.emplace_back(stage, fmt::format("{}.{}[{}]", root, list_name, stages.size()));
  }
  return stages;
}

Status parse_pre_tokenizer(const json& value, TokenizerSpec& spec) {
  const auto stages = stages_of(value, "pre_tokenizer", "pretokenizers");
  if (stages.size() > kMaxSplitters)
    return invalid("pre_tokenizer", "expected at most {} parts, got {}", kMaxSplitters,
                   stages.size());
  bool byte_level = false;
  for (const auto& [stage, place] : stages) {
    ASSIGN_OR_RETURN(const std::string_view type, type_of(stage, place));
    if (byte_level)
      return unsupported(place, "expected nothing behind ByteLevel, got {}",
                         shown(member(stage, "type")));
    if (type == "ByteLevel") {
      RETURN_IF_ERROR(parse_byte_level(stage, place, spec));
      byte_level = true;
    } else if (type == "Digits") {
      RETURN_IF_ERROR(check_keys(stage, place, {"type", "individual_digits"}));
      ASSIGN_OR_RETURN(const bool individual, flag(stage, place, "individual_digits"));
      spec.splitters.push_back(individual ? split_single_digits : split_digit_runs);
    } else if (type == "Split") {
      RETURN_IF_ERROR(parse_split(stage, place, spec));
    } else {
      return unsupported(place, "expected ByteLevel, Digits, Split or one Sequence of them, got {}",
                         shown(member(stage, "type")));
    }
  }
  if (!byte_level)
    return unsupported("pre_tokenizer",
                       "expected ByteLevel as the last part; only byte-level BPE is known");
  return {};
}

Status parse_normalizer(const json& value, TokenizerSpec& spec) {
  if (value.is_null()) return {};
  for (const auto& [stage, place] : stages_of(value, "normalizer", "normalizers")) {
    ASSIGN_OR_RETURN(const std::string_view type, type_of(stage, place));
    if (type != "NFC")
      return unsupported(place, "expected NFC or null, got {}", shown(member(stage, "type")));
    spec.nfc = true;
  }
  return {};
}

// The special tokens that TemplateProcessing puts before a single text; anything behind the text is
// refused.
Status parse_template(const json& value, const std::string& place, TokenizerSpec& spec) {
  const json& single = member(value, "single");
  if (!single.is_array())
    return invalid(place + ".single", "expected an array, got {}", shown(single));
  bool text_seen = false;
  for (const json& part : single) {
    if (part.is_object() && part.contains("Sequence")) {
      text_seen = true;
      continue;
    }
    const json& special = part.is_object() ? member(part, "SpecialToken") : part;
    const json& name = special.is_object() ? member(special, "id") : special;
    const auto token = std::find_if(spec.added.begin(), spec.added.end(),
                                    [&](const AddedToken& added) { return name == added.text; });
    if (token == spec.added.end())
      return invalid(place + ".single", "expected an added token, got {}", shown(name));
    if (text_seen)
      return unsupported(place + ".single", "a token behind the text: {}", shown(name));
    spec.prefix.push_back(token->id);
  }
  return {};
}

Status parse_post_processor(const json& value, TokenizerSpec& spec) {
  if (value.is_null()) return {};
  for (const auto& [stage, place] : stages_of(value, "post_processor", "processors")) {
    ASSIGN_OR_RETURN(const std::string_view type, type_of(stage, place));
    if (type == "TemplateProcessing") {
      RETURN_IF_ERROR(parse_template(stage, place, spec));
    } else if (type != "ByteLevel") {  // which changes offsets alone
      return unsupported(place, "expected ByteLevel or TemplateProcessing, got {}",
                         shown(member(stage, "type")));
    }
  }
  return {};
}

Status parse_decoder(const json& value) {
  ASSIGN_OR_RETURN(const std::string_view type, type_of(value, "decoder"));
  if (type == "ByteLevel") return {};
  return unsupported("decoder", "expected ByteLevel, got {}", shown(member(value, "type")));
}

}  // namespace

std::optional<std::string> byte_level_bytes(std::string_view token) {
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const unicode::CodePoint point = unicode::code_point_at(token, at);
    if (point.code >= kBytesOfCharacters.size() || kBytesOfCharacters[point.code] < 0) {
      return std::nullopt;
    }
    bytes += static_cast<char>(kBytesOfCharacters[point.code]);
    at += point.length;
  }
  return bytes;
}

Result<TokenizerSpec> parse_tokenizer_json(std::string_view text) {
  ASSIGN_OR_RETURN(const json document, parse_json(text));
  RETURN_IF_ERROR(check_keys(document, "top level",
                             {"version", "truncation", "padding", "added_tokens", "normalizer",
                              "pre_tokenizer", "post_processor", "decoder", "model"}));
  TokenizerSpec spec;
  RETURN_IF_ERROR(parse_model(member(document, "model"), spec));
  RETURN_IF_ERROR(parse_added_tokens(member(document, "added_tokens"), spec));
  RETURN_IF_ERROR(parse_normalizer(member(document, "normalizer"), spec));
  RETURN_IF_ERROR(parse_pre_tokenizer(member(document, "pre_tokenizer"), spec));
  RETURN_IF_ERROR(parse_post_processor(member(document, "post_processor"), spec));
  RETURN_IF_ERROR(parse_decoder(member(document, "decoder")));
  return spec;
}

}  // namespace strata
