#include "short_attention.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <vector>

#include "line_vector.h"
#include "math.h"
#include "short_products.h"

namespace dunwu {

#if DUNWU_TILES

namespace {

/// Queries that are computed at a time, and the step in which keys are taken: few shapes, so that few kernels are made.
constexpr int64_t kQueries = 64;
/// The scores of a block of queries and all keys are held: 64 · 1024 numbers stay in the second cache.
constexpr int64_t kLongest = 1024;

constexpr int64_t blocks_of(int64_t count) { return (count + kQueries - 1) / kQueries * kQueries; }

/// An operand in one piece, as libtorch's kernels take it; depth is even.
Pairs whole_pairs(Short* memory, int64_t columns, int64_t depth) { return {memory, columns, columns, depth / 2}; }

void product(int64_t rows, int64_t columns, int64_t depth, const Short* a, int64_t a_stride, const Short* pairs, int64_t pair_columns, float* to, int64_t stride, bool add) {
  at::native::cpublas::brgemm(rows, columns, depth, a_stride, pair_columns, stride, add, a, pairs, to, true);
}

/// `count` rows, of `padded` numbers each: `first` from one place and `second` from another; rows beyond count are zeros, up to `rows`.
void gather(const Short* from, int64_t stride, int64_t first, const Short* other, int64_t other_stride, int64_t second, int64_t count, int64_t rows, Short* to) {
  const int64_t width = first + second;
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + i * width, from + i * stride, first * sizeof(Short));
    if (second > 0) std::memcpy(to + i * width + first, other + i * other_stride, second * sizeof(Short));
  }
  std::fill(to + count * width, to + rows * width, Short(0.0f));
}

/// What one thread works with, made once.
struct Room {
  LineVector<Short> rows, keys, key_pairs, values, value_pairs, query, query_pairs, gradient, gradient_pairs, weights, turned;
  LineVector<float> scores, d_scores, mixed, d_query, d_key, d_value;
};

struct ShortAttention {
  const AttentionShape& shape;
  const AttentionOperands<const Short>& in;
  const int32_t* starts;
  const int64_t time = shape.time, padded_time = blocks_of(shape.time), per_group = shape.heads / shape.groups;

  /// The first key that a query of rows row.. sees, in whole blocks.
  int64_t first_key(int64_t row, int64_t queries) const {
    if (starts == nullptr) return 0;
    int64_t least = time;
    for (int64_t i = 0; i < queries; ++i) least = std::min<int64_t>(least, starts[row + i]);
    return least / kQueries * kQueries;
  }

  /// Keys of a group as the second operand of query · keyᵀ; with `rows_too` also of scores · key.
  void take_keys(int64_t entry, int64_t group, bool rows_too, Room& room) const {
    const int64_t row = entry * time;
    room.keys.resize(padded_time * shape.query);
    gather(in.key + row * in.key_row + group * in.key_head, in.key_row, shape.key, shape.shared > 0 ? in.shared + row * in.shared_row : nullptr, in.shared_row, shape.shared, time,
           padded_time, room.keys.data());
    room.key_pairs.resize(padded_time * shape.query);
    pack_column_pairs<1>(room.keys.data(), shape.query, 0, padded_time, shape.query, padded_time, whole_pairs(room.key_pairs.data(), padded_time, shape.query));
    if (rows_too) {
      room.rows.resize(padded_time * shape.query);
      pack_row_pairs<1>(room.keys.data(), shape.query, 0, padded_time / 2, padded_time, shape.query, whole_pairs(room.rows.data(), shape.query, padded_time));
    }
  }

  void take_values(int64_t entry, int64_t group, bool columns, Room& room) const {
    const int64_t row = entry * time;
    room.values.resize(padded_time * shape.value);
    gather(in.value + row * in.value_row + group * in.value_head, in.value_row, shape.value, nullptr, 0, 0, time, padded_time, room.values.data());
    room.value_pairs.resize(padded_time * shape.value);
    if (columns)
      pack_column_pairs<1>(room.values.data(), shape.value, 0, padded_time, shape.value, padded_time, whole_pairs(room.value_pairs.data(), padded_time, shape.value));
    else
      pack_row_pairs<1>(room.values.data(), shape.value, 0, padded_time / 2, padded_time, shape.value, whole_pairs(room.value_pairs.data(), shape.value, padded_time));
  }

  void take_query(int64_t row, int64_t head, int64_t queries, Room& room) const {
    room.query.resize(kQueries * shape.query);
    gather(in.query + row * in.query_row + head * in.query_head, in.query_row, shape.query, nullptr, 0, 0, queries, kQueries, room.query.data());
  }

