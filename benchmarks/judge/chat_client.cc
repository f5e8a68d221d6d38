#include "benchmarks/judge/chat_client.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "benchmarks/judge/plain_text.h"
#include "core/json_reader.h"

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

const json* member(const json* object, const char* name) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(name);
  return found == object->end() ? nullptr : &*found;
}

// {"error": {"message": "…"}}, as the API words what it refuses; "" where the body is another.
std::string error_message(std::string_view body) {
  const Result<json> parsed = parse_json(body);
  if (!parsed) return "";
  const json* error = member(&*parsed, "error");
  const json* message = error != nullptr && error->is_string() ? error : member(error, "message");
  return message != nullptr && message->is_string() ? message->get<std::string>() : "";
}

bool comes_right_by_waiting(long status) {
  return status == 408 || status == 409 || status == 425 || status == 429 || status >= 500;
}

// Every other call would end the same way.
bool is_hopeless(long status) {
  return (status >= 300 && status < 400) || status == 401 || status == 403 || status == 404 ||
         status == 405;
}

}  // namespace

struct ChatClient::Attempt {
  enum class Next { kDone, kAgain, kGiveUp, kHopeless, kStopped };
  Next next = Next::kAgain;
  std::string reply, model, error;
  std::optional<std::chrono::seconds> retry_after;
};

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

// What a whole reply means.
ChatClient::Attempt ChatClient::judged(const HttpReply& reply) const {
  using Next = Attempt::Next;
  Attempt out;
  if (reply.status != 200) {
    out.error = fmt::format("HTTP status {}", reply.status);
    if (const std::string said = error_message(reply.body); !said.empty())
      out.error += ": " + said;
    else if (reply.status >= 300 && reply.status < 400)
      out.error += ": a redirect, which is not followed; judge.url must be the endpoint itself";
    out.next = comes_right_by_waiting(reply.status) ? Next::kAgain
               : is_hopeless(reply.status)          ? Next::kHopeless
                                                    : Next::kGiveUp;
    if (reply.status == 429 || reply.status == 503) out.retry_after = reply.retry_after;
    return out;
  }
  const Result<json> parsed = parse_json(reply.body);
  const auto broken = [&](std::string_view what) {
    out.error = fmt::format(
        "{}{}", what,
        reply.content_type.empty() ? "" : fmt::format(" (content type {})", reply.content_type));
    return out;
  };
  if (!parsed) return broken(fmt::format("expected JSON, got: {}", parsed.error().message));
  const json* choices = member(&*parsed, "choices");
  if (choices == nullptr || !choices->is_array() || choices->empty()) {
    const std::string said = error_message(reply.body);
    return broken(said.empty() ? "the reply has no choices" : "the reply is an error: " + said);
  }
  const json* content = member(member(&(*choices)[0], "message"), "content");
  // null: all of the reply went into reasoning that is returned apart.
  if (content == nullptr || !(content->is_string() || content->is_null()))
    return broken("the reply has no text in choices[0].message.content");
  out.next = Next::kDone;
  if (content->is_string()) out.reply = content->get<std::string>();
  if (const json* model = member(&*parsed, "model"); model != nullptr && model->is_string())
    out.model = model->get<std::string>();
  return out;
}

ChatClient::Attempt ChatClient::attempt(const std::string& body, const std::stop_token& stop) {
  std::vector<std::string> headers = key_.headers();
  headers.insert(headers.end(), {"Content-Type: application/json", "Accept: application/json",
                                 "Expect:", "User-Agent: strata"});
  const HttpLimits limits{
      .connect = milliseconds(config_.connect_timeout),
      .total = milliseconds(config_.timeout),
      .reply_bytes = static_cast<std::size_t>(config_.max_reply_kib) * std::size_t{1024}};
  const Result<HttpReply> reply = http_.post(endpoint_, headers, body, limits, stop);
  if (reply) return judged(*reply);
  Attempt out;
  out.error = reply.error().message;
  if (reply.error().kind == ErrorKind::kInterrupted) out.next = Attempt::Next::kStopped;
  if (reply.error().kind == ErrorKind::kInvalidFile) out.next = Attempt::Next::kGiveUp;
  return out;
}

ChatOutcome ChatClient::ask(const std::string& prompt, Rng& jitter, const std::stop_token& stop) {
  using Next = Attempt::Next;
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
    const Attempt tried = attempt(body, stop);
    if (tried.next == Next::kStopped) return stopped();
    ++out.attempts;
    out.latency_ms = std::chrono::duration<double, std::milli>(Pace::Clock::now() - start).count();
    out.error = one_line(key_.redacted(tried.error), kMaxErrorBytes);
    if (tried.next == Next::kDone) {
      out.end = CallEnd::kReplied;
      out.reply = key_.redacted(tried.reply);
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
