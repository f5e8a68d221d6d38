// Bytes of anyone's in tables and lines: a cell stays a cell, and nothing is an instruction.
#include "results/reports/text_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "results/reports/format.h"
#include "results/reports/page.h"

namespace strata::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kHostile = "[a]\\|b<img src=http://x/y>\x1b[2J";

TextTable one_cell(const std::string& cell) { return {{{"label", false}, {"n"}}, {{cell, "1"}}}; }

ReportPage one_line(const std::string& line) { return {{{"s", {line}, {}, {line}}}, {line}}; }

TEST(WithoutControls, ControlCharactersAreSpacesAndOtherTextStays) {
  EXPECT_EQ(without_controls("a\n\r\t\x1b[2J\x7f"), "a    [2J ");
  EXPECT_EQ(without_controls("\xC2\x9B"
                             "31m\xC2\xA0é█"),
            " 31m\xC2\xA0é█");
  // No UTF-8: the bytes that an 8-bit terminal takes for C1.
  EXPECT_EQ(without_controls("\x9B"
                             "31mé\x9B"),
            " 31mé ");
}

TEST(TextTable, TextHasNoControlCharactersAndKeepsItsColumns) {
  EXPECT_EQ(as_text(one_cell("a\x1b[2J\nb\x9B")), "label     n\n-----------\na [2J b   1\n");
}

TEST(TextTable, MarkdownCellsStayCellsAndText) {
  const auto row = [](const std::string& cell) {
    const std::string table = as_markdown(one_cell(cell));
    return table.substr(table.find("---:|\n") + 6);
  };
  EXPECT_EQ(row(kHostile), "| [a]\\\\\\|b\\<img src=http://x/y> [2J | 1 |\n");
  EXPECT_EQ(row("![i](http://x) [a]: [b][c] a\\"),
            "| ![i\\](http://x) [a\\]: [b\\][c] a\\\\ | 1 |\n");
  EXPECT_EQ(row("*b* `c` ~~d~~ &lt; _e_ __f"),
            "| \\*b\\* \\`c\\` \\~\\~d\\~\\~ \\&lt; \\_e\\_ \\_\\_f | 1 |\n");
  for (const char* ordinary : {"nll_guided[restore]", "80.0 [71.8, 87.8]", "<0.001", "> random",
                               "-0.600", "# 1", "·█······", "nll_ablate ← niah length=1024"})
    EXPECT_EQ(row(ordinary), "| " + std::string(ordinary) + " | 1 |\n");
}

TEST(TextTable, LatexPrintsWhatMeansSomethingToIt) {
  const std::string text = as_latex(one_cell("<0.001 > a|b \"c\" ?`d\r\x1b"));
  EXPECT_THAT(text,
              HasSubstr("\n\\textless{}0.001 \\textgreater{} a\\textbar{}b "
                        "\\textquotedblright{}c\\textquotedblright{} ?\\textquoteleft{}d   & 1"));
}

TEST(TextTable, LatexRowsDoNotBeginWithAnArgumentOfTheLineAbove) {
  for (const char* cell : {"[1] a", " [1] a", "*"})
    EXPECT_THAT(as_latex(one_cell(cell)), HasSubstr("\\midrule\n{}" + std::string(cell) + " & 1"));
  EXPECT_THAT(as_latex(one_cell("")), HasSubstr("\\midrule\n & 1"));
  EXPECT_THAT(as_latex({{{""}}, {{""}}}), HasSubstr("\\toprule\n \\\\\n\\midrule\n \\\\\n"));
}

TEST(TextTable, CsvHasTheBytesAsTheyAre) {
  EXPECT_EQ(csv_line({kHostile, "a\rb\n"}), std::string(kHostile) + ",\"a\rb\n\"\n");
}

TEST(Page, CsvHasIntervalsInColumnsOfTheirOwn) {
  const TextTable table{
      {{"name", false}, {"NLL"}, {"n"}},
      {{"a", {"+0.34 [-0.26, 0.00]", Estimate{0.3379, {{-0.2612, 4.2e-05}}}}, "3"},
       {"b [1, 2]c", "3 of 13", "4"},
       {},
       {"c", {"1.0", Estimate{0.123456789012345, {}}}, "5"},
       {"d [x, y]", "–", "6"}}};
  EXPECT_EQ(render(ReportPage{{{"s", {}, table, {}}}, {}}, {.format = ReportFormat::kCsv}),
            "table,name,NLL,NLL_low,NLL_high,n\n"
            "s,a,0.3379,-0.2612,4.2e-05,3\n"
            "s,\"b [1, 2]c\",3 of 13,,,4\n"
            "s,c,0.123456789012345,,,5\n"
            "s,\"d [x, y]\",,,,6\n");
}

TEST(Page, CsvHasPercentagesWithoutTheErrorOfTheirScaling) {
  const Estimate share{0.58, {{0.07, 0.29}}};
  const TextTable table{{{"%"}}, {{with_interval(share, 100, 0)}}};
  ASSERT_NE(0.58 * 100, 58.0);
  EXPECT_EQ(render(ReportPage{{{"s", {}, table, {}}}, {}}, {.format = ReportFormat::kCsv}),
            "table,%,%_low,%_high\ns,58,7,29\n");
}

TEST(Page, ALineStaysALine) {
  const ReportPage page = one_line("a\n\\input{/etc/passwd}\r\x1b");
  EXPECT_EQ(
      render(page, {.format = ReportFormat::kLatex}),
      "% a \\input{/etc/passwd}  \n\n% a \\input{/etc/passwd}  \n\n% a \\input{/etc/passwd}  \n");
  EXPECT_EQ(render(page, {.format = ReportFormat::kMarkdown}),
            "- a \\\\input{/etc/passwd}  \n\n- a \\\\input{/etc/passwd}  \n\n"
            "- a \\\\input{/etc/passwd}  \n");
  const std::string text = render(page, {});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5);
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  for (const char* block : {"# a", "- a", "+ a", "> a", "[x] a"})
    EXPECT_EQ(markdown_line(block), "- \\" + std::string(block) + "\n");
  EXPECT_EQ(markdown_line("! a mark"), "- ! a mark\n");
  EXPECT_EQ(markdown_line(""), "- \n");
}

TEST(Page, AsciiLosesNothingThatTextHas) {
  const std::string name(60, 'n');
  const ReportPage page{{{"s", {}, one_cell(name + " ← |"), {}}}, {}};
  EXPECT_THAT(render(page, {}), HasSubstr("\n" + name + " ← |  1\n"));
  EXPECT_THAT(render(page, {.utf8 = false}), HasSubstr("\n" + name + " <- |  1\n"));
  EXPECT_THAT(render(page, {.format = ReportFormat::kMarkdown, .utf8 = false}),
              HasSubstr("\n| " + name + " \\<- \\| | 1 |\n"));
}

}  // namespace
}  // namespace strata::test
