// A residual addition and the norm after it, in one pass each way: sum = x + delta, normed = weight · sum / rms(sum). The stream
// x stays in its own (long) type; delta and normed may be of a shorter one.
#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "checks.h"
#include "math.h"

namespace dunwu {
namespace {

/// Rows whose weight gradients are summed together, blocks in order: the same numbers for any schedule.
constexpr int64_t kBlock = 256;

template <typename stream_t, typename short_t>
void forward_rows(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight, double eps, const at::Tensor& sum, const at::Tensor& normed, const at::Tensor& inverse) {
  const int64_t width = x.size(-1), rows = inverse.numel();
  const stream_t *in = x.const_data_ptr<stream_t>(), *w = weight.const_data_ptr<stream_t>();
  const short_t* more = delta.defined() ? delta.const_data_ptr<short_t>() : nullptr;
  stream_t *total = sum.data_ptr<stream_t>(), *inv = inverse.data_ptr<stream_t>();
  short_t* out = normed.data_ptr<short_t>();
  at::parallel_for(0, rows, 1 + 16384 / (width + 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const stream_t* xi = in + row * width;
      if (more != nullptr) {
        const short_t* di = more + row * width;
        stream_t* si = total + row * width;
        for (int64_t i = 0; i < width; ++i) si[i] = xi[i] + static_cast<stream_t>(di[i]);
        xi = si;
      }
      const stream_t r = stream_t(1) / std::sqrt(sum_of_squares(xi, width) / static_cast<stream_t>(width) + static_cast<stream_t>(eps));
      inv[row] = r;
      short_t* o = out + row * width;
      for (int64_t i = 0; i < width; ++i) o[i] = static_cast<short_t>(xi[i] * r * w[i]);
    }
  });
}

/// Σ g·w·x
template <typename stream_t, typename short_t>
inline stream_t weighted_dot(const short_t* g, const stream_t* w, const stream_t* x, int64_t count) {
  stream_t total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < count; ++i) total += static_cast<stream_t>(g[i]) * w[i] * x[i];
  return total;
}

template <typename stream_t, typename short_t>
void backward_rows(const at::Tensor& sum, const at::Tensor& weight, const at::Tensor& inverse, const at::Tensor& d_sum, const at::Tensor& d_normed, const at::Tensor& dx, const at::Tensor& d_delta, const at::Tensor& partial) {
  const int64_t width = sum.size(-1), rows = inverse.numel(), blocks = partial.size(0);
  const stream_t *x = sum.const_data_ptr<stream_t>(), *w = weight.const_data_ptr<stream_t>(), *inv = inverse.const_data_ptr<stream_t>();
  const stream_t* straight = d_sum.defined() ? d_sum.const_data_ptr<stream_t>() : nullptr;
  const short_t* g = d_normed.const_data_ptr<short_t>();
  stream_t *out = dx.data_ptr<stream_t>(), *sums = partial.data_ptr<stream_t>();
  short_t* brief = d_delta.defined() ? d_delta.data_ptr<short_t>() : nullptr;
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      stream_t* dw = sums + block * width;
      const int64_t last = std::min(rows, (block + 1) * kBlock);
      for (int64_t row = block * kBlock; row < last; ++row) {
        const stream_t* xi = x + row * width;
        const short_t* gi = g + row * width;
        const stream_t r = inv[row];
        const stream_t c = weighted_dot(gi, w, xi, width) * r * r / static_cast<stream_t>(width);
        stream_t* o = out + row * width;
        if (straight != nullptr) {
          const stream_t* si = straight + row * width;
          for (int64_t i = 0; i < width; ++i) o[i] = si[i] + r * (static_cast<stream_t>(gi[i]) * w[i] - xi[i] * c);
        } else {
          for (int64_t i = 0; i < width; ++i) o[i] = r * (static_cast<stream_t>(gi[i]) * w[i] - xi[i] * c);
        }
        for (int64_t i = 0; i < width; ++i) dw[i] += static_cast<stream_t>(gi[i]) * xi[i] * r;
        if (brief != nullptr) {
          short_t* b = brief + row * width;
          for (int64_t i = 0; i < width; ++i) b[i] = static_cast<short_t>(o[i]);
        }
      }
    }
  });
}

/// Calls `body` with values of the stream's type and of the short one.
template <typename Body>
void dispatch(at::ScalarType stream, at::ScalarType brief, const Body& body) {
  if (stream == at::kDouble && brief == at::kDouble) return body(double(), double());
  if (stream == at::kFloat && brief == at::kFloat) return body(float(), float());
  if (stream == at::kFloat && brief == at::kBFloat16) return body(float(), at::BFloat16());
  if (stream == at::kFloat && brief == at::kHalf) return body(float(), at::Half());
  TORCH_CHECK(false, "add_rms_norm: a stream of ", stream, " with ", brief, " is not supported: expected float32 with float32, bfloat16 or float16, or float64 alone");
}

