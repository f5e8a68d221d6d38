#include "models/mixers/attention_avx512_kernel.h"

#if defined(__AVX512F__)

#include <immintrin.h>

#include <cmath>
#include <cstring>

// Nothing of the standard library that could be instantiated here and be shared with files that are
// compiled without AVX-512.
namespace strata::avx512 {
namespace {

constexpr int kLanes = 16;
constexpr int kTileRows = 6;  // × 4 vectors of 16: 24 accumulators of 32 registers
constexpr int kVectors = kBlockKeys / kLanes;
constexpr float kMasked = -1e30F;  // finite: differences of it are numbers

using Word = std::uint32_t;  // a float32, or two bfloat16

constexpr bool is_bf16(Arithmetic arithmetic) { return arithmetic == Arithmetic::kBfloat16; }
constexpr int element_bytes(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::kFloat ? 4 : 2;
}
// Words of one row in registers' form.
constexpr int words(Arithmetic arithmetic, int elements) {
  return is_bf16(arithmetic) ? elements / 2 : elements;
}

inline __m512 floats(Word word) {
  return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(word)));
}

template <Arithmetic A>
inline __m512 multiply_add(Word broadcast, const Word* vector, __m512 sum) {
  if constexpr (is_bf16(A))
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(broadcast)),
                            (__m512bh)_mm512_load_si512(vector));
  else
    return _mm512_fmadd_ps(floats(broadcast), _mm512_load_ps(vector), sum);
}

// 2^x for x ≤ 0: 2^round(x) · polynomial of the rest in [−½, ½] (Taylor of 2^x; error below 1e-7).
inline __m512 exp2_of(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(x, whole);
  __m512 y = _mm512_set1_ps(1.540353039e-4F);
  y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(1.333355815e-3F));
  y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(9.618129108e-3F));
  y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(5.550410866e-2F));
  y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(2.402265070e-1F));
  y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(6.931471806e-1F));
  y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(1.0F));
  return _mm512_scalef_ps(y, whole);
}

// scores[R][64] = q[R][steps] · k[steps][64]
template <Arithmetic A, int R>
inline void score_tile(const Word* q, int steps, const Word* k, float* scores) {
  __m512 sum[R][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) sum[r][i] = _mm512_setzero_ps();
  for (int t = 0; t < steps; ++t)
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i)
        sum[r][i] = multiply_add<A>(q[r * steps + t], k + t * kBlockKeys + i * kLanes, sum[r][i]);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i)
      _mm512_store_ps(scores + r * kBlockKeys + i * kLanes, sum[r][i]);
}

// out[R][16 V] += weights[R][steps] · v[steps][16 V]; rows of v and out are `width` words apart.
template <Arithmetic A, int R, int V>
inline void value_tile(const Word* weights, int steps, const Word* v, int width, float* out) {
  __m512 sum[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int i = 0; i < V; ++i) sum[r][i] = _mm512_load_ps(out + r * width + i * kLanes);
  for (int t = 0; t < steps; ++t)
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int i = 0; i < V; ++i)
        sum[r][i] = multiply_add<A>(weights[r * steps + t], v + t * width + i * kLanes, sum[r][i]);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int i = 0; i < V; ++i) _mm512_store_ps(out + r * width + i * kLanes, sum[r][i]);
}

template <Arithmetic A, int R>
inline void add_values(const Word* weights, const Word* v, int width, float* out) {
  const int steps = words(A, kBlockKeys);
  int d = 0;
  for (; d + 4 * kLanes <= width; d += 4 * kLanes)
    value_tile<A, R, 4>(weights, steps, v + d, width, out + d);
  for (; d < width; d += kLanes) value_tile<A, R, 1>(weights, steps, v + d, width, out + d);
}

template <Arithmetic A>
inline void store_weights(__m512 weights, Word* to) {
  if constexpr (is_bf16(A))
    _mm256_store_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(weights));
  else
    _mm512_store_ps(to, weights);
}

