// Keys of judge=: whom `strata score` asks whether a stored response is right, and how patiently.
//
// The key of the endpoint is not among them: `key_env` names the environment variable that has it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "core/config/fields.h"

namespace strata {

enum class RubricSet { kLongMemEval, kSwaa, kNeedle };
enum class TokenField { kMaxTokens, kMaxCompletionTokens };

struct JudgeConfig {
  std::string url = std::string(config::kMandatory);
  std::string model = std::string(config::kMandatory);
  std::string key_env = "STRATA_JUDGE_KEY";
  RubricSet rubric = RubricSet::kLongMemEval;
  std::optional<double> temperature = 0;
  std::optional<std::int64_t> max_tokens;
  TokenField token_field = TokenField::kMaxTokens;
  std::string ca_file;
  bool allow_http = false;
  double connect_timeout = 10;
  double timeout = 120;
  std::int64_t max_reply_kib = 1024;
  int retries = 5;
  double retry_base = 1;
  double retry_max = 60;
  double retry_after_max = 600;
  double requests_per_minute = 0;
  int concurrency = 4;
  int max_failures = 10;
  std::uint64_t seed = 0;

  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("url", self.url,
          "an OpenAI-compatible endpoint, up to and without /chat/completions: "
          "https://api.openai.com/v1, http://localhost:8001/v1");
    visit("model", self.model, "the judge, as the endpoint names it");
    visit("key_env", self.key_env,
          "name of the environment variable that has the endpoint's key; an endpoint on this "
          "machine may go without");
    visit("rubric", self.rubric,
          "longmemeval: the five official prompts, yes or no; swaa: SWAA's one prompt, CORRECT or "
          "WRONG; needle: answers of benchmark=niah_grid, from 1 to 10");
    visit("temperature", self.temperature, "of the judge; null: not sent", config::between(0, 100));
    visit("max_tokens", self.max_tokens,
          "of the judge's reply; null: 10 under longmemeval, as officially, else no limit; a judge "
          "that thinks needs more",
          config::between(1, 1 << 24));
    visit("token_field", self.token_field, "what the endpoint calls max_tokens");
    visit("ca_file", self.ca_file,
          "file of certificates (PEM) that are trusted in place of the system's, for an https "
          "endpoint of your own; \"\": the system's");
    visit("allow_http", self.allow_http,
          "let key and prompts go unencrypted to another machine than this");
    visit("connect_timeout", self.connect_timeout, "seconds until connected",
          config::between(0.001, 86400));
    visit("timeout", self.timeout, "seconds of a call, from connecting to the reply's last byte",
          config::between(0.001, 86400));
    visit("max_reply_kib", self.max_reply_kib, "a longer reply is given up",
          config::between(1, 1 << 20));
    visit("retries", self.retries, "further attempts of a call that failed for now",
          config::between(0, 1000));
    visit("retry_base", self.retry_base,
          "seconds before the second attempt; each further one waits twice as long, less a random "
          "half at most",
          config::between(0.001, 86400));
    visit("retry_max", self.retry_max, "seconds between attempts at most",
          config::between(0.001, 86400));
    visit("retry_after_max", self.retry_after_max,
          "longest Retry-After, in seconds, that is waited for; a call that is asked to wait "
          "longer fails",
          config::between(0, 86400));
    visit("requests_per_minute", self.requests_per_minute,
          "attempts a minute at most, evenly spaced; 0: no limit", config::between(0, 1e6));
    visit("concurrency", self.concurrency, "calls at once", config::between(1, 256));
    visit("max_failures", self.max_failures,
          "stop when so many calls in a row failed for good; 0: never", config::at_least(0));
    visit("seed", self.seed, "of the random part of waiting between attempts");
  }
};

}  // namespace strata

template <>
struct strata::config::EnumTable<strata::RubricSet> {
  static constexpr std::array kNames = {
      std::pair{strata::RubricSet::kLongMemEval, std::string_view("longmemeval")},
      std::pair{strata::RubricSet::kSwaa, std::string_view("swaa")},
      std::pair{strata::RubricSet::kNeedle, std::string_view("needle")}};
};
template <>
struct strata::config::EnumTable<strata::TokenField> {
  static constexpr std::array kNames = {
      std::pair{strata::TokenField::kMaxTokens, std::string_view("max_tokens")},
      std::pair{strata::TokenField::kMaxCompletionTokens,
                std::string_view("max_completion_tokens")}};
};