  void forward(Short* output, float* log_sum) const {
    const int64_t groups = shape.batch * shape.groups;
    const auto scale = static_cast<float>(shape.scale);
    at::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
      Room room;
      room.scores.resize(kQueries * padded_time);
      room.weights.resize(kQueries * padded_time);
      room.mixed.resize(kQueries * shape.value);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t entry = task / shape.groups, group = task % shape.groups;
        take_keys(entry, group, false, room);
        take_values(entry, group, false, room);
        for (int64_t h = group * per_group; h < (group + 1) * per_group; ++h) {
          for (int64_t q = 0; q < time; q += kQueries) {
            const int64_t queries = std::min(kQueries, time - q), row = entry * time + q;
            const int64_t from = first_key(row, queries), keys = q + kQueries - from;
            take_query(row, h, queries, room);
            product(kQueries, keys, shape.query, room.query.data(), shape.query, room.key_pairs.data() + 2 * from, padded_time, room.scores.data(), keys, false);
            float inverse[kQueries];
            for (int64_t i = 0; i < kQueries; ++i) {
              Short* to = room.weights.data() + i * keys;
              if (i >= queries) {
                std::fill(to, to + keys, Short(0.0f));
                continue;
              }
              float* s = room.scores.data() + i * keys;
              const int64_t low = (starts == nullptr ? 0 : starts[row + i]) - from, high = q + i + 1 - from;
              for (int64_t j = low; j < high; ++j) s[j] *= scale;
              const float top = maximum(s + low, high - low);
              const float sum = exponentiate(s + low, high - low, top);
              inverse[i] = 1.0f / sum;
              log_sum[(row + i) * shape.heads + h] = top + std::log(sum);
              std::fill(s, s + low, 0.0f);
              std::fill(s + high, s + keys, 0.0f);
              shorten(s, 1, keys, to, keys);
            }
            product(kQueries, shape.value, keys, room.weights.data(), keys, room.value_pairs.data() + from * shape.value, shape.value, room.mixed.data(), shape.value, false);
            for (int64_t i = 0; i < queries; ++i) {
              Short* to = output + ((row + i) * shape.heads + h) * shape.value;
              for (int64_t j = 0; j < shape.value; ++j) to[j] = Short(room.mixed[i * shape.value + j] * inverse[i]);
            }
          }
        }
      }
      at::native::cpublas::brgemm_release();
    });
  }

  void backward(const Short* output, const float* log_sum, const Short* gradient, const AttentionOperands<Short>& out, float* shared_gradient) const {
    const int64_t groups = shape.batch * shape.groups, rows = shape.batch * time;
    const auto scale = static_cast<float>(shape.scale);
    at::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
      Room room;
      room.scores.resize(kQueries * padded_time);
      room.d_scores.resize(kQueries * padded_time);
      room.weights.resize(kQueries * padded_time);
      room.turned.resize(padded_time * kQueries);
      room.gradient.resize(kQueries * shape.value);
      room.query_pairs.resize(kQueries * shape.query);
      room.gradient_pairs.resize(kQueries * shape.value);
      room.d_query.resize(kQueries * shape.query);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t entry = task / shape.groups, group = task % shape.groups, top_row = entry * time;
        take_keys(entry, group, true, room);
        take_values(entry, group, true, room);
        room.d_key.assign(padded_time * shape.query, 0.0f);
        room.d_value.assign(padded_time * shape.value, 0.0f);
        for (int64_t h = group * per_group; h < (group + 1) * per_group; ++h) {
          for (int64_t q = 0; q < time; q += kQueries) {
            const int64_t queries = std::min(kQueries, time - q), row = top_row + q;
            const int64_t from = first_key(row, queries), keys = q + kQueries - from;
            take_query(row, h, queries, room);
            gather(gradient + (row * shape.heads + h) * shape.value, shape.heads * shape.value, shape.value, nullptr, 0, 0, queries, kQueries, room.gradient.data());
            product(kQueries, keys, shape.query, room.query.data(), shape.query, room.key_pairs.data() + 2 * from, padded_time, room.scores.data(), keys, false);
            product(kQueries, keys, shape.value, room.gradient.data(), shape.value, room.value_pairs.data() + 2 * from, padded_time, room.d_scores.data(), keys, false);
            for (int64_t i = 0; i < kQueries; ++i) {
              float *s = room.scores.data() + i * keys, *d = room.d_scores.data() + i * keys;
              if (i >= queries) {
                std::fill(s, s + keys, 0.0f);
                std::fill(d, d + keys, 0.0f);
                continue;
              }
              const Short *g = room.gradient.data() + i * shape.value, *o = output + ((row + i) * shape.heads + h) * shape.value;
              float delta = 0;
              for (int64_t j = 0; j < shape.value; ++j) delta += static_cast<float>(g[j]) * static_cast<float>(o[j]);
              const int64_t low = (starts == nullptr ? 0 : starts[row + i]) - from, high = q + i + 1 - from;
              const float above = log_sum[(row + i) * shape.heads + h];
              for (int64_t j = low; j < high; ++j) {
                const float p = fast_exp(s[j] * scale - above);
                s[j] = p;
                d[j] = p * (d[j] - delta) * scale;
              }
              for (float* part : {s, d}) {
                std::fill(part, part + low, 0.0f);
                std::fill(part + high, part + keys, 0.0f);
              }
            }
            // d value += Pᵀ · d output
            shorten(room.scores.data(), kQueries, keys, room.weights.data(), keys);
            transpose_columns<1>(room.weights.data(), keys, kQueries, 0, keys, room.turned.data(), kQueries);
            pack_row_pairs<1>(room.gradient.data(), shape.value, 0, kQueries / 2, kQueries, shape.value, whole_pairs(room.gradient_pairs.data(), shape.value, kQueries));
            product(keys, shape.value, kQueries, room.turned.data(), kQueries, room.gradient_pairs.data(), shape.value, room.d_value.data() + from * shape.value, shape.value, true);
            // d query = dS · key, d key += dSᵀ · query
            shorten(room.d_scores.data(), kQueries, keys, room.weights.data(), keys);
            product(kQueries, shape.query, keys, room.weights.data(), keys, room.rows.data() + from * shape.query, shape.query, room.d_query.data(), shape.query, false);
            transpose_columns<1>(room.weights.data(), keys, kQueries, 0, keys, room.turned.data(), kQueries);
            pack_row_pairs<1>(room.query.data(), shape.query, 0, kQueries / 2, kQueries, shape.query, whole_pairs(room.query_pairs.data(), shape.query, kQueries));
            product(keys, shape.query, kQueries, room.turned.data(), kQueries, room.query_pairs.data(), shape.query, room.d_key.data() + from * shape.query, shape.query, true);
            shorten(room.d_query.data(), queries, shape.query, out.query + row * out.query_row + h * out.query_head, out.query_row);
          }
        }
        for (int64_t i = 0; i < time; ++i) {
          const float *key = room.d_key.data() + i * shape.query, *value = room.d_value.data() + i * shape.value;
          shorten(key, 1, shape.key, out.key + (top_row + i) * out.key_row + group * out.key_head, shape.key);
          shorten(value, 1, shape.value, out.value + (top_row + i) * out.value_row + group * out.value_head, shape.value);
          if (shape.shared > 0) std::copy(key + shape.key, key + shape.query, shared_gradient + (group * rows + top_row + i) * shape.shared);
        }
      }
      at::native::cpublas::brgemm_release();
    });
  }
};

}  // namespace

