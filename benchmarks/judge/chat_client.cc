#include "benchmarks/judge/chat_client.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "benchmarks/judge/plain_text.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxErrorBytes = 300;
constexpr std::int64_t kOfficialMaxTokens = 10;

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(std::max<std::int64_t>(1, std::llround(seconds * 1000)));
}

std::optional<std::int64_t> reply_tokens(const JudgeConfig& config) {
  if (config.max_tokens) return config.max_tokens;
  if (config.rubric == RubricSet::kLongMemEval) return kOfficialMaxTokens;
  return std::nullopt;
}

json settings(const JudgeConfig& config) {
  json out = json::object();
  if (config.temperature) out["temperature"] = *config.temperature;
  if (const auto tokens = reply_tokens(config))
    out[std::string(config::enum_name(config.token_field))] = *tokens;
  return out;
}

}  // namespace

std::string judge_settings_json(const JudgeConfig& config) { return settings(config).dump(); }

std::string chat_request_json(const JudgeConfig& config, const std::string& prompt) {
  json request = settings(config);
  request["model"] = config.model;
  request["n"] = 1;
  request["messages"] = json::array({{{"role", "user"}, {"content", prompt}}});
  return request.dump(-1, ' ', false, json::error_handler_t::replace);
}

ChatClient::ChatClient(const JudgeConfig& config, const Endpoint& endpoint, const ApiKey& key,
                       Pace& pace)
    : config_(config), endpoint_(endpoint), key_(key), pace_(pace) {}

ChatReply ChatClient::attempt(const std::string& body, const std::stop_token& stop, bool& stopped) {
  std::vector<std::string> headers = key_.headers();
  headers.insert(headers.end(), {"Content-Type: application/json", "Accept: application/json",
                                 "Expect:", "User-Agent: strata"});
  const HttpLimits limits{
      .connect = milliseconds(config_.connect_timeout),
      .total = milliseconds(config_.timeout),
      .reply_bytes = static_cast<std::size_t>(config_.max_reply_kib) * std::size_t{1024}};
  const Result<HttpReply> reply = http_.post(endpoint_, headers, body, limits, stop);
  if (reply) return read_chat_reply(*reply);
  ChatReply out;
  out.error = reply.error().message;
  stopped = reply.error().kind == ErrorKind::kInterrupted;
  if (reply.error().kind == ErrorKind::kInvalidFile) out.next = ChatReply::Next::kGiveUp;
  if (reply.error().kind == ErrorKind::kUnsupported) out.next = ChatReply::Next::kHopeless;
  return out;
}

ChatOutcome ChatClient::ask(const std::string& prompt, Rng& jitter, const std::stop_token& stop) {
  using Next = ChatReply::Next;
  const std::string body = chat_request_json(config_, prompt);
  const Backoff backoff{Seconds(config_.retry_base), Seconds(config_.retry_max)};
  ChatOutcome out;
  const auto stopped = [&] {
    out.stopped = true;
    return out;
  };
  while (true) {
    if (!pace_.wait_for_turn(stop)) return stopped();
    const auto start = Pace::Clock::now();
    bool broken_off = false;
    const ChatReply tried = attempt(body, stop, broken_off);
    if (broken_off) return stopped();
    ++out.attempts;
    out.latency_ms = std::chrono::duration<double, std::milli>(Pace::Clock::now() - start).count();
    out.error = one_line(key_.redacted(tried.error), kMaxErrorBytes);
    if (tried.next == Next::kDone) {
      out.end = CallEnd::kReplied;
      out.reply = key_.redacted(tried.text);
      out.model = one_line(key_.redacted(tried.model), kMaxErrorBytes);
      return out;
    }
    if (tried.next == Next::kHopeless) out.end = CallEnd::kHopeless;
    if (tried.next != Next::kAgain) return out;
    if (tried.retry_after && Seconds(*tried.retry_after) > Seconds(config_.retry_after_max)) {
      out.error += fmt::format(" (asks to wait {} s; judge.retry_after_max={:g})",
                               tried.retry_after->count(), config_.retry_after_max);
      return out;
    }
    if (tried.retry_after) pace_.hold(Seconds(*tried.retry_after));
    if (out.attempts > config_.retries) return out;
    if (!pace_.wait(backoff_delay(backoff, out.attempts, tried.retry_after, jitter), stop))
      return stopped();
  }
}

}  // namespace strata
