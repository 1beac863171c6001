// Causal attention in libtorch's own operators, for other devices than the CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include "attention.h"

namespace dunwu {

/// Where, of all rows, each sequence begins, and behind them where the last one ends: int32 [sequences + 1]; undefined when only
/// `starts` are known. `longest`: rows of the longest sequence, at least.
struct Sequences {
  at::Tensor bounds;
  int64_t longest = 0;
};

/// query [rows, heads, ·], key and value [rows, groups, ·] → [rows, heads · v]. starts: int32 [rows] or empty.
/// bfloat16 and float16 take flash attention where the sequences are known, and the rest a mask.
at::Tensor composed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& starts, const Sequences& sequences, const AttentionShape& shape);

}  // namespace dunwu
