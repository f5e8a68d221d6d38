// What judge.url may say, and the key that never shows.
#include "benchmarks/judge/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "benchmarks/judge/api_key.h"
#include "benchmarks/judge/plain_text.h"

namespace strata::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string error_of(const std::string& url, bool allow_http = false) {
  const Result<Endpoint> endpoint = parse_endpoint(url, allow_http);
  return endpoint ? "accepted: " + endpoint->url : endpoint.error().text();
}

TEST(Endpoint, IsAskedBelowItsBaseUrl) {
  for (const char* url : {"https://api.example.com/v1", "https://api.example.com/v1/",
                          "https://api.example.com/v1/chat/completions"}) {
    const Result<Endpoint> endpoint = parse_endpoint(url, false);
    ASSERT_TRUE(endpoint) << endpoint.error().text();
    EXPECT_EQ(endpoint->url, "https://api.example.com/v1/chat/completions");
    EXPECT_EQ(endpoint->host, "api.example.com");
    EXPECT_FALSE(endpoint->loopback);
  }
}

TEST(Endpoint, MayBeUnencryptedOnThisMachineOnly) {
  for (const char* host : {"localhost:8001", "LOCALHOST", "127.0.0.1:1", "127.9.8.7", "[::1]:80"}) {
    const Result<Endpoint> endpoint = parse_endpoint(fmt::format("http://{}/v1", host), false);
    ASSERT_TRUE(endpoint) << host << ": " << endpoint.error().text();
    EXPECT_TRUE(endpoint->loopback) << host;
  }
  for (const char* host : {"10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "0.0.0.0",
                           "[::2]", "128.0.0.1"}) {
    const std::string url = fmt::format("http://{}/v1", host);
    EXPECT_THAT(error_of(url), HasSubstr("unencrypted")) << host;
    EXPECT_THAT(error_of(url, true), HasSubstr("accepted")) << host;
  }
}

TEST(Endpoint, RefusesWhatMayHoldASecretWithoutShowingIt) {
  for (const char* url :
       {"https://me:s3cret@api.example.com/v1", "https://s3cret@api.example.com/v1",
        "https://api.example.com/v1?key=s3cret", "https://api.example.com/v1#s3cret",
        "https://api.example.com/s3cret here", "ftp://s3cret.example.com", "s3cret", "//s3cret/v1",
        "https://api.example.com:s3cret/v1"}) {
    EXPECT_THAT(error_of(url), HasSubstr("judge.url: expected ")) << url;
    EXPECT_THAT(error_of(url), Not(HasSubstr("s3cret"))) << url;
  }
}

TEST(ApiKey, IsReadFromTheEnvironmentAndNeverShown) {
  setenv("STRATA_TEST_KEY", "sk-1234567890", 1);
  const Result<ApiKey> key = ApiKey::from_environment("STRATA_TEST_KEY");
  ASSERT_TRUE(key);
  EXPECT_EQ(key->headers(), std::vector<std::string>{"Authorization: Bearer sk-1234567890"});
  EXPECT_EQ(key->redacted("sk-1234567890sk-123456789 sk-1234567890"), "[key]sk-123456789 [key]");
  unsetenv("STRATA_TEST_KEY");
  const Result<ApiKey> none = ApiKey::from_environment("STRATA_TEST_KEY");
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->empty());
  EXPECT_TRUE(none->headers().empty());
}

TEST(ApiKey, ThatWouldBreakTheHeaderIsRefusedUnseen) {
  for (const char* value : {"sk-s3cret\nX-Other: 1", "sk-s3cret ", "sk-s3cret\x01", "sk-s3crét"}) {
    setenv("STRATA_TEST_KEY", value, 1);
    const Result<ApiKey> key = ApiKey::from_environment("STRATA_TEST_KEY");
    ASSERT_FALSE(key);
    EXPECT_THAT(key.error().text(), HasSubstr("STRATA_TEST_KEY"));
    EXPECT_THAT(key.error().text(), Not(HasSubstr("s3cr")));
  }
  unsetenv("STRATA_TEST_KEY");
}

TEST(ApiKey, GivenInPlaceOfItsVariableIsNotShown) {
  for (const char* name : {"sk-s3cret", "s3cret", "", "1ABC", "A B"}) {
    const Result<ApiKey> key = ApiKey::from_environment(name);
    ASSERT_FALSE(key) << name;
    EXPECT_THAT(key.error().text(), HasSubstr("judge.key_env"));
    EXPECT_THAT(key.error().text(), Not(HasSubstr("s3cret")));
  }
}

TEST(PlainText, IsOneLineOfUtf8) {
  EXPECT_EQ(valid_utf8("a\xff\xc3z"), "a\xef\xbf\xbd\xef\xbf\xbdz");
  EXPECT_EQ(valid_utf8("naïve \"x\" \\ \n"), "naïve \"x\" \\ \n");
  EXPECT_EQ(one_line("a\nb\tc\x1b[0m", 100), "a b c [0m");
  EXPECT_EQ(one_line("äöü", 3), "ä…");
}

}  // namespace
}  // namespace strata::test
