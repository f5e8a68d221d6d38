// Calls to a real server on loopback that does everything wrong.
#include "benchmarks/judge/chat_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "bad_server.h"

namespace strata::test {
namespace {

using Kind = Behaviour::Kind;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;
using Clock = std::chrono::steady_clock;

constexpr const char* kKey = "sk-0123456789abcdef";

JudgeConfig impatient() {
  JudgeConfig config;
  config.model = "judge-1";
  config.timeout = 5;
  config.connect_timeout = 2;
  config.retries = 2;
  config.retry_base = 0.01;
  config.retry_max = 0.02;
  return config;
}

ApiKey key() {
  setenv("STRATA_TEST_KEY", kKey, 1);
  ApiKey key = *ApiKey::from_environment("STRATA_TEST_KEY");
  unsetenv("STRATA_TEST_KEY");
  return key;
}

ChatOutcome ask_at(const std::string& url, const JudgeConfig& config,
                   const std::stop_token& stop = {}, const std::string& prompt = "Right?") {
  const Endpoint endpoint = *parse_endpoint(url, false);
  const ApiKey secret = key();
  Pace pace(config.requests_per_minute);
  ChatClient client(config, endpoint, secret, pace);
  Rng jitter(1, "test");
  ChatOutcome outcome = client.ask(prompt, jitter, stop);
  for (const std::string& text : {outcome.error, outcome.reply, outcome.model})
    EXPECT_THAT(text, Not(HasSubstr(std::string(kKey).substr(0, 8))));
  return outcome;
}

// The first `wrong` requests are answered by `behaviour`, the others rightly.
struct Trial {
  ChatOutcome outcome;
  std::vector<ServerRequest> requests;
};
Trial ask_after(const Behaviour& behaviour, std::size_t wrong,
                const JudgeConfig& config = impatient()) {
  BadServer server([&](const ServerRequest& request) {
    return request.number < wrong ? behaviour : completion("yes");
  });
  ChatOutcome outcome = ask_at(server.url(), config);
  return {std::move(outcome), server.requests()};
}

TEST(ChatClient, SendsOneUserMessageWithTheKeyAndReadsTheReply) {
  BadServer server([](const ServerRequest&) { return completion(" Yes.\n", "judge-1-2024"); });
  const ChatOutcome outcome = ask_at(server.url(), impatient(), {}, "Is \"ä\xff\" right?");
  EXPECT_EQ(outcome.end, CallEnd::kReplied);
  EXPECT_EQ(outcome.reply, " Yes.\n");
  EXPECT_EQ(outcome.model, "judge-1-2024");
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.attempts, 1);
  EXPECT_GT(outcome.latency_ms, 0);
  const std::vector<ServerRequest> requests = server.requests();
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].line, "POST /v1/chat/completions HTTP/1.1");
  EXPECT_EQ(requests[0].headers.at("authorization"), std::string("Bearer ") + kKey);
  EXPECT_EQ(requests[0].headers.at("content-type"), "application/json");
  EXPECT_EQ(nlohmann::json::parse(requests[0].body),
            nlohmann::json::parse(R"({"model": "judge-1", "n": 1, "temperature": 0.0,
              "max_tokens": 10,
              "messages": [{"role": "user", "content": "Is \"ä\ufffd\" right?"}]})"));
}

TEST(ChatClient, SendsWhatTheConfigurationSays) {
  JudgeConfig config = impatient();
  config.rubric = RubricSet::kSwaa;
  config.temperature.reset();
  EXPECT_EQ(judge_settings_json(config), "{}");
  config.max_tokens = 512;
  config.token_field = TokenField::kMaxCompletionTokens;
  EXPECT_EQ(judge_settings_json(config), R"({"max_completion_tokens":512})");
}

struct Passing {
  const char* name;
  Behaviour behaviour;
  const char* error;  // where it never ends
};

class PassingTrouble : public ::testing::TestWithParam<Passing> {};

TEST_P(PassingTrouble, IsTriedAgain) {
  JudgeConfig config = impatient();
  config.timeout = 0.4;
  const Trial trial = ask_after(GetParam().behaviour, 2, config);
  EXPECT_EQ(trial.outcome.end, CallEnd::kReplied) << trial.outcome.error;
  EXPECT_EQ(trial.outcome.reply, "yes");
  EXPECT_EQ(trial.outcome.error, "");
  EXPECT_EQ(trial.outcome.attempts, 3);
}

TEST_P(PassingTrouble, ThatDoesNotPassIsAFailureAndNoVerdict) {
  JudgeConfig config = impatient();
  config.timeout = 0.3;
  config.retries = 1;
  const Trial trial = ask_after(GetParam().behaviour, 1000, config);
  EXPECT_EQ(trial.outcome.end, CallEnd::kFailed);
  EXPECT_EQ(trial.outcome.reply, "");
  EXPECT_EQ(trial.outcome.attempts, 2);
  EXPECT_THAT(trial.outcome.error, HasSubstr(GetParam().error));
}

