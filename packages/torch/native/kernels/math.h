// Scalar functions written so that compilers vectorise the loops they stand in.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace dunwu {

/// e^x for float within 2 ulp: 2^n · p(r), r in [−ln2/2, ln2/2]. No call, no table, no branch.
inline float fast_exp(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float n = std::nearbyintf(x * 1.44269504088896341f);
  const float r = std::fmaf(n, 1.42860677e-6f, std::fmaf(n, -0.693148613f, x));  // x − n·ln2 in two pieces
  float p = 1.9875691500e-4f;
  p = std::fmaf(p, r, 1.3981999507e-3f);
  p = std::fmaf(p, r, 8.3334519073e-3f);
  p = std::fmaf(p, r, 4.1665795894e-2f);
  p = std::fmaf(p, r, 1.6666665459e-1f);
  p = std::fmaf(p, r, 5.0000001201e-1f);
  p = std::fmaf(p, r * r, r) + 1.0f;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

inline double fast_exp(double x) { return std::exp(x); }

/// The type a kernel computes in: float for the short types, double for double.
template <typename scalar_t>
using compute_t = std::conditional_t<std::is_same_v<scalar_t, double>, double, float>;

template <typename acc_t>
inline acc_t sigmoid(acc_t x) {
  return acc_t(1) / (acc_t(1) + fast_exp(-x));
}

// Row reductions. They are functions of their own because the dispatch macros take no pragmas in their bodies.

template <typename scalar_t>
inline compute_t<scalar_t> sum_of_squares(const scalar_t* x, int64_t count) {
  using acc_t = compute_t<scalar_t>;
  acc_t sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += static_cast<acc_t>(x[i]) * static_cast<acc_t>(x[i]);
  return sum;
}

/// Σ a·b·c
template <typename scalar_t>
inline compute_t<scalar_t> triple_dot(const scalar_t* a, const scalar_t* b, const scalar_t* c, int64_t count) {
  using acc_t = compute_t<scalar_t>;
  acc_t sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += static_cast<acc_t>(a[i]) * static_cast<acc_t>(b[i]) * static_cast<acc_t>(c[i]);
  return sum;
}

template <typename scalar_t>
inline scalar_t maximum(const scalar_t* x, int64_t count) {
  scalar_t top = x[0];
#pragma omp simd reduction(max : top)
  for (int64_t i = 0; i < count; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

/// sum = Σ e^(x − top), weighted = Σ (x − top)·e^(x − top)
template <typename scalar_t>
inline void exponential_sums(const scalar_t* x, int64_t count, scalar_t top, scalar_t& sum, scalar_t& weighted) {
  scalar_t s = 0, w = 0;
#pragma omp simd reduction(+ : s, w)
  for (int64_t i = 0; i < count; ++i) {
    const scalar_t shifted = x[i] - top;
    const scalar_t e = fast_exp(shifted);
    s += e;
    w += e * shifted;
  }
  sum = s;
  weighted = w;
}

/// x = e^(x − top), and the sum of it
template <typename scalar_t>
inline scalar_t exponentiate(scalar_t* x, int64_t count, scalar_t top) {
  scalar_t sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) {
    x[i] = fast_exp(x[i] - top);
    sum += x[i];
  }
  return sum;
}

}  // namespace dunwu