struct AddRmsNorm : torch::autograd::Function<AddRmsNorm> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight, double eps, at::ScalarType dtype) {
    const bool adds = delta.numel() > 0 || x.numel() == 0;
    const int64_t width = x.size(-1), rows = width == 0 ? 0 : x.numel() / width;
    at::Tensor sum, normed, inverse;
    if (!x.is_cpu()) {
      sum = adds ? x + delta : x.alias();
      inverse = at::rsqrt(sum.square().mean(-1, true) + eps);
      normed = (sum * inverse * weight).to(dtype);
    } else {
      sum = adds ? at::empty_like(x) : x.alias();
      normed = at::empty(x.sizes(), x.options().dtype(dtype));
      inverse = at::empty({rows}, x.options());
      dispatch(x.scalar_type(), dtype, [&](auto stream, auto brief) {
        forward_rows<decltype(stream), decltype(brief)>(x, adds ? delta : at::Tensor(), weight, eps, sum, normed, inverse);
      });
    }
    context->save_for_backward({sum, weight, inverse});
    context->saved_data["adds"] = adds;
    // A gradient that nobody gave is none, not zeros.
    context->set_materialize_grads(false);
    return {sum, normed};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    refuse_second_derivative("dunwu::add_rms_norm");
    const auto saved = context->get_saved_variables();
    const at::Tensor &sum = saved[0], &weight = saved[1], &inverse = saved[2];
    const bool adds = context->saved_data["adds"].toBool();
    const int64_t width = sum.size(-1);
    if (!grads[1].defined()) return {grads[0], adds ? grads[0] : at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
    if (!sum.is_cpu()) {
      const at::Tensor normalised = sum * inverse, dy = grads[1].to(sum.scalar_type()), dn = dy * weight;
      at::Tensor dx = (dn - normalised * (dn * normalised).mean(-1, true)) * inverse;
      if (grads[0].defined()) dx = dx + grads[0];
      return {dx, adds ? dx.to(grads[1].scalar_type()) : at::Tensor(), (dy * normalised).reshape({-1, width}).sum(0), at::Tensor(), at::Tensor()};
    }
    const at::Tensor d_normed = grads[1].contiguous(), d_sum = grads[0].defined() ? grads[0].contiguous() : at::Tensor();
    const at::Tensor dx = at::empty_like(sum);
    const bool shorter = adds && d_normed.scalar_type() != sum.scalar_type();
    const at::Tensor d_delta = shorter ? at::empty_like(d_normed) : at::Tensor();
    const at::Tensor partial = at::zeros({(inverse.numel() + kBlock - 1) / kBlock, width}, inverse.options());
    dispatch(sum.scalar_type(), d_normed.scalar_type(), [&](auto stream, auto brief) {
      backward_rows<decltype(stream), decltype(brief)>(sum, weight, inverse, d_sum, d_normed, dx, d_delta, partial);
    });
    return {dx, !adds ? at::Tensor() : shorter ? d_delta : dx, partial.sum(0), at::Tensor(), at::Tensor()};
  }
};

std::tuple<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& x, const std::optional<at::Tensor>& delta, const at::Tensor& weight, double eps, std::optional<at::ScalarType> dtype) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 1 && weight.size(0) == x.size(-1), "add_rms_norm: the weight must have as many numbers as x's last dimension, got ", weight.sizes(), " for ", x.sizes());
  TORCH_CHECK(weight.scalar_type() == x.scalar_type(), "add_rms_norm: x and the weight must be of one type, got ", x.scalar_type(), " and ", weight.scalar_type());
  const auto brief = dtype.value_or(delta.has_value() ? delta->scalar_type() : x.scalar_type());
  if (delta.has_value()) {
    TORCH_CHECK(delta->sizes() == x.sizes(), "add_rms_norm: x and delta must have one shape, got ", x.sizes(), " and ", delta->sizes());
    TORCH_CHECK(delta->scalar_type() == brief, "add_rms_norm: delta is of ", delta->scalar_type(), ", the result is to be of ", brief);
    check_same_device("add_rms_norm", x, {*delta, weight});
  }
  const at::Tensor more = delta.has_value() ? delta->contiguous() : at::empty({0}, x.options());
  const auto results = AddRmsNorm::apply(x.contiguous(), more, weight.contiguous(), eps, brief);
  return {results[0], results[1]};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dunwu, m) {
  m.def("add_rms_norm(Tensor x, Tensor? delta, Tensor weight, float eps, ScalarType? dtype) -> (Tensor, Tensor)");
}
TORCH_LIBRARY_IMPL(dunwu, CompositeImplicitAutograd, m) { m.impl("add_rms_norm", add_rms_norm); }

}  // namespace dunwu
