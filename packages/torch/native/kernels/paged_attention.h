// Attention of one token's query heads to all the tokens of its sequence, whose entries lie in pages.
#pragma once

#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "columns.h"
#include "math.h"

/// Where the processor multiplies pairs of bfloat16, keys and values of that type are not widened; queries and the softmax's weights are
/// rounded to it then, as on matrix units. Not with clang, which lacks the vector extensions of `sums_of_16`.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512BF16__) && !defined(__clang__)
#define DUNWU_SHORT_PAIRS 1
#else
#define DUNWU_SHORT_PAIRS 0
#endif

namespace dunwu {

/// Tokens of a page.
constexpr int64_t kPageTokens = 16;

/// What keys and values of type C are multiplied with: float32, or bfloat16 pair by pair, where the processor does that.
template <typename C>
using Factor = std::conditional_t<DUNWU_SHORT_PAIRS != 0, C, float>;

/// The entries of one sequence: page i begins at table[i] · stride, and there the tokens stand `entry` numbers apart.
template <typename C>
struct Pages {
  const C* memory;
  const int32_t* table;
  int64_t stride, entry, tokens;
  const C* page(int64_t i) const { return memory + table[i] * stride; }
  int64_t count() const { return (tokens + kPageTokens - 1) / kPageTokens; }
  /// Null where there is no such page.
  const C* find(int64_t i, int64_t offset) const { return i >= 0 && i < count() ? page(i) + offset : nullptr; }
};

/// What is read of the pages one after another: keys, values, and then the keys of the next sequence. A page is asked for while that
/// which is read so many pages before it is, over these seams too: sequences are short, and their pages lie anywhere.
constexpr int64_t kPagesAhead = 4;

/// Asks for the cache line that number i of an entry begins, so that it is there when it is its turn: line by line between what is computed,
/// since a core that is asked for many at once waits for them.
template <typename C>
inline void fetch_line(const C* entry, int64_t i) {
  if (i * sizeof(C) % 64 == 0) __builtin_prefetch(entry + i, 0, 3);
}

template <typename C>
struct Reading {
  Pages<C> pages;
  /// Null after the last.
  const Pages<C>* next;
  int64_t key_offset, key_width, value_offset, value_width;

  /// What to ask for while the keys, or the values, of page i are read: null where there is nothing.
  const C* after_keys(int64_t i) const {
    const int64_t ahead = i + kPagesAhead;
    if (const C* keys = pages.find(ahead, key_offset); keys != nullptr || value_offset == key_offset) return keys;
    return pages.find(ahead - pages.count(), value_offset);
  }
  const C* after_values(int64_t i) const {
    const int64_t ahead = i + kPagesAhead;
    if (ahead < pages.count()) return value_offset == key_offset ? nullptr : pages.find(ahead, value_offset);
    return next == nullptr ? nullptr : next->find(ahead - pages.count(), key_offset);
  }
  /// All of a page at once.
  void fetch(const C* page, int64_t width) const {
    for (int64_t t = 0; page != nullptr && t < kPageTokens; ++t)
      for (int64_t i = 0; i < width; i += kLanes) fetch_line(page + t * pages.entry, i);
  }
};

inline Lanes load_wide(const float* from) { return load(from); }
inline Lanes load_wide(const c10::BFloat16* from) {
#if defined(__AVX512F__)
  return (Lanes)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), 16);
#else
  typedef uint16_t Brief __attribute__((vector_size(kLanes * 2)));
  typedef uint32_t Bits __attribute__((vector_size(kLanes * 4)));
  Brief brief;
  std::memcpy(&brief, from, sizeof brief);
  const Bits bits = __builtin_convertvector(brief, Bits) << 16;
  Lanes value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

#if defined(__AVX512F__) && !defined(__clang__)
/// The sums of the lanes of 16 vectors, in their order: neighbours are added until one vector is left.
inline Lanes sums_of_16(const Lanes* v) {
  constexpr int kEven[16] = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
  typedef int Places __attribute__((vector_size(64)));
  Places even;
  std::memcpy(&even, kEven, sizeof even);
  const Places odd = even + 1;
  Lanes left[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) left[i] = v[i];
#pragma GCC unroll 4
  for (int count = 8; count > 0; count /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) left[i] = __builtin_shuffle(left[2 * i], left[2 * i + 1], even) + __builtin_shuffle(left[2 * i], left[2 * i + 1], odd);
  return left[0];
}

