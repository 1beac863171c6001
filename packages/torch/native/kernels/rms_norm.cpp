// RMSNorm (Zhang & Sennrich 2019, arXiv 1910.07467): y = weight · x / sqrt(mean(x²) + eps), in one pass each way.
#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "checks.h"
#include "math.h"

namespace dunwu {
namespace {

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double eps) {
    const int64_t width = x.size(-1);
    if (!x.is_cpu()) {
      const at::Tensor wide = x.to(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
      const at::Tensor inverse = at::rsqrt(wide.square().mean(-1, true) + eps);
      context->save_for_backward({x, weight, inverse});
      return (wide * inverse * weight).to(x.scalar_type());
    }
    const at::Tensor input = x.contiguous();
    const int64_t rows = width == 0 ? 0 : input.numel() / width;
    at::Tensor output = at::empty_like(input);
    const auto acc_type = input.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor inverse = at::empty({rows}, input.options().dtype(acc_type));
    const at::Tensor scale = weight.to(input.scalar_type()).contiguous();
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, input.scalar_type(), "rms_norm", [&] {
      using acc_t = compute_t<scalar_t>;
      const scalar_t* in = input.const_data_ptr<scalar_t>();
      const scalar_t* w = scale.const_data_ptr<scalar_t>();
      scalar_t* out = output.data_ptr<scalar_t>();
      acc_t* inv = inverse.data_ptr<acc_t>();
      at::parallel_for(0, rows, 1 + 32768 / (width + 1), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const scalar_t* xi = in + row * width;
          const acc_t sum = sum_of_squares(xi, width);
          const acc_t r = acc_t(1) / std::sqrt(sum / static_cast<acc_t>(width) + static_cast<acc_t>(eps));
          inv[row] = r;
          scalar_t* yi = out + row * width;
          for (int64_t i = 0; i < width; ++i) yi[i] = static_cast<scalar_t>(static_cast<acc_t>(xi[i]) * r * static_cast<acc_t>(w[i]));
        }
      });
    });
    context->save_for_backward({input, weight, inverse});
    return output;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    refuse_second_derivative("dunwu::rms_norm");
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& weight = saved[1];
    const at::Tensor& inverse = saved[2];
    const int64_t width = x.size(-1);
    if (!x.is_cpu()) {
      const at::Tensor normalised = x.to(inverse.scalar_type()) * inverse;
      const at::Tensor dy = grads[0].to(inverse.scalar_type());
      const at::Tensor dn = dy * weight;
      const at::Tensor dx = (dn - normalised * (dn * normalised).mean(-1, true)) * inverse;
      const at::Tensor dw = (dy * normalised).reshape({-1, width}).sum(0);
      return {dx.to(x.scalar_type()), dw.to(weight.scalar_type()), at::Tensor()};
    }
    const at::Tensor dy = grads[0].contiguous();
    const int64_t rows = inverse.numel();
    at::Tensor dx = at::empty_like(x);
    const at::Tensor scale = weight.to(x.scalar_type()).contiguous();
    // Weight gradients are summed per fixed block of rows and the blocks in order: the same numbers for any schedule.
    constexpr int64_t kBlock = 256;
    const int64_t blocks = (rows + kBlock - 1) / kBlock;
    at::Tensor partial = at::zeros({blocks, width}, inverse.options());
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, x.scalar_type(), "rms_norm_backward", [&] {
      using acc_t = compute_t<scalar_t>;
      const scalar_t* in = x.const_data_ptr<scalar_t>();
      const scalar_t* g = dy.const_data_ptr<scalar_t>();
      const scalar_t* w = scale.const_data_ptr<scalar_t>();
      const acc_t* inv = inverse.const_data_ptr<acc_t>();
      scalar_t* out = dx.data_ptr<scalar_t>();
      acc_t* sums = partial.data_ptr<acc_t>();
      at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t block = begin; block < end; ++block) {
          acc_t* dw = sums + block * width;
          const int64_t last = std::min(rows, (block + 1) * kBlock);
          for (int64_t row = block * kBlock; row < last; ++row) {
            const scalar_t* xi = in + row * width;
            const scalar_t* gi = g + row * width;
            const acc_t r = inv[row];
            const acc_t dot = triple_dot(gi, w, xi, width);
            const acc_t c = dot * r * r / static_cast<acc_t>(width);
            scalar_t* oi = out + row * width;
            for (int64_t i = 0; i < width; ++i) {
              const acc_t xv = static_cast<acc_t>(xi[i]);
              const acc_t gv = static_cast<acc_t>(gi[i]);
              oi[i] = static_cast<scalar_t>(r * (gv * static_cast<acc_t>(w[i]) - xv * c));
              dw[i] += gv * xv * r;
            }
          }
        }
      });
    });
    return {dx, partial.sum(0).to(weight.scalar_type()), at::Tensor()};
  }
};

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 1 && weight.size(0) == x.size(-1), "rms_norm: x ", x.sizes(), " and weight ", weight.sizes(), " do not fit: weight must be [last dimension of x]");
  check_same_device("rms_norm", x, {weight});
  return RmsNorm::apply(x, weight, eps);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dunwu, m) { m.def("rms_norm(Tensor x, Tensor weight, float eps) -> Tensor"); }
TORCH_LIBRARY_IMPL(dunwu, CompositeImplicitAutograd, m) { m.impl("rms_norm", rms_norm); }

}  // namespace dunwu
