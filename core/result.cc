#include "core/result.h"

#include <cstdio>
#include <cstdlib>

namespace strata {

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument: return "invalid argument";
    case ErrorKind::kInvalidFile: return "invalid file";
    case ErrorKind::kNotFound: return "not found";
    case ErrorKind::kIo: return "input/output";
    case ErrorKind::kUnsupported: return "unsupported";
    case ErrorKind::kInterrupted: return "interrupted";
    case ErrorKind::kInternal: return "internal";
  }
  return "internal";
}

std::string Error::text() const {
  std::string out;
  for (const std::string& place : where) out += place + ": ";
  out += message;
  if (!hint.empty()) out += "\n  hint: " + hint;
  return out;
}

void check_failed(const char* file, int line, const char* expression, const std::string& detail) {
  std::fprintf(stderr, "%s:%d: this should hold and does not: %s %s\n", file, line, expression,
               detail.c_str());
  std::abort();
}

}  // namespace strata