bool takes_short_attention(const AttentionShape& shape) {
  return has_tiles() && shape.time >= 1 && shape.time <= kLongest && shape.query % 2 == 0 && shape.value % 2 == 0;
}

void short_attention_forward(const AttentionShape& shape, const AttentionOperands<const Short>& in, const int32_t* starts, Short* output, float* log_sum) {
  ShortAttention{shape, in, starts}.forward(output, log_sum);
}

void short_attention_backward(const AttentionShape& shape, const AttentionOperands<const Short>& in, const int32_t* starts, const Short* output, const float* log_sum, const Short* gradient,
                              const AttentionOperands<Short>& out, float* shared_gradient) {
  ShortAttention{shape, in, starts}.backward(output, log_sum, gradient, out, shared_gradient);
}

#else

bool takes_short_attention(const AttentionShape&) { return false; }

void short_attention_forward(const AttentionShape&, const AttentionOperands<const Short>&, const int32_t*, Short*, float*) { TORCH_CHECK(false, "attention: this processor has no matrix units"); }

void short_attention_backward(const AttentionShape&, const AttentionOperands<const Short>&, const int32_t*, const Short*, const float*, const Short*, const AttentionOperands<Short>&, float*) {
  TORCH_CHECK(false, "attention: this processor has no matrix units");
}

#endif

}  // namespace dunwu
