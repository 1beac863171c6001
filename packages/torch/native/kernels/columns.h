// Matrix products for few columns. Activations of decoding stand feature by feature: x[k][m] is feature k of sequence m,
// so that a product Y = W X takes weights as they lie in memory, row after row, and vectors run along the sequences.
//
// Every output is summed over k in order, whatever the number of sequences and of threads: a sequence's numbers do not
// depend on its company, bit for bit.
#pragma once

#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "math.h"
#include "team.h"

namespace dunwu {

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;
constexpr int kAccumulators = 24;
#elif defined(__AVX2__)
constexpr int64_t kLanes = 8;
constexpr int kAccumulators = 12;
#else
constexpr int64_t kLanes = 4;
constexpr int kAccumulators = 24;
#endif

/// Sequences stand in groups of so many: the rest of the last group is padding.
constexpr int64_t kColumnBlock = 16;

constexpr int64_t padded(int64_t count, int64_t block = kColumnBlock) { return (count + block - 1) / block * block; }

typedef float Lanes __attribute__((vector_size(kLanes * 4)));
typedef float LanesAnywhere __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

inline Lanes load(const float* from) { return *reinterpret_cast<const LanesAnywhere*>(from); }
inline void store(float* to, Lanes value) { *reinterpret_cast<LanesAnywhere*>(to) = value; }
inline Lanes all(float value) { return value - Lanes{}; }

inline float wide(float value) { return value; }
inline float wide(c10::BFloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.x) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

inline float sum(Lanes value) {
  float parts[kLanes], total = 0;
  std::memcpy(parts, &value, sizeof parts);
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < kLanes; ++i) total += parts[i];
  return total;
}

/// A matrix as it lies in memory: element (n, k) at n · row + k · step.
template <typename W>
struct Matrix {
  const W* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t row = 0;
  int64_t step = 1;
};

/// ROWS × (VECTORS · kLanes) of the product, held in registers. Weights that lie row after row are asked for ahead, as many as are
/// multiplied meanwhile: the ROWS rows below. All of them asked for at once would be waited for.
template <int ROWS, int VECTORS, typename W>
inline void tile(const W* w, int64_t w_row, int64_t w_step, const float* x, int64_t width, int64_t depth, float* y, bool add) {
  constexpr int64_t kLine = 64 / sizeof(W);
  // Unrolled by order: otherwise the sums would be kept in memory.
  Lanes sums[ROWS][VECTORS];
#pragma GCC unroll 32
  for (int n = 0; n < ROWS; ++n)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) sums[n][v] = add ? load(y + n * width + v * kLanes) : Lanes{};
  for (int64_t begin = 0; begin < depth; begin += kLine) {
    if (w_step == 1) {
#pragma GCC unroll 32
      for (int n = 0; n < ROWS; ++n) __builtin_prefetch(w + (ROWS + n) * w_row + begin, 0, 2);
    }
    const int64_t end = std::min(depth, begin + kLine);
    for (int64_t k = begin; k < end; ++k) {
      Lanes inputs[VECTORS];
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) inputs[v] = load(x + k * width + v * kLanes);
#pragma GCC unroll 32
      for (int n = 0; n < ROWS; ++n) {
        const Lanes weight = all(wide(w[n * w_row + k * w_step]));
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) sums[n][v] += weight * inputs[v];
      }
    }
  }
#pragma GCC unroll 32
  for (int n = 0; n < ROWS; ++n)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) store(y + n * width + v * kLanes, sums[n][v]);
}

template <int VECTORS, typename W>
inline void strip(const Matrix<W>& w, int64_t begin, int64_t end, const float* x, int64_t width, float* y, bool add) {
  // No more rows than there are registers for their places.
  constexpr int kRows = std::min(12, kAccumulators / VECTORS);
  int64_t n = begin;
  for (; n + kRows <= end; n += kRows) tile<kRows, VECTORS>(w.data + n * w.row, w.row, w.step, x, width, w.columns, y + n * width, add);
  for (; n + 2 <= end; n += 2) tile<2, VECTORS>(w.data + n * w.row, w.row, w.step, x, width, w.columns, y + n * width, add);
  for (; n < end; ++n) tile<1, VECTORS>(w.data + n * w.row, w.row, w.step, x, width, w.columns, y + n * width, add);
}

