// Vectors as wide as the processor has them, by the compilers' own extension, and small matrix products on them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace dunwu {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kProductRows = 8;  // 8 × 3 sums of the 32 registers; 6 × 4 for the widest
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
constexpr int kProductRows = 4;  // 4 × 3 of 16
#else
constexpr int kVectorBytes = 16;
constexpr int kProductRows = 4;
#endif

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(kVectorBytes)));
  typedef int32_t integer __attribute__((vector_size(kVectorBytes)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(kVectorBytes)));
  typedef int64_t integer __attribute__((vector_size(kVectorBytes)));
};
template <typename T>
using vector_t = typename VectorOf<T>::type;

/// Numbers in a vector.
template <typename T>
constexpr int64_t kLanes = kVectorBytes / sizeof(T);

template <typename T>
constexpr int64_t whole_vectors(int64_t count) {
  return (count + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

template <typename T>
inline vector_t<T> load(const T* from) {
  vector_t<T> x;
  std::memcpy(&x, from, sizeof x);
  return x;
}
template <typename T>
inline void store(T* to, vector_t<T> x) {
  std::memcpy(to, &x, sizeof x);
}
template <typename T>
inline vector_t<T> broadcast(T x) {
  return x - vector_t<T>{};
}

/// Lane i of the result is lane i ^ distance of x.
template <typename T>
inline vector_t<T> exchanged(vector_t<T> x, int distance) {
#if defined(__clang__)
  vector_t<T> y;
  for (int64_t i = 0; i < kLanes<T>; ++i) y[i] = x[i ^ distance];
  return y;
#else
  typename VectorOf<T>::integer from;
  for (int64_t i = 0; i < kLanes<T>; ++i) from[i] = i ^ distance;
  return __builtin_shuffle(x, from);
#endif
}

/// The lanes' sum, halves upon halves: always in the same order.
template <typename T>
inline T lane_sum(vector_t<T> x) {
#pragma GCC unroll 4
  for (int64_t width = kLanes<T> / 2; width > 0; width /= 2) x += exchanged<T>(x, width);
  return x[0];
}
template <typename T>
inline T lane_maximum(vector_t<T> x) {
#pragma GCC unroll 4
  for (int64_t width = kLanes<T> / 2; width > 0; width /= 2) {
    const vector_t<T> y = exchanged<T>(x, width);
    x = x > y ? x : y;
  }
  return x[0];
}

/// e^x as fast_exp() of math.h, for a whole vector; x ≤ 88. Below −87 it is e^−87.
inline vector_t<float> vector_exp(vector_t<float> x) {
  using integers = VectorOf<float>::integer;
  const vector_t<float> least = broadcast(-87.0f);
  x = x < least ? least : x;
  // Adding 1.5 · 2^23 leaves the nearest integer in the low bits.
  const vector_t<float> shifted = x * 1.44269504088896341f + 12582912.0f;
  const vector_t<float> n = shifted - 12582912.0f;
  const vector_t<float> r = (x - n * 0.693148613f) + n * 1.42860677e-6f;
  vector_t<float> p = broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  integers bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + (127 << 23);
  vector_t<float> scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}
inline vector_t<double> vector_exp(vector_t<double> x) {
  for (int64_t i = 0; i < kLanes<double>; ++i) x[i] = std::exp(x[i]);
  return x;
}

/// c[MR, NV vectors] (+)= a[MR, depth] · b[depth, NV vectors]; a may have any strides.
template <typename T, int MR, int NV>
inline void product_tile(int64_t depth, const T* a, int64_t a_row, int64_t a_depth, const T* b, int64_t ldb, T* c, int64_t ldc, bool add) {
  vector_t<T> sums[MR][NV];
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 16
    for (int n = 0; n < NV; ++n) sums[m][n] = add ? load<T>(c + m * ldc + n * kLanes<T>) : vector_t<T>{};
  for (int64_t k = 0; k < depth; ++k) {
    vector_t<T> right[NV];
#pragma GCC unroll 16
    for (int n = 0; n < NV; ++n) right[n] = load<T>(b + n * kLanes<T>);
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
      const vector_t<T> left = broadcast(a[m * a_row]);
#pragma GCC unroll 16
      for (int n = 0; n < NV; ++n) sums[m][n] += left * right[n];
    }
    a += a_depth;
    b += ldb;
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 16
    for (int n = 0; n < NV; ++n) store<T>(c + m * ldc + n * kLanes<T>, sums[m][n]);
}

template <typename T, int NV>
inline void product_panel(int64_t rows, int64_t depth, const T* a, int64_t a_row, int64_t a_depth, const T* b, int64_t ldb, T* c, int64_t ldc, bool add) {
  constexpr int most = NV == 4 ? (kProductRows == 8 ? 6 : 2) : kProductRows;
  int64_t m = 0;
  for (; m + most <= rows; m += most) product_tile<T, most, NV>(depth, a + m * a_row, a_row, a_depth, b, ldb, c + m * ldc, ldc, add);
  if constexpr (most > 4)
    for (; m + 4 <= rows; m += 4) product_tile<T, 4, NV>(depth, a + m * a_row, a_row, a_depth, b, ldb, c + m * ldc, ldc, add);
  if constexpr (most > 2)
    for (; m + 2 <= rows; m += 2) product_tile<T, 2, NV>(depth, a + m * a_row, a_row, a_depth, b, ldb, c + m * ldc, ldc, add);
  for (; m < rows; ++m) product_tile<T, 1, NV>(depth, a + m * a_row, a_row, a_depth, b, ldb, c + m * ldc, ldc, add);
}

/// c[rows, columns] (+)= a[rows, depth] · b[depth, columns], everything in cache; columns a multiple of the lanes. Element
/// (m, k) of a is a[m · a_row + k · a_depth]. Each sum runs over k in order: the same number whatever stands beside it.
template <typename T>
void product(int64_t rows, int64_t columns, int64_t depth, const T* a, int64_t a_row, int64_t a_depth, const T* b, int64_t ldb, T* c, int64_t ldc, bool add) {
  int64_t vectors = columns / kLanes<T>;
  while (vectors > 0) {
    // 5 is 3 + 2: a panel of one vector has too little to do.
    const int64_t now = vectors == 5 ? 3 : std::min<int64_t>(vectors, 4);
    if (now == 4) product_panel<T, 4>(rows, depth, a, a_row, a_depth, b, ldb, c, ldc, add);
    if (now == 3) product_panel<T, 3>(rows, depth, a, a_row, a_depth, b, ldb, c, ldc, add);
    if (now == 2) product_panel<T, 2>(rows, depth, a, a_row, a_depth, b, ldb, c, ldc, add);
    if (now == 1) product_panel<T, 1>(rows, depth, a, a_row, a_depth, b, ldb, c, ldc, add);
    b += now * kLanes<T>;
    c += now * kLanes<T>;
    vectors -= now;
  }
}

}  // namespace dunwu
