// Products with bfloat16 weights on the processor's matrix units (AMX), where it has them, for few columns. The activations are rounded
// to bfloat16 and stand in pairs, [k / 2][column][2], as the units take them. Sums are float32.
//
// A unit multiplies tiles: 16 rows by 32 columns of weights with 32 by 16 of activations.
#pragma once

#include <ATen/native/CPUBlas.h>

#include "columns.h"

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__linux__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define DUNWU_TILES 1
#else
#define DUNWU_TILES 0
#endif

namespace dunwu {

constexpr int64_t kTileRows = 16, kTileDepth = 32;

/// Whether this processor multiplies bfloat16 matrices itself.
inline bool has_matrix_units() {
  static const bool has = at::native::cpublas::could_pack(at::kBFloat16);
  return has;
}

/// Whether the kernels below may be used: the system lends the units' state to processes that ask for it.
inline bool has_tiles() {
#if DUNWU_TILES
  constexpr int kAskForState = 0x1023, kTileData = 18;
  static const bool has = has_matrix_units() && syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
  return has;
#else
  return false;
#endif
}

/// Numbers (of bfloat16) that a packed operand takes.
constexpr int64_t packed_size(int64_t depth, int64_t width) { return padded(depth, 2) * width; }

/// A matrix of bfloat16, either as it lies in memory or tile after tile (`pack_tiles`), which is read faster: straight ahead.
struct ShortMatrix : Matrix<c10::BFloat16> {
  const c10::BFloat16* tiles = nullptr;
};

/// Whether a matrix can be brought into tiles.
constexpr bool fits_tiles(int64_t rows, int64_t columns) { return rows % kTileRows == 0 && columns % kTileDepth == 0; }

/// Where the number at (n, k) of a matrix lies in its tiles.
constexpr int64_t tile_place(int64_t n, int64_t k, int64_t columns) {
  return n / kTileRows * kTileRows * columns + k / kTileDepth * kTileRows * kTileDepth + n % kTileRows * kTileDepth + k % kTileDepth;
}

#if DUNWU_TILES

/// The form of the eight tiles, as the processor reads it.
struct alignas(64) TileShape {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// Before tiles are loaded: GCC's intrinsics do not say that they read memory, and what was stored there just now might not be yet.
inline void written() { asm volatile("" ::: "memory"); }

inline void take_shape(const TileShape& shape) {
  asm volatile("" : : "r"(&shape) : "memory");
  _tile_loadconfig(&shape);
}

/// The units' state is a thread's own, and costs others that run on it until it is given back.
inline void open_tiles() { take_shape(TileShape()); }
inline void close_tiles() { _tile_release(); }

/// Rows begin..end of w [rows, columns], rounded, into tiles: [rows / 16][columns / 32][16][32]. All in whole tiles.
inline void pack_tiles(const float* w, int64_t begin, int64_t end, int64_t columns, c10::BFloat16* tiles) {
  for (int64_t n = begin; n < end; ++n) {
    c10::BFloat16* to = tiles + n / kTileRows * kTileRows * columns + n % kTileRows * kTileDepth;
    for (int64_t k = 0; k < columns; k += kTileDepth, to += kTileRows * kTileDepth)
      _mm512_storeu_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(_mm512_loadu_ps(w + n * columns + k + 16), _mm512_loadu_ps(w + n * columns + k))));
  }
}

/// Pairs begin..end of columns first..last of x [depth, width]; depth is even, columns are whole blocks.
inline void pack_pairs(const float* x, int64_t begin, int64_t end, int64_t first, int64_t last, int64_t width, c10::BFloat16* packed) {
  alignas(64) uint16_t lanes[32];
  for (int i = 0; i < 32; ++i) lanes[i] = static_cast<uint16_t>(i / 2 + i % 2 * 16);
  const __m512i order = _mm512_load_si512(lanes);
  for (int64_t pair = begin; pair < end; ++pair) {
    const float *even = x + 2 * pair * width, *odd = even + width;
    for (int64_t m = first; m < last; m += kColumnBlock) {
      const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(_mm512_loadu_ps(odd + m), _mm512_loadu_ps(even + m)));
      _mm512_storeu_si512(packed + 2 * (pair * width + m), _mm512_permutexvar_epi16(order, both));
    }
  }
}

/// Where weights lie: `block` numbers from 16 rows to the next, `piece` from 32 columns to the next, `row` bytes from row to row.
struct TileWalk {
  const c10::BFloat16* at;
  int64_t block, piece, row;
};

/// Asks for a tile.
inline void fetch_tile(const c10::BFloat16* at) {
#pragma GCC unroll 16
  for (int64_t i = 0; i < kTileRows; ++i) __builtin_prefetch(at + i * kTileDepth, 0, 3);
}

