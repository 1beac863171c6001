// A linear layer y = x · Wᵀ + b on matrix units, with weights kept in float32: in bfloat16, or in float32 as one or three products of it. The
// weight is taken apart while it is brought into the units' order, and its gradient leaves them as float32: neither a rounded copy nor a
// rounded gradient is ever held.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "checks.h"
#include "products.h"

namespace dunwu {
namespace {

struct ShortLinear : torch::autograd::Function<ShortLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight) {
    context->save_for_backward({x, weight});
    return product_forward(x, weight, x.scalar_type());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    refuse_second_derivative("dunwu::short_linear");
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], dy = grads[0].contiguous();
    at::Tensor dx, dw;
    if (context->needs_input_grad(0)) dx = product_input_gradient(dy, weight);
    if (context->needs_input_grad(1)) product_weight_gradient(dy, x, dw = at::empty_like(weight));
    return {dx, dw};
  }
};

at::Tensor short_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 2 && x.size(-1) == weight.size(1), "short_linear: x must be [..., inputs] and weight [outputs, inputs], got ", x.sizes(), " and ", weight.sizes());
  if (!on_matrix_units(x) || weight.scalar_type() != at::kFloat) return at::linear(x, weight.to(x.scalar_type()), bias.has_value() ? std::optional<at::Tensor>(bias->to(x.scalar_type())) : std::nullopt);
  auto sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  const at::Tensor y = ShortLinear::apply(x.reshape({-1, x.size(-1)}).contiguous(), weight.contiguous()).view(sizes);
  return bias.has_value() ? (y + *bias).to(x.scalar_type()) : y;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dunwu, m) { m.def("short_linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor"); }
TORCH_LIBRARY_IMPL(dunwu, CompositeImplicitAutograd, m) { m.impl("short_linear", short_linear); }

}  // namespace dunwu
