#include "attention.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <memory>
#include <new>
#include <vector>

#include "attention_sight.h"
#include "math.h"
#include "short_attention.h"
#include "tasks.h"
#include "vector.h"

namespace dunwu {
namespace {

/// Queries of a block, and keys of a panel: the transposed keys lie in panels of [numbers, kPanel].
constexpr int64_t kQueries = kSightBlock, kPanel = kSightBlock;
/// Keys whose scores exist at one time, forward and backward: these and what they are multiplied with stay in the cache.
constexpr int64_t kForwardKeys = 256, kBackwardKeys = 128;
/// Queries of a task where there are few heads for many threads.
constexpr int64_t kChunk = 512;

/// Scratch memory of a thread.
template <typename T>
class Scratch {
 public:
  T* take(int64_t count) {
    count = std::max<int64_t>(count, 1);
    pieces_.emplace_back(static_cast<T*>(::operator new(count * sizeof(T), kAlignment)));
    return pieces_.back().get();
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(T* memory) const { ::operator delete(memory, kAlignment); }
  };
  std::vector<std::unique_ptr<T, Free>> pieces_;
};

/// to[i, 0..padded) = factor · from[i, 0..width), then zeros
template <typename scalar_t, typename acc_t>
void pack(int64_t rows, const scalar_t* from, int64_t stride, int64_t width, acc_t factor, acc_t* to, int64_t padded) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < width; ++j) to[i * padded + j] = static_cast<acc_t>(from[i * stride + j]) * factor;
  }
}

/// Rows [count, stride] from a panel's start on → columns [width, kPanel]; what is beyond count becomes 0.
template <typename acc_t>
void transpose_panel(int64_t count, const acc_t* from, int64_t stride, int64_t width, acc_t* to) {
  count = std::min(count, kPanel);
  constexpr int64_t lanes = kLanes<acc_t>;
  for (int64_t j = 0; j < count; j += lanes) {
    const int64_t some = std::min(lanes, count - j);
    for (int64_t i = 0; i < width; ++i)
      for (int64_t lane = 0; lane < some; ++lane) to[i * kPanel + j + lane] = from[(j + lane) * stride + i];
  }
  if (count < kPanel)
    for (int64_t i = 0; i < width; ++i) std::fill(to + i * kPanel + count, to + (i + 1) * kPanel, acc_t(0));
}

/// Columns of one row of a block that count, as places in the block: from..to, without gap..end within them.
struct Range {
  int64_t from, to, gap, end;

  /// What of columns at.. a query sees.
  Range(const SeenColumns& seen, int64_t at, int64_t columns)
      : from(std::max<int64_t>(0, (seen.common > 0 ? 0 : seen.low) - at)), to(std::min(columns, seen.high - at)), gap(to), end(to) {
    if (seen.common == 0) return;
    gap = std::max<int64_t>(0, seen.common - at);
    end = std::min(columns, seen.low - at);
    // The common keys lie before the block; the block ends before the query's own begin; neither, or nothing lies between them.
    if (gap == 0) from = std::max(from, end);
    if (end >= to) to = std::min(to, gap);
    if (gap >= end || from >= end || gap >= to) gap = end = to;
  }
  bool empty() const { return from >= to; }

  /// Zeros in what of [0, columns) does not count.
  template <typename T>
  void clear_rest(T* row, int64_t columns) const {
    std::fill(row, row + from, T(0));
    std::fill(row + gap, row + end, T(0));
    if (to < columns) std::fill(row + to, row + columns, T(0));
  }
};

/// row[from, to) → e^(row − top), zeros in the rest of [0, keys); `top` rises to the largest. Returns the sum.
/// The row has room for whole vectors.
template <typename T>
T softmax_row(T* row, Range range, int64_t keys, T& top) {
  constexpr int64_t lanes = kLanes<T>;
  const int64_t first = range.from / lanes * lanes, last = whole_vectors<T>(range.to);
  std::fill(row + first, row + range.from, -std::numeric_limits<T>::infinity());
  std::fill(row + range.gap, row + range.end, -std::numeric_limits<T>::infinity());
  std::fill(row + range.to, row + last, -std::numeric_limits<T>::infinity());
  vector_t<T> most = load<T>(row + first);
  for (int64_t j = first + lanes; j < last; j += lanes) {
    const vector_t<T> x = load<T>(row + j);
    most = x > most ? x : most;
  }
  top = std::max(top, lane_maximum<T>(most));
  const vector_t<T> above = broadcast(top);
  vector_t<T> sum{};
  for (int64_t j = first; j < last; j += lanes) {
    const vector_t<T> e = vector_exp(load<T>(row + j) - above);
    sum += e;
    store<T>(row + j, e);
  }
  // What is exponentiated of the rest is next to nothing, and slow to compute with.
  range.clear_rest(row, keys);
  return lane_sum<T>(sum);
}

