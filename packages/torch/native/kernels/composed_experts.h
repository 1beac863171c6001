// The routed experts of a mixture-of-experts layer in libtorch's own operators, for other devices than the CPU.
#pragma once

#include <ATen/core/Tensor.h>

namespace dunwu {

/// Arguments as of `dunwu::grouped_experts`, all of one type. Nothing is waited for: how many tokens an expert has stays on the device.
/// @param grouped by libtorch's grouped product (which wants bfloat16, and widths that are multiples of 8), or else by one of blocks
at::Tensor composed_experts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& gate_up, const at::Tensor& down, bool grouped);

/// Whether the grouped product takes these.
bool takes_grouped_product(const at::Tensor& x, const at::Tensor& down);

}  // namespace dunwu
