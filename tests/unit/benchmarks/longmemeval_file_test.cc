#include "benchmarks/longmemeval_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <zlib.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "benchmarks/chat_sessions.h"
#include "benchmarks/longmemeval_date.h"
#include "benchmarks/packed_file.h"
#include "fixture.h"

namespace strata {
namespace {

using nlohmann::json;

// Like the published ones: dates out of order, an integer answer, turns without labels.
json item(const std::string& id = "q1") {
  return json::parse(R"({
    "question_type": "multi-session",
    "question": "How many plants did I buy?",
    "answer": 3,
    "question_date": "2023/05/30 (Tue) 23:40",
    "haystack_dates": ["2023/05/21 (Sun) 02:21", "2023/05/20 (Sat) 11:09"],
    "haystack_session_ids": ["answer_7", "sharegpt_x_0"],
    "haystack_sessions": [
      [{"role": "user", "content": "I bought 3 plants.", "has_answer": true},
       {"role": "assistant", "content": "Lovely.", "has_answer": false}],
      [{"role": "user", "content": "Caf\u00e9?"}, {"role": "assistant", "content": ""}]],
    "answer_session_ids": ["answer_7"]
  })")
      .patch(json::parse(R"([{"op": "add", "path": "/question_id", "value": ")" + id + "\"}]"));
}

Result<std::vector<LongMemEvalItem>> read_all(LongMemEvalReader reader) {
  std::vector<LongMemEvalItem> items;
  while (true) {
    ASSIGN_OR_RETURN(std::optional<LongMemEvalItem> next, reader.next());
    if (!next) return items;
    items.push_back(*std::move(next));
  }
}
Result<std::vector<LongMemEvalItem>> read_text(const std::string& text) {
  return read_all(LongMemEvalReader::of_text(text, "d.json"));
}
TEST(LongMemEvalFile, ReadsThePublishedShape) {
  json unlabelled = item("b_abs");
  unlabelled["answer"] = "The information provided is not enough.";
  unlabelled["haystack_sessions"][0] = json::array();
  const auto items = read_text(json::array({item(), unlabelled}).dump(4, ' ', true) + "\n");
  ASSERT_TRUE(items.has_value()) << items.error().text();
  ASSERT_EQ(items->size(), 2U);
  const LongMemEvalItem& first = (*items)[0];
  EXPECT_EQ(first.id, "q1");
  EXPECT_EQ(first.type, QuestionType::kMultiSession);
  EXPECT_FALSE(first.abstention);
  EXPECT_EQ(first.answer, "3");
  EXPECT_EQ(first.history.question, "How many plants did I buy?");
  EXPECT_EQ(first.history.question_date, "2023/05/30 (Tue) 23:40");
  ASSERT_EQ(first.history.sessions.size(), 2U);
  EXPECT_EQ(first.history.sessions[0].date, "2023/05/21 (Sun) 02:21");
  EXPECT_EQ(first.history.sessions[1].turns[0].content, "Caf\xc3\xa9?");
  EXPECT_EQ(first.labels.sessions, (std::vector<bool>{true, false}));
  ASSERT_EQ(first.labels.turns.size(), 1U);
  EXPECT_EQ(first.labels.turns[0].session, 0U);
  EXPECT_EQ(first.labels.turns[0].turn, 0U);
  EXPECT_TRUE((*items)[1].abstention);
  EXPECT_TRUE((*items)[1].history.sessions[0].turns.empty());
  EXPECT_TRUE((*items)[1].labels.turns.empty());
}

TEST(LongMemEvalFile, AnEmptyListHasNoItem) { EXPECT_EQ(read_text(" [ ] \n")->size(), 0U); }

TEST(LongMemEvalFile, AnItemMayLieAcrossAnyPieces) {
  json tricky = item();
  tricky["question"] = "a \"]}, \\\" [{ \\";
  const std::string text = json::array({tricky, item("b")}).dump();
  for (std::size_t piece = 1; piece <= 17; ++piece) {
    std::string_view left = text;
    JsonItems items([&](std::span<char> buffer) -> Result<std::size_t> {
      const std::size_t taken = left.copy(buffer.data(), std::min(piece, buffer.size()));
      left.remove_prefix(taken);
      return taken;
    });
    EXPECT_EQ(json::parse(**items.next()), tricky) << piece;
    EXPECT_EQ(items.item_begin(), 2U);
    EXPECT_EQ(json::parse(**items.next()), item("b")) << piece;
    EXPECT_FALSE(items.next()->has_value()) << piece;
    EXPECT_EQ(items.count(), 2);
  }
}