/// row → P = e^(row − log_sum), gradient → dS = P · (gradient − delta) within the range; zeros in the rest of [0, keys).
template <typename T>
void gradient_row(T* row, T* gradient, Range range, int64_t keys, T log_sum, T delta) {
  constexpr int64_t lanes = kLanes<T>;
  const int64_t first = range.from / lanes * lanes, last = whole_vectors<T>(range.to);
  const vector_t<T> above = broadcast(log_sum), mean = broadcast(delta);
  for (int64_t j = first; j < last; j += lanes) {
    const vector_t<T> p = vector_exp(load<T>(row + j) - above);
    store<T>(row + j, p);
    store<T>(gradient + j, p * (load<T>(gradient + j) - mean));
  }
  range.clear_rest(row, keys);
  range.clear_rest(gradient, keys);
}

/// Keys and values of one group of a batch entry, as the products want them.
template <typename acc_t>
struct Packed {
  acc_t *key, *key_panels, *value, *value_panels;
};

template <typename scalar_t>
struct Core {
  using acc_t = compute_t<scalar_t>;

  const AttentionShape shape;
  const AttentionOperands<const scalar_t>& in;
  const AttentionRows& rows;
  // Widths in whole vectors, and rows of scores that do not all fall on the same lines of the cache.
  const int64_t query_width = whole_vectors<acc_t>(shape.query), value_width = whole_vectors<acc_t>(shape.value);
  const int64_t panels = (shape.time + kPanel - 1) / kPanel;

  /// Rows of a key or value that a product reads whole have zeros after the last number.
  void clear_padding(acc_t* rows, int64_t count, int64_t width, int64_t padded) const {
    if (width < padded)
      for (int64_t i = 0; i < count; ++i) std::fill(rows + i * padded + width, rows + (i + 1) * padded, acc_t(0));
  }

  /// Packs keys [from, to) of one group; `from` at a panel's start.
  void pack_keys(int64_t first_row, int64_t group, int64_t from, int64_t to, const Packed<acc_t>& packed) const {
    for (int64_t at = from; at < to; at += kPanel) {
      const int64_t count = std::min(kPanel, to - at), row = first_row + at;
      acc_t* key = packed.key + at * query_width;
      pack(count, in.key + row * in.key_row + group * in.key_head, in.key_row, shape.key, acc_t(1), key, query_width);
      if (shape.shared > 0) pack(count, in.shared + row * in.shared_row, in.shared_row, shape.shared, acc_t(1), key + shape.key, query_width);
      transpose_panel(count, key, query_width, shape.query, packed.key_panels + at * shape.query);
      acc_t* value = packed.value + at * value_width;
      pack(count, in.value + row * in.value_row + group * in.value_head, in.value_row, shape.value, acc_t(1), value, value_width);
      if (packed.value_panels != nullptr) transpose_panel(count, value, value_width, shape.value, packed.value_panels + at * shape.value);
    }
  }

  /// scores[queries, keys from `key` on] = left [queries, width] · panelsᵀ, up to the next whole vector
  void scores(int64_t queries, int64_t key, int64_t keys, const acc_t* left, int64_t left_row, int64_t width, const acc_t* key_panels, acc_t* to, int64_t stride) const {
    for (int64_t at = 0; at < keys; at += kPanel)
      product<acc_t>(queries, whole_vectors<acc_t>(std::min(kPanel, keys - at)), width, left, left_row, 1, key_panels + (key + at) * width, kPanel, to + at, stride, false);
  }

