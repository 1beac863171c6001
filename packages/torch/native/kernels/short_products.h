// Products of bfloat16 matrices on the processor's matrix units (AMX) for training: operands are brought into the units' order
// here, in passes as wide as memory allows, and the products run on libtorch's own micro-kernels with float32 sums.
//
// The units take the second operand in pairs of its rows, [depth / 2][columns][2].
#pragma once

#include <ATen/native/CPUBlas.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "packed_columns.h"
#include "team.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512BW__)
#include <immintrin.h>
#define DUNWU_MATRIX_UNITS 1
#else
#define DUNWU_MATRIX_UNITS 0
#endif

namespace dunwu {

/// Whether products of bfloat16 are worth being made here.
inline bool has_short_products() {
  return DUNWU_MATRIX_UNITS && has_matrix_units();
}

using Short = c10::BFloat16;

/// Memory for packed operands; not initialised. Taken from blocks that are kept: between the long-lived results of a forward pass
/// short-lived pieces of all sizes would leave holes that nothing fits into.
class ShortBuffer {
 public:
  explicit ShortBuffer(int64_t count) : block_(take(static_cast<size_t>(count) * sizeof(Short) + 64)), memory(static_cast<Short*>(block_.second)) {}
  ~ShortBuffer() { give(block_); }
  ShortBuffer(const ShortBuffer&) = delete;
  ShortBuffer& operator=(const ShortBuffer&) = delete;

 private:
  using Block = std::pair<size_t, void*>;
  static constexpr size_t kMostKept = 32 << 20;
  Block block_;

  static std::multimap<size_t, void*>& kept() {
    static auto* blocks = new std::multimap<size_t, void*>();
    return *blocks;
  }
  static std::mutex& guard() {
    static auto* mutex = new std::mutex();
    return *mutex;
  }
  /// The smallest block that is kept and large enough, but not larger than twice that.
  static Block take(size_t bytes) {
    {
      const std::lock_guard<std::mutex> lock(guard());
      const auto found = kept().lower_bound(bytes);
      if (found != kept().end() && found->first <= 2 * bytes) {
        const Block block = *found;
        kept().erase(found);
        return block;
      }
    }
    const size_t size = (bytes + 65535) / 65536 * 65536;
    return {size, operator new(size, std::align_val_t(64))};
  }
  static void give(Block block) {
    // The largest are few, and the system takes their pages back at once.
    if (block.first > kMostKept) return operator delete(block.second, std::align_val_t(64));
    const std::lock_guard<std::mutex> lock(guard());
    kept().insert(block);
    // Sizes change with the work: what is least is let go.
    if (kept().size() <= 32) return;
    operator delete(kept().begin()->second, std::align_val_t(64));
    kept().erase(kept().begin());
  }

 public:
  Short* memory;
};

#if DUNWU_MATRIX_UNITS

inline __m256i short_16(const float* from) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(from))); }
inline __m256i short_16(const Short* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }

inline __m512i pair_lanes(bool second) {
  alignas(64) uint16_t lanes[32];
  for (int i = 0; i < 16; ++i) {
    lanes[2 * i] = static_cast<uint16_t>(i + (second ? 16 : 0));
    lanes[2 * i + 1] = static_cast<uint16_t>(lanes[2 * i] + 32);
  }
  return _mm512_load_si512(lanes);
}

/// `count` numbers of `from`, the rest zeros.
template <typename T>
inline __m256i short_16(const T* from, int64_t count) {
  if (count >= 16) return short_16(from);
  alignas(64) T some[16] = {};
  std::copy(from, from + std::max<int64_t>(count, 0), some);
  return short_16(some);
}

/// Pairs begin..end of the rows of x [depth, columns] → [depth / 2][columns][2]; rows beyond depth are zeros.
template <typename T>
void pack_row_pairs(const T* x, int64_t stride, int64_t begin, int64_t end, int64_t depth, int64_t columns, Short* packed) {
  const __m512i lanes = pair_lanes(false);
  for (int64_t pair = begin; pair < end; ++pair) {
    const T *even = 2 * pair < depth ? x + 2 * pair * stride : nullptr, *odd = 2 * pair + 1 < depth ? even + stride : nullptr;
    Short* to = packed + 2 * pair * columns;
    int64_t n = 0;
    for (; n < columns; n += 16) {
      const int64_t left = columns - n;
      const __m512i a = even != nullptr ? _mm512_castsi256_si512(short_16(even + n, left)) : _mm512_setzero_si512();
      const __m512i b = odd != nullptr ? _mm512_castsi256_si512(short_16(odd + n, left)) : _mm512_setzero_si512();
      const __m512i both = _mm512_permutex2var_epi16(a, lanes, b);
      if (left >= 16)
        _mm512_storeu_si512(to + 2 * n, both);
      else
        _mm512_mask_storeu_epi32(to + 2 * n, static_cast<__mmask16>((1u << left) - 1), both);
    }
  }
}

