// Matrix products of linear layers on the processor's matrix units, with weights in float32 (short_products.h).
#pragma once

#include <ATen/core/Tensor.h>

namespace dunwu {

/// Whether these products are made here for such an input: on the CPU, where it has matrix units, for bfloat16; and for float32 when
/// libtorch's float32 matmul precision is 'high', which allows three products of bfloat16 for one, or 'medium', which allows one.
bool on_matrix_units(const at::Tensor& x);

/// Whether float32 is rounded to bfloat16 there: 'medium'.
bool rounds_float32();

/// x · wᵀ. x [tokens, inputs], w float32 [outputs, inputs] → [tokens, outputs] of `type`, which is x's or float32.
at::Tensor product_forward(const at::Tensor& x, const at::Tensor& w, at::ScalarType type);

/// dy · w. dy [tokens, outputs] → [tokens, inputs] of dy's type.
at::Tensor product_input_gradient(const at::Tensor& dy, const at::Tensor& w);

/// dw = dyᵀ · x, or dw += it. dw float32 [outputs, inputs].
void product_weight_gradient(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& dw, bool add = false);

}  // namespace dunwu
