// Master weights: what an optimiser writes to, in float32 (float64 for models in float64), where
// the model itself computes in less, or with a shifted and scaled copy. Where the model computes
// with the master weight itself there is one copy of it. One thread's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <string>
#include <vector>

#include "models/convert/tensor_bytes.h"
#include "models/decoder/weights.h"

namespace strata {

class MasterWeights {
 public:
  // The parts' tensors are a trainable copy (models/decoder/weights.h), whose handles stay where
  // they are.
  // `before`, one a part or none at all: what those tensors were rounded from.
  explicit MasterWeights(std::vector<WeightPart> parts, const std::vector<at::Tensor>& before = {});

  const std::vector<at::Tensor>& tensors() const { return tensors_; }  // one a part, no gradients
  std::vector<std::string> names() const;                              // as checkpoints have them
  // ∂ tensor / ∂ master of a part.
  double scale(std::size_t part) const { return parts_[part].scale; }
  void refresh() const;  // the model's tensors from their master weights
  // Every part as its checkpoint stores it.
  void write(WrittenTensors& written) const;

 private:
  std::vector<WeightPart> parts_;
  std::vector<at::Tensor> tensors_;
};

}  // namespace strata
