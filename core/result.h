// Result<T>: the outcome of anything a user or a file can make fail.
//
// An Error says what went wrong, where (outermost place first), what was expected and got (in the
// message), and a hint. The library never prints or exits; only runner/cli does. Programmer errors
// use STRATA_CHECK, which is always on, prints the values and aborts.
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace strata {

enum class ErrorKind {
  kInvalidArgument,  // a value the user gave
  kInvalidFile,      // a file's content
  kNotFound,
  kIo,           // the disk or the system
  kUnsupported,  // well formed, but not something this build can do
  kInterrupted,
  kInternal,  // an exception from a library that we did not foresee
};

std::string_view to_string(ErrorKind kind);

struct Error {
  ErrorKind kind = ErrorKind::kInternal;
  std::string message;             // one sentence; says expected and got where both exist
  std::vector<std::string> where;  // outermost first: "configs/a.yaml:12:5", "layer 17"
  std::string hint;                // what to do about it; may be empty

  // "where: where: message", and the hint on its own line.
  std::string text() const;

  Error at(std::string place) && {
    where.insert(where.begin(), std::move(place));
    return std::move(*this);
  }
  Error with_hint(std::string text) && {
    hint = std::move(text);
    return std::move(*this);
  }
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

template <typename... Args>
Error make_error(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return Error{kind, fmt::format(format, std::forward<Args>(args)...), {}, {}};
}

template <typename... Args>
tl::unexpected<Error> fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(make_error(kind, format, std::forward<Args>(args)...));
}

inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

[[noreturn]] void check_failed(const char* file, int line, const char* expression,
                               const std::string& detail);

}  // namespace strata

#define STRATA_CHECK(condition, ...)                                                         \
  do {                                                                                       \
    if (!(condition)) [[unlikely]]                                                           \
      ::strata::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
  } while (false)

#define STRATA_CONCAT_INNER(a, b) a##b
#define STRATA_CONCAT(a, b) STRATA_CONCAT_INNER(a, b)

// ASSIGN_OR_RETURN(auto x, f());  RETURN_IF_ERROR(g());
#define STRATA_ASSIGN_OR_RETURN_INNER(result, declaration, expression)              \
  auto result = (expression);                                                       \
  if (!result) return ::tl::unexpected<::strata::Error>(std::move(result).error()); \
  declaration = *std::move(result)
#define ASSIGN_OR_RETURN(declaration, ...) \
  STRATA_ASSIGN_OR_RETURN_INNER(STRATA_CONCAT(result_, __COUNTER__), declaration, (__VA_ARGS__))
// The counter keeps one use inside another's argument (a lambda) from shadowing.
#define STRATA_RETURN_IF_ERROR_INNER(status, ...)                          \
  do {                                                                     \
    if (auto status = (__VA_ARGS__); !status)                              \
      return ::tl::unexpected<::strata::Error>(std::move(status).error()); \
  } while (false)
#define RETURN_IF_ERROR(...) \
  STRATA_RETURN_IF_ERROR_INNER(STRATA_CONCAT(status_, __COUNTER__), __VA_ARGS__)
