#include "models/mixers/attention_avx512.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <vector>

#include "core/result.h"
#include "models/mixers/attention_avx512_kernel.h"

namespace strata {
namespace {

using avx512::kBlockKeys;

constexpr std::int64_t kTaskRows = 96;  // of all heads together: queries and sums stay in the cache
constexpr std::int64_t kMinRows = 16, kMaxRows = 64;

avx512::Arithmetic arithmetic_of(const at::Tensor& q) {
  if (q.scalar_type() == at::kFloat) return avx512::Arithmetic::kFloat;
  return avx512::supports_bf16_products() ? avx512::Arithmetic::kBfloat16
                                          : avx512::Arithmetic::kBfloat16AsFloat;
}

// Rows of one tensor by position, for one sequence and KV head.
struct Rows {
  const char* data = nullptr;
  std::int64_t stride = 0;  // bytes
  std::int64_t begin = 0, end = 0;

  Rows() = default;
  Rows(const at::Tensor& x_BGMD, std::int64_t b, std::int64_t g, std::int64_t first)
      : begin(first), end(first) {
    if (!x_BGMD.defined()) return;
    STRATA_CHECK(x_BGMD.stride(3) == 1);
    const auto bytes = static_cast<std::int64_t>(x_BGMD.element_size());
    data = static_cast<const char*>(x_BGMD.const_data_ptr()) +
           (b * x_BGMD.stride(0) + g * x_BGMD.stride(1)) * bytes;
    stride = x_BGMD.stride(2) * bytes;
    end = first + x_BGMD.size(2);
  }
  const void* at(std::int64_t position) const {
    return position >= begin && position < end ? data + (position - begin) * stride : nullptr;
  }
};

// Positions of the first key of each block that holds a key some row sees.
std::vector<std::int64_t> blocks_of(std::int64_t begin, std::int64_t end, std::int64_t window,
                                    std::int64_t sinks) {
  const std::int64_t oldest = std::max<std::int64_t>(0, begin - window + 1);
  std::vector<std::int64_t> blocks;
  for (std::int64_t first = 0; first < end; first += kBlockKeys) {
    if (first >= sinks && first + kBlockKeys <= oldest) {
      first = oldest / kBlockKeys * kBlockKeys - kBlockKeys;  // nothing is seen in between
      continue;
    }
    blocks.push_back(first);
  }
  return blocks;
}

struct PackedKeys {
  std::vector<std::int64_t> begins;
  std::size_t block_bytes = 0;
  at::Tensor k, v;  // bytes: [sequence · KV head][block]

  const char* of(const at::Tensor& packed, std::int64_t head) const {
    return static_cast<const char*>(packed.const_data_ptr()) +
           static_cast<std::size_t>(head) * begins.size() * block_bytes;
  }
};

PackedKeys pack(avx512::Arithmetic arithmetic, const KeyView& keys,
                std::vector<std::int64_t> begins) {
  const std::int64_t batch = keys.tail_k_BGMD.size(0), kv_heads = keys.tail_k_BGMD.size(1);
  const auto head_dim = static_cast<int>(keys.tail_k_BGMD.size(3));
  PackedKeys packed;
  packed.block_bytes = avx512::packed_bytes(arithmetic, head_dim);
  const auto blocks = static_cast<std::int64_t>(begins.size());
  const auto bytes = batch * kv_heads * blocks * static_cast<std::int64_t>(packed.block_bytes);
  packed.k = at::empty({bytes}, at::kByte);
  packed.v = at::empty({bytes}, at::kByte);
  packed.begins = std::move(begins);
  auto* const k_out = static_cast<char*>(packed.k.mutable_data_ptr());
  auto* const v_out = static_cast<char*>(packed.v.mutable_data_ptr());
  at::parallel_for(0, batch * kv_heads * blocks, 8, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i) {
      const std::int64_t head = i / blocks, b = head / kv_heads, g = head % kv_heads;
      const Rows sink_k(keys.sink_k_BGSD, b, g, 0), sink_v(keys.sink_v_BGSD, b, g, 0);
      const Rows tail_k(keys.tail_k_BGMD, b, g, keys.tail_begin);
      const Rows tail_v(keys.tail_v_BGMD, b, g, keys.tail_begin);
      std::array<const void*, kBlockKeys> k_rows{}, v_rows{};
      for (std::size_t j = 0; j < kBlockKeys; ++j) {
        const std::int64_t position =
            packed.begins[static_cast<std::size_t>(i % blocks)] + static_cast<std::int64_t>(j);
        const bool is_sink = position < sink_k.end;
        k_rows[j] = is_sink ? sink_k.at(position) : tail_k.at(position);
        v_rows[j] = is_sink ? sink_v.at(position) : tail_v.at(position);
      }
      const std::size_t at = static_cast<std::size_t>(i) * packed.block_bytes;
      avx512::pack_block(arithmetic, head_dim, k_rows.data(), v_rows.data(), k_out + at,
                         v_out + at);
    }
  });
  return packed;
}

}  // namespace