/// 64 rows by 16 columns. Of matrices that lie tile after tile (TILED) others are asked for, each before one is loaded: those of the same rows
/// further on, and at the rows' end those of the next 64.
template <bool TILED>
inline void tiles_4_1(const TileWalk& w, int64_t depth, const c10::BFloat16* x, int64_t width, float* y, bool add) {
  constexpr int64_t kAhead = 3;
  const int64_t y_row = width * 4, y_block = kTileRows * width;
  written();
  if (add) {
    _tile_loadd(0, y, y_row);
    _tile_loadd(1, y + y_block, y_row);
    _tile_loadd(2, y + 2 * y_block, y_row);
    _tile_loadd(3, y + 3 * y_block, y_row);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const c10::BFloat16* from = w.at;
  for (int64_t k = 0; k < depth; k += kTileDepth, from += w.piece) {
    // Behind the end of 16 rows memory goes on with the next 16, which belong to these 64 and are read already: the next 64 begin three blocks
    // further on. Those that are not there are asked for to no effect.
    const c10::BFloat16* ahead = TILED ? from + kAhead * w.piece + (k + kAhead * kTileDepth < depth ? 0 : 3 * w.block) : nullptr;
    _tile_loadd(6, x + k * width, y_row);
    if constexpr (TILED) fetch_tile(ahead);
    _tile_loadd(4, from, w.row);
    if constexpr (TILED) fetch_tile(ahead + w.block);
    _tile_loadd(5, from + w.block, w.row);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 5, 6);
    if constexpr (TILED) fetch_tile(ahead + 2 * w.block);
    _tile_loadd(7, from + 2 * w.block, w.row);
    if constexpr (TILED) fetch_tile(ahead + 3 * w.block);
    _tile_loadd(4, from + 3 * w.block, w.row);
    _tile_dpbf16ps(2, 7, 6);
    _tile_dpbf16ps(3, 4, 6);
  }
  _tile_stored(0, y, y_row);
  _tile_stored(1, y + y_block, y_row);
  _tile_stored(2, y + 2 * y_block, y_row);
  _tile_stored(3, y + 3 * y_block, y_row);
}

/// 32 rows by 32 columns.
inline void tiles_2_2(const TileWalk& w, int64_t depth, const c10::BFloat16* x, int64_t width, float* y, bool add) {
  const int64_t y_row = width * 4;
  float* below = y + kTileRows * width;
  written();
  if (add) {
    _tile_loadd(0, y, y_row);
    _tile_loadd(1, y + 16, y_row);
    _tile_loadd(2, below, y_row);
    _tile_loadd(3, below + 16, y_row);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const c10::BFloat16* from = w.at;
  for (int64_t k = 0; k < depth; k += kTileDepth, from += w.piece) {
    _tile_loadd(4, from, w.row);
    _tile_loadd(6, x + k * width, y_row);
    _tile_loadd(7, x + k * width + 32, y_row);
    _tile_loadd(5, from + w.block, w.row);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, y, y_row);
  _tile_stored(1, y + 16, y_row);
  _tile_stored(2, below, y_row);
  _tile_stored(3, below + 16, y_row);
}

/// 16 rows by 16 columns.
inline void tiles_1_1(const TileWalk& w, int64_t depth, const c10::BFloat16* x, int64_t width, float* y, bool add) {
  const int64_t y_row = width * 4;
  written();
  if (add)
    _tile_loadd(0, y, y_row);
  else
    _tile_zero(0);
  const c10::BFloat16* from = w.at;
  for (int64_t k = 0; k < depth; k += kTileDepth, from += w.piece) {
    _tile_loadd(4, from, w.row);
    _tile_loadd(6, x + k * width, y_row);
    _tile_dpbf16ps(0, 4, 6);
  }
  _tile_stored(0, y, y_row);
}

/// Rows begin..end of Y = W X, or of Y += W X, with X packed; after `open_tiles`. Rows are whole tiles, and so are W's columns.
inline void multiply_tiles(const ShortMatrix& w, int64_t begin, int64_t end, const c10::BFloat16* packed, int64_t width, float* y, bool add) {
  const bool tiled = w.tiles != nullptr;
  TileWalk walk{tiled ? w.tiles + begin * w.columns : w.data + begin * w.row, kTileRows * (tiled ? w.columns : w.row), tiled ? kTileRows * kTileDepth : kTileDepth, 2 * (tiled ? kTileDepth : w.row)};
  int64_t n = begin;
  const auto step = [&](int64_t rows) {
    n += rows;
    walk.at += rows / kTileRows * walk.block;
  };
  if (width < 2 * kColumnBlock) {
    for (; n + 64 <= end; step(64)) {
      if (tiled)
        tiles_4_1<true>(walk, w.columns, packed, width, y + n * width, add);
      else
        tiles_4_1<false>(walk, w.columns, packed, width, y + n * width, add);
    }
  } else {
    for (; n + 32 <= end; step(32)) {
      int64_t m = 0;
      for (; m + 32 <= width; m += 32) tiles_2_2(walk, w.columns, packed + 2 * m, width, y + n * width + m, add);
      if (m == width) continue;
      TileWalk half = walk;
      for (int64_t i = 0; i < 32; i += 16, half.at += half.block) tiles_1_1(half, w.columns, packed + 2 * m, width, y + (n + i) * width + m, add);
    }
  }
  for (; n < end; step(16))
    for (int64_t m = 0; m < width; m += 16) tiles_1_1(walk, w.columns, packed + 2 * m, width, y + n * width + m, add);
}

#else

inline void open_tiles() {}
inline void close_tiles() {}
inline void pack_tiles(const float*, int64_t, int64_t, int64_t, c10::BFloat16*) {}
inline void pack_pairs(const float*, int64_t, int64_t, int64_t, int64_t, int64_t, c10::BFloat16*) {}
inline void multiply_tiles(const ShortMatrix&, int64_t, int64_t, const c10::BFloat16*, int64_t, float*, bool) {}

#endif

}  // namespace dunwu
