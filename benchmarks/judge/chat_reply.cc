#include "benchmarks/judge/chat_reply.h"

#include <nlohmann/json.hpp>

#include "core/json_reader.h"

namespace strata {
namespace {

using nlohmann::json;

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

ChatReply read_chat_reply(const HttpReply& reply) {
  using Next = ChatReply::Next;
  ChatReply out;
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
  if (content->is_string()) out.text = content->get<std::string>();
  if (const json* model = member(&*parsed, "model"); model != nullptr && model->is_string())
    out.model = model->get<std::string>();
  return out;
}

}  // namespace strata
