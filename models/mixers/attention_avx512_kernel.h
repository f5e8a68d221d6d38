// The inner loops of attention_avx512.cc, free of LibTorch: compiled with AVX-512 instructions, to
// be called only where supported() says so.
//
// Keys are packed in blocks of kBlockKeys positions (the first a multiple of it): what one query
// head group reads again and again lies in the order in which it is read. A task is a few rows of
// the query heads that share a KV head; softmax runs over the blocks with a running maximum
// (FlashAttention, arXiv 2205.14135), so sinks and window are one sum and no mask is ever stored.
#pragma once

#include <cstddef>
#include <cstdint>

namespace strata::avx512 {

constexpr int kBlockKeys = 64;

bool supported();               // AVX-512 F, BW, DQ and VL
bool supports_bf16_products();  // and BF16

enum class Arithmetic {
  kFloat,            // float32 in memory and in registers
  kBfloat16,         // bfloat16 in memory, products of bfloat16 pairs summed in float32
  kBfloat16AsFloat,  // bfloat16 in memory, float32 in registers: without BF16 instructions
};

// Bytes of one packed block of keys, and of one of values.
std::size_t packed_bytes(Arithmetic arithmetic, int head_dim);

// Packs kBlockKeys rows; a null row becomes zeros.
void pack_block(Arithmetic arithmetic, int head_dim, const void* const* k_rows,
                const void* const* v_rows, void* k_packed, void* v_packed);

struct Task {
  Arithmetic arithmetic = Arithmetic::kFloat;
  int head_dim = 0;         // a multiple of 16
  int heads = 0;            // query heads of the KV head
  int rows = 0;             // of each of them
  std::int64_t begin = 0;   // position of the first row
  std::int64_t window = 0;  // tokens a row sees, its own included; ≥ 1
  std::int64_t sinks = 0;   // first positions that every row sees
  const void* q = nullptr;  // elements; the next row and head are so many elements further
  std::int64_t q_row = 0, q_head = 0;
  void* out = nullptr;
  std::int64_t out_row = 0, out_head = 0;
  const char* k_packed = nullptr;  // block b at b · packed_bytes
  const char* v_packed = nullptr;
  const float* sink_logits = nullptr;  // of each head: in the softmax's sum, with no value; or null
  const std::int64_t* block_begins = nullptr;  // position of each block's first key, ascending
  int blocks = 0;
};

std::size_t scratch_bytes(const Task& task);
// scratch: 64-byte aligned, of the calling thread.
void run(const Task& task, void* scratch);

}  // namespace strata::avx512
