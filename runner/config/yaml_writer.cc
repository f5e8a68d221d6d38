#include "runner/config/yaml_writer.h"

#include <fmt/format.h>

#include "runner/config/scalar.h"

namespace strata::config {
namespace {

bool is_plain(std::string_view text) {
  static constexpr std::string_view kIndicators = "-?:,[]{}#&*!|>'\"%@`=<~ ";
  if (text == kMandatory) return true;
  // At the start of a file it would be a mark of the encoding.
  if (text.starts_with("\xef\xbb\xbf")) return false;
  if (text.empty() || kIndicators.find(text.front()) != std::string_view::npos ||
      text.back() == ' ')
    return false;
  if (text.find_first_of("\n\r\t") != std::string_view::npos) return false;
  if (text.find(": ") != std::string_view::npos || text.find(" #") != std::string_view::npos)
    return false;
  if (text.back() == ':' || text.starts_with("---") || text.starts_with("...")) return false;
  const Result<Value> read = plain_scalar(text);
  return read && read->if_string() != nullptr;
}

std::string quoted(std::string_view text) {
  const bool escapes =
      text.find_first_of("\n\r\t") != std::string_view::npos || !is_clean_text(text);
  std::string out(1, escapes ? '"' : '\'');
  for (const char c : text) {
    if (!escapes) {
      out += c == '\'' ? "''" : std::string(1, c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + out.front();
}

std::string string_text(std::string_view text) {
  return is_plain(text) ? std::string(text) : quoted(text);
}

// Keys are always read back as text, so only the syntax matters.
std::string key_text(const std::string& key) {
  return is_plain(key) || (!key.empty() && key.find_first_not_of("0123456789") == std::string::npos)
             ? key
             : quoted(key);
}

void write(const Value& value, std::size_t indent, std::string& out);

// After "key:" or "-": on the same line for scalars and empty containers, else below. `out` ends
// with ':' or '-'.
void write_child(const Value& value, std::size_t indent, std::string& out) {
  const Map* map = value.if_map();
  const List* list = value.if_list();
  const bool block = (map != nullptr && !map->empty()) || (list != nullptr && !list->empty());
  if (!block) {
    out += ' ';
    write(value, indent, out);
  } else if (out.back() == '-') {  // "- a: 1" and "- - 1": the first line shares the dash's
    std::string inner;
    write(value, indent + 2, inner);
    out += ' ' + inner.substr(indent + 2);
  } else {
    out += '\n';
    write(value, list != nullptr ? indent : indent + 2, out);
  }
}

void write(const Value& value, std::size_t indent, std::string& out) {
  const Map* map = value.if_map();
  const List* list = value.if_list();
  if (map != nullptr && !map->empty()) {
    for (const MapEntry& entry : *map) {
      out += std::string(indent, ' ') + key_text(entry.key) + ':';
      write_child(entry.value, indent, out);
    }
  } else if (list != nullptr && !list->empty()) {
    for (const Value& item : *list) {
      out += std::string(indent, ' ') + '-';
      write_child(item, indent, out);
    }
  } else if (const std::string* text = value.if_string()) {
    out += string_text(*text) + '\n';
  } else {
    out += (map != nullptr ? "{}" : list != nullptr ? "[]" : value.to_text()) + '\n';
  }
}

}  // namespace

std::string to_yaml(const Value& value) {
  std::string out;
  write(value, 0, out);
  return out;
}

}  // namespace strata::config
