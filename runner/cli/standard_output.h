// Standard output as the programs leave it: what could not be written is an error.
#pragma once

namespace strata::cli {

// The exit code of a program that ends with `code`: 1 instead of 0, and an error on standard error,
// where something that was printed did not reach standard output (a full disk). Call it last.
int flushed(int code);

}  // namespace strata::cli
