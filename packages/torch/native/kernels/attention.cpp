// Causal attention within segments as operators, the operands as the projections give them: no copy, no concatenation, and one
// gradient for each operand.
#include "attention.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <limits>

#include "attention_sight.h"
#include "checks.h"
#include "composed_attention.h"
#include "math.h"

namespace dunwu {
namespace {

template <typename T>
AttentionOperands<T> latent_operands(T* query, T* kv, T* key, const AttentionShape& shape) {
  const int64_t width = shape.key + shape.value;
  return {query, shape.heads * shape.query, shape.query, kv, shape.heads * width, width, key, shape.shared, kv + shape.key, shape.heads * width, width};
}

template <typename T>
AttentionOperands<T> grouped_operands(T* qkv, const AttentionShape& shape) {
  const int64_t width = shape.query, row = (shape.heads + 2 * shape.groups) * width;
  return {qkv, row, width, qkv + shape.heads * width, row, width, nullptr, 0, qkv + (shape.heads + shape.groups) * width, row, width};
}

const int32_t* numbers_of(const at::Tensor& x) { return x.numel() == 0 ? nullptr : x.const_data_ptr<int32_t>(); }
AttentionRows rows_of(const at::Tensor& starts, const at::Tensor& bounds, const at::Tensor& common) { return {numbers_of(starts), numbers_of(bounds), numbers_of(common)}; }

/// Shape ↔ what autograd can keep.
std::vector<int64_t> integers(const AttentionShape& s) { return {s.rows, s.batch, s.time, s.heads, s.groups, s.query, s.key, s.shared, s.value}; }
AttentionShape shape_of(const std::vector<int64_t>& i, double scale) { return {i[0], i[1], i[2], i[3], i[4], i[5], i[6], i[7], i[8], scale}; }

struct LatentAttention : torch::autograd::Function<LatentAttention> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& query, const at::Tensor& kv, const at::Tensor& key, const at::Tensor& starts,
                            const at::Tensor& bounds, const at::Tensor& common, std::vector<int64_t> sizes, double scale) {
    const AttentionShape shape = shape_of(sizes, scale);
    const at::Tensor output = at::empty({query.size(0), shape.heads * shape.value}, query.options());
    const at::Tensor log_sum = at::empty({query.size(0), shape.heads}, query.options().dtype(query.scalar_type() == at::kDouble ? at::kDouble : at::kFloat));
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, query.scalar_type(), "latent_attention", [&] {
      using acc_t = compute_t<scalar_t>;
      attention_forward<scalar_t, acc_t>(shape, latent_operands(query.const_data_ptr<scalar_t>(), kv.const_data_ptr<scalar_t>(), key.const_data_ptr<scalar_t>(), shape),
                                         rows_of(starts, bounds, common), output.data_ptr<scalar_t>(), log_sum.data_ptr<acc_t>());
    });
    context->save_for_backward({query, kv, key, starts, bounds, common, output, log_sum});
    context->saved_data["sizes"] = sizes;
    context->saved_data["scale"] = scale;
    return output;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    refuse_second_derivative("dunwu::latent_attention");
    const auto saved = context->get_saved_variables();
    const at::Tensor &query = saved[0], &kv = saved[1], &key = saved[2], &starts = saved[3], &bounds = saved[4], &common = saved[5], &output = saved[6], &log_sum = saved[7];
    const AttentionShape shape = shape_of(context->saved_data["sizes"].toIntVector(), context->saved_data["scale"].toDouble());
    const at::Tensor gradient = grads[0].contiguous();
    const at::Tensor d_query = at::empty_like(query), d_kv = at::empty_like(kv), d_key = at::empty_like(key);
    const int64_t rows = query.size(0);
    const at::Tensor by_head = at::empty({shape.heads, rows, shape.shared}, log_sum.options());
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, query.scalar_type(), "latent_attention_backward", [&] {
      using acc_t = compute_t<scalar_t>;
      const acc_t* part = by_head.data_ptr<acc_t>();
      attention_backward<scalar_t, acc_t>(shape, latent_operands(query.const_data_ptr<scalar_t>(), kv.const_data_ptr<scalar_t>(), key.const_data_ptr<scalar_t>(), shape),
                                          rows_of(starts, bounds, common), output.const_data_ptr<scalar_t>(), log_sum.const_data_ptr<acc_t>(), gradient.const_data_ptr<scalar_t>(),
                                          latent_operands(d_query.data_ptr<scalar_t>(), d_kv.data_ptr<scalar_t>(), d_key.data_ptr<scalar_t>(), shape),
                                          by_head.data_ptr<acc_t>());
      // Over heads in order: the same sum for any schedule.
      scalar_t* out = d_key.data_ptr<scalar_t>();
      const int64_t numbers = rows * shape.shared;
      at::parallel_for(0, numbers, 16384, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          acc_t sum = 0;
          for (int64_t h = 0; h < shape.heads; ++h) sum += part[h * numbers + i];
          out[i] = static_cast<scalar_t>(sum);
        }
      });
    });
    return {d_query, d_kv, d_key, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

struct GroupedAttention : torch::autograd::Function<GroupedAttention> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& qkv, const at::Tensor& starts, const at::Tensor& bounds, const at::Tensor& common,
                            std::vector<int64_t> sizes, double scale) {
    const AttentionShape shape = shape_of(sizes, scale);
    const at::Tensor output = at::empty({qkv.size(0), shape.heads * shape.value}, qkv.options());
    const at::Tensor log_sum = at::empty({qkv.size(0), shape.heads}, qkv.options().dtype(qkv.scalar_type() == at::kDouble ? at::kDouble : at::kFloat));
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, qkv.scalar_type(), "grouped_attention", [&] {
      using acc_t = compute_t<scalar_t>;
      attention_forward<scalar_t, acc_t>(shape, grouped_operands(qkv.const_data_ptr<scalar_t>(), shape), rows_of(starts, bounds, common), output.data_ptr<scalar_t>(), log_sum.data_ptr<acc_t>());
    });
    context->save_for_backward({qkv, starts, bounds, common, output, log_sum});
    context->saved_data["sizes"] = sizes;
    context->saved_data["scale"] = scale;
    return output;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    refuse_second_derivative("dunwu::grouped_attention");
    const auto saved = context->get_saved_variables();
    const at::Tensor &qkv = saved[0], &starts = saved[1], &bounds = saved[2], &common = saved[3], &output = saved[4], &log_sum = saved[5];
    const AttentionShape shape = shape_of(context->saved_data["sizes"].toIntVector(), context->saved_data["scale"].toDouble());
    const at::Tensor gradient = grads[0].contiguous();
    const at::Tensor d_qkv = at::empty_like(qkv);
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, qkv.scalar_type(), "grouped_attention_backward", [&] {
      using acc_t = compute_t<scalar_t>;
      attention_backward<scalar_t, acc_t>(shape, grouped_operands(qkv.const_data_ptr<scalar_t>(), shape), rows_of(starts, bounds, common), output.const_data_ptr<scalar_t>(),
                                          log_sum.const_data_ptr<acc_t>(), gradient.const_data_ptr<scalar_t>(), grouped_operands(d_qkv.data_ptr<scalar_t>(), shape), nullptr);
    });
    return {d_qkv, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor latent_composed(const at::Tensor& query, const at::Tensor& kv, const at::Tensor& key, const at::Tensor& starts, const Sequences& sequences, const AttentionShape& shape) {
  const at::Tensor keys = at::cat({kv.narrow(2, 0, shape.key), key.unsqueeze(1).expand({key.size(0), shape.heads, shape.shared})}, 2);
  return composed_attention(query, keys, kv.narrow(2, shape.key, shape.value), starts, sequences, shape);
}

at::Tensor grouped_composed(const at::Tensor& qkv, const at::Tensor& starts, const Sequences& sequences, const AttentionShape& shape) {
  const auto heads = [&](int64_t from, int64_t count) { return qkv.narrow(1, from, count); };
  return composed_attention(heads(0, shape.heads), heads(shape.heads, shape.groups), heads(shape.heads + shape.groups, shape.groups), starts, sequences, shape);
}

/// Batch entries of `time` rows.
int64_t entries(const char* name, const char* operand, const at::Tensor& x, int64_t time) {
  TORCH_CHECK(time > 0 && x.size(0) % time == 0, name, ": ", operand, " must hold whole batch entries of time = ", time, " rows, got ", x.sizes());
  return x.size(0) / time;
}

/// starts as int32 [rows], or empty.
at::Tensor checked_starts(const char* name, const std::optional<at::Tensor>& given, const at::Tensor& operand) {
  if (!given.has_value() || !given->defined()) return at::empty({0}, operand.options().dtype(at::kInt));
  const at::Tensor& starts = *given;
  const int64_t rows = operand.size(0);
  TORCH_CHECK(starts.scalar_type() == at::kInt || starts.scalar_type() == at::kLong, name, ": starts must be int32 or int64, got ", starts.scalar_type());
  TORCH_CHECK(starts.numel() == 0 || starts.numel() == rows, name, ": starts must be empty or hold one number for each of ", rows, " rows, got ", starts.sizes());
  check_same_device(name, operand, {starts});
  const at::Tensor flat = starts.reshape({-1});
  // Far numbers must not wrap around to near ones before they are looked at.
  return (flat.scalar_type() == at::kLong ? flat.clamp(-1, std::numeric_limits<int32_t>::max()).to(at::kInt) : flat).contiguous();
}

/// What the CPU computes with: the shape's batch is of sequences where these share a beginning, and of rows of one length otherwise.
struct CheckedRows {
  at::Tensor starts, bounds, common;

  CheckedRows(const char* name, AttentionShape& shape, const at::Tensor& starts, const Sequences& sequences, const std::optional<at::Tensor>& given) : starts(starts) {
    bounds = common = at::empty({0}, starts.options());
    if (given.has_value() && given->defined()) {
      TORCH_CHECK(sequences.bounds.defined() && given->scalar_type() == at::kInt && given->dim() == 1 && given->size(0) + 1 == sequences.bounds.size(0), name,
                  ": shared must be int32 [sequences], beside bounds, got ", given->scalar_type(), " ", given->sizes());
      check_same_device(name, starts, {*given});
      bounds = sequences.bounds.contiguous();
      common = given->contiguous();
      shape.batch = common.size(0);
      shape.time = longest(name, shape);
    }
    const AttentionRows rows = rows_of(starts, bounds, common);
    for (int64_t e = 0; e < shape.batch && rows.starts != nullptr; ++e) {
      const AttentionEntry entry(shape, rows, e);
      for (int64_t i = 0; i < entry.time; ++i) {
        const int64_t start = entry.starts[i];
        TORCH_CHECK(start >= 0 && start <= i, name, ": starts[", entry.row + i, "] is ", start, ", but token ", i, " of a row can see 0 to ", i);
        TORCH_CHECK(start == 0 || start >= entry.common, name, ": starts[", entry.row + i, "] is ", start, ", but the first ", entry.common, " tokens of sequence ", e, " are seen by all");
      }
    }
  }

 private:
  /// Rows of the longest sequence.
  int64_t longest(const char* name, const AttentionShape& shape) const {
    const int32_t *bound = bounds.const_data_ptr<int32_t>(), *first = common.const_data_ptr<int32_t>();
    TORCH_CHECK(bound[0] == 0 && bound[shape.batch] == shape.rows, name, ": bounds must go from 0 to ", shape.rows, ", got ", bound[0], " and ", bound[shape.batch]);
    int64_t most = 0;
    for (int64_t e = 0; e < shape.batch; ++e) {
      const int64_t length = int64_t(bound[e + 1]) - bound[e];
      TORCH_CHECK(length >= 1, name, ": sequence ", e, " of bounds has ", length, " tokens");
      TORCH_CHECK(first[e] >= 0 && first[e] <= length, name, ": shared[", e, "] is ", first[e], ", but sequence ", e, " has ", length, " tokens");
      most = std::max(most, length);
    }
    return most;
  }
};

/// Other devices compute by sequence: what the bounds are is not read there, nor whether `starts` say the same. What bundles share is the CPU's alone.
Sequences checked_sequences(const char* name, const std::optional<at::Tensor>& bounds, int64_t longest, const std::optional<at::Tensor>& shared, const at::Tensor& operand) {
  TORCH_CHECK(operand.is_cpu() || !shared.has_value() || !shared->defined(), name, ": sequences that share a beginning are the CPU's alone; give each sequence whole");
  if (!bounds.has_value() || !bounds->defined()) return {};
  TORCH_CHECK(bounds->scalar_type() == at::kInt && bounds->dim() == 1 && bounds->size(0) >= 2 && longest > 0, name,
              ": bounds must be int32 [sequences + 1] and longest at least 1, got ", bounds->scalar_type(), " ", bounds->sizes(), " and ", longest);
  check_same_device(name, operand, {*bounds});
  return {*bounds, longest};
}

AttentionShape latent_shape(const at::Tensor& query, const at::Tensor& kv, const at::Tensor& key, int64_t time, double scale) {
  TORCH_CHECK(query.dim() == 3 && kv.dim() == 3 && key.dim() == 2 && kv.size(0) == query.size(0) && key.size(0) == query.size(0) && kv.size(1) == query.size(1) &&
                  key.size(1) <= query.size(2) && kv.size(2) + key.size(1) > query.size(2),
              "latent_attention: query must be [rows, heads, nope + rope], kv [rows, heads, nope + v], key [rows, rope], got ", query.sizes(), ", ", kv.sizes(), " and ", key.sizes());
  TORCH_CHECK(kv.scalar_type() == query.scalar_type() && key.scalar_type() == query.scalar_type(), "latent_attention: query, kv and key must be of one type, got ",
              query.scalar_type(), ", ", kv.scalar_type(), " and ", key.scalar_type());
  check_same_device("latent_attention", query, {kv, key});
  const int64_t nope = query.size(2) - key.size(1);
  return {query.size(0), entries("latent_attention", "query", query, time), time, query.size(1), query.size(1), query.size(2), nope, key.size(1), kv.size(2) - nope, scale};
}

at::Tensor latent_attention(const at::Tensor& query, const at::Tensor& kv, const at::Tensor& key, const std::optional<at::Tensor>& starts, int64_t time, double scale,
                            const std::optional<at::Tensor>& bounds, int64_t longest, const std::optional<at::Tensor>& shared) {
  AttentionShape shape = latent_shape(query, kv, key, time, scale);
  const at::Tensor first = checked_starts("latent_attention", starts, query);
  const Sequences sequences = checked_sequences("latent_attention", bounds, longest, shared, query);
  if (!query.is_cpu()) return latent_composed(query, kv, key, first, sequences, shape);
  const CheckedRows rows("latent_attention", shape, first, sequences, shared);
  return LatentAttention::apply(query.contiguous(), kv.contiguous(), key.contiguous(), rows.starts, rows.bounds, rows.common, integers(shape), scale);
}

at::Tensor latent_attention_composed(const at::Tensor& query, const at::Tensor& kv, const at::Tensor& key, const std::optional<at::Tensor>& starts, int64_t time, double scale) {
  const AttentionShape shape = latent_shape(query, kv, key, time, scale);
  return latent_composed(query, kv, key, checked_starts("latent_attention", starts, query), {}, shape);
}

AttentionShape grouped_shape(const at::Tensor& qkv, int64_t heads, int64_t groups, int64_t time, double scale) {
  TORCH_CHECK(heads > 0 && groups > 0 && heads % groups == 0, "grouped_attention: heads must be a multiple of groups, got ", heads, " and ", groups);
  TORCH_CHECK(qkv.dim() == 3 && qkv.size(1) == heads + 2 * groups && qkv.size(2) > 0, "grouped_attention: qkv must be [rows, heads + 2 * groups, width], got ", qkv.sizes(), " for ",
              heads, " heads and ", groups, " groups");
  return {qkv.size(0), entries("grouped_attention", "qkv", qkv, time), time, heads, groups, qkv.size(2), qkv.size(2), 0, qkv.size(2), scale};
}

at::Tensor grouped_attention(const at::Tensor& qkv, int64_t heads, int64_t groups, const std::optional<at::Tensor>& starts, int64_t time, double scale,
                             const std::optional<at::Tensor>& bounds, int64_t longest, const std::optional<at::Tensor>& shared) {
  AttentionShape shape = grouped_shape(qkv, heads, groups, time, scale);
  const at::Tensor first = checked_starts("grouped_attention", starts, qkv);
  const Sequences sequences = checked_sequences("grouped_attention", bounds, longest, shared, qkv);
  if (!qkv.is_cpu()) return grouped_composed(qkv, first, sequences, shape);
  const CheckedRows rows("grouped_attention", shape, first, sequences, shared);
  return GroupedAttention::apply(qkv.contiguous(), rows.starts, rows.bounds, rows.common, integers(shape), scale);
}

at::Tensor grouped_attention_composed(const at::Tensor& qkv, int64_t heads, int64_t groups, const std::optional<at::Tensor>& starts, int64_t time, double scale) {
  const AttentionShape shape = grouped_shape(qkv, heads, groups, time, scale);
  return grouped_composed(qkv, checked_starts("grouped_attention", starts, qkv), {}, shape);
}

}  // namespace

// The `_composed` ones are what other devices than the CPU run; they have names so that a test without one can run them.
TORCH_LIBRARY_FRAGMENT(dunwu, m) {
  m.def("latent_attention(Tensor query, Tensor kv, Tensor key, Tensor? starts, int time, float scale, Tensor? bounds=None, int longest=0, Tensor? shared=None) -> Tensor");
  m.def("latent_attention_composed(Tensor query, Tensor kv, Tensor key, Tensor? starts, int time, float scale) -> Tensor");
  m.def("grouped_attention(Tensor qkv, int heads, int groups, Tensor? starts, int time, float scale, Tensor? bounds=None, int longest=0, Tensor? shared=None) -> Tensor");
  m.def("grouped_attention_composed(Tensor qkv, int heads, int groups, Tensor? starts, int time, float scale) -> Tensor");
}
TORCH_LIBRARY_IMPL(dunwu, CompositeImplicitAutograd, m) {
  m.impl("latent_attention", latent_attention);
  m.impl("latent_attention_composed", latent_attention_composed);
  m.impl("grouped_attention", grouped_attention);
  m.impl("grouped_attention_composed", grouped_attention_composed);
}

}  // namespace dunwu
