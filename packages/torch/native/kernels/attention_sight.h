// Which keys queries see. Of the keys before a query's own place and at it, those from the query's start on; and the first `common`
// keys of its entry: a prompt that stands once, before the answers to it.
#pragma once

#include <c10/util/SmallVector.h>

#include <algorithm>
#include <cstdint>

#include "attention.h"

namespace dunwu {

/// Keys and queries that are taken together, as both ways to compute have it.
constexpr int64_t kSightBlock = 64;

/// A batch entry: its rows follow one another.
struct AttentionEntry {
  int64_t row, time;
  /// Of each of its rows, counted from the entry's first one; null: 0.
  const int32_t* starts;
  int64_t common;

  AttentionEntry(const AttentionShape& shape, const AttentionRows& rows, int64_t entry)
      : row(rows.bounds == nullptr ? entry * shape.time : rows.bounds[entry]),
        time(rows.bounds == nullptr ? shape.time : rows.bounds[entry + 1] - row),
        starts(rows.starts == nullptr ? nullptr : rows.starts + row),
        common(rows.common == nullptr ? 0 : rows.common[entry]) {}
};

/// Keys that a query sees, as columns of its block's scores: [0, common) and [low, high).
struct SeenColumns {
  int64_t common, low, high;
};

/// The keys that a block of queries may see, in whole blocks, as columns: first the common ones, then the others.
class Sight {
 public:
  struct Piece {
    int64_t column, key, keys;
  };

  /// Queries first.. of an entry, and keys before `end`.
  Sight(const AttentionEntry& entry, int64_t first, int64_t count, int64_t end) : entry_(entry), first_(first) {
    int64_t from = first + count;
    for (int64_t i = 0; i < count; ++i) from = std::min(from, low(first + i));
    const int64_t head = (entry.common + kSightBlock - 1) / kSightBlock * kSightBlock;
    from = from / kSightBlock * kSightBlock;
    const bool apart = entry.common > 0 && from > head;
    if (entry.common > 0 && !apart) from = 0;
    pieces_[0] = {0, 0, apart ? head : 0};
    pieces_[1] = {pieces_[0].keys, from, end - from};
  }

  /// One or two runs of keys; the first may be empty.
  const Piece (&pieces() const)[2] { return pieces_; }
  int64_t columns() const { return pieces_[1].column + pieces_[1].keys; }

  /// The same in runs of `most` keys at most.
  c10::SmallVector<Piece, 8> blocks(int64_t most) const {
    c10::SmallVector<Piece, 8> blocks;
    for (const Piece& piece : pieces_)
      for (int64_t at = 0; at < piece.keys; at += most) blocks.push_back({piece.column + at, piece.key + at, std::min(most, piece.keys - at)});
    return blocks;
  }

  SeenColumns of(int64_t query) const {
    const int64_t place = first_ + query, from = low(place), shift = pieces_[1].column - pieces_[1].key;
    return {from == 0 ? 0 : entry_.common, from + shift, place + 1 + shift};
  }

 private:
  /// The first key that the query at a place sees behind the common ones; 0 where these lead up to it.
  int64_t low(int64_t place) const {
    const int64_t start = entry_.starts == nullptr ? 0 : entry_.starts[place];
    return start <= entry_.common ? 0 : start;
  }

  AttentionEntry entry_;
  int64_t first_;
  Piece pieces_[2];
};

}  // namespace dunwu