#if defined(__AVX512F__) && !defined(__clang__)
/// Rows become columns: blocks of 1, 2, 4 and 8 change places across the diagonal.
inline void transpose_16(Lanes* rows) {
  typedef int Places __attribute__((vector_size(64)));
  constexpr Places kLane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#pragma GCC unroll 4
  for (int size = 1; size < 16; size *= 2) {
    const Places upper = (kLane & size) == 0 ? kLane : kLane - size + 16, lower = (kLane & size) == 0 ? kLane + size : kLane + 16;
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      if ((i & size) != 0) continue;
      const Lanes first = rows[i], second = rows[i + size];
      rows[i] = __builtin_shuffle(first, second, upper);
      rows[i + size] = __builtin_shuffle(first, second, lower);
    }
  }
}
#endif

/// `count` numbers of each of 16 columns: to[column · stride + i] = x[i · width + column].
inline void columns_from(const float* x, int64_t width, int64_t count, float* to, int64_t stride) {
  int64_t i = 0;
#if defined(__AVX512F__) && !defined(__clang__)
  for (; i + kColumnBlock <= count; i += kColumnBlock) {
    Lanes rows[16];
#pragma GCC unroll 16
    for (int n = 0; n < 16; ++n) rows[n] = load(x + (i + n) * width);
    transpose_16(rows);
#pragma GCC unroll 16
    for (int n = 0; n < 16; ++n) store(to + n * stride + i, rows[n]);
  }
#endif
  for (; i < count; ++i)
    for (int64_t m = 0; m < kColumnBlock; ++m) to[m * stride + i] = x[i * width + m];
}

/// The way back, for columns begin..end of 16: y[i · width + column] = from[column · stride + i].
inline void columns_to(const float* from, int64_t stride, int64_t count, float* y, int64_t width, int64_t begin, int64_t end) {
  int64_t i = 0;
#if defined(__AVX512F__) && !defined(__clang__)
  for (; i + kColumnBlock <= count && begin == 0 && end == kColumnBlock; i += kColumnBlock) {
    Lanes rows[16];
#pragma GCC unroll 16
    for (int n = 0; n < 16; ++n) rows[n] = load(from + n * stride + i);
    transpose_16(rows);
#pragma GCC unroll 16
    for (int n = 0; n < 16; ++n) store(y + (i + n) * width, rows[n]);
  }
#endif
  for (; i < count; ++i)
    for (int64_t m = begin; m < end; ++m) y[i * width + m] = from[m * stride + i];
}

/// Rows begin..end of Y = W X, or of Y += W X. x [columns of w, width], y [rows of w, width]; width in whole column blocks.
template <typename W>
void multiply_rows(const Matrix<W>& w, int64_t begin, int64_t end, const float* x, int64_t width, float* y, bool add = false) {
  constexpr int kMost = kAccumulators >= 24 ? 4 : 3;
  int64_t m = 0;
  for (; m + kMost * kLanes <= width; m += kMost * kLanes) strip<kMost>(w, begin, end, x + m, width, y + m, add);
  const int64_t left = (width - m) / kLanes;
  if (left == 3) strip<3>(w, begin, end, x + m, width, y + m, add);
  if (left == 2) strip<2>(w, begin, end, x + m, width, y + m, add);
  if (left == 1) strip<1>(w, begin, end, x + m, width, y + m, add);
}

/// The same, shared out among a team; to be met after.
template <typename W>
void multiply(const Team& team, const Matrix<W>& w, const float* x, int64_t width, float* y, bool add = false) {
  const auto [begin, end] = team.share(w.rows, kAccumulators);
  multiply_rows(w, begin, end, x, width, y, add);
}

}  // namespace dunwu
