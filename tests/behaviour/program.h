// The real programs, run as a person runs them.
#pragma once

#include <string>

namespace strata::testing {

struct Outcome {
  int code = -1;     // 128: ended by a signal
  std::string text;  // standard output and error
};

std::string binary_dir();  // STRATA_BINARY_DIR, else build
Outcome run_command(const std::string& command);
// build/strata; `under` is what runs it ("timeout -s KILL 1").
Outcome run_strata(const std::string& arguments, const std::string& under = "");

}  // namespace strata::testing
