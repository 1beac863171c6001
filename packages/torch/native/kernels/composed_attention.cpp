#include "composed_attention.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace dunwu {
namespace {

/// Heads wider than this no flash kernel takes.
constexpr int64_t kWidest = 256;

/// Whole sequences, one after another, without a mask (FlashAttention-2, arXiv 2307.08691). Its kernels want one width for queries, keys
/// and values, a multiple of 8, and every row to begin at 16 bytes. Zeros behind the numbers change neither a score nor a sum.
at::Tensor by_sequence(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& bounds, int64_t longest, double scale) {
  const int64_t width = (std::max(query.size(2), value.size(2)) + 7) / 8 * 8;
  const auto wide = [&](const at::Tensor& x) {
    if (x.size(2) != width) return at::constant_pad_nd(x, {0, width - x.size(2)});
    const bool aligned = x.storage_offset() % 8 == 0 && x.stride(0) % 8 == 0 && x.stride(1) % 8 == 0 && x.stride(2) == 1;
    return aligned ? x : x.clone(at::MemoryFormat::Contiguous);
  };
  const at::Tensor mixed = std::get<0>(at::_flash_attention_forward(wide(query), wide(key), wide(value), bounds, bounds, longest, longest, 0.0, true, false, scale));
  return mixed.narrow(2, 0, value.size(2)).reshape({query.size(0), query.size(1) * value.size(2)});
}

at::Tensor masked(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& starts, const AttentionShape& shape) {
  const auto by_head = [&](const at::Tensor& x) { return x.view({shape.batch, shape.time, x.size(1), x.size(2)}).transpose(1, 2); };
  const auto every = [&](const at::Tensor& x) {
    if (shape.groups == shape.heads) return x;
    const int64_t rows = x.size(0), width = x.size(2);
    return x.unsqueeze(2).expand({rows, shape.groups, shape.heads / shape.groups, width}).reshape({rows, shape.heads, width});
  };
  std::optional<at::Tensor> mask;
  if (starts.numel() > 0) {
    const at::Tensor place = at::arange(shape.time, starts.options());
    mask = place.unsqueeze(0).le(place.unsqueeze(1)).logical_and(place.ge(starts.view({shape.batch, 1, shape.time, 1})));
  }
  return at::scaled_dot_product_attention(by_head(query), by_head(every(key)), by_head(every(value)), mask, 0.0, !mask.has_value(), shape.scale)
      .transpose(1, 2)
      .reshape({query.size(0), shape.heads * shape.value});
}

}  // namespace

at::Tensor composed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& starts, const Sequences& sequences, const AttentionShape& shape) {
  const bool brief = query.scalar_type() == at::kBFloat16 || query.scalar_type() == at::kHalf;
  const bool known = sequences.bounds.defined() || starts.numel() == 0;
  if (!brief || !known || query.is_cpu() || std::max(shape.query, shape.value) > kWidest) return masked(query, key, value, starts, shape);
  if (sequences.bounds.defined()) return by_sequence(query, key, value, sequences.bounds, sequences.longest, shape.scale);
  const at::Tensor rows = at::arange(0, query.size(0) + 1, shape.time, query.options().dtype(at::kInt));
  return by_sequence(query, key, value, rows, shape.time, shape.scale);
}

}  // namespace dunwu