const std::string kWhole = completion("yes").body;

INSTANTIATE_TEST_SUITE_P(
    Kinds, PassingTrouble,
    ::testing::Values(
        Passing{"hang", {.kind = Kind::kHang}, "no whole reply in time"},
        Passing{"drip", {.kind = Kind::kDrip, .body = kWhole}, "no whole reply in time"},
        Passing{"reset", {.kind = Kind::kReset}, "peer"},
        Passing{"close", {.kind = Kind::kClose}, "Server returned nothing"},
        Passing{"half", {.kind = Kind::kHalf, .body = kWhole}, "in the middle of the reply"},
        Passing{"half_json",
                {.kind = Kind::kUnlengthed, .body = kWhole.substr(0, kWhole.size() / 2)},
                "expected JSON, got: invalid JSON at byte"},
        Passing{"garbage", {.kind = Kind::kGarbage, .body = "\x16\x03\x01 no HTTP\r\n\r\n"}, ""},
        Passing{"status_429", with_status(429), "HTTP status 429"},
        Passing{"status_500", with_status(500), "HTTP status 500"},
        Passing{"status_503", with_status(503, {}, R"({"error": {"message": "loading"}})"),
                "HTTP status 503: loading"},
        Passing{"status_408", with_status(408), "HTTP status 408"},
        Passing{"html",
                {.body = "<html>busy</html>", .content_type = "text/html; charset=utf-8"},
                "content type text/html"},
        Passing{"not_utf8",
                {.body = "{\"choices\": [{\"message\": {\"content\": \"y\xffs\"}}]}"},
                "invalid JSON at byte"},
        Passing{"empty", {.body = ""}, "expected JSON"},
        Passing{"array", {.body = "[1]"}, "no choices"},
        Passing{"no_choices", {.body = "{}"}, "no choices"},
        Passing{"empty_choices", {.body = R"({"choices": []})"}, "no choices"},
        Passing{"error_body", {.body = R"({"error": "overloaded"})"}, "is an error: overloaded"},
        Passing{"no_message", {.body = R"({"choices": [{}]})"}, "choices[0].message.content"},
        Passing{"wrong_type",
                {.body = R"({"choices": [{"message": {"content": 1}}]})"},
                "choices[0].message.content"},
        Passing{"deep", {.body = std::string(100'000, '[')}, "levels of nesting"}),
    [](const auto& tested) { return tested.param.name; });

TEST(ChatClient, GivesUpARequestThatIsRefused) {
  for (const int status : {400, 413, 422}) {
    const Trial trial = ask_after(with_status(status, {}, R"({"error": {"message": "no"}})"), 1000);
    EXPECT_EQ(trial.outcome.end, CallEnd::kFailed);
    EXPECT_EQ(trial.outcome.error, fmt::format("HTTP status {}: no", status));
    EXPECT_EQ(trial.requests.size(), 1U);
  }
}

TEST(ChatClient, CallsAWrongKeyPathOrModelHopeless) {
  for (const int status : {401, 403, 404, 405}) {
    const Trial trial = ask_after(with_status(status), 1000);
    EXPECT_EQ(trial.outcome.end, CallEnd::kHopeless);
    EXPECT_EQ(trial.requests.size(), 1U);
  }
}

TEST(ChatClient, DoesNotFollowARedirectNorSendTheKeyThere) {
  BadServer other([](const ServerRequest&) { return completion("yes"); });
  for (const int status : {301, 302, 307, 308}) {
    const Trial trial = ask_after(with_status(status, {"Location: " + other.url()}), 1000);
    EXPECT_EQ(trial.outcome.end, CallEnd::kHopeless);
    EXPECT_THAT(trial.outcome.error, HasSubstr("a redirect, which is not followed"));
    EXPECT_THAT(trial.outcome.error, Not(HasSubstr(other.host())));
  }
  EXPECT_TRUE(other.requests().empty());
}

TEST(ChatClient, GivesUpAReplyWithoutEnd) {
  for (const Kind kind : {Kind::kEndless, Kind::kEndlessHeader}) {
    JudgeConfig config = impatient();
    config.max_reply_kib = 256;
    const Trial trial = ask_after({.kind = kind}, 1000, config);
    EXPECT_EQ(trial.outcome.end, CallEnd::kFailed);
    EXPECT_THAT(trial.outcome.error, HasSubstr("expected a reply of at most 262144 bytes"));
    EXPECT_EQ(trial.requests.size(), 1U);
  }
}

TEST(ChatClient, TakesAReplyOfTheLargestSizeAndNoByteMore) {
  JudgeConfig config = impatient();
  config.max_reply_kib = 1;
  const std::string padding(1024 - completion("").body.size(), 'y');
  EXPECT_EQ(ask_after(completion(padding), 1000, config).outcome.end, CallEnd::kReplied);
  EXPECT_EQ(ask_after(completion(padding + "y"), 1000, config).outcome.end, CallEnd::kFailed);
}

TEST(ChatClient, ReadsJsonUnderAnotherContentTypeOrNone) {
  for (const char* type : {"text/plain", ""}) {
    Behaviour behaviour = completion("no");
    behaviour.content_type = type;
    EXPECT_EQ(ask_after(behaviour, 1000).outcome.reply, "no");
  }
}

TEST(ChatClient, TakesAReplyThatIsAllReasoningAsEmpty) {
  const Trial trial = ask_after(
      {.body = R"({"choices": [{"finish_reason": "length", "message": {"content": null}}]})"},
      1000);
  EXPECT_EQ(trial.outcome.end, CallEnd::kReplied);
  EXPECT_EQ(trial.outcome.reply, "");
}

TEST(ChatClient, WaitsAsLongAsRetryAfterSays) {
  for (const int status : {429, 503}) {
    const Trial trial = ask_after(with_status(status, {"Retry-After: 1"}), 1);
    EXPECT_EQ(trial.outcome.end, CallEnd::kReplied);
    ASSERT_EQ(trial.requests.size(), 2U);
    EXPECT_GE(trial.requests[1].arrived - trial.requests[0].arrived, milliseconds(990));
  }
}

TEST(ChatClient, DoesNotWaitForARetryAfterWithoutReason) {
  JudgeConfig config = impatient();
  config.retry_after_max = 60;
  const auto start = Clock::now();
  const Trial trial = ask_after(with_status(429, {"Retry-After: 86400"}), 1, config);
  EXPECT_EQ(trial.outcome.end, CallEnd::kFailed);
  EXPECT_EQ(trial.outcome.error,
            "HTTP status 429 (asks to wait 86400 s; judge.retry_after_max=60)");
  EXPECT_LT(Clock::now() - start, milliseconds(5000));
}

TEST(ChatClient, KeepsTheKeyOutOfWhatTheServerSendsBack) {
  const std::string echo = fmt::format(R"({{"error": {{"message": "bad key {} "}}}})", kKey);
  EXPECT_EQ(ask_after(with_status(401, {}, echo), 1000).outcome.error,
            "HTTP status 401: bad key [key] ");
  EXPECT_EQ(ask_after(completion(fmt::format("yes {}", kKey), kKey), 1000).outcome.reply,
            "yes [key]");
  const std::string far(280, 'x');  // an error is cut off after the key has been taken out
  ask_after(with_status(400, {}, fmt::format(R"({{"error": "{}{}"}})", far, kKey)), 1000);
  Behaviour typed{.body = "no JSON", .content_type = kKey};
  EXPECT_THAT(ask_after(typed, 1000).outcome.error, HasSubstr("(content type [key])"));
}

TEST(ChatClient, SaysWhenNobodyListens) {
  int port = 0;
  {
    port = BadServer([](const ServerRequest&) { return completion("yes"); }).port();
  }
  const ChatOutcome outcome = ask_at(fmt::format("http://127.0.0.1:{}/v1", port), impatient());
  EXPECT_EQ(outcome.end, CallEnd::kFailed);
  EXPECT_EQ(outcome.attempts, 3);
  EXPECT_THAT(outcome.error, HasSubstr("connect"));
}

TEST(ChatClient, StopsInTheMiddleOfACallAndOfAWait) {
  for (const Behaviour& behaviour :
       {Behaviour{.kind = Kind::kHang}, with_status(429, {"Retry-After: 50"})}) {
    BadServer server([&](const ServerRequest&) { return behaviour; });
    JudgeConfig config = impatient();
    config.timeout = 60;
    std::stop_source stop;
    std::thread stopper([&] {
      std::this_thread::sleep_for(milliseconds(200));
      stop.request_stop();
    });
    const auto start = Clock::now();
    const ChatOutcome outcome = ask_at(server.url(), config, stop.get_token());
    stopper.join();
    EXPECT_TRUE(outcome.stopped);
    EXPECT_LT(Clock::now() - start, milliseconds(5000));
  }
}

TEST(ChatClient, UsesNoProxyToThisMachine) {
  BadServer proxy([](const ServerRequest&) { return completion("no"); });
  setenv("http_proxy", fmt::format("http://{}", proxy.host()).c_str(), 1);
  setenv("ALL_PROXY", fmt::format("http://{}", proxy.host()).c_str(), 1);
  EXPECT_EQ(ask_after(completion("yes"), 1).outcome.reply, "yes");
  unsetenv("http_proxy");
  unsetenv("ALL_PROXY");
  EXPECT_TRUE(proxy.requests().empty());
}

}  // namespace
}  // namespace strata::test
