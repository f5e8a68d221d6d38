#include "models/linear_cost.h"

#include <algorithm>

namespace strata {
namespace {

double number(std::int64_t n) { return static_cast<double>(n); }

// Σ_{i in [begin, end)} (i mod kLinearChunk) + 1: what each row sees of its own chunk.
double pairs_in_chunks(std::int64_t begin, std::int64_t end) {
  const auto below = [](std::int64_t n) {
    const auto triangle = [](double m) { return 0.5 * m * (m + 1); };
    const std::int64_t chunks = n / kLinearChunk;
    return number(chunks) * triangle(number(kLinearChunk)) + triangle(number(n % kLinearChunk));
  };
  return below(end) - below(begin);
}

}  // namespace

BranchFlops entering_flops(const LinearSize& size) {
  const LinearParts& parts = size.parts;
  const double c = number(size.hidden), width = number(size.heads * size.head_dim);
  const double kv_width = number(size.kv_heads * size.head_dim), rank = number(parts.decay_rank);
  return {.from_input =
              2.0 * c *
              (width + 2.0 * kv_width + rank + number(parts.gate_scalars) * number(size.heads)),
          .behind = 2.0 * rank * width + 2.0 * number(parts.conv_taps) * (width + 2.0 * kv_width)};
}

BranchFlops leaving_flops(const LinearSize& size) {
  const double product = 2.0 * number(size.hidden) * number(size.heads * size.head_dim);
  return {.from_input = size.parts.output_gate ? product : 0, .behind = product};
}

double recurrence_flops(const LinearParts& parts, std::int64_t head_dim, std::int64_t begin,
                        std::int64_t end, std::int64_t prompt_length) {
  const double d = number(head_dim), product = 2.0 * d * d;  // of a row and the state
  const std::int64_t stop = std::clamp(prompt_length, begin, end);
  const double rows = number(stop - begin), pairs = pairs_in_chunks(begin, stop);
  // Written and read; q·k and weights·v.
  double flops = 2.0 * rows * product + pairs * 2.0 * 2.0 * d;
  // What the state says of each key; k·k of earlier rows, and the substitution of k and v.
  if (parts.corrects_its_state) flops += rows * product + (pairs - rows) * 3.0 * 2.0 * d;
  // One row at a time the state decays (one product a number), is corrected, written and read.
  return flops + number(end - stop) * (2.5 + (parts.corrects_its_state ? 1.0 : 0.0)) * product;
}

std::uint64_t linear_state_bytes(const LinearSize& size, std::int64_t bytes_per_value) {
  std::int64_t values = size.heads * size.head_dim * size.head_dim;
  if (size.parts.conv_taps > 0)
    values += (size.parts.conv_taps - 1) * (size.heads + 2 * size.kv_heads) * size.head_dim;
  return static_cast<std::uint64_t>(values * std::max(bytes_per_value, kLeastStateBytes));
}

}  // namespace strata