/// HEADS heads and 16 / HEADS tokens at a time: 16 sums, which are added up together. `ahead` is asked for meanwhile.
template <int HEADS, typename C>
inline void scores_of_16(const C* key, const C* ahead, int64_t entry, const float* queries, int64_t query_stride, int64_t width, float* scores, int64_t score_stride) {
  constexpr int kTokens = 16 / HEADS;
  Lanes sums[16] = {};
  for (int64_t i = 0; i < width; i += kLanes) {
    Lanes query[HEADS];
#pragma GCC unroll 4
    for (int h = 0; h < HEADS; ++h) query[h] = load(queries + h * query_stride + i);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const Lanes part = load_wide(key + t * entry + i);
      fetch_line(ahead + t * entry, i);
#pragma GCC unroll 4
      for (int h = 0; h < HEADS; ++h) sums[kTokens * h + t] += part * query[h];
    }
  }
  const Lanes all_sums = sums_of_16(sums);
  float parts[16];
  std::memcpy(parts, &all_sums, sizeof parts);
  for (int h = 0; h < HEADS; ++h) std::memcpy(scores + h * score_stride, parts + kTokens * h, kTokens * 4);
}
#endif

#if DUNWU_SHORT_PAIRS
/// Numbers of bfloat16 in a vector, which are multiplied pair by pair; sums are float32.
constexpr int64_t kShortLanes = 32;

/// 32 numbers, or the last 16 and zeros.
inline __m512bh load_short(const c10::BFloat16* from, int64_t left) {
  if (left >= kShortLanes) return reinterpret_cast<__m512bh>(_mm512_loadu_si512(from));
  return reinterpret_cast<__m512bh>(_mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
}

/// As above, of bfloat16 keys and queries.
template <int HEADS>
inline void scores_of_16(const c10::BFloat16* key, const c10::BFloat16* ahead, int64_t entry, const c10::BFloat16* queries, int64_t query_stride, int64_t width, float* scores, int64_t score_stride) {
  constexpr int kTokens = 16 / HEADS;
  __m512 sums[16] = {};
  for (int64_t i = 0; i < width; i += kShortLanes) {
    __m512bh query[HEADS];
#pragma GCC unroll 4
    for (int h = 0; h < HEADS; ++h) query[h] = load_short(queries + h * query_stride + i, width - i);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const __m512bh part = load_short(key + t * entry + i, width - i);
      __builtin_prefetch(ahead + t * entry + i, 0, 3);
#pragma GCC unroll 4
      for (int h = 0; h < HEADS; ++h) sums[kTokens * h + t] = _mm512_dpbf16_ps(sums[kTokens * h + t], part, query[h]);
    }
  }
  Lanes left[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) left[i] = (Lanes)sums[i];
  const Lanes all_sums = sums_of_16(left);
  float parts[16];
  std::memcpy(parts, &all_sums, sizeof parts);
  for (int h = 0; h < HEADS; ++h) std::memcpy(scores + h * score_stride, parts + kTokens * h, kTokens * 4);
}
#endif

/// scores[h][t] = query h · key of token t, HEADS heads at a time. Widths in whole column blocks.
template <int HEADS, typename C>
inline void scores_of(const Reading<C>& read, const Factor<C>* queries, int64_t query_stride, float* scores, int64_t score_stride) {
  const Pages<C>& pages = read.pages;
  const int64_t width = read.key_width;
  for (int64_t begin = 0; begin < pages.tokens; begin += kPageTokens) {
    const C *page = pages.page(begin / kPageTokens) + read.key_offset, *found = read.after_keys(begin / kPageTokens);
    const C* ahead = found == nullptr ? page : found;
    const int64_t count = std::min(kPageTokens, pages.tokens - begin);
    int64_t t = 0;
#if defined(__AVX512F__) && !defined(__clang__)
    // Beyond the sequence's end lie entries of the same page that nobody reads the scores of.
    if constexpr (16 % HEADS == 0)
      for (; t < count; t += 16 / HEADS) scores_of_16<HEADS>(page + t * pages.entry, ahead + t * pages.entry, pages.entry, queries, query_stride, width, scores + begin + t, score_stride);
#endif
    if constexpr (std::is_same_v<Factor<C>, float>) {
      for (; t < count; ++t) {
        Lanes sums[HEADS] = {};
        const C* key = page + t * pages.entry;
        for (int64_t i = 0; i < width; i += kLanes) {
          const Lanes part = load_wide(key + i);
          fetch_line(ahead + t * pages.entry, i);
#pragma GCC unroll 8
          for (int h = 0; h < HEADS; ++h) sums[h] += part * load(queries + h * query_stride + i);
        }
        for (int h = 0; h < HEADS; ++h) scores[h * score_stride + begin + t] = sum(sums[h]);
      }
    }
  }
}

