// The routed experts in bfloat16 with weights kept in float32: short_linear.cpp, expert by expert.
#pragma once

#include <ATen/core/Tensor.h>

namespace dunwu {

/// Whether short_experts can take these.
bool takes_short_experts(const at::Tensor& x, const at::Tensor& gate_up, const at::Tensor& down);

/// As grouped_experts. x bfloat16; gate_up and down float32, as are their gradients.
at::Tensor short_experts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& gate_up, const at::Tensor& down);

}  // namespace dunwu
