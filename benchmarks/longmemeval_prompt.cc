#include "benchmarks/longmemeval_prompt.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

namespace strata {
namespace {

constexpr std::string_view kTask =
    "I will give you several history chats between you and a user. Please answer the question "
    "based on the relevant chat history.";
constexpr std::string_view kSteps =
    " Answer the question step by step: first extract all the relevant information, and then "
    "reason over the information to get the answer.";

// The length of the white space that begins at `at`, as Python's str.strip() has it; 0: none.
std::size_t space_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const unsigned lead = byte(0);
  if (lead == ' ' || (lead >= 0x09 && lead <= 0x0d) || (lead >= 0x1c && lead <= 0x1f)) return 1;
  if (lead == 0xc2 && (byte(1) == 0x85 || byte(1) == 0xa0)) return 2;
  const unsigned code = (lead & 0x0fU) << 12U | (byte(1) & 0x3fU) << 6U | (byte(2) & 0x3fU);
  const bool wide = (lead & 0xf0U) == 0xe0U && at + 2 < text.size();
  return wide && (code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
                  code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000)
             ? 3
             : 0;
}

std::string_view python_strip(std::string_view text) {
  while (const std::size_t space = space_at(text, 0)) text.remove_prefix(space);
  while (!text.empty()) {
    std::size_t last = text.size() - 1;  // where the last character begins
    while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xc0U) == 0x80U) --last;
    if (space_at(text, last) == 0) break;
    text = text.substr(0, last);
  }
  return text;
}

// As Python's json.dumps() writes it, with the quotation marks.
std::string python_json(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', /*ensure_ascii=*/true);
}

class Writer {
 public:
  explicit Writer(const ChatHistory& history) : history_(history) {
    out.turns.reserve(history.sessions.size());
    for (const DatedSession& session : history.sessions)
      out.turns.emplace_back(session.turns.size());
  }

  void json_session(std::size_t session) {
    out.text += "\n[";
    each_turn(session, [&](const ChatMessage& turn, bool first) {
      out.text += first ? "{\"role\": " : ", {\"role\": ";
      out.text += python_json(turn.role) + ", \"content\": ";
      const std::size_t begin = out.text.size();
      out.text += python_json(turn.content);
      const TurnPlace place{begin + 1, out.text.size() - 1};  // within the quotation marks
      out.text += '}';
      return place;
    });
    out.text += ']';
  }

  void plain_session(std::size_t session) {
    each_turn(session, [&](const ChatMessage& turn, bool) {
      out.text.append("\n\n").append(turn.role).append(": ");
      const std::size_t begin = out.text.size();
      out.text += python_strip(turn.content);
      return TurnPlace{begin, out.text.size()};
    });
  }

  ReadingPrompt out;

 private:
  template <typename Write>
  void each_turn(std::size_t session, Write&& write) {
    const std::vector<ChatMessage>& turns = history_.sessions[session].turns;
    for (std::size_t t = 0; t < turns.size(); ++t) out.turns[session][t] = write(turns[t], t == 0);
  }

  const ChatHistory& history_;
};

}  // namespace

std::vector<std::size_t> by_date(const ChatHistory& history) {
  std::vector<std::size_t> order(history.sessions.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return history.sessions[a].date < history.sessions[b].date;
  });
  return order;
}

ReadingPrompt reading_prompt(const ChatHistory& history, std::span<const std::size_t> shown,
                             HistoryFormat format, ReadingStyle style) {
  Writer writer(history);
  std::string& text = writer.out.text;
  text = kTask;
  if (style == ReadingStyle::kCon) text += kSteps;
  text += "\n\n\nHistory Chats:\n\n";
  for (std::size_t i = 0; i < shown.size(); ++i) {
    writer.out.borders.push_back(text.size());
    text += fmt::format("\n### Session {}:\nSession Date: {}\nSession Content:\n", i + 1,
                        history.sessions[shown[i]].date);
    if (format == HistoryFormat::kJson)
      writer.json_session(shown[i]);
    else
      writer.plain_session(shown[i]);
    text += '\n';
  }
  writer.out.borders.push_back(text.size());
  text.append("\n\nCurrent Date: ").append(history.question_date);
  text.append("\nQuestion: ").append(history.question);
  text += style == ReadingStyle::kCon ? "\nAnswer (step by step):" : "\nAnswer:";
  return std::move(writer.out);
}

}  // namespace strata