/// outputs[h] = Σ_t weights[h][t] · value of token t, VECTORS of its vectors from number `first` on.
template <int HEADS, int VECTORS, typename C>
inline void mix_part(const Reading<C>& read, const float* weights, int64_t weight_stride, int64_t first, float* outputs) {
  const Pages<C>& pages = read.pages;
  Lanes sums[HEADS][VECTORS] = {};
  for (int64_t begin = 0; begin < pages.tokens; begin += kPageTokens) {
    const C *page = pages.page(begin / kPageTokens) + read.value_offset + first, *ahead = first > 0 ? nullptr : read.after_values(begin / kPageTokens);
    const int64_t count = std::min(kPageTokens, pages.tokens - begin);
    for (int64_t t = 0; t < count; ++t) {
      for (int64_t i = 0; ahead != nullptr && i < read.value_width; i += kLanes) fetch_line(ahead + t * pages.entry, i);
      Lanes values[VECTORS];
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) values[v] = load_wide(page + t * pages.entry + v * kLanes);
#pragma GCC unroll 8
      for (int h = 0; h < HEADS; ++h) {
        const Lanes weight = all(weights[h * weight_stride + begin + t]);
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) sums[h][v] += weight * values[v];
      }
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < HEADS; ++h)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) store(outputs + h * read.value_width + first + v * kLanes, sums[h][v]);
}

#if DUNWU_SHORT_PAIRS
/// Where the numbers of two vectors stand that become pairs: those of their first halves, and of their second ones.
struct PairPlaces {
  alignas(64) uint16_t low[32] = {}, high[32] = {};
};
constexpr PairPlaces pair_places() {
  PairPlaces places;
  for (int i = 0; i < 32; ++i) {
    places.low[i] = static_cast<uint16_t>(i / 2 + i % 2 * 32);
    places.high[i] = static_cast<uint16_t>(places.low[i] + 16);
  }
  return places;
}
constexpr PairPlaces kPairPlaces = pair_places();

/// As above, of bfloat16 values, two tokens at a time; the weights are bfloat16 too.
template <int HEADS, int VECTORS>
inline void mix_part(const Reading<c10::BFloat16>& read, const c10::BFloat16* weights, int64_t weight_stride, int64_t first, float* outputs) {
  const Pages<c10::BFloat16>& pages = read.pages;
  const __m512i first_half = _mm512_load_si512(kPairPlaces.low), second_half = _mm512_load_si512(kPairPlaces.high);
  __m512 sums[HEADS][VECTORS] = {};
  for (int64_t begin = 0; begin < pages.tokens; begin += kPageTokens) {
    const c10::BFloat16 *page = pages.page(begin / kPageTokens) + read.value_offset + first, *ahead = first > 0 ? nullptr : read.after_values(begin / kPageTokens);
    const int64_t count = std::min(kPageTokens, pages.tokens - begin);
    for (int64_t t = 0; t < count; t += 2) {
      for (int64_t i = 0; ahead != nullptr && i < read.value_width; i += kShortLanes) {
        __builtin_prefetch(ahead + t * pages.entry + i, 0, 3);
        __builtin_prefetch(ahead + (t + 1) * pages.entry + i, 0, 3);
      }
      // Nothing is read of a token that is not there: what lies there may be no number.
      const c10::BFloat16 *even = page + t * pages.entry, *odd = t + 1 < count ? even + pages.entry : nullptr;
      __m512bh pairs[VECTORS];
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; v += 2) {
        const int64_t left = (VECTORS - v) * kLanes;
        const auto a = reinterpret_cast<__m512i>(load_short(even + v * kLanes, left));
        const __m512i b = odd == nullptr ? _mm512_setzero_si512() : reinterpret_cast<__m512i>(load_short(odd + v * kLanes, left));
        pairs[v] = reinterpret_cast<__m512bh>(_mm512_permutex2var_epi16(a, first_half, b));
        if (v + 1 < VECTORS) pairs[v + 1] = reinterpret_cast<__m512bh>(_mm512_permutex2var_epi16(a, second_half, b));
      }
#pragma GCC unroll 4
      for (int h = 0; h < HEADS; ++h) {
        int32_t both;
        std::memcpy(&both, weights + h * weight_stride + begin + t, sizeof both);
        const auto weight = reinterpret_cast<__m512bh>(_mm512_set1_epi32(both));
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) sums[h][v] = _mm512_dpbf16_ps(sums[h][v], pairs[v], weight);
      }
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < HEADS; ++h)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) _mm512_storeu_ps(outputs + h * read.value_width + first + v * kLanes, sums[h][v]);
}
#endif