// The running softmax of one row: its new weights for a block; returns by what the sum so far is to
// be multiplied.
template <Arithmetic A>
inline float soften(const float* scores, float scale, Word* weights, float& most, float& total) {
  __m512 block[kVectors];
  __m512 largest = _mm512_set1_ps(most);
#pragma GCC unroll 4
  for (int i = 0; i < kVectors; ++i) {
    block[i] = _mm512_load_ps(scores + i * kLanes);
    largest = _mm512_max_ps(largest, block[i]);
  }
  const float now = _mm512_reduce_max_ps(largest);
  if (now == kMasked) {  // the row has seen nothing yet
    for (int i = 0; i < kVectors; ++i)
      store_weights<A>(_mm512_setzero_ps(), weights + words(A, i * kLanes));
    return 1;
  }
  const __m512 minus = _mm512_set1_ps(-now * scale), factor = _mm512_set1_ps(scale);
  __m512 sum = _mm512_setzero_ps();
#pragma GCC unroll 4
  for (int i = 0; i < kVectors; ++i) {
    const __m512 weight = exp2_of(_mm512_fmadd_ps(block[i], factor, minus));
    sum = _mm512_add_ps(sum, weight);
    store_weights<A>(weight, weights + words(A, i * kLanes));
  }
  float before = 1;
  if (now > most) {
    before = _mm512_cvtss_f32(exp2_of(_mm512_set1_ps((most - now) * scale)));
    most = now;
  }
  total = total * before + _mm512_reduce_add_ps(sum);
  return before;
}

