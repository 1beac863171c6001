// Causal attention block by block: the scores of a block of queries and a block of keys are all that exists of
// [heads, time, time] (FlashAttention-2, Dao 2023, arXiv 2307.08691, algorithms 1 and 2). What lies above the diagonal or
// before the first key that any query of a block may see is not computed.
#pragma once

#include <cstdint>

namespace dunwu {

struct AttentionShape {
  /// Rows of all entries of the batch, and of the longest one.
  int64_t rows, batch, time, heads;
  /// Keys and values; heads / groups query heads, one after another, share each.
  int64_t groups;
  /// A query's numbers: `key` + `shared`.
  int64_t query, key, shared, value;
  double scale;
};

/// A query head's numbers stand at query + row · query_row + head · query_head; a key's first numbers and a value's alike with
/// its group for the head; the key's last `shared` numbers are the same for all groups.
template <typename T>
struct AttentionOperands {
  T* query;
  int64_t query_row, query_head;
  T* key;
  int64_t key_row, key_head;
  T* shared;
  int64_t shared_row;
  T* value;
  int64_t value_row, value_head;
};

/// What the rows of the batch's entries see (attention_sight.h); any of it may be null.
struct AttentionRows {
  /// [rows]: the first key of its entry that a row sees; null: the entry's first.
  const int32_t* starts;
  /// [batch + 1]: where each entry begins, none longer than `time`; null: every `time` rows.
  const int32_t* bounds;
  /// [batch]: so many first keys of an entry are seen by all rows behind them; null: none.
  const int32_t* common;
};

/// output [rows, heads · value], log_sum [rows, heads]: the logarithm of each softmax's denominator.
template <typename scalar_t, typename acc_t>
void attention_forward(const AttentionShape& shape, const AttentionOperands<const scalar_t>& in, const AttentionRows& rows, scalar_t* output, acc_t* log_sum);

/// Gradients of all operands but `shared`, whose gradient comes as [groups, rows, shared], to be summed over groups.
template <typename scalar_t, typename acc_t>
void attention_backward(const AttentionShape& shape, const AttentionOperands<const scalar_t>& in, const AttentionRows& rows, const scalar_t* output, const acc_t* log_sum,
                        const scalar_t* gradient, const AttentionOperands<scalar_t>& out, acc_t* shared_gradient);

}  // namespace dunwu
