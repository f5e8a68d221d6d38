#include "models/convert/tensor_bytes.h"

#include <ATen/ops/from_blob.h>
#include <c10/core/GradMode.h>

namespace strata {
namespace {

DType dtype_of(const at::Tensor& tensor) {
  STRATA_CHECK(tensor.scalar_type() == at::kDouble || tensor.scalar_type() == at::kFloat);
  return tensor.scalar_type() == at::kDouble ? DType::kF64 : DType::kF32;
}

}  // namespace

void WrittenTensors::add(const std::string& name, const at::Tensor& tensor) {
  on_cpu.push_back(tensor.detach().to(at::kCPU).contiguous());
  const at::Tensor& here = on_cpu.back();
  views.push_back({.name = name,
                   .dtype = dtype_of(here),
                   .shape = here.sizes().vec(),
                   .bytes = {static_cast<const std::byte*>(here.const_data_ptr()), here.nbytes()}});
}

Status read_tensor(const TensorView* view, const std::string& name, const at::Tensor& tensor,
                   const std::filesystem::path& place) {
  const at::NoGradGuard no_grad;
  if (view == nullptr || view->shape != tensor.sizes().vec() || view->dtype != dtype_of(tensor))
    return fail(
        make_error(ErrorKind::kInvalidFile, "expected tensor '{}' of shape {} in {}, got {}", name,
                   shape_text(tensor.sizes().vec()), to_string(dtype_of(tensor)),
                   view == nullptr
                       ? "none"
                       : fmt::format("{} in {}", shape_text(view->shape), to_string(view->dtype)))
            .at(place.string()));
  auto* data = const_cast<std::byte*>(view->bytes.data());  // read only; from_blob takes no const
  tensor.copy_(
      at::from_blob(data, view->shape, at::TensorOptions(tensor.scalar_type()).device(at::kCPU)));
  return {};
}

}  // namespace strata