  void forward(scalar_t* output, acc_t* log_sum) const {
    const int64_t per_group = shape.heads / shape.groups;
    const int64_t pairs = shape.batch * shape.groups;
    const bool split = pairs < 4 * at::get_num_threads() && shape.time > kChunk;
    const int64_t chunk = split ? kChunk : (shape.time + kPanel - 1) / kPanel * kPanel;
    const int64_t chunks = (shape.time + chunk - 1) / chunk;
    run_tasks(pairs * chunks, [&] {
      auto scratch = std::make_shared<Scratch<acc_t>>();
      const int64_t stride = std::min(kForwardKeys, panels * kPanel) + kLanes<acc_t>;
      Packed<acc_t> packed{scratch->take(panels * kPanel * query_width), scratch->take(panels * kPanel * shape.query), scratch->take(panels * kPanel * value_width), nullptr};
      clear_padding(packed.value, panels * kPanel, shape.value, value_width);
      acc_t *query = scratch->take(kQueries * query_width), *block = scratch->take(kQueries * stride), *mixed = scratch->take(kQueries * value_width);
      return [=, this](int64_t task) {
        (void)scratch;
        // The last queries first: they see most keys, and the short tasks fill what is left.
        const AttentionEntry entry(shape, rows, task % pairs / shape.groups);
        const int64_t group = task % shape.groups;
        const int64_t begin = (chunks - 1 - task / pairs) * chunk, end = std::min(entry.time, begin + chunk);
        if (begin >= end) return;
        const Sight all(entry, begin, end - begin, end);
        for (const auto& piece : all.pieces()) pack_keys(entry.row, group, piece.key, piece.key + piece.keys, packed);
        for (int64_t h = group * per_group; h < (group + 1) * per_group; ++h) {
          for (int64_t q = begin; q < end; q += kQueries) {
            const int64_t queries = std::min(kQueries, end - q), row = entry.row + q;
            const Sight sight(entry, q, queries, q + queries);
            pack(queries, in.query + row * in.query_row + h * in.query_head, in.query_row, shape.query, static_cast<acc_t>(shape.scale), query, query_width);
            acc_t top[kQueries], sum[kQueries];
            std::fill(top, top + queries, -std::numeric_limits<acc_t>::infinity());
            std::fill(sum, sum + queries, acc_t(0));
            bool more = false;
            for (const auto& [column, k, keys] : sight.blocks(kForwardKeys)) {
              scores(queries, k, keys, query, query_width, shape.query, packed.key_panels, block, stride);
              for (int64_t i = 0; i < queries; ++i) {
                acc_t* line = block + i * stride;
                const Range range(sight.of(i), column, keys);
                if (range.empty()) {
                  std::fill(line, line + keys, acc_t(0));
                  continue;
                }
                const acc_t before = top[i];
                const acc_t part = softmax_row(line, range, keys, top[i]);
                if (more && top[i] != before) {
                  const acc_t factor = std::exp(before - top[i]);
                  sum[i] *= factor;
                  for (int64_t j = 0; j < value_width; ++j) mixed[i * value_width + j] *= factor;
                }
                sum[i] += part;
              }
              product<acc_t>(queries, value_width, keys, block, stride, 1, packed.value + k * value_width, value_width, mixed, value_width, more);
              more = true;
            }
            for (int64_t i = 0; i < queries; ++i) {
              const acc_t factor = acc_t(1) / sum[i];
              scalar_t* to = output + ((row + i) * shape.heads + h) * shape.value;
              for (int64_t j = 0; j < shape.value; ++j) to[j] = static_cast<scalar_t>(mixed[i * value_width + j] * factor);
              log_sum[(row + i) * shape.heads + h] = top[i] + std::log(sum[i]);
            }
          }
        }
      };
    });
  }

