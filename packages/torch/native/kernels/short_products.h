// Products on the processor's matrix units (AMX) for training; sums are float32. Three kinds of numbers:
// - bfloat16, with weights that are kept in float32 and rounded on their way into the units' order;
// - float32 rounded to bfloat16 on its way;
// - float32 as the sum of two bfloat16, the number rounded and what that left: a · b is then a₁ b₁ + a₂ b₁ + a₁ b₂, and what is
//   left out is of the size of 2⁻¹⁶ (Henry, Tang, Heinecke 2019, arXiv 1904.06376).
//
// The units take the second operand in pairs of its rows, [depth / 2][columns][2]; here 32 columns of it at a time.
#pragma once

#include <ATen/native/CPUBlas.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>

#include "packed_columns.h"
#include "short_numbers.h"
#include "team.h"

namespace dunwu {

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

#if DUNWU_TILES

/// What is multiplied: numbers, and how many bfloat16 each becomes.
template <typename T, int PARTS>
struct Operand {
  using Number = T;
  static constexpr int kParts = PARTS;
};

constexpr int64_t kPanel = 32, kTilePairs = kTileDepth / 2;

/// A second operand [depth, columns] in pairs of rows: panels of `panel` columns, each [pairs][panel][2]; of several parts 16 pairs of
/// each in turn, so that the units read straight ahead. Columns and depth are filled up with zeros to `width` and 2 · `pairs`.
struct Pairs {
  Short* memory;
  int64_t width, panel, pairs, parts = 1;

  Pairs(Short* memory, int64_t width, int64_t panel, int64_t pairs) : memory(memory), width(width), panel(panel), pairs(pairs) {}
  /// In panels of 32.
  Pairs(Short* memory, int64_t depth, int64_t columns, int parts) : memory(memory), width(padded(columns, kPanel)), panel(kPanel), pairs(padded(depth, kTileDepth) / 2), parts(parts) {}

