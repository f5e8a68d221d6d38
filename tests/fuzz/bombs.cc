#include "tests/fuzz/bombs.h"

#include <algorithm>

#include "core/result.h"

namespace strata::fuzz {
namespace {

constexpr std::size_t kBytes = std::size_t{6} << 20;

// `piece` again and again; "#" in it is a number that counts.
std::string repeated(std::string_view piece, std::size_t bytes = kBytes) {
  const std::size_t mark = piece.find('#');
  std::string out;
  for (std::size_t i = 0; out.size() < bytes; ++i) {
    if (mark == std::string_view::npos) {
      out += piece;
    } else {
      out.append(piece.substr(0, mark)).append(std::to_string(i)).append(piece.substr(mark + 1));
    }
  }
  return out;
}

// As repeated(), without the comma at the end.
std::string listed(std::string_view piece, std::size_t bytes = kBytes) {
  std::string out = repeated(piece, bytes);
  out.pop_back();
  return out;
}

std::vector<Bomb> json_bombs() {
  return {{"lists deep", repeated("[")},
          {"objects deep", repeated("{\"a\":")},
          {"empty lists", "{\"a\":[" + listed("[],") + "]}"},
          {"empty objects", "{\"a\":[" + listed("{},") + "]}"},
          {"numbers", "{\"a\":[" + listed("1,") + "]}"},
          {"keys", "{\"a\":{" + listed("\"#\":0,") + "}}"},
          {"one long text", "{\"a\":\"" + repeated("x") + "\"}"},
          {"one long number", "{\"a\":" + repeated("1") + "}"}};
}

std::string with_length(const std::string& header) {
  std::string out;
  for (unsigned i = 0; i < 8; ++i)
    out += static_cast<char>(std::uint64_t{header.size()} >> 8 * i & 0xff);
  return out + header;
}

std::vector<Bomb> safetensors_bombs() {
  const std::string tensor = R"("#":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)";
  std::vector<Bomb> out;
  for (Bomb& bomb : json_bombs()) out.push_back({bomb.name, with_length(bomb.content)});
  out.push_back({"tensors", with_length("{" + listed(tensor, 4 * kBytes) + "}")});
  out.push_back({"metadata", with_length(R"({"__metadata__":{)" + listed(R"("#":"",)") + "}}")});
  out.push_back({"dimensions", with_length(R"({"a":{"dtype":"U8","shape":[)" + listed("0,") +
                                           R"(],"data_offsets":[0,0]}})")});
  out.push_back(
      {"a long name",
       with_length("{\"" + repeated("x") + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
       true});
  return out;
}

std::vector<Bomb> tokenizer_bombs() {
  std::vector<Bomb> out = json_bombs();
  const std::string model = R"("model":{"type":"BPE","vocab":{"a":0},"merges":[]},)";
  const std::string rest =
      R"("decoder":{"type":"ByteLevel"},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false})";
  out.push_back(
      {"added tokens", "{" + model + R"("added_tokens":[)" +
                           listed(R"({"id":1,"content":"#xxxxxxxxxxxxxxxxxxxxxxxxxxxx"},)") + "]," +
                           rest + "}"});
  std::string long_tokens;
  for (int i = 0; i < 1500; ++i)
    long_tokens += fmt::format(R"({}{{"id":{},"content":"{}{}"}})", i == 0 ? "" : ",", i + 1, i,
                               std::string(4000, 'y'));
  out.push_back(
      {"long added tokens", "{" + model + R"("added_tokens":[)" + long_tokens + "]," + rest + "}"});
  out.push_back({"merges", R"({"model":{"type":"BPE","vocab":{"a":0,"aa":1},"merges":[)" +
                               listed(R"("a a",)") + "]}," + rest + "}"});
  out.push_back({"pre-tokenizers",
                 "{" + model +
                     R"("decoder":{"type":"ByteLevel"},"pre_tokenizer":{"type":"Sequence",)" +
                     R"("pretokenizers":[)" + repeated(R"({"type":"Digits"},)") +
                     R"({"type":"ByteLevel","add_prefix_space":false}]}})"});
  return out;
}

std::vector<Bomb> jsonl_bombs() {
  std::vector<Bomb> out = json_bombs();
  const std::string begin = R"({"id":"1","prompt":"p","answer":"a","metadata":)";
  for (Bomb& bomb : json_bombs())
    out.push_back(
        {"metadata: " + bomb.name, begin + bomb.content + "}", bomb.name == "one long text"});
  out.push_back({"items", repeated("{\"id\":\"#\",\"prompt\":\"p\",\"answer\":\"a\"}\n")});
  out.push_back(
      {"items with metadata",
       repeated("{\"id\":\"#\",\"prompt\":\"p\",\"answer\":\"a\",\"metadata\":{\"a\":[[],[],"
                "[],[],[],[],[],[]]}}\n")});
  out.push_back({"blank lines", repeated("\n")});
  return out;
}

std::vector<Bomb> longmemeval_bombs() {
  std::vector<Bomb> out = {{"lists", repeated("[")}, {"numbers", "[" + listed("1,") + "]"}};
  for (const Bomb& bomb : json_bombs())
    out.push_back({"item: " + bomb.name, "[" + bomb.content + "]"});
  const std::string begin = R"("question_type":"multi-session","question":"q","answer":3,)"
                            R"("question_date":"2023/05/30 (Tue) 23:40",)";
  const std::string one = begin + R"("haystack_dates":["2023/05/21 (Sun) 02:21"],)"
                                  R"("haystack_session_ids":["a"],"haystack_sessions":[)";
  const std::string end = R"(],"answer_session_ids":["a"]})";
  out.push_back(
      {"items", "[" + listed(R"({"question_id":"#",)" + one + "[]" + end + ",") + "]", true});
  const std::string id = R"([{"question_id":"q",)";
  out.push_back(
      {"turns", id + one + "[" + listed(R"({"role":"user","content":""},)") + "]" + end + "]"});
  out.push_back(
      {"evidence", id + one + R"([]],"answer_session_ids":[)" + listed(R"("a",)") + "]}]"});
  constexpr std::size_t kDateBytes = 1'000'000;
  const std::string dates = listed(R"("2023/05/21 (Sun) 02:21",)", kDateBytes);
  std::string sessions;
  std::string ids;
  for (auto i = std::count(dates.begin(), dates.end(), '('); i > 0; --i) {
    sessions += "[],";
    ids += R"("a",)";
  }
  sessions.pop_back();
  ids.pop_back();
  out.push_back({"sessions of one id",
                 id + begin + R"("haystack_dates":[)" + dates + R"(],"haystack_session_ids":[)" +
                     ids + R"(],"haystack_sessions":[)" + sessions + R"(],"answer_session_ids":[)" +
                     ids + "]}]",
                 true});
  return out;
}

std::vector<Bomb> yaml_bombs() {
  constexpr std::size_t kMost = 250'000;  // bytes: what is longer is not even looked at
  std::string nested_anchors;
  for (int i = 0; i < 60; ++i) nested_anchors += fmt::format("&a{} [", i);
  nested_anchors += listed("1,", 38'000) + std::string(60, ']');
  return {{"too long", repeated("a: 1\n", 2 * kMost)},
          {"lists deep", repeated("[", kMost)},
          {"maps deep", repeated("{a: ", kMost)},
          {"dashes", repeated("- ", kMost)},
          {"question marks", repeated("? ", kMost)},
          {"anchors", repeated("- &a# 1\n", kMost)},
          {"a long text many times",
           "a: &a " + std::string(200'000, 'x') + "\nb: [" + listed("*a,", 50'000) + "]\n"},
          {"anchors around many values", nested_anchors},
          {"one long line", "a: " + repeated("x", kMost) + "\n", true},
          {"a line of words", "a: " + repeated("x ", kMost) + "\n", true},
          {"a quoted text of lines", "a: '" + repeated("x\n\n  ", kMost) + "'\n", true},
          {"keys", repeated("a#: 1\n", 80'000)},
          {"mappings", repeated("- {a: 1, b: 2, c: 3}\n", 55'000), true},
          {"comments", repeated("# a\n", kMost), true},
          {"commas", "a: [" + repeated(",", kMost)},
          {"colons", repeated(":", kMost)},
          {"tags", "a: " + repeated("!t ", kMost)},
          {"stars", repeated("*a ", kMost)}};
}

}  // namespace

std::vector<Bomb> bombs_of(std::string_view format) {
  if (format == "safetensors") return safetensors_bombs();
  if (format == "tokenizer_json") return tokenizer_bombs();
  if (format == "jsonl") return jsonl_bombs();
  if (format == "longmemeval") return longmemeval_bombs();
  if (format == "yaml") return yaml_bombs();
  if (format == "database") return {};  // SQLite reads pages, not files; see the corpus
  return json_bombs();
}

}  // namespace strata::fuzz
