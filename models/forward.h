// Runs of the decoder as the Model's sessions and traces need them: packing, scoring, metering,
// errors translated. Internal to models/.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <chrono>
#include <new>
#include <utility>

#include "core/result.h"
#include "models/decoder/decoder.h"
#include "models/model.h"

namespace strata {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Runs `body` (which returns a Result); LibTorch's exceptions become Errors.
template <typename Body>
auto translated(Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const c10::OutOfMemoryError&) {
    return fail(make_error(ErrorKind::kIo, "the device is out of memory")
                    .with_hint("lower batch= or the length, or use a device with more memory"));
  } catch (const std::bad_alloc&) {
    return fail(
        make_error(ErrorKind::kIo, "out of memory").with_hint("lower batch= or the length"));
  } catch (const c10::Error& error) {
    return fail(ErrorKind::kInternal, "LibTorch: {}", error.what_without_backtrace());
  }
}

// The same in inference mode: for whatever needs no gradient.
template <typename Body>
auto guarded(Body&& body) -> decltype(body()) {
  return translated([&] {
    const c10::InferenceMode inference;
    return body();
  });
}

at::Tensor token_tensor(std::span<const TokenId> tokens, at::Device device);

// Waits for the device, so that a clock read afterwards is true.
void synchronize(at::Device device);

// `count` times what the meter says; seconds stay.
Meter times(Meter meter, std::int64_t count);

void add_cost(Meter& meter, const ModelShape& shape, std::span<const Segment> segments,
              int first_layer);

// A prefix stored under the full plan, with its heads grouped as `plan` groups them, for reading
// alone: whole groups share the prefix's memory. Layers below first_layer stay empty. No plan with
// linear heads shares a prefix.
BatchState borrow(const BatchState& prefix, const BoundPlan& plan, int first_layer);

// Layers [first_layer, all) over segments whose input rows are x; adds to the meter. Returns the
// top layer's rows.
at::Tensor run_metered(const Decoder& decoder, const ModelShape& shape, at::Tensor x_NC,
                       int first_layer, std::span<Segment> segments, Meter& meter);

// NLL and argmax of `targets` under rows of logits.
AnswerScore score_rows(const at::Tensor& logits_NV, std::span<const TokenId> targets);

}  // namespace strata
