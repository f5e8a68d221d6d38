// strata score as a person runs it, at a real server on loopback that does everything wrong. Runs
// build/strata.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/behaviour/program.h"
#include "tests/unit/judge/bad_server.h"
#include "tests/unit/results/memory_fixture.h"

namespace strata::test {
namespace {

using Kind = Behaviour::Kind;
using strata::testing::Outcome;
using strata::testing::run_command;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kKey = "sk-behaviour-0123456789";

class ScoreCommand : public ::testing::Test {
 protected:
  ScoreCommand() : database_(folder_.file("a.db")) {
    Store store = must(Store::open(database_, Store::Mode::kReadWrite));
    record_memory_run(store, "full", six_answers());
  }

  Outcome score(const std::string& words,
                const std::string& environment = std::string("STRATA_JUDGE_KEY=") + kKey) {
    const char* source = std::getenv("STRATA_SOURCE_DIR");
    Outcome outcome = run_command(fmt::format("cd {} && {} {}/strata score {} {}",
                                              source == nullptr ? "." : source, environment,
                                              testing::binary_dir(), database_, words));
    EXPECT_THAT(outcome.text, Not(HasSubstr(kKey)));
    expect_no_key();
    return outcome;
  }
  static std::string at(const BadServer& server) {
    return fmt::format("judge.url={} judge.model=judge-1 judge.retry_base=0.01 judge.retries=1 ",
                       server.url());
  }
  // In no byte of any file beside the database.
  void expect_no_key() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
      EXPECT_THAT(bytes_of(entry.path().string()), Not(HasSubstr(kKey))) << entry.path();
  }

