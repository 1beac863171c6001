#include "short_attention.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <memory>
#include <vector>

#include "attention_sight.h"
#include "line_vector.h"
#include "math.h"
#include "short_products.h"
#include "tasks.h"

namespace dunwu {

#if DUNWU_TILES

namespace {

/// Queries that are computed at a time, and the step in which keys are taken: few shapes, so that few kernels are made.
constexpr int64_t kQueries = kSightBlock;
/// The scores of a block of queries and all keys that it sees are held: 64 · 1024 numbers stay in the second cache.
constexpr int64_t kMostColumns = 1024;

constexpr int64_t blocks_of(int64_t count) { return (count + kQueries - 1) / kQueries * kQueries; }

/// An operand in one piece, as libtorch's kernels take it; depth is even.
Pairs whole_pairs(Short* memory, int64_t columns, int64_t depth) { return {memory, columns, columns, depth / 2}; }
/// An operand in pieces of kQueries columns, each as above: one kernel for entries of any length.
Pairs block_pairs(Short* memory, int64_t columns, int64_t depth) { return {memory, columns, kQueries, depth / 2}; }

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
  ~Room() { at::native::cpublas::brgemm_release(); }
  LineVector<Short> rows, keys, key_pairs, values, value_pairs, query, query_pairs, gradient, gradient_pairs, weights, turned;
  LineVector<float> scores, d_scores, mixed, d_query, d_key, d_value;
};

/// Columns of scores of the block of queries that sees most.
int64_t most_columns(const AttentionShape& shape, const AttentionRows& rows) {
  int64_t most = 0;
  for (int64_t e = 0; e < shape.batch; ++e) {
    const AttentionEntry entry(shape, rows, e);
    for (int64_t q = 0; q < entry.time; q += kQueries) most = std::max(most, Sight(entry, q, std::min(kQueries, entry.time - q), q + kQueries).columns());
  }
  return most;
}

struct ShortAttention {
  const AttentionShape& shape;
  const AttentionOperands<const Short>& in;
  const AttentionRows& rows;
  const int64_t per_group = shape.heads / shape.groups;

  /// Keys of a group as the second operand of query · keyᵀ; with `rows_too` also of scores · key.
  void take_keys(const AttentionEntry& entry, int64_t group, bool rows_too, Room& room) const {
    const int64_t row = entry.row, time = entry.time, padded_time = blocks_of(time);
    room.keys.resize(padded_time * shape.query);
    gather(in.key + row * in.key_row + group * in.key_head, in.key_row, shape.key, shape.shared > 0 ? in.shared + row * in.shared_row : nullptr, in.shared_row, shape.shared, time,
           padded_time, room.keys.data());
    room.key_pairs.resize(padded_time * shape.query);
    pack_column_pairs<1>(room.keys.data(), shape.query, 0, padded_time, shape.query, padded_time, block_pairs(room.key_pairs.data(), padded_time, shape.query));
    if (rows_too) {
      room.rows.resize(padded_time * shape.query);
      pack_row_pairs<1>(room.keys.data(), shape.query, 0, padded_time / 2, padded_time, shape.query, whole_pairs(room.rows.data(), shape.query, padded_time));
    }
  }

  void take_values(const AttentionEntry& entry, int64_t group, bool columns, Room& room) const {
    const int64_t row = entry.row, time = entry.time, padded_time = blocks_of(time);
    room.values.resize(padded_time * shape.value);
    gather(in.value + row * in.value_row + group * in.value_head, in.value_row, shape.value, nullptr, 0, 0, time, padded_time, room.values.data());
    room.value_pairs.resize(padded_time * shape.value);
    if (columns)
      pack_column_pairs<1>(room.values.data(), shape.value, 0, padded_time, shape.value, padded_time, block_pairs(room.value_pairs.data(), padded_time, shape.value));
    else
      pack_row_pairs<1>(room.values.data(), shape.value, 0, padded_time / 2, padded_time, shape.value, whole_pairs(room.value_pairs.data(), shape.value, padded_time));
  }

  void take_query(int64_t row, int64_t head, int64_t queries, Room& room) const {
    room.query.resize(kQueries * shape.query);
    gather(in.query + row * in.query_row + head * in.query_head, in.query_row, shape.query, nullptr, 0, 0, queries, kQueries, room.query.data());
  }

  /// to [kQueries, columns] = a [kQueries, depth] · keys
  static void score(const Sight& sight, const Short* a, int64_t depth, const Short* key_pairs, float* to) {
    for (const auto& [column, key, keys] : sight.blocks(kQueries)) product(kQueries, keys, depth, a, depth, key_pairs + key * depth, kQueries, to + column, sight.columns(), false);
  }

