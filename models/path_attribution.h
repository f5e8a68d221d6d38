// Attribution patching: effects of path_patch.h to first order, the effects of all heads in one
// backward pass over the kept runs of a pair. Internal to models/path_patch.cc.
//
// Differentiated layer by layer: at most one layer's graph exists at a time. Gradients are taken at
// the clean run, along the paths that a patch takes: through the residual stream and the MLPs, and
// through the receivers' attention where senders are asked for.
//
// Legend: as in patch_texts.h; h heads of a layer that are differentiated.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "models/patch_texts.h"

namespace strata {

class PathAttribution {
 public:
  // Of texts that were run outside inference mode and are run no more.
  PathAttribution(MeteredModel& model, PatchTexts& texts);

  std::vector<double> direct();  // of every head
  std::vector<double> through(std::span<const std::size_t> senders,
                              std::span<const std::size_t> receivers);

 private:
  using Heads = std::vector<std::int64_t>;  // of one layer
  struct Gradient {
    at::Tensor x_nC;
    at::Tensor mixed_nHD, other_nHD;  // of heads' clean and corrupted outputs
  };

  Gradient of_close(int layer, std::int64_t rows, const at::Tensor& d_out_nC);
  at::Tensor of_attention(int layer, const Heads& heads, const at::Tensor& d_heads_nhD,
                          bool answer_alone);
  double effect(int layer, std::int64_t head, const Gradient& gradient) const;
  // Of m at the answer rows, from the top layer down to `lowest`, all other attention frozen.
  std::vector<Gradient> readout_gradients(int lowest);

  const MeteredModel& model_;
  const Decoder& decoder_;
  at::Device device_;
  int layers_, heads_;
  PatchTexts& texts_;
};

}  // namespace strata
