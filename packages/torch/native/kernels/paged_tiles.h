// Attention of one token's query heads to its sequence's pages (paged_attention.h) on matrix units, where the cache is bfloat16: up to 16
// heads read keys and values once. Queries and the softmax's weights are rounded to bfloat16; sums are float32.
#pragma once

#include "packed_columns.h"
#include "paged_attention.h"
#include "short_numbers.h"

namespace dunwu {

/// Fewer heads cost as much as 16, which is more than without the units.
constexpr int64_t kLeastTileHeads = 5, kMostTileHeads = 16;

/// What one thread needs, at the beginning of a cache line: queries in pairs, scores of a page, weights, values in pairs, outputs.
inline int64_t paged_tiles_room(int64_t tokens, int64_t key_width) {
  return 8 * padded(key_width, kTileDepth) + 256 + 8 * padded(tokens, kTileDepth) + 4 * 256 + 4 * 256;
}

#if DUNWU_TILES

/// Tiles 5 and 7 are half as deep: widths of keys are multiples of 16.
inline void open_attention_tiles() {
  TileShape shape;
  shape.bytes[5] = 32;
  shape.rows[7] = 8;
  take_shape(shape);
}

/// `attend` for up to 16 heads; `scores` has room for heads · padded(tokens) numbers, `room` for `paged_tiles_room`. After
/// `open_attention_tiles`.
inline void attend_tiles(const Reading<Short>& read, const float* queries, int64_t heads, float* scores, float* outputs, float* room) {
  const Pages<Short>& pages = read.pages;
  const int64_t tokens = pages.tokens, stride = padded(tokens), wide = padded(tokens, kTileDepth), value_width = read.value_width;
  auto* pairs = reinterpret_cast<Short*>(room);
  float* page_scores = room + 8 * padded(read.key_width, kTileDepth);
  auto* weights = reinterpret_cast<Short*>(page_scores + 256);
  auto* values = weights + 16 * wide;
  float* mixed = reinterpret_cast<float*>(values + 4 * 512);

  for (int64_t k = 0; k < read.key_width; k += kTileDepth) {
    __m512i r[16];
    for (int64_t h = 0; h < 16; ++h) {
      __m256i low, high;
      const float* from = h < heads ? queries + h * read.key_width + k : nullptr;
      read_16<1>(from, read.key_width - k, &low);
      read_16<1>(from == nullptr ? nullptr : from + 16, read.key_width - k - 16, &high);
      r[h] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
    transpose_16(r);
    for (int64_t i = 0; i < 16; ++i) _mm512_store_si512(pairs + (k / 2 + i) * 32, r[i]);
  }

  written();
  for (int64_t page = 0; page < pages.count(); ++page) {
    read.fetch(read.after_keys(page), read.key_width);
    const Short* key = pages.page(page) + read.key_offset;
    _tile_zero(0);
    int64_t k = 0;
    for (; k + kTileDepth <= read.key_width; k += kTileDepth) {
      _tile_loadd(4, key + k, 2 * pages.entry);
      _tile_loadd(6, pairs + k * 16, 64);
      _tile_dpbf16ps(0, 4, 6);
    }
    if (k < read.key_width) {
      _tile_loadd(5, key + k, 2 * pages.entry);
      _tile_loadd(7, pairs + k * 16, 64);
      _tile_dpbf16ps(0, 5, 7);
    }
    _tile_stored(0, page_scores, 64);
    // Token by token; wanted head by head.
    __m512i rows[16];
#pragma GCC unroll 16
    for (int t = 0; t < 16; ++t) rows[t] = _mm512_load_si512(page_scores + 16 * t);
    transpose_16(rows);
#pragma GCC unroll 16
    for (int h = 0; h < 16; ++h)
      if (h < heads) _mm512_storeu_si512(scores + h * stride + page * kPageTokens, rows[h]);
  }

  for (int64_t h = 0; h < heads; ++h) {
    float* row = scores + h * stride;
    const float inverse = 1.0f / exponentiate(row, tokens, maximum(row, tokens));
    Short* to = weights + h * wide;
    for (int64_t t = 0; t < wide; t += 16) {
      const auto some = static_cast<__mmask16>(tokens - t >= 16 ? 0xffff : tokens <= t ? 0 : (1u << (tokens - t)) - 1);
      _mm256_store_si256(reinterpret_cast<__m256i*>(to + t), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_maskz_loadu_ps(some, row + t), _mm512_set1_ps(inverse)))));
    }
  }

  // 64 numbers of the values at a time: as many sums as there are tiles for.
  const __m512i lanes = pair_lanes(), zeros = _mm512_setzero_si512();
  for (int64_t first = 0; first < value_width; first += 64) {
    const int64_t width = std::min<int64_t>(64, value_width - first);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t t = 0; t < tokens; t += kTileDepth) {
      // Two pages' values in pairs of tokens, a tile for each 16 numbers. Nothing is read of tokens that are not there: what lies there
      // may be no number.
      for (int64_t half = 0; half < 2; ++half) {
        const int64_t page = t / kPageTokens + half;
        const bool there = page < pages.count();
        if (there && first == 0) read.fetch(read.after_values(page), read.value_width);
        const Short* even = there ? pages.page(page) + read.value_offset + first : nullptr;
        for (int64_t pair = 0; pair < kPageTokens / 2; ++pair, even += there ? 2 * pages.entry : 0) {
          const int64_t left = tokens - page * kPageTokens - 2 * pair;
          Short* to = values + (half * kPageTokens / 2 + pair) * 32;
          for (int64_t i = 0; i < width; i += 16, to += 512) {
            const __m512i a = left > 0 ? _mm512_castsi256_si512(short_16(even + i)) : zeros;
            const __m512i b = left > 1 ? _mm512_castsi256_si512(short_16(even + pages.entry + i)) : zeros;
            _mm512_store_si512(to, _mm512_permutex2var_epi16(a, lanes, b));
          }
        }
      }
      written();
      _tile_loadd(4, weights + t, 2 * wide);
      _tile_loadd(6, values, 64);
      _tile_dpbf16ps(0, 4, 6);
      if (width > 16) {
        _tile_loadd(6, values + 512, 64);
        _tile_dpbf16ps(1, 4, 6);
      }
      if (width > 32) {
        _tile_loadd(6, values + 1024, 64);
        _tile_dpbf16ps(2, 4, 6);
      }
      if (width > 48) {
        _tile_loadd(6, values + 1536, 64);
        _tile_dpbf16ps(3, 4, 6);
      }
    }
    _tile_stored(0, mixed, 64);
    _tile_stored(1, mixed + 256, 64);
    _tile_stored(2, mixed + 512, 64);
    _tile_stored(3, mixed + 768, 64);
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < width; i += 16) std::copy(mixed + i * 16 + h * 16, mixed + i * 16 + h * 16 + 16, outputs + h * value_width + first + i);
  }
}

#else

inline void open_attention_tiles() {}
inline void attend_tiles(const Reading<c10::BFloat16>&, const float*, int64_t, float*, float*, float*) {}

#endif

}  // namespace dunwu
