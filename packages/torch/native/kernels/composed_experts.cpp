#include "composed_experts.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "swiglu.h"

namespace dunwu {
namespace {

/// The grouped product wants each group to begin at 16 bytes, also where rows are what is summed over, as in a weight's gradient.
constexpr int64_t kGroupRows = 8;

/// Rows sorted by expert, each expert's filled up with empty ones to whole blocks. Nothing comes of rows behind the last end.
struct Rows {
  /// Of each (token, choice) pair, int64 [pairs].
  at::Tensor of_pair;
  /// Behind the last of each expert, int64 [experts].
  at::Tensor end;
};

/// @param least rows that an expert has where no token chose it, before they are filled up
Rows rows_by_expert(const at::Tensor& indices, int64_t experts, int64_t block, int64_t least) {
  const at::Tensor chosen = indices.reshape({-1});
  const at::Tensor counts = at::zeros({experts}, chosen.options()).scatter_add(0, chosen, at::ones_like(chosen));
  const at::Tensor filled = (counts.clamp_min(least) + (block - 1)).floor_divide(block) * block, end = filled.cumsum(0);
  const auto [expert, pair] = at::sort(chosen, /*stable=*/true, 0, false);
  // In the order of experts a pair's place among its expert's is its own place less that of the expert's first pair.
  const at::Tensor shift = (end - filled) - (counts.cumsum(0) - counts);
  const at::Tensor row = at::arange(chosen.size(0), chosen.options()) + shift.index_select(0, expert);
  return {at::empty_like(chosen).scatter_(0, pair, row), end};
}

}  // namespace

bool takes_grouped_product(const at::Tensor& x, const at::Tensor& down) { return x.scalar_type() == at::kBFloat16 && x.size(1) % 8 == 0 && down.size(2) % 8 == 0; }

at::Tensor composed_experts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& gate_up, const at::Tensor& down, bool grouped) {
  const int64_t tokens = x.size(0), hidden = x.size(1), per_token = indices.size(1), experts = gate_up.size(0), pairs = tokens * per_token;
  // Blocks as long as the mean load: whatever the loads are, at most twice as many blocks as experts, and a product for each.
  const int64_t block = grouped ? kGroupRows : std::max<int64_t>(1, (pairs + experts - 1) / experts);
  // The kernels of the newest GPUs leave a weight's gradient as it was where the group is empty (pytorch#172439): a block for every expert.
  const int64_t least = grouped ? 1 : 0;
  const int64_t blocks = (pairs + experts * (block - 1 + least)) / block;
  const Rows rows = rows_by_expert(indices, experts, block, least);
  const at::Tensor ends = grouped ? rows.end.to(at::kInt) : at::Tensor();
  const at::Tensor expert = grouped ? at::Tensor() : at::searchsorted(rows.end, at::arange(0, blocks * block, block, rows.end.options()), false, true).clamp_max(experts - 1);
  // [rows, inputs] · weight [experts, outputs, inputs]. The grouped product leaves rows behind the last end as they were, here and in
  // the gradient of the inputs: no pair has its row there, no group reaches to it, so nothing reads them.
  const auto product = [&](const at::Tensor& inputs, const at::Tensor& weight) {
    if (grouped) return at::_grouped_mm(inputs, weight.transpose(1, 2), ends);
    return at::bmm(inputs.view({blocks, block, inputs.size(1)}), weight.index_select(0, expert).transpose(1, 2)).view({blocks * block, weight.size(1)});
  };
  const at::Tensor repeated = x.unsqueeze(1).expand({tokens, per_token, hidden}).reshape({pairs, hidden});
  const at::Tensor sorted = at::zeros({blocks * block, hidden}, x.options()).index_copy(0, rows.of_pair, repeated);
  const at::Tensor outputs = product(swiglu(product(sorted, gate_up)), down).index_select(0, rows.of_pair);
  return (outputs.view({tokens, per_token, hidden}) * weights.to(x.scalar_type()).unsqueeze(2)).sum(1);
}

}  // namespace dunwu