  /// to [kQueries, width] = weights [kQueries, columns] · rows of keys or values
  static void mix(const Sight& sight, const Short* weights, const Short* pairs, int64_t width, float* to) {
    for (const auto& [column, key, keys] : sight.pieces())
      if (keys > 0) product(kQueries, width, keys, weights + column, sight.columns(), pairs + key * width, width, to, width, column > 0);
  }

  /// rows of keys or values += turned [columns, kQueries] · what comes from the queries
  static void gather_gradient(const Sight& sight, const Short* turned, const Short* pairs, int64_t width, float* to) {
    for (const auto& [column, key, keys] : sight.pieces())
      if (keys > 0) product(keys, width, kQueries, turned + column * kQueries, kQueries, pairs, width, to + key * width, width, true);
  }

  /// Scores → P = e^(scale · score − above), gradients of P → of scores.
  static void score_gradient(float* s, float* d, int64_t count, float scale, float above, float delta) {
    for (int64_t j = 0; j < count; ++j) {
      const float p = fast_exp(s[j] * scale - above);
      s[j] = p;
      d[j] = p * (d[j] - delta) * scale;
    }
  }

  void forward(Short* output, float* log_sum) const {
    const int64_t groups = shape.batch * shape.groups, most = most_columns(shape, rows);
    const auto scale = static_cast<float>(shape.scale);
    run_tasks(groups, [&] {
      const auto own = std::make_shared<Room>();
      Room& room = *own;
      room.scores.resize(kQueries * most);
      room.weights.resize(kQueries * most);
      room.mixed.resize(kQueries * shape.value);
      return [&, own](int64_t task) {
        Room& room = *own;
        const AttentionEntry entry(shape, rows, task / shape.groups);
        const int64_t group = task % shape.groups;
        take_keys(entry, group, false, room);
        take_values(entry, group, false, room);
        for (int64_t h = group * per_group; h < (group + 1) * per_group; ++h) {
          for (int64_t q = 0; q < entry.time; q += kQueries) {
            const int64_t queries = std::min(kQueries, entry.time - q), row = entry.row + q;
            const Sight sight(entry, q, queries, q + kQueries);
            const int64_t keys = sight.columns();
            take_query(row, h, queries, room);
            score(sight, room.query.data(), shape.query, room.key_pairs.data(), room.scores.data());
            float inverse[kQueries];
            for (int64_t i = 0; i < kQueries; ++i) {
              Short* to = room.weights.data() + i * keys;
              if (i >= queries) {
                std::fill(to, to + keys, Short(0.0f));
                continue;
              }
              float* s = room.scores.data() + i * keys;
              const auto [common, low, high] = sight.of(i);
              for (int64_t j = 0; j < common; ++j) s[j] *= scale;
              for (int64_t j = low; j < high; ++j) s[j] *= scale;
              float top = maximum(s + low, high - low);
              if (common > 0) top = std::max(top, maximum(s, common));
              const float sum = exponentiate(s, common, top) + exponentiate(s + low, high - low, top);
              inverse[i] = 1.0f / sum;
              log_sum[(row + i) * shape.heads + h] = top + std::log(sum);
              std::fill(s + common, s + low, 0.0f);
              std::fill(s + high, s + keys, 0.0f);
              shorten(s, 1, keys, to, keys);
            }
            mix(sight, room.weights.data(), room.value_pairs.data(), shape.value, room.mixed.data());
            for (int64_t i = 0; i < queries; ++i) {
              Short* to = output + ((row + i) * shape.heads + h) * shape.value;
              for (int64_t j = 0; j < shape.value; ++j) to[j] = Short(room.mixed[i * shape.value + j] * inverse[i]);
            }
          }
        }
      };
    });
  }

