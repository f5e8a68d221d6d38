#include "tests/behaviour/program.h"

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>

namespace strata::testing {

std::string binary_dir() {
  const char* dir = std::getenv("STRATA_BINARY_DIR");
  return dir != nullptr ? dir : "build";
}

Outcome run_command(const std::string& command) {
  Outcome outcome;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  char buffer[4096];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe))
    outcome.text.append(buffer, got);
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return outcome;
}

Outcome run_strata(const std::string& arguments, const std::string& under) {
  return run_command(under + " " + binary_dir() + "/strata " + arguments);
}

}  // namespace strata::testing