  TemporaryFolder folder_;
  std::string database_;
};

TEST_F(ScoreCommand, JudgesSaysSoAndCarriesOn) {
  BadServer server([](const ServerRequest&) { return completion("yes"); });
  const Outcome first = score(at(server));
  EXPECT_EQ(first.code, 0) << first.text;
  EXPECT_THAT(first.text, HasSubstr(fmt::format("6 responses judged by judge-1 at {}: 6 yes, 0 no, "
                                                "0 unparsable, 0 failed\n",
                                                server.host())));
  EXPECT_THAT(first.text, HasSubstr("judge judge-1          6/6"));
  for (const ServerRequest& request : server.requests())
    EXPECT_EQ(request.headers.at("authorization"), std::string("Bearer ") + kKey);
  const Outcome second = score(at(server));
  EXPECT_EQ(second.code, 0);
  EXPECT_THAT(second.text, HasSubstr("0 responses judged"));
  EXPECT_THAT(second.text, HasSubstr("6 judged before"));
  EXPECT_EQ(server.requests().size(), 6U);
}

// tls_front.py makes the certificates, serves TLS before the server and runs the command.
TEST_F(ScoreCommand, HttpsTakesTrustedCertificatesAlone) {
  BadServer server([](const ServerRequest&) { return completion("no"); });
  const auto over_tls = [&](const char* name, const std::string& words) {
    const char* source = std::getenv("STRATA_SOURCE_DIR");
    return run_command(fmt::format(
        "cd {} && STRATA_JUDGE_KEY={} python3 -B tests/behaviour/tls_front.py {} {} {} {}/strata "
        "score {} judge.url={{url}} judge.model=judge-1 judge.retry_base=0.01 judge.retries=1 {}",
        source == nullptr ? "." : source, kKey, name, folder_.path().string(), server.host(),
        testing::binary_dir(), database_, words));
  };
  for (const auto& [name, words] :
       {std::pair{"localhost", ""}, std::pair{"localhost", "judge.ca_file={other}"},
        std::pair{"another.invalid", "judge.ca_file={ca}"}}) {
    const Outcome refused = over_tls(name, words);
    EXPECT_NE(refused.code, 0) << refused.text;
    EXPECT_THAT(refused.text, HasSubstr("judge.ca_file")) << name << " " << words;
    EXPECT_THAT(refused.text, HasSubstr("0 yes, 0 no"));
    EXPECT_THAT(refused.text, Not(HasSubstr(kKey)));
  }
  EXPECT_TRUE(server.requests().empty()) << "neither key nor prompt went out";
  const Outcome missing = over_tls("localhost", "judge.ca_file=/nowhere.pem");
  EXPECT_NE(missing.code, 0);
  EXPECT_THAT(missing.text,
              HasSubstr("judge.ca_file: expected a file of certificates, got '/nowhere.pem'"));
  const Outcome trusted = over_tls("localhost", "judge.ca_file={ca}");
  EXPECT_EQ(trusted.code, 0) << trusted.text;
  EXPECT_THAT(trusted.text, HasSubstr("0 yes, 6 no"));
  EXPECT_EQ(server.requests().size(), 6U);
}

TEST_F(ScoreCommand, NeverTellsTheKeyWhateverGoesWrong) {
  const std::string echo =
      fmt::format(R"({{"error": {{"message": "bad key {0}"}}, "x": "{0}"}})", kKey);
  const std::vector<Behaviour> wrongs = {
      with_status(400, {}, echo),
      with_status(401, {fmt::format("WWW-Authenticate: {}", kKey)}, echo),
      with_status(429, {"Retry-After: 0"}, echo),
      with_status(307, {fmt::format("Location: http://127.0.0.1:1/{}", kKey)}),
      with_status(500, {}, kKey),
      {.body = echo},
      {.body = std::string("no JSON: ") + kKey, .content_type = kKey},
      {.kind = Kind::kHalf, .body = completion(kKey).body},
      {.kind = Kind::kGarbage, .body = std::string(kKey) + "\r\n\r\n"},
      {.kind = Kind::kReset},
      {.kind = Kind::kEndless},
      completion(std::string("yes, ") + kKey, kKey)};
  for (const Behaviour& wrong : wrongs) {
    BadServer server([&](const ServerRequest&) { return wrong; });
    score(at(server) + "judge.timeout=2 judge.max_reply_kib=64");
  }
  for (const char* words :
       {"judge.url=http://127.0.0.1:1/v1 judge.model=x judge.retries=0",
        "judge.url=http://sk-behaviour-0123456789@127.0.0.1:1/v1 judge.model=x",
        "judge.url=http://127.0.0.1:1/v1?key=sk-behaviour-0123456789 judge.model=x",
        "judge.url=http://127.0.0.1:1/v1?sk-behaviour-0123456789 judge.model=x",
        "judge.url={a:sk-behaviour-0123456789} judge.model=x",
        "+judge.url=http://127.0.0.1:1/sk-behaviour-0123456789 judge.model=x judge.retries=0",
        "judge.url=http://127.0.0.1:1/v1 judge.model=x judge.key=sk-behaviour-0123456789",
        "judge.url=http://127.0.0.1:1/v1 judge.model=x +judge.api_key=sk-behaviour-0123456789",
        "judge.url=http://127.0.0.1:1/v1 judge.model=x judge.key_env=sk-behaviour-0123456789"}) {
    const Outcome outcome = score(words);
    EXPECT_EQ(outcome.code, 1) << words;
    EXPECT_THAT(outcome.text, HasSubstr("error: ")) << words;
  }
}

TEST_F(ScoreCommand, SaysWhatIsMissing) {
  struct Case {
    const char* words;
    const char* says;
  };
  for (const Case& wrong :
       {Case{"judge.model=x", "judge.url is mandatory"},
        Case{"judge.url=http://127.0.0.1:1/v1", "judge.model is mandatory"},
        Case{"judge.url=http://10.0.0.1/v1 judge.model=x", "unencrypted to 10.0.0.1"},
        Case{"judge=official", "STRATA_JUDGE_KEY has no key for api.openai.com"},
        Case{"judge=nobody", "nobody"},
        Case{"judge.retrys=1 judge.url=u", "did you mean 'judge.retries'?"},
        Case{"judge.url=http://127.0.0.1:1/v1 judge.model=x judge.timeout=0",
             "judge.timeout: expected at least 0.001"},
        Case{"other.db judge.model=x", "score takes one database, got 2"}}) {
    const Outcome outcome = score(wrong.words, "STRATA_JUDGE_KEY=");
    EXPECT_NE(outcome.code, 0) << wrong.words;
    EXPECT_THAT(outcome.text, HasSubstr(wrong.says)) << wrong.words;
  }
}

TEST_F(ScoreCommand, IsReportedBesideTheChecker) {
  BadServer server([](const ServerRequest& request) {
    return completion(request.body.find("question of q1") == std::string::npos ? "yes" : "no");
  });
  EXPECT_EQ(score(at(server)).code, 0);
  const auto report = [&](const std::string& words) {
    return run_command(
        fmt::format("{}/strata report longmemeval {}", testing::binary_dir(), words));
  };
  const Outcome text = report(database_);
  EXPECT_EQ(text.code, 0) << text.text;
  EXPECT_THAT(text.text, HasSubstr(fmt::format("judge: judge-1 at {} (longmemeval prompts, "
                                               "max_tokens=10 temperature=0.0)\n",
                                               server.host())));
  EXPECT_THAT(text.text, HasSubstr("83.3 ["));
  EXPECT_EQ(report("db=" + database_ + " --format csv --where label=full").code, 0);
  EXPECT_THAT(report("db=" + database_ + " window=16").text, HasSubstr("hint: --where window=16"));
  EXPECT_EQ(report(database_ + " other.db").code, 2);
}

TEST_F(ScoreCommand, CarriesOnAfterAnInterruptAndAfterAKill) {
  struct Ending {
    const char* signal;
    std::vector<int> codes;  // of a shell, or of the signal itself
  };
  for (const Ending& ending : {Ending{"INT", {130}}, Ending{"KILL", {128, 137}}}) {
    std::atomic<int> answered = 0;
    std::atomic<bool> stuck = true;
    BadServer server([&](const ServerRequest&) {
      // Two replies, then silence.
      return !stuck || answered++ < 2 ? completion("yes") : Behaviour{.kind = Kind::kHang};
    });
    const std::string words = at(server) + "judge.concurrency=1 judge.timeout=60";
    const std::string under =
        fmt::format("STRATA_JUDGE_KEY={} timeout --preserve-status -s {} 1.5", kKey, ending.signal);
    const Outcome ended = score(words, under);
    EXPECT_THAT(ending.codes, ::testing::Contains(ended.code)) << ending.signal << ended.text;
    if (ended.code == 130) {
      EXPECT_THAT(ended.text, HasSubstr("2 responses judged"));
      EXPECT_THAT(ended.text, HasSubstr("hint: what was judged is recorded"));
    }
    stuck = false;
    const Outcome rest = score(words);
    EXPECT_EQ(rest.code, 0) << rest.text;
    EXPECT_THAT(rest.text, HasSubstr("4 responses judged"));
    EXPECT_THAT(rest.text, HasSubstr("2 judged before"));
    EXPECT_EQ(
        run_command(fmt::format("{}/strata db check {}", testing::binary_dir(), database_)).code,
        0);
  }
}

TEST_F(ScoreCommand, RunsOnceAtATime) {
  std::atomic<bool> asked = false;
  std::string second;
  BadServer server([&](const ServerRequest&) {
    if (!asked.exchange(true))
      second = run_command(fmt::format("{}/strata score {} {}", testing::binary_dir(), database_,
                                       "judge.url=http://127.0.0.1:1/v1 judge.model=x"))
                   .text;
    return completion("yes");
  });
  EXPECT_EQ(score(at(server) + "judge.concurrency=1").code, 0);
  EXPECT_THAT(second, HasSubstr("another strata score (process "));
}

TEST_F(ScoreCommand, MakesNoDatabaseOfAWrongName) {
  database_ = folder_.file("b.db");
  const Outcome outcome = score("judge.url=http://127.0.0.1:1/v1 judge.model=x");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.text, HasSubstr("there is no such file"));
  EXPECT_FALSE(std::filesystem::exists(database_));
}

