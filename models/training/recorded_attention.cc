#include "models/training/recorded_attention.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "models/mixers/attention.h"
#include "models/training/attention_gradient.h"

namespace strata {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Recorded : torch::autograd::Function<Recorded> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q_BHND,
                            const at::Tensor& k_BGMD, const at::Tensor& v_BGMD,
                            const std::optional<at::Tensor>& given_sinks_H,
                            const PaletteEntry& entry, std::int64_t begin,
                            std::int64_t prompt_length) {
    const at::Tensor sink_logits_H = given_sinks_H.value_or(at::Tensor());
    context->save_for_backward({q_BHND, k_BGMD, v_BGMD, sink_logits_H});
    const SlidingWindow* sliding = window_of(entry.mixer);
    context->saved_data["window"] = sliding == nullptr ? std::int64_t{0} : sliding->window;
    context->saved_data["sinks"] = sliding == nullptr ? std::int64_t{0} : sliding->sinks;
    context->saved_data["full_decode"] = entry.rule == DecodeRule::kFull;
    context->saved_data["begin"] = begin;
    context->saved_data["prompt_length"] = prompt_length;
    at::Tensor out_BHND = at::empty_like(q_BHND, at::MemoryFormat::Contiguous);
    attend(q_BHND, begin, {{}, {}, k_BGMD, v_BGMD, 0}, entry, prompt_length, out_BHND,
           sink_logits_H);
    return out_BHND;
  }

  static variable_list backward(AutogradContext* context, const variable_list& d_out) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q_BHND = saved[0], &k_BGMD = saved[1], &v_BGMD = saved[2],
                     &sinks_H = saved[3];
    const auto number = [&](const char* name) { return context->saved_data[name].toInt(); };
    PaletteEntry entry{FullAttention{}, context->saved_data["full_decode"].toBool()
                                            ? DecodeRule::kFull
                                            : DecodeRule::kSame};
    if (number("window") > 0) entry.mixer = SlidingWindow{number("window"), number("sinks")};
    const std::int64_t begin = number("begin"), end = begin + q_BHND.size(2);
    const auto zeros = [](const at::Tensor& x) {
      const auto wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
      return at::zeros_like(x, x.options().dtype(wide), at::MemoryFormat::Contiguous);
    };
    AttentionGradients sum{zeros(q_BHND), zeros(k_BGMD), zeros(v_BGMD), {}};
    if (sinks_H.defined()) sum.sink_logits_H = zeros(sinks_H);
    add_attention_gradients(
        q_BHND, k_BGMD, v_BGMD,
        query_blocks(entry, begin, end, number("prompt_length"), q_BHND.device()), sinks_H,
        d_out[0], sum);
    const auto as = [](const at::Tensor& gradient, const at::Tensor& of) {
      return of.defined() ? gradient.to(of.scalar_type()) : at::Tensor();
    };
    return {as(sum.q_BHND, q_BHND),
            as(sum.k_BGMD, k_BGMD),
            as(sum.v_BGMD, v_BGMD),
            as(sum.sink_logits_H, sinks_H),
            at::Tensor(),
            at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor recorded_attention(const at::Tensor& q_BHND, std::int64_t begin,
                              const at::Tensor& k_BGMD, const at::Tensor& v_BGMD,
                              const PaletteEntry& entry, std::int64_t prompt_length,
                              const at::Tensor& sink_logits_H) {
  const auto sinks_H =
      sink_logits_H.defined() ? std::optional<at::Tensor>(sink_logits_H) : std::nullopt;
  return Recorded::apply(q_BHND, k_BGMD, v_BGMD, sinks_H, entry, begin, prompt_length);
}

}  // namespace strata