// Position p sees key c of a block that begins at `first`: c ≤ p, and c < sinks or c > p − window.
inline void mask_row(float* scores, std::int64_t first, std::int64_t position, std::int64_t window,
                     std::int64_t sinks) {
  const auto within = [&](std::int64_t key) {  // clamped to the block, which fits 32 bits
    const std::int64_t c = key - first;
    return _mm512_set1_epi32(static_cast<int>(c < -1 ? -1 : (c > kBlockKeys ? kBlockKeys : c)));
  };
  const __m512i last = within(position), oldest = within(position - window),
                first_unsunk = within(sinks);
  for (int i = 0; i < kVectors; ++i) {
    const __m512i column =
        _mm512_add_epi32(_mm512_set1_epi32(i * kLanes),
                         _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    const __mmask16 seen =
        _mm512_cmple_epi32_mask(column, last) &
        (_mm512_cmpgt_epi32_mask(column, oldest) | _mm512_cmplt_epi32_mask(column, first_unsunk));
    _mm512_store_ps(scores + i * kLanes, _mm512_mask_mov_ps(_mm512_set1_ps(kMasked), seen,
                                                            _mm512_load_ps(scores + i * kLanes)));
  }
}

struct Scratch {
  Word* q;        // [heads · rows][words]
  float* out;     // [heads · rows][head_dim]
  float* most;    // [heads · rows], of the scores before scaling
  float* total;   // [heads · rows]
  float* scores;  // [kTileRows][kBlockKeys]
  Word* weights;  // the same
};

std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// Lays the parts out; `base` null gives the size.
std::size_t lay_out(const Task& task, char* base, Scratch& scratch) {
  const auto rows = static_cast<std::size_t>(task.heads) * static_cast<std::size_t>(task.rows);
  const auto width = static_cast<std::size_t>(task.head_dim);
  std::size_t at = 0;
  const auto take = [&](std::size_t count) {
    char* const part = base == nullptr ? nullptr : base + at;
    at += aligned(count * 4);
    return part;
  };
  scratch.q = reinterpret_cast<Word*>(take(rows * width));
  scratch.out = reinterpret_cast<float*>(take(rows * width));
  scratch.most = reinterpret_cast<float*>(take(rows));
  scratch.total = reinterpret_cast<float*>(take(rows));
  scratch.scores = reinterpret_cast<float*>(take(kTileRows * kBlockKeys));
  scratch.weights = reinterpret_cast<Word*>(take(kTileRows * kBlockKeys));
  return at;
}

inline Word widened(std::uint16_t bf16) { return static_cast<Word>(bf16) << 16; }

template <Arithmetic A>
void load_row(const void* elements, int count, Word* to) {
  if constexpr (A == Arithmetic::kBfloat16AsFloat) {
    const auto* from = static_cast<const std::uint16_t*>(elements);
    for (int d = 0; d < count; ++d) to[d] = widened(from[d]);
  } else {
    std::memcpy(to, elements, static_cast<std::size_t>(count * element_bytes(A)));
  }
}

std::uint16_t rounded_to_bf16(float value) {  // to nearest even; NaN stays NaN
  Word bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

template <Arithmetic A>
void store_row(const float* sums, float total, int count, void* to) {
  const float factor = 1.0F / total;
  for (int d = 0; d < count; ++d) {
    if constexpr (A == Arithmetic::kFloat)
      static_cast<float*>(to)[d] = sums[d] * factor;
    else
      static_cast<std::uint16_t*>(to)[d] = rounded_to_bf16(sums[d] * factor);
  }
}

// R rows, from row `first` of the task on, against one block.
template <Arithmetic A, int R>
inline void tile(const Task& task, const Scratch& scratch, int first, int block, bool masked) {
  const int row_words = words(A, task.head_dim);
  const std::size_t bytes = packed_bytes(A, task.head_dim);
  const auto* k =
      reinterpret_cast<const Word*>(task.k_packed + static_cast<std::size_t>(block) * bytes);
  const auto* v =
      reinterpret_cast<const Word*>(task.v_packed + static_cast<std::size_t>(block) * bytes);
  score_tile<A, R>(scratch.q + first * row_words, row_words, k, scratch.scores);
  const float scale = 1.4426950408889634F / std::sqrt(static_cast<float>(task.head_dim));
  for (int r = 0; r < R; ++r) {
    const int row = first + r;
    float* const scores = scratch.scores + r * kBlockKeys;
    if (masked)
      mask_row(scores, task.block_begins[block], task.begin + row % task.rows, task.window,
               task.sinks);
    const float before = soften<A>(scores, scale, scratch.weights + r * words(A, kBlockKeys),
                                   scratch.most[row], scratch.total[row]);
    if (before == 1) continue;
    const __m512 factor = _mm512_set1_ps(before);
    float* const out = scratch.out + row * task.head_dim;
    for (int d = 0; d < task.head_dim; d += kLanes)
      _mm512_store_ps(out + d, _mm512_mul_ps(_mm512_load_ps(out + d), factor));
  }
  add_values<A, R>(scratch.weights, v, task.head_dim, scratch.out + first * task.head_dim);
}

template <Arithmetic A>
void run_all(const Task& task, char* base) {
  Scratch scratch{};
  lay_out(task, base, scratch);
  const int rows = task.heads * task.rows;
  const int row_words = words(A, task.head_dim);
  for (int row = 0; row < rows; ++row) {
    const int head = row / task.rows, i = row % task.rows;
    const auto* q =
        static_cast<const char*>(task.q) + (head * task.q_head + i * task.q_row) * element_bytes(A);
    load_row<A>(q, task.head_dim, scratch.q + row * row_words);
    scratch.most[row] = kMasked;
    scratch.total[row] = 0;
    if (task.sink_logits != nullptr) {  // as if a key without a value had been seen first
      scratch.most[row] = task.sink_logits[head] * std::sqrt(static_cast<float>(task.head_dim));
      scratch.total[row] = 1;
    }
  }
  std::memset(scratch.out, 0,
              static_cast<std::size_t>(rows) * static_cast<std::size_t>(task.head_dim) * 4);
  const std::int64_t last_position = task.begin + task.rows - 1;
  for (int block = 0; block < task.blocks; ++block) {
    const std::int64_t first = task.block_begins[block], last = first + kBlockKeys - 1;
    if (first > last_position) break;
    // Whether the row that reaches back furthest, and the one that does least, see it.
    if (first >= task.sinks && last <= task.begin - task.window) continue;
    const bool masked =
        last > task.begin || (last >= task.sinks && first <= last_position - task.window);
    int row = 0;
    for (; row + kTileRows <= rows; row += kTileRows)
      tile<A, kTileRows>(task, scratch, row, block, masked);
    switch (rows - row) {
      case 5: tile<A, 5>(task, scratch, row, block, masked); break;
      case 4: tile<A, 4>(task, scratch, row, block, masked); break;
      case 3: tile<A, 3>(task, scratch, row, block, masked); break;
      case 2: tile<A, 2>(task, scratch, row, block, masked); break;
      case 1: tile<A, 1>(task, scratch, row, block, masked); break;
      default: break;
    }
  }
  for (int row = 0; row < rows; ++row) {
    const int head = row / task.rows, i = row % task.rows;
    auto* out =
        static_cast<char*>(task.out) + (head * task.out_head + i * task.out_row) * element_bytes(A);
    store_row<A>(scratch.out + row * task.head_dim, scratch.total[row], task.head_dim, out);
  }
}

// A 16 × 16 transpose of words: rows[j] + 0 … 15 becomes to[t · stride + j].
inline void transpose(const Word* const* rows, Word* to, int stride) {
  __m512i r[kLanes];
#pragma GCC unroll 16
  for (int j = 0; j < kLanes; ++j) r[j] = _mm512_loadu_si512(rows[j]);
  __m512i a[kLanes];
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    a[2 * j] = _mm512_unpacklo_epi32(r[2 * j], r[2 * j + 1]);
    a[2 * j + 1] = _mm512_unpackhi_epi32(r[2 * j], r[2 * j + 1]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    r[4 * j] = _mm512_unpacklo_epi64(a[4 * j], a[4 * j + 2]);
    r[4 * j + 1] = _mm512_unpackhi_epi64(a[4 * j], a[4 * j + 2]);
    r[4 * j + 2] = _mm512_unpacklo_epi64(a[4 * j + 1], a[4 * j + 3]);
    r[4 * j + 3] = _mm512_unpackhi_epi64(a[4 * j + 1], a[4 * j + 3]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    a[j] = _mm512_shuffle_i32x4(r[j], r[j + 4], 0x88);
    a[j + 4] = _mm512_shuffle_i32x4(r[j], r[j + 4], 0xdd);
    a[j + 8] = _mm512_shuffle_i32x4(r[j + 8], r[j + 12], 0x88);
    a[j + 12] = _mm512_shuffle_i32x4(r[j + 8], r[j + 12], 0xdd);
  }
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    const __m512i low = _mm512_shuffle_i32x4(a[j], a[j + 8], 0x88);
    const __m512i high = _mm512_shuffle_i32x4(a[j], a[j + 8], 0xdd);
    _mm512_storeu_si512(to + j * stride, low);
    _mm512_storeu_si512(to + (j + 8) * stride, high);
  }
}

constexpr int kMostElements = 256;  // of a head
alignas(64) constexpr Word kZeros[kMostElements] = {};

// Keys by word, then by key; values by key (bfloat16: by pair of keys, interleaved), then by
// element.
template <Arithmetic A>
void pack(int head_dim, const void* const* k_rows, const void* const* v_rows, Word* k, Word* v) {
  const int row_words = words(A, head_dim);
  alignas(64) Word widened_rows[A == Arithmetic::kBfloat16AsFloat ? kBlockKeys * kMostElements : 1];
  const Word* rows[kBlockKeys];
  for (int j = 0; j < kBlockKeys; ++j) {
    rows[j] = k_rows[j] == nullptr ? kZeros : static_cast<const Word*>(k_rows[j]);
    if constexpr (A == Arithmetic::kBfloat16AsFloat) {
      if (k_rows[j] == nullptr) continue;
      load_row<A>(k_rows[j], head_dim, widened_rows + j * kMostElements);
      rows[j] = widened_rows + j * kMostElements;
    }
  }
  for (int t = 0; t < row_words; t += kLanes)
    for (int j = 0; j < kBlockKeys; j += kLanes) {
      const Word* part[kLanes];
      const int left = row_words - t;
      for (int i = 0; i < kLanes; ++i) part[i] = rows[j + i] + t;
      if (left >= kLanes) {
        transpose(part, k + t * kBlockKeys + j, kBlockKeys);
      } else {  // the last words of heads whose size is an odd multiple of 16
        for (int i = 0; i < kLanes; ++i)
          for (int u = 0; u < left; ++u) k[(t + u) * kBlockKeys + j + i] = part[i][u];
      }
    }
  if constexpr (is_bf16(A)) {
    for (int j = 0; j < kBlockKeys; j += 2) {
      const void* zeros = kZeros;
      const auto* even =
          static_cast<const std::uint16_t*>(v_rows[j] == nullptr ? zeros : v_rows[j]);
      const auto* odd =
          static_cast<const std::uint16_t*>(v_rows[j + 1] == nullptr ? zeros : v_rows[j + 1]);
      for (int d = 0; d < head_dim; d += kLanes) {
        const __m512i low =
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(even + d)));
        const __m512i high =
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd + d)));
        _mm512_store_si512(v + j / 2 * head_dim + d,
                           _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
      }
    }
  } else {
    for (int j = 0; j < kBlockKeys; ++j) {
      if (v_rows[j] == nullptr)
        std::memset(v + j * head_dim, 0, static_cast<std::size_t>(head_dim) * 4);
      else
        load_row<A>(v_rows[j], head_dim, v + j * head_dim);
    }
  }
}

}  // namespace

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool supports_bf16_products() { return supported() && __builtin_cpu_supports("avx512bf16"); }

