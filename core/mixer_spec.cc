#include "core/mixer_spec.h"

#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <vector>

namespace strata {
namespace {

constexpr std::int64_t kMaxWindow = std::int64_t{1} << 40;

// Field `name` of a palette entry; `fallback` where it may be left out.
Result<std::int64_t> int_field(const nlohmann::json& json, const char* name,
                               std::int64_t fallback) {
  const auto it = json.find(name);
  if (it == json.end()) return fallback;
  if (!it->is_number_integer())
    return fail(ErrorKind::kInvalidFile, "mixer field '{}': expected an integer, got {}", name,
                it->dump());
  return it->get<std::int64_t>();
}

}  // namespace

std::string_view to_string(DecodeRule rule) { return rule == DecodeRule::kFull ? "full" : "same"; }

Result<DecodeRule> parse_decode_rule(std::string_view text) {
  if (text == "full") return DecodeRule::kFull;
  if (text == "same") return DecodeRule::kSame;
  return fail(ErrorKind::kInvalidArgument, "decode_rule is '{}'; expected one of full, same", text);
}

std::string_view to_string(LinearKind kind) {
  for (const auto& [candidate, name] : kLinearKinds)
    if (candidate == kind) return name;
  return "?";
}

Result<LinearKind> parse_linear_kind(std::string_view text) {
  std::vector<std::string_view> names;
  for (const auto& [kind, name] : kLinearKinds) {
    if (name == text) return kind;
    names.push_back(name);
  }
  return fail(ErrorKind::kUnsupported, "linear attention '{}'; expected one of {}", text,
              fmt::join(names, ", "));
}

MixerTraits traits_of(const MixerSpec& mixer) {
  (void)mixer;  // both softmax mixers can do the same things
  return {.finest = Granularity::kQueryHead,
          .needs_trained_weights = false,
          .supports_full_decode = true,
          .has_recurrent_state = false,
          .cost_depends_on_data = false};
}

std::string_view name_of(const MixerSpec& mixer) {
  return std::holds_alternative<FullAttention>(mixer) ? "full" : "sliding_window";
}

Status validate(const MixerSpec& mixer) {
  if (const auto* sliding = std::get_if<SlidingWindow>(&mixer)) {
    if (sliding->window < 1 || sliding->window > kMaxWindow)
      return fail(make_error(ErrorKind::kInvalidArgument, "window is {}; expected at least 1 token",
                             sliding->window)
                      .with_hint("the window counts the query's own token, so 1 sees only itself"));
    if (sliding->sinks < 0 || sliding->sinks > kMaxWindow)
      return fail(ErrorKind::kInvalidArgument, "sinks is {}; expected 0 or more tokens",
                  sliding->sinks);
  }
  return {};
}

nlohmann::json to_json(const MixerSpec& mixer) {
  nlohmann::json json = {{"kind", name_of(mixer)}};
  if (const auto* sliding = std::get_if<SlidingWindow>(&mixer)) {
    json["window"] = sliding->window;
    if (sliding->sinks != 0) json["sinks"] = sliding->sinks;
  }
  return json;
}

Result<MixerSpec> mixer_from_json(const nlohmann::json& json) {
  if (!json.is_object() || !json.contains("kind") || !json["kind"].is_string())
    return fail(ErrorKind::kInvalidFile, "mixer: expected an object with a 'kind', got {}",
                json.dump());
  const std::string kind = json["kind"];
  if (kind == "full") return MixerSpec(FullAttention{});
  if (kind != "sliding_window")
    return fail(ErrorKind::kUnsupported, "mixer kind '{}'; expected one of full, sliding_window",
                kind);
  SlidingWindow sliding;
  ASSIGN_OR_RETURN(sliding.window, int_field(json, "window", 0));
  ASSIGN_OR_RETURN(sliding.sinks, int_field(json, "sinks", 0));
  const MixerSpec mixer = sliding;
  RETURN_IF_ERROR(validate(mixer));
  return mixer;
}

}  // namespace strata