TEST(LongMemEvalFile, PackedAndPlainFilesAreTheSame) {
  const TempDir directory;
  const std::string text = json::array({item(), item("b")}).dump(4);
  const auto plain = directory.write("d.json", text);
  const auto packed = directory.path() / "d.json.gz";
  const gzFile file = gzopen(packed.c_str(), "wb");
  ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())),
            static_cast<int>(text.size()));
  gzclose(file);
  for (const auto& path : {plain, packed}) {
    auto reader = LongMemEvalReader::open(path);
    ASSERT_TRUE(reader.has_value());
    const auto items = read_all(*std::move(reader));
    ASSERT_TRUE(items.has_value()) << items.error().text();
    EXPECT_EQ(items->size(), 2U);
  }
  std::string cut = *[&] {
    std::ifstream stream(packed, std::ios::binary);
    return std::make_unique<std::string>(std::istreambuf_iterator<char>(stream),
                                         std::istreambuf_iterator<char>());
  }();
  const auto short_file = directory.write("cut.json.gz", cut.substr(0, cut.size() - 20));
  auto reader = LongMemEvalReader::open(short_file);
  ASSERT_TRUE(reader.has_value());
  const auto items = read_all(*std::move(reader));
  ASSERT_FALSE(items.has_value());
  EXPECT_EQ(items.error().where, std::vector<std::string>{short_file.string()});
  EXPECT_NE(items.error().message.find("damaged or cut off"), std::string::npos);
  EXPECT_EQ(LongMemEvalReader::open(directory.path()).error().kind, ErrorKind::kNotFound);
}

TEST(LongMemEvalFile, SessionsHaveTheIdsThatTextToTrainOnHas) {
  const std::string text = json::array({item()}).dump();
  const auto sessions = sessions_in(text, "d.json");
  const auto items = read_text(text);
  ASSERT_TRUE(sessions.has_value() && items.has_value());
  for (std::size_t s = 0; s < 2; ++s) {
    SessionId id;
    for (const ChatMessage& turn : (*items)[0].history.sessions[s].turns)
      id.add_turn(turn.role, turn.content);
    EXPECT_EQ(id.hex_digest(), (*sessions)[s].id);
  }
}

TEST(LongMemEvalDate, KnowsTheCalendar) {
  EXPECT_EQ(minutes_of_date("1970/01/01 (Thu) 00:01"), 1);
  EXPECT_EQ(minutes_of_date("2023/05/30 (Tue) 23:40"), 19507 * kMinutesPerDay + 1420);
  EXPECT_TRUE(minutes_of_date("2024/02/29 (Thu) 00:00"));
  for (const char* bad :
       {"", "2023/02/29 (Wed) 00:00", "2023/13/01 (Fri) 00:00", "2023/05/30 (tue) 23:40",
        "2023/05/30 (Tue) 23:4", "2023/05/30 Tue 23:40 "})
    EXPECT_FALSE(minutes_of_date(bad)) << bad;
  for (std::int64_t minutes = -5'000'000; minutes < 40'000'000; minutes += 123'457)
    EXPECT_EQ(minutes_of_date(date_of_minutes(minutes)), minutes) << date_of_minutes(minutes);
}

std::int64_t peak_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// The published S file has 265 MB.
TEST(LongMemEvalFile, ALargeFileNeedsTheMemoryOfAnItem) {
  const char* data = std::getenv("STRATA_DATA");
  if (data == nullptr) GTEST_SKIP() << "set STRATA_DATA to the folder that holds longmemeval/";
  const std::filesystem::path subset =
      std::filesystem::path(data) / "longmemeval/longmemeval_s_cleaned.sub16.json.gz";
  if (!std::filesystem::exists(subset)) GTEST_SKIP() << "no " << subset;
  constexpr std::size_t kWanted = 265'000'000;
  const TempDir directory;
  const auto path = directory.path() / "large.json";
  int written = 0;
  {
    const auto text = read_maybe_gzip(subset);
    ASSERT_TRUE(text.has_value());
    const json items = json::parse(*text);
    std::ofstream out(path, std::ios::binary);
    for (std::size_t bytes = 0; bytes < kWanted; ++written) {
      json copy = items[static_cast<std::size_t>(written) % items.size()];
      copy["question_id"] = fmt::format("copy {}", written);
      const std::string line = (written == 0 ? "[" : ",\n") + copy.dump(4, ' ', true);
      out << line;
      bytes += line.size();
    }
    out << "]";
  }
  [[maybe_unused]] const std::int64_t before_kib = peak_kib();
  const double start = cpu_seconds();
  auto reader = LongMemEvalReader::open(path);
  ASSERT_TRUE(reader.has_value());
  int count = 0;
  while (true) {
    auto next = reader->next();
    ASSERT_TRUE(next.has_value()) << next.error().text();
    if (!*next) break;
    ++count;
  }
  const double seconds = cpu_seconds() - start;
  EXPECT_EQ(count, written);
  RecordProperty("seconds", std::to_string(seconds));
  RecordProperty("peak_kib", std::to_string(peak_kib()));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which keep what is freed
  // Making the file took some of the peak.
  EXPECT_LE(peak_kib(), std::max<std::int64_t>(before_kib, 300'000));
  EXPECT_LE(peak_kib() - before_kib, 50'000);
#ifdef NDEBUG
  EXPECT_LE(seconds, 5.0);
#endif
#endif
}

}  // namespace
}  // namespace strata