  Short* at(int part, int64_t pair, int64_t column) const {
    const int64_t place = pair + kTilePairs * (pair / kTilePairs * (parts - 1) + part);
    return memory + 2 * (column / panel * parts * pairs * panel + place * panel + column % panel);
  }
};

/// Numbers that an operand in panels takes.
template <int PARTS>
constexpr int64_t pairs_size(int64_t depth, int64_t columns) {
  return PARTS * padded(depth, kTileDepth) * padded(columns, kPanel);
}

/// Pairs begin..end of the rows of x [depth, columns].
template <int PARTS, typename S>
void pack_row_pairs(const S* x, int64_t stride, int64_t begin, int64_t end, int64_t depth, int64_t columns, const Pairs& to) {
  const __m512i lanes = pair_lanes();
  for (int64_t pair = begin; pair < end; ++pair) {
    const S *even = 2 * pair < depth ? x + 2 * pair * stride : nullptr, *odd = 2 * pair + 1 < depth ? x + (2 * pair + 1) * stride : nullptr;
    for (int64_t n = 0; n < to.width; n += 16) {
      __m256i a[PARTS], b[PARTS];
      read_16<PARTS>(even == nullptr ? nullptr : even + n, columns - n, a);
      read_16<PARTS>(odd == nullptr ? nullptr : odd + n, columns - n, b);
      const auto mask = static_cast<__mmask16>(to.width - n >= 16 ? 0xffff : (1u << (to.width - n)) - 1);
      for (int part = 0; part < PARTS; ++part)
        _mm512_mask_storeu_epi32(to.at(part, pair, n), mask, _mm512_permutex2var_epi16(_mm512_castsi256_si512(a[part]), lanes, _mm512_castsi256_si512(b[part])));
    }
  }
}

/// Rows begin..end of w [columns, depth] as the second operand of x · wᵀ. begin in steps of 16.
template <int PARTS, typename S>
void pack_column_pairs(const S* w, int64_t stride, int64_t begin, int64_t end, int64_t depth, int64_t columns, const Pairs& to) {
  for (int64_t n = begin; n < end; n += 16) {
    const auto mask = static_cast<__mmask16>(to.width - n >= 16 ? 0xffff : (1u << (to.width - n)) - 1);
    for (int64_t k = 0; k < 2 * to.pairs; k += 32) {
      __m512i r[PARTS][16];
      for (int64_t i = 0; i < 16; ++i) {
        const S* from = n + i < columns ? w + (n + i) * stride + k : nullptr;
        __m256i low[PARTS], high[PARTS];
        read_16<PARTS>(from, depth - k, low);
        read_16<PARTS>(from == nullptr ? nullptr : from + 16, depth - k - 16, high);
        for (int part = 0; part < PARTS; ++part) r[part][i] = _mm512_inserti64x4(_mm512_castsi256_si512(low[part]), high[part], 1);
      }
      for (int part = 0; part < PARTS; ++part) {
        transpose_16(r[part]);
        for (int64_t i = 0; i < std::min<int64_t>(16, to.pairs - k / 2); ++i) _mm512_mask_storeu_epi32(to.at(part, k / 2 + i, n), mask, r[part][i]);
      }
    }
  }
}

/// The first `columns` of 16 columns of the first `depth` of 32 rows of x, each as a row of 32 numbers.
template <int PARTS, typename S>
inline void turn_block(const S* x, int64_t stride, int64_t depth, int64_t columns, __m512i (*r)[16]) {
  // Pairs of rows are interleaved into 32-bit numbers, which are then transposed as such.
  const __m512i lanes = pair_lanes();
  for (int64_t i = 0; i < 16; ++i) {
    const int64_t even = 2 * i, odd = even + 1;
    __m256i a[PARTS], b[PARTS];
    read_16<PARTS>(even < depth ? x + even * stride : nullptr, columns, a);
    read_16<PARTS>(odd < depth ? x + odd * stride : nullptr, columns, b);
    for (int part = 0; part < PARTS; ++part) r[part][i] = _mm512_permutex2var_epi16(_mm512_castsi256_si512(a[part]), lanes, _mm512_castsi256_si512(b[part]));
  }
  for (int part = 0; part < PARTS; ++part) transpose_16(r[part]);
}

/// Columns begin..end of x [depth, ...] as rows: to[column − begin][k], `stride` numbers apart; beyond depth zeros up to the stride.
inline void transpose_columns(const Short* x, int64_t x_stride, int64_t depth, int64_t begin, int64_t end, Short* to, int64_t stride) {
  for (int64_t k = 0; k < stride; k += 32) {
    for (int64_t n = begin; n < end; n += 16) {
      const int64_t columns = std::min<int64_t>(16, end - n);
      __m512i r[1][16];
      turn_block<1>(x + k * x_stride + n, x_stride, depth - k, columns, r);
      for (int64_t i = 0; i < columns; ++i) _mm512_storeu_si512(to + (n - begin + i) * stride + k, r[0][i]);
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

/// A first operand stands in slabs of 32 rows, [depth / 32][parts][32][32], so that the units read straight ahead.
constexpr int64_t kSlab = 32, kSlabStep = kSlab * kTileDepth;

/// Numbers of a slab.
template <int PARTS>
constexpr int64_t slab_size(int64_t depth) {
  return PARTS * kSlab * padded(depth, kTileDepth);
}

/// Rows of x [rows, depth] into slabs.
template <int PARTS, typename S>
void pack_slabs(const S* x, int64_t rows, int64_t depth, Short* to) {
  for (int64_t i = 0; i < padded(rows, kSlab); ++i) {
    Short* slab = to + i / kSlab * slab_size<PARTS>(depth) + i % kSlab * kTileDepth;
    for (int64_t k = 0; k < depth; k += kTileDepth) {
      const S* from = i < rows ? x + i * depth + k : nullptr;
      __m256i low[PARTS], high[PARTS];
      read_16<PARTS>(from, depth - k, low);
      read_16<PARTS>(from == nullptr ? nullptr : from + 16, depth - k - 16, high);
      for (int part = 0; part < PARTS; ++part, slab += kSlabStep) _mm512_store_si512(slab, _mm512_inserti64x4(_mm512_castsi256_si512(low[part]), high[part], 1));
    }
  }
}

/// The first `columns` columns of x [depth, ...] as rows in slabs.
template <int PARTS, typename S>
void turn_into_slabs(const S* x, int64_t stride, int64_t depth, int64_t columns, Short* to) {
  for (int64_t k = 0; k < depth; k += kTileDepth) {
    for (int64_t n = 0; n < padded(columns, kSlab); n += 16) {
      __m512i r[PARTS][16];
      turn_block<PARTS>(x + k * stride + n, stride, depth - k, columns - n, r);
      Short* slab = to + n / kSlab * slab_size<PARTS>(depth) + k / kTileDepth * PARTS * kSlabStep + n % kSlab * kTileDepth;
      for (int part = 0; part < PARTS; ++part)
        for (int64_t i = 0; i < 16; ++i) _mm512_store_si512(slab + part * kSlabStep + i * kTileDepth, r[part][i]);
    }
  }
}

/// 32 rows of a first operand, `stride` numbers apart, and how far on the next 32 numbers of their depth stand: a slab, or rows as they are.
struct TileRows {
  const Short* memory;
  int64_t stride, step;
};

/// c [32, 32] (+)= a · b over `depth` numbers, a multiple of 32; b a panel, from where the depth begins. After `open_tiles`.
template <int PARTS>
inline void tile_product(const TileRows& rows, const Short* b, int64_t depth, float* c, int64_t c_stride, bool add) {
  constexpr int64_t kPairRow = 4 * kPanel, kStep = 2 * kTilePairs * kPanel;
  const int64_t c_row = c_stride * 4, row = 2 * rows.stride, half = kTileRows * rows.stride;
  const Short* a = rows.memory;
  written();
  if (add) {
    _tile_loadd(0, c, c_row);
    _tile_loadd(1, c + 16, c_row);
    _tile_loadd(2, c + 16 * c_stride, c_row);
    _tile_loadd(3, c + 16 * c_stride + 16, c_row);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t k = 0; k < depth; k += kTileDepth, a += rows.step, b += PARTS * kStep) {
    _tile_loadd(4, a, row);
    if constexpr (PARTS == 2) {
      // What rounding left of b.
      _tile_loadd(6, b + kStep, kPairRow);
      _tile_loadd(7, b + kStep + 32, kPairRow);
      _tile_loadd(5, a + half, row);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_loadd(6, b, kPairRow);
    _tile_loadd(7, b + 32, kPairRow);
    if constexpr (PARTS == 1) _tile_loadd(5, a + half, row);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    if constexpr (PARTS == 2) {
      // And of a.
      _tile_loadd(4, a + kSlabStep, row);
      _tile_loadd(5, a + kSlabStep + half, row);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, c_row);
  _tile_stored(1, c + 16, c_row);
  _tile_stored(2, c + 16 * c_stride, c_row);
  _tile_stored(3, c + 16 * c_stride + 16, c_row);
}

/// The first rows and columns of sums [32, 32], rounded where the result is.
inline void give_sums(const float* sums, int64_t rows, int64_t columns, float* to, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i) std::copy(sums + i * 32, sums + i * 32 + columns, to + i * stride);
}
inline void give_sums(const float* sums, int64_t rows, int64_t columns, Short* to, int64_t stride) {
  const auto some = [](int64_t count) { return static_cast<__mmask16>(count <= 0 ? 0 : count >= 16 ? 0xffff : (1u << count) - 1); };
  for (int64_t i = 0; i < rows; ++i) {
    _mm256_mask_storeu_epi16(to + i * stride, some(columns), short_16(sums + i * 32));
    _mm256_mask_storeu_epi16(to + i * stride + 16, some(columns - 16), short_16(sums + i * 32 + 16));
  }
}

/// Rows of a block of a product: a panel is read from the caches for all of them.
constexpr int64_t kBlockRows = 128;

/// Rows begin..end of y = x · B. x [.., depth] and y [.., columns], a row after the other; B in panels. The lines that sums
/// go to are asked for while the units make them: what is stored would wait for memory otherwise.
template <int PARTS, typename T, typename Out>
void multiply_panels(const T* x, int64_t begin, int64_t end, int64_t depth, int64_t columns, const Pairs& panels, Out* y) {
  const int64_t whole = 2 * panels.pairs, slab = slab_size<PARTS>(depth);
  const ShortBuffer room(kBlockRows / kSlab * slab);
  alignas(64) float sums[kSlab * kPanel];
  for (int64_t m = begin; m < end; m += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, end - m);
    // Rows of bfloat16 are read where they are, unless tiles would reach beyond the last or the end of one.
    const bool as_they_are = std::is_same_v<T, Short> && depth == whole && rows % kSlab == 0;
    if (!as_they_are) pack_slabs<PARTS>(x + m * depth, rows, depth, room.memory);
    const auto slab_of = [&](int64_t i) {
      if (as_they_are) return TileRows{reinterpret_cast<const Short*>(x + (m + i) * depth), depth, kTileDepth};
      return TileRows{room.memory + i / kSlab * slab, kTileDepth, PARTS * kSlabStep};
    };
    for (int64_t n = 0; n < columns; n += kPanel) {
      for (int64_t i = 0; i < rows; i += kSlab) {
        const int64_t height = std::min(kSlab, rows - i), width = std::min(kPanel, columns - n);
        Out* to = y + (m + i) * columns + n;
        for (int64_t j = 0; j < height; ++j)
          for (int64_t k = 0; k < width; k += 64 / sizeof(Out)) __builtin_prefetch(to + j * columns + k, 1, 3);
        tile_product<PARTS>(slab_of(i), panels.at(0, 0, n), whole, sums, kPanel, false);
        give_sums(sums, height, width, to, columns);
      }
    }
  }
}

/// Tokens that a weight's gradient takes at a time: those of x stay in the second cache for all of its rows.
constexpr int64_t kBlockTokens = 512;

/// Rows begin..end of dw = dyᵀ · x over all tokens, in order; `add`: onto what is there. dy [tokens, outputs]; x [tokens, inputs] in panels.
template <int PARTS, typename T>
void weight_gradient(const T* dy, int64_t outputs, int64_t tokens, int64_t begin, int64_t end, const Pairs& x, int64_t inputs, float* dw, bool add) {
  if (tokens == 0) {
    if (!add) std::fill(dw + begin * inputs, dw + end * inputs, 0.0f);
    return;
  }
  const ShortBuffer room(kBlockRows / kSlab * slab_size<PARTS>(kBlockTokens));
  alignas(64) float sums[kSlab * kPanel];
  for (int64_t t = 0; t < tokens; t += kBlockTokens) {
    const int64_t depth = std::min(kBlockTokens, tokens - t), whole = padded(depth, kTileDepth), slab = slab_size<PARTS>(depth);
    for (int64_t n = begin; n < end; n += kBlockRows) {
      const int64_t rows = std::min(kBlockRows, end - n);
      turn_into_slabs<PARTS>(dy + t * outputs + n, outputs, depth, rows, room.memory);
      for (int64_t k = 0; k < inputs; k += kPanel) {
        for (int64_t i = 0; i < rows; i += kSlab) {
          const TileRows some{room.memory + i / kSlab * slab, kTileDepth, PARTS * kSlabStep};
          const Short* panel = x.at(0, t / 2, k);
          float* to = dw + (n + i) * inputs + k;
          const int64_t height = std::min(kSlab, rows - i), width = std::min(kPanel, inputs - k);
          if (height == kSlab && width == kPanel) {
            tile_product<PARTS>(some, panel, whole, to, inputs, add || t > 0);
            continue;
          }
          for (int64_t j = 0; j < height; ++j) std::copy(to + j * inputs, to + j * inputs + width, sums + j * kPanel);
          tile_product<PARTS>(some, panel, whole, sums, kPanel, add || t > 0);
          give_sums(sums, height, width, to, inputs);
        }
      }
    }
  }
}

#endif

}  // namespace dunwu
