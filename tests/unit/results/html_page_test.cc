// What may reach a page of HTML, and how a page is built: hostile text stays text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "results/reports/html_assets.h"
#include "results/reports/html_page.h"

namespace strata {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kHostile = "</script><img src=x onerror=alert(1)>\"'&<!--";

std::size_t count_of(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

ReportPage hostile_page() {
  TextTable table{{{kHostile}, {"name", false}}, {{"1", kHostile}, {}, {"2", "second group"}}};
  return {{{"summary", {kHostile, "! a warning"}, table, {kHostile}}}, {kHostile}};
}

TEST(HtmlText, EscapesWhatMarkupIsMadeOf) {
  EXPECT_EQ(html_text("a<b>&\"'\n\tü█"), "a&lt;b&gt;&amp;&quot;&#39;\n\tü█");
}

TEST(HtmlText, ReplacesControlCharacters) {
  EXPECT_EQ(html_text(std::string("a\0b\x1B\x7F", 5)), "a\uFFFDb\uFFFD\uFFFD");
}

TEST(HtmlText, ReplacesBytesThatAreNoUtf8) {
  EXPECT_EQ(html_text("\xFF|\xC0\x80|\xED\xA0\x80|\xE2\x82"),
            "\uFFFD|\uFFFD\uFFFD|\uFFFD\uFFFD\uFFFD|\uFFFD\uFFFD");
  EXPECT_EQ(html_text("\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80");
}

TEST(ScriptJson, HoldsNothingThatEndsOrChangesAScript) {
  const nlohmann::json json = {{"</script>", "<!-- \xE2\x80\xA8 \xE2\x80\xA9 ]]>"},
                               {"bad", "\xFF"}};
  const std::string text = script_json(json);
  EXPECT_THAT(text, Not(HasSubstr("<")));
  EXPECT_THAT(text, HasSubstr("\\u2028"));
  EXPECT_THAT(text, HasSubstr("\\u2029"));
  EXPECT_EQ(nlohmann::json::parse(text)["</script>"], "<!-- \xE2\x80\xA8 \xE2\x80\xA9 ]]>");
}

TEST(HtmlTable, HasHeadersThatSortAndNamedRows) {
  const std::string html = html_table(hostile_page().sections[0].table, "a caption");
  EXPECT_THAT(html, HasSubstr("<caption>a caption</caption>"));
  EXPECT_EQ(count_of(html, "<th scope=\"col\" aria-sort=\"none\""), 2U);
  EXPECT_EQ(count_of(html, "<button type=\"button\">"), 2U);
  EXPECT_EQ(count_of(html, "<tbody>"), 2U);
  EXPECT_THAT(html, HasSubstr("<th scope=\"row\">second group</th>"));
}

TEST(HtmlTable, TakesACellAsHtmlWhereItIsGiven) {
  const std::string html =
      html_table(hostile_page().sections[0].table, "", [](std::size_t row, std::size_t column) {
        return row == 2 && column == 0 ? std::optional<std::string>("<svg></svg>") : std::nullopt;
      });
  EXPECT_THAT(html, HasSubstr("<td class=\"n\"><svg></svg></td>"));
}

TEST(HtmlPage, KeepsHostileTextAsText) {
  const std::string html = as_html(hostile_page());
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_THAT(html, Not(HasSubstr("<!--")));
  EXPECT_EQ(count_of(html, "</script>"), 1U);  // page.js
  EXPECT_EQ(count_of(html, "&lt;img src=x onerror=alert(1)&gt;"), 5U);
  EXPECT_THAT(html, HasSubstr("<p class=\"mark\">! a warning</p>"));
}

TEST(HtmlPage, AllowsItsOwnScriptsAndNoRequest) {
  const std::string html = as_html(hostile_page());
  EXPECT_THAT(html, StartsWith("<!DOCTYPE html>"));
  EXPECT_THAT(html, EndsWith("</html>\n"));
  EXPECT_THAT(html, HasSubstr("default-src 'none'; script-src 'sha256-"));
  EXPECT_THAT(html, Not(HasSubstr("unsafe-eval")));
  EXPECT_THAT(html, Not(HasSubstr("http:")));
  EXPECT_THAT(html, Not(HasSubstr("https:")));
}

TEST(HtmlPage, CarriesVegaOnlyWhereItHasCharts) {
  ASSERT_GT(charts_bundle().size(), 500000U);
  EXPECT_LT(as_html(hostile_page()).size(), 50000U);
  const std::string html = html_document({.title = "t", .body = "", .charts_json = "[]"});
  EXPECT_GT(html.size(), charts_bundle().size());
  EXPECT_EQ(count_of(html, "'sha256-"), 3U);
}

TEST(HtmlAssets, AreWhole) {
  EXPECT_THAT(std::string(page_css()), StartsWith("/* Reports as a page"));
  EXPECT_THAT(std::string(page_js()), EndsWith("})();\n"));
  EXPECT_THAT(std::string(charts_js()), EndsWith("})();\n"));
}

}  // namespace
}  // namespace strata
