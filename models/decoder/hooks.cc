#include "models/decoder/hooks.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

namespace strata {

bool ForwardHooks::touches(Site site, int layer) const {
  const auto here = [&](const auto& one) { return one.site == site && one.layer == layer; };
  return std::any_of(captures.begin(), captures.end(), here) ||
         std::any_of(interventions.begin(), interventions.end(), here);
}

void pass_hooks(ForwardHooks* hooks, Site site, int layer, at::Tensor& x) {
  if (hooks == nullptr) return;
  const auto index = [&](const std::vector<std::int64_t>& rows) {
    return at::tensor(rows, at::kLong).to(x.device());
  };
  for (const Intervention& change : hooks->interventions) {
    if (change.site != site || change.layer != layer) continue;
    x = x.clone();
    at::Tensor target = change.head >= 0 ? x.select(1, change.head) : x;
    if (change.rows.empty())
      target.copy_(change.value.to(x.options()).expand_as(target));
    else
      target.index_copy_(
          0, index(change.rows),
          change.value.to(x.options()).expand_as(target.index_select(0, index(change.rows))));
  }
  for (Capture& capture : hooks->captures)
    if (capture.site == site && capture.layer == layer)
      capture.value = capture.rows.empty() ? x.clone() : x.index_select(0, index(capture.rows));
}

}  // namespace strata
