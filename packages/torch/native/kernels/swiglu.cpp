#include "swiglu.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "checks.h"
#include "math.h"

namespace dunwu {

at::Tensor swiglu_forward(const at::Tensor& gate_up) {
  const int64_t width = gate_up.size(-1) / 2;
  if (!gate_up.is_cpu()) {
    const auto parts = gate_up.chunk(2, -1);
    return at::silu(parts[0]) * parts[1];
  }
  const at::Tensor input = gate_up.contiguous();
  auto sizes = input.sizes().vec();
  sizes.back() = width;
  at::Tensor output = at::empty(sizes, input.options());
  const int64_t rows = width == 0 ? 0 : output.numel() / width;
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, input.scalar_type(), "swiglu", [&] {
    using acc_t = compute_t<scalar_t>;
    const scalar_t* in = input.const_data_ptr<scalar_t>();
    scalar_t* out = output.data_ptr<scalar_t>();
    at::parallel_for(0, rows, 1 + 16384 / (width + 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const scalar_t* gate = in + row * 2 * width;
        const scalar_t* up = gate + width;
        scalar_t* o = out + row * width;
        for (int64_t i = 0; i < width; ++i) {
          const acc_t g = static_cast<acc_t>(gate[i]);
          o[i] = static_cast<scalar_t>(g * sigmoid(g) * static_cast<acc_t>(up[i]));
        }
      }
    });
  });
  return output;
}

at::Tensor swiglu_backward(const at::Tensor& gradient, const at::Tensor& gate_up, at::Tensor* activated) {
  const int64_t width = gate_up.size(-1) / 2;
  if (!gate_up.is_cpu()) {
    const auto parts = gate_up.chunk(2, -1);
    const at::Tensor s = at::sigmoid(parts[0]);
    const at::Tensor silu = parts[0] * s;
    if (activated != nullptr) *activated = silu * parts[1];
    return at::cat({gradient * parts[1] * (s + silu * (1 - s)), gradient * silu}, -1);
  }
  const at::Tensor input = gate_up.contiguous();
  const at::Tensor grad = gradient.contiguous();
  at::Tensor output = at::empty_like(input);
  if (activated != nullptr) *activated = at::empty_like(grad);
  const int64_t rows = width == 0 ? 0 : grad.numel() / width;
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, input.scalar_type(), "swiglu_backward", [&] {
    using acc_t = compute_t<scalar_t>;
    const scalar_t* in = input.const_data_ptr<scalar_t>();
    const scalar_t* dy = grad.const_data_ptr<scalar_t>();
    scalar_t* out = output.data_ptr<scalar_t>();
    scalar_t* act = activated != nullptr ? activated->data_ptr<scalar_t>() : nullptr;
    at::parallel_for(0, rows, 1 + 16384 / (width + 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const scalar_t* gate = in + row * 2 * width;
        const scalar_t* up = gate + width;
        const scalar_t* d = dy + row * width;
        scalar_t* dgate = out + row * 2 * width;
        scalar_t* dup = dgate + width;
        for (int64_t i = 0; i < width; ++i) {
          const acc_t g = static_cast<acc_t>(gate[i]);
          const acc_t u = static_cast<acc_t>(up[i]);
          const acc_t gr = static_cast<acc_t>(d[i]);
          const acc_t s = sigmoid(g);
          const acc_t silu = g * s;
          dgate[i] = static_cast<scalar_t>(gr * u * (s + silu * (acc_t(1) - s)));
          dup[i] = static_cast<scalar_t>(gr * silu);
        }
        if (act != nullptr) {
          scalar_t* a = act + row * width;
          for (int64_t i = 0; i < width; ++i) {
            const acc_t g = static_cast<acc_t>(gate[i]);
            a[i] = static_cast<scalar_t>(g * sigmoid(g) * static_cast<acc_t>(up[i]));
          }
        }
      }
    });
  });
  return output;
}

namespace {

struct Swiglu : torch::autograd::Function<Swiglu> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& gate_up) {
    context->save_for_backward({gate_up});
    return swiglu_forward(gate_up);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    refuse_second_derivative("dunwu::swiglu");
    return {swiglu_backward(grads[0], context->get_saved_variables()[0])};
  }
};

}  // namespace

at::Tensor swiglu(const at::Tensor& gate_up) {
  TORCH_CHECK(gate_up.dim() >= 1 && gate_up.size(-1) % 2 == 0, "swiglu: the last dimension must be even (gate and up side by side), got ", gate_up.sizes());
  return Swiglu::apply(gate_up);
}

TORCH_LIBRARY_FRAGMENT(dunwu, m) { m.def("swiglu(Tensor gate_up) -> Tensor"); }
TORCH_LIBRARY_IMPL(dunwu, CompositeImplicitAutograd, m) { m.impl("swiglu", swiglu); }

}  // namespace dunwu
