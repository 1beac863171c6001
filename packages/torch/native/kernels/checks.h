// What every fused operator checks before it touches memory.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>

namespace dunwu {

/// Gradients here are computed outside the graph. With create_graph they would come back without one, and a second
/// derivative would silently be zero; grad mode is on inside a backward pass exactly then.
inline void refuse_second_derivative(const char* name) {
  TORCH_CHECK(!c10::GradMode::is_enabled(), name, " has no second derivative; use the reference operators where createGraph is wanted");
}

/// Kernels read raw pointers: an operand on another device would be read as host memory.
inline void check_same_device(const char* name, const at::Tensor& first, std::initializer_list<at::Tensor> others) {
  for (const auto& other : others) {
    TORCH_CHECK(other.device() == first.device(), name, ": all tensors must be on one device, got ", first.device(), " and ", other.device());
  }
}

}  // namespace dunwu