/// `count` numbers, times `scale`, become factors for C. Those of bfloat16 come to lie in the first half of the row: what is written there has
/// been read before. Zeros follow them to a whole block of 16, so that an odd last one has a partner.
template <typename C>
inline void factors(float* row, int64_t count, float scale) {
#if DUNWU_SHORT_PAIRS
  if constexpr (std::is_same_v<C, c10::BFloat16>) {
    auto* to = reinterpret_cast<C*>(row);
    for (int64_t i = 0; i < count; i += kLanes) {
      const auto some = static_cast<__mmask16>(count - i >= kLanes ? 0xffff : (1u << (count - i)) - 1);
      const __m512 value = _mm512_mul_ps(_mm512_maskz_loadu_ps(some, row + i), _mm512_set1_ps(scale));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
    }
    return;
  }
#endif
  for (int64_t i = 0; scale != 1.0f && i < count; ++i) row[i] *= scale;
}

template <int HEADS, typename C>
inline void attend_heads(const Reading<C>& read, float* queries, float* scores, float* outputs) {
  // Factors of the next head lie as far on as its float32 numbers did.
  constexpr int64_t kPerNumber = sizeof(float) / sizeof(Factor<C>);
  const int64_t tokens = read.pages.tokens, stride = padded(tokens);
  for (int h = 0; h < HEADS; ++h) factors<C>(queries + h * read.key_width, read.key_width, 1.0f);
  scores_of<HEADS, C>(read, reinterpret_cast<const Factor<C>*>(queries), kPerNumber * read.key_width, scores, stride);
  for (int h = 0; h < HEADS; ++h) {
    float* row = scores + h * stride;
    factors<C>(row, tokens, 1.0f / exponentiate(row, tokens, maximum(row, tokens)));
  }
  const auto* weights = reinterpret_cast<const Factor<C>*>(scores);
  int64_t i = 0;
  constexpr int kVectors = kAccumulators >= 24 ? 4 : 2;
  for (; i + kVectors * kLanes <= read.value_width; i += kVectors * kLanes) mix_part<HEADS, kVectors>(read, weights, kPerNumber * stride, i, outputs);
  for (; i < read.value_width; i += kLanes) mix_part<HEADS, 1>(read, weights, kPerNumber * stride, i, outputs);
}

/// softmax(queries · keysᵀ) · values. queries [heads, key_width], already scaled, padded with zeros, are overwritten; outputs [heads, value_width].
/// Keys and values are parts of the entries. `scores` has room for padded(tokens) numbers of four heads.
template <typename C>
inline void attend(const Reading<C>& read, float* queries, int64_t heads, float* scores, float* outputs) {
  int64_t h = 0;
  for (; h + 4 <= heads; h += 4) attend_heads<4>(read, queries + h * read.key_width, scores, outputs + h * read.value_width);
  for (; h + 2 <= heads; h += 2) attend_heads<2>(read, queries + h * read.key_width, scores, outputs + h * read.value_width);
  for (; h < heads; ++h) attend_heads<1>(read, queries + h * read.key_width, scores, outputs + h * read.value_width);
}

}  // namespace dunwu