bool has_avx512_attention(const at::Tensor& q_BHND) {
  const std::int64_t head_dim = q_BHND.size(3);
  return q_BHND.is_cpu() &&
         (q_BHND.scalar_type() == at::kFloat || q_BHND.scalar_type() == at::kBFloat16) &&
         head_dim % 16 == 0 && head_dim <= 256 && avx512::supported();
}

void attend_avx512(const at::Tensor& q_BHND, std::int64_t begin, const KeyView& keys,
                   std::int64_t window, std::int64_t sinks, const at::Tensor& out_BHND,
                   const at::Tensor& sink_logits_H) {
  const std::int64_t batch = q_BHND.size(0), rows = q_BHND.size(2), end = begin + rows;
  const std::int64_t kv_heads = keys.tail_k_BGMD.size(1), group = q_BHND.size(1) / kv_heads;
  STRATA_CHECK(q_BHND.stride(3) == 1 && out_BHND.stride(3) == 1);
  const avx512::Arithmetic arithmetic = arithmetic_of(q_BHND);
  const auto element = static_cast<std::int64_t>(q_BHND.element_size());
  const PackedKeys packed = pack(arithmetic, keys, blocks_of(begin, end, window, sinks));
  const std::int64_t at_once = std::clamp(kTaskRows / group, kMinRows, kMaxRows);
  const std::int64_t row_blocks = (rows + at_once - 1) / at_once;

  at::Tensor sink_logits;
  if (sink_logits_H.defined()) sink_logits = sink_logits_H.to(at::kFloat).contiguous();

  const auto task_of = [&](std::int64_t index) {
    const std::int64_t head = index / row_blocks, b = head / kv_heads, g = head % kv_heads;
    // Rows see more the later they come: first, last, second, … keeps threads evenly busy.
    const std::int64_t turn = index % row_blocks;
    const std::int64_t row_block = turn % 2 == 0 ? turn / 2 : row_blocks - 1 - turn / 2;
    const std::int64_t first = row_block * at_once;
    avx512::Task task;
    task.arithmetic = arithmetic;
    task.head_dim = static_cast<int>(q_BHND.size(3));
    task.heads = static_cast<int>(group);
    task.rows = static_cast<int>(std::min(at_once, rows - first));
    task.begin = begin + first;
    task.window = window;
    task.sinks = sinks;
    const auto address = [&](const at::Tensor& x, const void* data) {
      return static_cast<const char*>(data) +
             (b * x.stride(0) + g * group * x.stride(1) + first * x.stride(2)) * element;
    };
    task.q = address(q_BHND, q_BHND.const_data_ptr());
    task.q_row = q_BHND.stride(2);
    task.q_head = q_BHND.stride(1);
    task.out = const_cast<char*>(address(out_BHND, out_BHND.mutable_data_ptr()));
    task.out_row = out_BHND.stride(2);
    task.out_head = out_BHND.stride(1);
    if (sink_logits.defined()) task.sink_logits = sink_logits.const_data_ptr<float>() + g * group;
    task.k_packed = packed.of(packed.k, head);
    task.v_packed = packed.of(packed.v, head);
    task.block_begins = packed.begins.data();
    task.blocks = static_cast<int>(packed.begins.size());
    return task;
  };
  at::parallel_for(0, batch * kv_heads * row_blocks, 1, [&](std::int64_t from, std::int64_t to) {
    at::Tensor scratch;
    for (std::int64_t index = from; index < to; ++index) {
      const avx512::Task task = task_of(index);
      const auto bytes = static_cast<std::int64_t>(avx512::scratch_bytes(task));
      if (!scratch.defined() || scratch.numel() < bytes) scratch = at::empty({bytes}, at::kByte);
      avx512::run(task, scratch.mutable_data_ptr());
    }
  });
}

}  // namespace strata