  void backward(const Short* output, const float* log_sum, const Short* gradient, const AttentionOperands<Short>& out, float* shared_gradient) const {
    const int64_t groups = shape.batch * shape.groups, most = most_columns(shape, rows);
    const auto scale = static_cast<float>(shape.scale);
    run_tasks(groups, [&] {
      const auto own = std::make_shared<Room>();
      Room& room = *own;
      room.scores.resize(kQueries * most);
      room.d_scores.resize(kQueries * most);
      room.weights.resize(kQueries * most);
      room.turned.resize(kQueries * most);
      room.gradient.resize(kQueries * shape.value);
      room.query_pairs.resize(kQueries * shape.query);
      room.gradient_pairs.resize(kQueries * shape.value);
      room.d_query.resize(kQueries * shape.query);
      return [&, own](int64_t task) {
        Room& room = *own;
        const AttentionEntry entry(shape, rows, task / shape.groups);
        const int64_t group = task % shape.groups, padded_time = blocks_of(entry.time);
        take_keys(entry, group, true, room);
        take_values(entry, group, true, room);
        room.d_key.assign(padded_time * shape.query, 0.0f);
        room.d_value.assign(padded_time * shape.value, 0.0f);
        for (int64_t h = group * per_group; h < (group + 1) * per_group; ++h) {
          for (int64_t q = 0; q < entry.time; q += kQueries) {
            const int64_t queries = std::min(kQueries, entry.time - q), row = entry.row + q;
            const Sight sight(entry, q, queries, q + kQueries);
            const int64_t keys = sight.columns();
            take_query(row, h, queries, room);
            gather(gradient + (row * shape.heads + h) * shape.value, shape.heads * shape.value, shape.value, nullptr, 0, 0, queries, kQueries, room.gradient.data());
            score(sight, room.query.data(), shape.query, room.key_pairs.data(), room.scores.data());
            score(sight, room.gradient.data(), shape.value, room.value_pairs.data(), room.d_scores.data());
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
              const auto [common, low, high] = sight.of(i);
              const float above = log_sum[(row + i) * shape.heads + h];
              score_gradient(s, d, common, scale, above, delta);
              score_gradient(s + low, d + low, high - low, scale, above, delta);
              for (float* part : {s, d}) {
                std::fill(part + common, part + low, 0.0f);
                std::fill(part + high, part + keys, 0.0f);
              }
            }
            // d value += Pᵀ · d output
            shorten(room.scores.data(), kQueries, keys, room.weights.data(), keys);
            transpose_columns(room.weights.data(), keys, kQueries, 0, keys, room.turned.data(), kQueries);
            pack_row_pairs<1>(room.gradient.data(), shape.value, 0, kQueries / 2, kQueries, shape.value, whole_pairs(room.gradient_pairs.data(), shape.value, kQueries));
            gather_gradient(sight, room.turned.data(), room.gradient_pairs.data(), shape.value, room.d_value.data());
            // d query = dS · key, d key += dSᵀ · query
            shorten(room.d_scores.data(), kQueries, keys, room.weights.data(), keys);
            mix(sight, room.weights.data(), room.rows.data(), shape.query, room.d_query.data());
            transpose_columns(room.weights.data(), keys, kQueries, 0, keys, room.turned.data(), kQueries);
            pack_row_pairs<1>(room.query.data(), shape.query, 0, kQueries / 2, kQueries, shape.query, whole_pairs(room.query_pairs.data(), shape.query, kQueries));
            gather_gradient(sight, room.turned.data(), room.query_pairs.data(), shape.query, room.d_key.data());
            shorten(room.d_query.data(), queries, shape.query, out.query + row * out.query_row + h * out.query_head, out.query_row);
          }
        }
        for (int64_t i = 0; i < entry.time; ++i) {
          const int64_t row = entry.row + i;
          const float *key = room.d_key.data() + i * shape.query, *value = room.d_value.data() + i * shape.value;
          shorten(key, 1, shape.key, out.key + row * out.key_row + group * out.key_head, shape.key);
          shorten(value, 1, shape.value, out.value + row * out.value_row + group * out.value_head, shape.value);
          if (shape.shared > 0) std::copy(key + shape.key, key + shape.query, shared_gradient + (group * shape.rows + row) * shape.shared);
        }
      };
    });
  }
};

}  // namespace

bool takes_short_attention(const AttentionShape& shape, const AttentionRows& rows) {
  return has_tiles() && shape.rows >= 1 && most_columns(shape, rows) <= kMostColumns && shape.query % 2 == 0 && shape.value % 2 == 0;
}

void short_attention_forward(const AttentionShape& shape, const AttentionOperands<const Short>& in, const AttentionRows& rows, Short* output, float* log_sum) {
  ShortAttention{shape, in, rows}.forward(output, log_sum);
}

void short_attention_backward(const AttentionShape& shape, const AttentionOperands<const Short>& in, const AttentionRows& rows, const Short* output, const float* log_sum, const Short* gradient,
                              const AttentionOperands<Short>& out, float* shared_gradient) {
  ShortAttention{shape, in, rows}.backward(output, log_sum, gradient, out, shared_gradient);
}

#else

bool takes_short_attention(const AttentionShape&, const AttentionRows&) { return false; }

void short_attention_forward(const AttentionShape&, const AttentionOperands<const Short>&, const AttentionRows&, Short*, float*) { TORCH_CHECK(false, "attention: this processor has no matrix units"); }

void short_attention_backward(const AttentionShape&, const AttentionOperands<const Short>&, const AttentionRows&, const Short*, const float*, const Short*, const AttentionOperands<Short>&, float*) {
  TORCH_CHECK(false, "attention: this processor has no matrix units");
}

#endif

}  // namespace dunwu
