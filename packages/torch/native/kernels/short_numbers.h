// Bfloat16 numbers by sixteens, for those who bring operands into the order of the matrix units.
#pragma once

#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "packed_columns.h"

namespace dunwu {

using Short = c10::BFloat16;

#if DUNWU_TILES

inline __m256i short_16(const float* from) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(from))); }
inline __m256i short_16(const Short* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }

/// The first `count` of 16 numbers, the rest zeros, in parts. None when `from` is null.
template <int PARTS, typename S>
inline void read_16(const S* from, int64_t count, __m256i* parts) {
  const auto mask = static_cast<__mmask16>(from == nullptr || count <= 0 ? 0 : count >= 16 ? 0xffff : (1u << count) - 1);
  if constexpr (std::is_same_v<S, Short>) {
    static_assert(PARTS == 1);
    parts[0] = _mm256_maskz_loadu_epi16(mask, from);
  } else {
    const __m512 value = _mm512_maskz_loadu_ps(mask, from);
    parts[0] = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value));
    if constexpr (PARTS == 2) {
      const __m512 rounded = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(parts[0]), 16));
      parts[1] = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_sub_ps(value, rounded)));
    }
  }
}

inline __m512i pair_lanes() {
  alignas(64) uint16_t lanes[32];
  for (int i = 0; i < 32; ++i) lanes[i] = static_cast<uint16_t>(i / 2 + i % 2 * 32);
  return _mm512_load_si512(lanes);
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

#endif

}  // namespace dunwu
