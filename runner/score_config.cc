#include "runner/score_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace strata {
namespace {

// Override errors quote the whole word. What is no key of ours may hold a secret.
Status check_keys(const std::vector<std::string>& overrides) {
  std::vector<std::string> known = {"judge"};
  for (const config::FieldHelp& field : config::describe(ScoreConfig{}))
    known.push_back(field.path);
  for (const std::string& word : overrides) {
    std::string key = word.substr(0, word.find('='));
    key.erase(0, key.find_first_not_of("+~"));
    key = key.substr(0, key.find('@'));
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const bool shown = word.find('=') != std::string::npos;
    return fail(make_error(ErrorKind::kInvalidArgument, "command line: unknown key{}",
                           shown ? fmt::format(" '{}'", key) : " (not shown)")
                    .with_hint(config::nearest_hint(key, known, "known keys")));
  }
  return {};
}

// What is wrong with these two keys' values must be said without them.
Error without_values(Error error, const std::vector<std::string>& overrides) {
  for (const std::string& word : overrides) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = word.substr(0, equals);
    if (!key.ends_with("judge.url") && !key.ends_with("judge.key_env")) continue;
    const auto hide = [&](std::string& text) {
      for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
        text.replace(at, word.size(), key + "=…");
    };
    hide(error.message);
    hide(error.hint);
    for (std::string& place : error.where) hide(place);
  }
  return error;
}

Result<ScoreConfig> compose_and_bind(const LoadRequest& request) {
  ASSIGN_OR_RETURN(const std::vector<config::Composed> composed,
                   config::compose(score_options(request)));
  ScoreConfig config;
  RETURN_IF_ERROR(config::bind(composed[0].config, config));
  return config;
}

}  // namespace

config::ComposeOptions score_options(const LoadRequest& request) {
  return {.search_path = request.config_dirs,
          .config_name = "score",
          .overrides = request.overrides,
          .multirun = false,
          .schema = [](const config::Value&) -> Result<config::Value> {
            return config::to_value(ScoreConfig{});
          },
          .environment = {}};
}

Result<ScoreConfig> load_score(const LoadRequest& request) {
  if (request.multirun)
    return fail(make_error(ErrorKind::kInvalidArgument, "score takes no --multirun")
                    .with_hint("give a command to each judge"));
  RETURN_IF_ERROR(check_keys(request.overrides));
  Result<ScoreConfig> config = compose_and_bind(request);
  if (!config) return fail(without_values(std::move(config).error(), request.overrides));
  return config;
}

}  // namespace strata
