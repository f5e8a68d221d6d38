#include "models/training/master_weights.h"

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include <utility>

#include "core/result.h"

namespace strata {

MasterWeights::MasterWeights(std::vector<WeightPart> parts, const std::vector<at::Tensor>& before)
    : parts_(std::move(parts)) {
  STRATA_CHECK(before.empty() || before.size() == parts_.size());
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const WeightPart& part = parts_[i];
    const at::Tensor tensor = part.tensor->detach();
    const bool half = tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16;
    if (part.shift == 0 && part.scale == 1 && !half)
      tensors_.push_back(tensor);
    else if (!before.empty())
      tensors_.push_back(before[i].clone());
    else
      tensors_.push_back(tensor.to(half ? at::kFloat : tensor.scalar_type()) / part.scale -
                         part.shift);
  }
}

std::vector<std::string> MasterWeights::names() const {
  std::vector<std::string> names;
  for (const WeightPart& part : parts_) names.push_back(part.name);
  return names;
}

void MasterWeights::refresh() const {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const WeightPart& part = parts_[i];
    if (!tensors_[i].is_alias_of(*part.tensor))
      part.tensor->detach().copy_((tensors_[i] + part.shift) * part.scale);
  }
}

void MasterWeights::write(WrittenTensors& written) const {
  for (std::size_t i = 0; i < parts_.size(); ++i) written.add(parts_[i].name, tensors_[i]);
}

}  // namespace strata
