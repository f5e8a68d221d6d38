// strata-engine: the commands that run a model. `strata` starts it; it can be called alike.
#include <malloc.h>

#include "runner/cli/arguments.h"
#include "runner/cli/standard_output.h"

int main(int argc, char** argv) {
  // Activations of one operation are handed to the next: giving them back to the kernel in between
  // costs a page fault for every 4 KB of them, 5 % of a run on the CPU.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  const strata::cli::Parsed parsed = strata::cli::parse(argc, argv);
  return strata::cli::flushed(parsed.exit_code >= 0 ? parsed.exit_code
                                                    : strata::cli::run_engine(parsed.arguments));
}
