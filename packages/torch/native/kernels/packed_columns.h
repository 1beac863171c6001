// Products with bfloat16 weights on the processor's matrix units (AMX), where it has them: the activations are rounded to bfloat16
// and stand in pairs, [k / 2][column][2], as the units take them; weights are taken as they lie in memory. Sums are float32.
#pragma once

#include <ATen/native/CPUBlas.h>

#include "columns.h"

namespace dunwu {

/// Whether this processor multiplies bfloat16 matrices itself.
inline bool has_matrix_units() {
  static const bool has = at::native::cpublas::could_pack(at::kBFloat16);
  return has;
}

/// Numbers (of bfloat16) that a packed operand takes.
constexpr int64_t packed_size(int64_t depth, int64_t width) { return padded(depth, 2) * width; }

inline c10::BFloat16 narrow(float value) { return c10::BFloat16(value); }

/// Pairs begin..end of x [depth, width].
inline void pack_pairs(const float* x, int64_t begin, int64_t end, int64_t depth, int64_t width, c10::BFloat16* packed) {
  for (int64_t pair = begin; pair < end; ++pair) {
    const float *even = x + 2 * pair * width, *odd = even + width;
    c10::BFloat16* to = packed + 2 * pair * width;
    if (2 * pair + 1 < depth) {
      for (int64_t m = 0; m < width; ++m) {
        to[2 * m] = narrow(even[m]);
        to[2 * m + 1] = narrow(odd[m]);
      }
    } else {
      for (int64_t m = 0; m < width; ++m) {
        to[2 * m] = narrow(even[m]);
        to[2 * m + 1] = narrow(0.0f);
      }
    }
  }
}

/// Rows begin..end of Y = W X, or of Y += W X, with X packed. The rows of W must lie in memory one after another, of even length.
inline void multiply_packed(const Matrix<c10::BFloat16>& w, int64_t begin, int64_t end, const c10::BFloat16* packed, int64_t width, float* y, bool add = false) {
  // In blocks: the kernels of libtorch are made for a shape, and kept.
  constexpr int64_t kRows = 64;
  const bool far = is_far(w);
  for (int64_t n = begin; n < end; n += kRows) {
    const int64_t rows = std::min(kRows, end - n);
    if (far) fetch_rows(w, n + rows, std::min(end, n + rows + kRows));
    at::native::cpublas::brgemm(rows, width, w.columns, w.row, width, width, add, w.data + n * w.row, packed, y + n * width, true);
  }
}

}  // namespace dunwu
