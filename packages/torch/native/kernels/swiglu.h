// SwiGLU on a projection that holds gate and up side by side: out = silu(gate) · up (Shazeer 2020, arXiv 2002.05202).
#pragma once

#include <ATen/core/Tensor.h>

namespace dunwu {

/// gate_up [..., 2I] → [..., I], with its gradient
at::Tensor swiglu(const at::Tensor& gate_up);

/// gate_up [N, 2I] → [N, I]
at::Tensor swiglu_forward(const at::Tensor& gate_up);
/// gradient [N, I] of the output → gradient [N, 2I] of gate_up; `activated`, when defined, receives silu(gate)·up.
at::Tensor swiglu_backward(const at::Tensor& gradient, const at::Tensor& gate_up, at::Tensor* activated = nullptr);

}  // namespace dunwu
