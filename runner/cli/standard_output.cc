#include "runner/cli/standard_output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "core/result.h"
#include "runner/cli/arguments.h"

namespace strata::cli {

int flushed(int code) {
  std::cout.flush();
  const bool whole = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (whole) return code;
  // The reason of an earlier write is gone: one byte more asks for it again.
  errno = 0;
  std::putchar('\n');
  std::fflush(stdout);
  const std::string reason = errno == 0 ? "" : fmt::format(": {}", std::strerror(errno));
  report_error(make_error(ErrorKind::kIo, "writing to standard output failed{}", reason));
  return code == 0 ? 1 : code;
}

}  // namespace strata::cli