/// 16 × 16 numbers of 32 bits, rows and columns exchanged.
inline void transpose_16(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

/// Rows begin..end of w [columns, depth] as the second operand of x · wᵀ: [depth / 2][columns][2]. depth even.
template <typename T>
void pack_column_pairs(const T* w, int64_t stride, int64_t begin, int64_t end, int64_t depth, int64_t columns, Short* packed) {
  for (int64_t n = begin; n < end; n += 16) {
    const int64_t rows = std::min<int64_t>(16, end - n);
    for (int64_t k = 0; k < depth; k += 32) {
      const int64_t left = depth - k;
      __m512i r[16];
      for (int64_t i = 0; i < 16; ++i) {
        if (i >= rows) {
          r[i] = _mm512_setzero_si512();
          continue;
        }
        const T* from = w + (n + i) * stride + k;
        r[i] = _mm512_inserti64x4(_mm512_castsi256_si512(short_16(from, left)), short_16(from + 16, left - 16), 1);
      }
      transpose_16(r);
      const auto mask = static_cast<__mmask16>((1u << rows) - 1);
      for (int64_t i = 0; i < std::min<int64_t>(16, left / 2); ++i) _mm512_mask_storeu_epi32(packed + (k / 2 + i) * 2 * columns + 2 * n, mask, r[i]);
    }
  }
}

/// Columns begin..end of x [depth, ...] as rows: to[column − begin][k], `stride` numbers apart; beyond depth zeros up to it.
inline void transpose_columns(const Short* x, int64_t x_stride, int64_t depth, int64_t begin, int64_t end, Short* to, int64_t stride) {
  // 32 rows by 16 columns: pairs of rows are interleaved into 32-bit numbers, which are then transposed as such.
  const __m512i lanes = pair_lanes(false);
  for (int64_t k = 0; k < stride; k += 32) {
    for (int64_t n = begin; n < end; n += 16) {
      const int64_t columns = std::min<int64_t>(16, end - n);
      __m512i r[16];
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t even = k + 2 * i, odd = even + 1;
        const __m512i a = even < depth ? _mm512_castsi256_si512(short_16(x + even * x_stride + n, columns)) : _mm512_setzero_si512();
        const __m512i b = odd < depth ? _mm512_castsi256_si512(short_16(x + odd * x_stride + n, columns)) : _mm512_setzero_si512();
        r[i] = _mm512_permutex2var_epi16(a, lanes, b);
      }
      transpose_16(r);
      for (int64_t i = 0; i < columns; ++i) _mm512_storeu_si512(to + (n - begin + i) * stride + k, r[i]);
    }
  }
}

/// float32 → bfloat16.
inline void shorten(const float* from, int64_t rows, int64_t columns, Short* to, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i) {
    int64_t n = 0;
    for (; n + 16 <= columns; n += 16) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i * stride + n), short_16(from + i * columns + n));
    for (; n < columns; ++n) to[i * stride + n] = Short(from[i * columns + n]);
  }
}

/// Rows of a block of a product.
constexpr int64_t kShortRows = 128;
/// libtorch makes a kernel for every shape and keeps it. How many tokens an expert has changes from step to step: shapes are rounded
/// up to these, so that few are made.
constexpr int64_t kShortStep = 32;

constexpr int64_t short_padded(int64_t count) { return (count + kShortStep - 1) / kShortStep * kShortStep; }
/// Columns of a block: a block of float32 sums stays in the second cache.
constexpr int64_t kShortColumns = 512;

/// Rows begin..end of y = x · B, rounded to bfloat16. x [available, depth], a row after the other; `packed` is B [depth, columns] in
/// pairs.
inline void multiply_short(const Short* x, int64_t available, int64_t begin, int64_t end, int64_t depth, int64_t columns, const Short* packed, Short* y, int64_t y_stride, float* room) {
  std::vector<Short> tail;
  for (int64_t m = begin; m < end; m += kShortRows) {
    const int64_t rows = std::min(kShortRows, end - m), whole = short_padded(rows);
    const Short* from = x + m * depth;
    if (m + whole > available) {
      // Rows beyond the last are computed too, of zeros, and left out.
      tail.assign(whole * depth, Short(0.0f));
      std::copy(from, from + rows * depth, tail.begin());
      from = tail.data();
    }
    for (int64_t n = 0; n < columns; n += kShortColumns) {
      const int64_t some = std::min(kShortColumns, columns - n);
      at::native::cpublas::brgemm(whole, some, depth, depth, columns, some, false, from, packed + 2 * n, room, true);
      shorten(room, rows, some, y + m * y_stride + n, y_stride);
    }
  }
}

/// Tokens whose share of a weight's gradient is computed at a time.
constexpr int64_t kGradientTokens = 512;

/// Rows begin..end of dw = dyᵀ · x over all tokens, float32, in order. `pairs` is x [short_padded(tokens), inputs] in pairs of rows.
inline void weight_gradient(const Short* dy, int64_t dy_stride, int64_t tokens, int64_t begin, int64_t end, const Short* pairs, int64_t inputs, float* dw, Short* room) {
  if (tokens == 0) {
    std::fill(dw + begin * inputs, dw + end * inputs, 0.0f);
    return;
  }
  for (int64_t n = begin; n < end; n += kShortRows) {
    const int64_t rows = std::min(kShortRows, end - n);
    for (int64_t t = 0; t < tokens; t += kGradientTokens) {
      const int64_t depth = std::min(kGradientTokens, tokens - t), whole = short_padded(depth);
      transpose_columns(dy + t * dy_stride, dy_stride, depth, n, n + rows, room, whole);
      at::native::cpublas::brgemm(rows, inputs, whole, whole, inputs, inputs, t > 0, room, pairs + t * inputs, dw + n * inputs, true);
    }
  }
}

constexpr int64_t kGradientRoom = kShortRows * kGradientTokens;

#endif

}  // namespace dunwu