TEST_F(ScoreCommand, SaysThatAFilterLeavesNothing) {
  const Outcome outcome =
      score("judge.url=http://127.0.0.1:1/v1 judge.model=x --where label=nobody");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(
      outcome.text,
      HasSubstr("a.db: no run matches the filters\n  hint: --where label=nobody: label is full"));
}

TEST_F(ScoreCommand, ShowsItsConfigurationAndKeys) {
  const Outcome shown = score("judge=official --cfg job");
  EXPECT_EQ(shown.code, 0) << shown.text;
  EXPECT_THAT(shown.text, HasSubstr("model: gpt-4o-2024-08-06"));
  const Outcome help = score("--help");
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.text, HasSubstr("judge.key_env=STRATA_JUDGE_KEY"));
  const Outcome dry = score("judge.url=http://127.0.0.1:1/v1 judge.model=x --dry-run");
  EXPECT_EQ(dry.code, 0) << dry.text;
  EXPECT_THAT(dry.text, HasSubstr("6 responses would be judged by x at 127.0.0.1:1"));
}

TEST(ScoreProgram, IsWhatLinksLibcurl) {
  const auto needed = [](const std::string& program) {
    return run_command(fmt::format("readelf -d {}/{}", testing::binary_dir(), program)).text;
  };
  EXPECT_THAT(needed("strata"), Not(HasSubstr("libcurl")));
  EXPECT_THAT(needed("strata-judge"), HasSubstr("libcurl"));
  EXPECT_THAT(needed("strata-judge"), Not(HasSubstr("libtorch")));
}

}  // namespace
}  // namespace strata::test