  void backward(const scalar_t* output, const acc_t* log_sum, const scalar_t* gradient, const AttentionOperands<scalar_t>& out, acc_t* shared_gradient) const {
    const int64_t per_group = shape.heads / shape.groups;
    run_tasks(shape.batch * shape.groups, [&] {
      auto scratch = std::make_shared<Scratch<acc_t>>();
      const int64_t stride = std::min(kBackwardKeys, panels * kPanel) + kLanes<acc_t>;
      Packed<acc_t> packed{scratch->take(panels * kPanel * query_width), scratch->take(panels * kPanel * shape.query), scratch->take(panels * kPanel * value_width),
                           scratch->take(panels * kPanel * shape.value)};
      clear_padding(packed.key, panels * kPanel, shape.query, query_width);
      acc_t *d_key = scratch->take(shape.time * query_width), *d_value = scratch->take(shape.time * value_width);
      acc_t *query = scratch->take(kQueries * query_width), *d_query = scratch->take(kQueries * query_width), *d_output = scratch->take(kQueries * value_width);
      clear_padding(query, kQueries, shape.query, query_width);
      clear_padding(d_output, kQueries, shape.value, value_width);
      acc_t *weights = scratch->take(kQueries * stride), *d_scores = scratch->take(kQueries * stride);
      return [=, this](int64_t task) {
        (void)scratch;
        const AttentionEntry entry(shape, rows, task / shape.groups);
        const int64_t group = task % shape.groups;
        pack_keys(entry.row, group, 0, entry.time, packed);
        std::fill(d_key, d_key + entry.time * query_width, acc_t(0));
        std::fill(d_value, d_value + entry.time * value_width, acc_t(0));
        for (int64_t h = group * per_group; h < (group + 1) * per_group; ++h) {
          for (int64_t q = 0; q < entry.time; q += kQueries) {
            const int64_t queries = std::min(kQueries, entry.time - q), row = entry.row + q;
            const Sight sight(entry, q, queries, q + queries);
            pack(queries, in.query + row * in.query_row + h * in.query_head, in.query_row, shape.query, static_cast<acc_t>(shape.scale), query, query_width);
            pack(queries, gradient + (row * shape.heads + h) * shape.value, shape.heads * shape.value, shape.value, acc_t(1), d_output, value_width);
            acc_t delta[kQueries];
            for (int64_t i = 0; i < queries; ++i) delta[i] = dot(d_output + i * value_width, output + ((row + i) * shape.heads + h) * shape.value, shape.value);
            bool more = false;
            for (const auto& [column, k, keys] : sight.blocks(kBackwardKeys)) {
              scores(queries, k, keys, query, query_width, shape.query, packed.key_panels, weights, stride);
              scores(queries, k, keys, d_output, value_width, shape.value, packed.value_panels, d_scores, stride);
              for (int64_t i = 0; i < queries; ++i) {
                const Range range(sight.of(i), column, keys);
                if (range.empty()) {
                  std::fill(weights + i * stride, weights + i * stride + keys, acc_t(0));
                  std::fill(d_scores + i * stride, d_scores + i * stride + keys, acc_t(0));
                } else {
                  gradient_row(weights + i * stride, d_scores + i * stride, range, keys, log_sum[(row + i) * shape.heads + h], delta[i]);
                }
              }
              product<acc_t>(keys, value_width, queries, weights, 1, stride, d_output, value_width, d_value + k * value_width, value_width, true);
              product<acc_t>(keys, query_width, queries, d_scores, 1, stride, query, query_width, d_key + k * query_width, query_width, true);
              product<acc_t>(queries, query_width, keys, d_scores, stride, 1, packed.key + k * query_width, query_width, d_query, query_width, more);
              more = true;
            }
            unpack(queries, d_query, query_width, shape.query, static_cast<acc_t>(shape.scale), out.query + row * out.query_row + h * out.query_head, out.query_row);
          }
        }
        unpack(entry.time, d_key, query_width, shape.key, acc_t(1), out.key + entry.row * out.key_row + group * out.key_head, out.key_row);
        unpack(entry.time, d_value, value_width, shape.value, acc_t(1), out.value + entry.row * out.value_row + group * out.value_head, out.value_row);
        if (shape.shared > 0)
          unpack(entry.time, d_key + shape.key, query_width, shape.shared, acc_t(1), shared_gradient + (group * shape.rows + entry.row) * shape.shared, shape.shared);
      };
    });
  }

  static acc_t dot(const acc_t* a, const scalar_t* b, int64_t count) {
    acc_t sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; ++i) sum += a[i] * static_cast<acc_t>(b[i]);
    return sum;
  }

  template <typename out_t>
  static void unpack(int64_t rows, const acc_t* from, int64_t padded, int64_t width, acc_t factor, out_t* to, int64_t stride) {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < width; ++j) to[i * stride + j] = static_cast<out_t>(from[i * padded + j] * factor);
  }
};

}  // namespace

template <typename scalar_t, typename acc_t>
void attention_forward(const AttentionShape& shape, const AttentionOperands<const scalar_t>& in, const AttentionRows& rows, scalar_t* output, acc_t* log_sum) {
  if constexpr (std::is_same_v<scalar_t, c10::BFloat16>) {
    if (takes_short_attention(shape, rows)) return short_attention_forward(shape, in, rows, output, log_sum);
  }
  Core<scalar_t>{shape, in, rows}.forward(output, log_sum);
}

template <typename scalar_t, typename acc_t>
void attention_backward(const AttentionShape& shape, const AttentionOperands<const scalar_t>& in, const AttentionRows& rows, const scalar_t* output, const acc_t* log_sum,
                        const scalar_t* gradient, const AttentionOperands<scalar_t>& out, acc_t* shared_gradient) {
  if constexpr (std::is_same_v<scalar_t, c10::BFloat16>) {
    if (takes_short_attention(shape, rows)) return short_attention_backward(shape, in, rows, output, log_sum, gradient, out, shared_gradient);
  }
  Core<scalar_t>{shape, in, rows}.backward(output, log_sum, gradient, out, shared_gradient);
}

#define DUNWU_ATTENTION(scalar_t, acc_t)                                                                                                                            \
  template void attention_forward<scalar_t, acc_t>(const AttentionShape&, const AttentionOperands<const scalar_t>&, const AttentionRows&, scalar_t*, acc_t*);              \
  template void attention_backward<scalar_t, acc_t>(const AttentionShape&, const AttentionOperands<const scalar_t>&, const AttentionRows&, const scalar_t*, const acc_t*, \
                                                    const scalar_t*, const AttentionOperands<scalar_t>&, acc_t*);
DUNWU_ATTENTION(float, float)
DUNWU_ATTENTION(double, double)
DUNWU_ATTENTION(c10::BFloat16, float)
DUNWU_ATTENTION(c10::Half, float)
#undef DUNWU_ATTENTION

}  // namespace dunwu