std::size_t packed_bytes(Arithmetic arithmetic, int head_dim) {
  return static_cast<std::size_t>(words(arithmetic, head_dim)) * kBlockKeys * sizeof(Word);
}

void pack_block(Arithmetic arithmetic, int head_dim, const void* const* k_rows,
                const void* const* v_rows, void* k_packed, void* v_packed) {
  auto* const k = static_cast<Word*>(k_packed);
  auto* const v = static_cast<Word*>(v_packed);
  switch (arithmetic) {
    case Arithmetic::kFloat: pack<Arithmetic::kFloat>(head_dim, k_rows, v_rows, k, v); break;
    case Arithmetic::kBfloat16: pack<Arithmetic::kBfloat16>(head_dim, k_rows, v_rows, k, v); break;
    case Arithmetic::kBfloat16AsFloat:
      pack<Arithmetic::kBfloat16AsFloat>(head_dim, k_rows, v_rows, k, v);
      break;
  }
}

std::size_t scratch_bytes(const Task& task) {
  Scratch unused{};
  return lay_out(task, nullptr, unused);
}

void run(const Task& task, void* scratch) {
  auto* const base = static_cast<char*>(scratch);
  switch (task.arithmetic) {
    case Arithmetic::kFloat: run_all<Arithmetic::kFloat>(task, base); break;
    case Arithmetic::kBfloat16: run_all<Arithmetic::kBfloat16>(task, base); break;
    case Arithmetic::kBfloat16AsFloat: run_all<Arithmetic::kBfloat16AsFloat>(task, base); break;
  }
}

}  // namespace strata::avx512

#else  // another processor family

namespace strata::avx512 {
bool supported() { return false; }
bool supports_bf16_products() { return false; }
std::size_t packed_bytes(Arithmetic, int) { return 0; }
void pack_block(Arithmetic, int, const void* const*, const void* const*, void*, void*) {}
std::size_t scratch_bytes(const Task&) { return 0; }
void run(const Task&, void*) {}
}  // namespace strata::avx512

#endif
