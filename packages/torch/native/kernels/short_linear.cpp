// A linear layer computed in bfloat16 with weights kept in float32: y = x · Wᵀ + b. The weight is rounded while it is brought into
// the matrix units' order, and its gradient leaves them as float32: neither a rounded copy nor a rounded gradient is ever held.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <vector>

#include "checks.h"
#include "short_products.h"

namespace dunwu {
namespace {

#if DUNWU_MATRIX_UNITS

struct ShortLinear : torch::autograd::Function<ShortLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    const int64_t tokens = x.size(0), inputs = x.size(1), outputs = weight.size(0);
    at::Tensor y = at::empty({tokens, outputs}, x.options());
    const Short* in = x.const_data_ptr<Short>();
    const float* w = weight.const_data_ptr<float>();
    Short* out = y.data_ptr<Short>();
    ShortBuffer packed(inputs * outputs);
    // An empty bias is none.
    const float* b = bias.numel() > 0 ? bias.const_data_ptr<float>() : nullptr;
    together(at::get_num_threads(), [&](const Team& team) {
      const auto [first, last] = team.share(outputs, 16);
      pack_column_pairs(w, inputs, first, last, inputs, outputs, packed.memory);
      team.meet();
      const auto [begin, end] = team.share(tokens, 32);
      std::vector<float> room(kShortRows * std::min(kShortColumns, outputs));
      multiply_short(in, tokens, begin, end, inputs, outputs, packed.memory, out, outputs, room.data());
      if (b != nullptr)
        for (int64_t m = begin; m < end; ++m)
          for (int64_t n = 0; n < outputs; ++n) out[m * outputs + n] = Short(static_cast<float>(out[m * outputs + n]) + b[n]);
      at::native::cpublas::brgemm_release();
    });
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.numel() > 0;
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    refuse_second_derivative("dunwu::short_linear");
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const bool needs_x = context->needs_input_grad(0), needs_w = context->needs_input_grad(1);
    const at::Tensor dy = grads[0].contiguous();
    const int64_t tokens = x.size(0), inputs = x.size(1), outputs = weight.size(0);
    at::Tensor dx = needs_x ? at::empty_like(x) : at::Tensor();
    at::Tensor dw = needs_w ? at::empty_like(weight) : at::Tensor();
    const Short *in = x.const_data_ptr<Short>(), *g = dy.const_data_ptr<Short>();
    const float* w = weight.const_data_ptr<float>();
    ShortBuffer weights(needs_x ? outputs * inputs : 0), pairs(needs_w ? short_padded(tokens) * inputs : 0);
    Short* to = needs_x ? dx.data_ptr<Short>() : nullptr;
    float* d = needs_w ? dw.data_ptr<float>() : nullptr;
    together(at::get_num_threads(), [&](const Team& team) {
      if (needs_x) {
        const auto [begin, end] = team.share(outputs / 2);
        pack_row_pairs(w, inputs, begin, end, outputs, inputs, weights.memory);
      }
      if (needs_w) {
        const auto [begin, end] = team.share(short_padded(tokens) / 2);
        pack_row_pairs(in, inputs, begin, end, tokens, inputs, pairs.memory);
      }
      team.meet();
      if (needs_x) {
        const auto [begin, end] = team.share(tokens, 32);
        std::vector<float> room(kShortRows * std::min(kShortColumns, inputs));
        multiply_short(g, tokens, begin, end, outputs, inputs, weights.memory, to, inputs, room.data());
      }
      if (needs_w) {
        const auto [begin, end] = team.share(outputs, 16);
        ShortBuffer room(kGradientRoom);
        weight_gradient(g, outputs, tokens, begin, end, pairs.memory, inputs, d, room.memory);
      }
      at::native::cpublas::brgemm_release();
    });
    const at::Tensor db = context->saved_data["bias"].toBool() ? dy.to(at::kFloat).sum(0) : at::Tensor();
    return {dx, dw, db};
  }
};

#endif

at::Tensor short_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 2 && x.size(-1) == weight.size(1), "short_linear: x must be [..., inputs] and weight [outputs, inputs], got ", x.sizes(), " and ", weight.sizes());
#if DUNWU_MATRIX_UNITS
  const bool fits = x.is_cpu() && x.scalar_type() == at::kBFloat16 && weight.scalar_type() == at::kFloat && weight.size(0) % 2 == 0 && weight.size(1) % 2 == 0;
  if (fits && has_short_products()) {
    auto sizes = x.sizes().vec();
    sizes.back() = weight.size(0);
    const at::Tensor b = bias.has_value() ? bias->to(at::kFloat).contiguous() : at::empty({0}, weight.options());
    return ShortLinear::apply(x.reshape({-1, x.size(-1)}).contiguous(), weight.contiguous(), b).view(sizes);
  }
#endif
  return at::linear(x, weight.to(x.scalar_type()), bias.has_value() ? std::optional<at::Tensor>(bias->to(x.scalar_type())) : std::nullopt);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dunwu, m) { m.def("short_linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor"); }
TORCH_LIBRARY_IMPL(dunwu, CompositeImplicitAutograd, m) { m.impl("short_linear", short_linear); }

}  // namespace dunwu
