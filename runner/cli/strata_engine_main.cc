// strata-engine: the commands that run a model. `strata` starts it; it can be called alike.
#include "runner/cli/arguments.h"

int main(int argc, char** argv) {
  const strata::cli::Parsed parsed = strata::cli::parse(argc, argv);
  if (parsed.exit_code >= 0) return parsed.exit_code;
  return strata::cli::run_engine(parsed.arguments);
}
