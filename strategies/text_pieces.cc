#include "strategies/text_pieces.h"

#include <algorithm>
#include <cmath>

namespace strata {

Result<TextPieces> text_pieces(const CalibrationSet& set, std::int64_t length, double held_out) {
  const std::size_t samples = set.samples.size();
  const auto apart = std::min(
      samples, static_cast<std::size_t>(std::ceil(held_out * static_cast<double>(samples))));
  TextPieces pieces;
  for (std::size_t i = 0; i < samples; ++i) {
    const Tokens& prompt = set.samples[i].prompt;
    std::vector<Tokens>& side = i + apart < samples ? pieces.training : pieces.held_out;
    for (auto at = prompt.begin(); prompt.end() - at >= length; at += length)
      side.emplace_back(at, at + length);
  }
  if (pieces.training.empty() || (held_out > 0 && pieces.held_out.empty()))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "{} calibration prompts hold {} texts of {} tokens to train on and {} "
                           "held out; expected at least one of each that is asked for",
                           samples, pieces.training.size(), length, pieces.held_out.size())
                    .with_hint("lower strategy.length, or raise calibration.samples or "
                               "benchmark.length"));
  return pieces;
}

}  // namespace strata
