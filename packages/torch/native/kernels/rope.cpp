// Rotary position embedding (Su et al. 2021, arXiv 2104.09864) of the last dimension, each way in one pass.
// The result is always in the half layout [first halves | second halves]; `interleaved` says that the input holds its
// pairs side by side, as DeepSeek's checkpoints do. Inner products do not depend on the layout.
#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>

#include "checks.h"
#include "math.h"

namespace dunwu {
namespace {

/// x [rows, heads, width] with any strides but a dense last dimension; cosine, sine [rows, width / 2].
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine, bool interleaved) {
  const int64_t rows = x.size(0), heads = x.size(1), half = x.size(2) / 2;
  at::Tensor output = at::empty({rows, heads, 2 * half}, x.options());
  const int64_t row_stride = x.stride(0), head_stride = x.stride(1);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, x.scalar_type(), "rope", [&] {
    using acc_t = compute_t<scalar_t>;
    const scalar_t* in = x.const_data_ptr<scalar_t>();
    scalar_t* out = output.data_ptr<scalar_t>();
    const acc_t* cos_table = cosine.const_data_ptr<acc_t>();
    const acc_t* sin_table = sine.const_data_ptr<acc_t>();
    at::parallel_for(0, rows, 1 + 8192 / (heads * half + 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const acc_t* c = cos_table + row * half;
        const acc_t* s = sin_table + row * half;
        for (int64_t head = 0; head < heads; ++head) {
          const scalar_t* xi = in + row * row_stride + head * head_stride;
          scalar_t* o = out + (row * heads + head) * 2 * half;
          const int64_t step = interleaved ? 2 : 1, second = interleaved ? 1 : half;
          for (int64_t i = 0; i < half; ++i) {
            const acc_t a = static_cast<acc_t>(xi[i * step]), b = static_cast<acc_t>(xi[i * step + second]);
            o[i] = static_cast<scalar_t>(a * c[i] - b * s[i]);
            o[i + half] = static_cast<scalar_t>(b * c[i] + a * s[i]);
          }
        }
      }
    });
  });
  return output;
}

/// The transpose of rotate(): gradient in half layout → gradient in the input's layout.
at::Tensor rotate_back(const at::Tensor& gradient, const at::Tensor& cosine, const at::Tensor& sine, bool interleaved) {
  const at::Tensor grad = gradient.contiguous();
  const int64_t rows = grad.size(0), heads = grad.size(1), half = grad.size(2) / 2;
  at::Tensor output = at::empty_like(grad);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, grad.scalar_type(), "rope_backward", [&] {
    using acc_t = compute_t<scalar_t>;
    const scalar_t* in = grad.const_data_ptr<scalar_t>();
    scalar_t* out = output.data_ptr<scalar_t>();
    const acc_t* cos_table = cosine.const_data_ptr<acc_t>();
    const acc_t* sin_table = sine.const_data_ptr<acc_t>();
    at::parallel_for(0, rows, 1 + 8192 / (heads * half + 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const acc_t* c = cos_table + row * half;
        const acc_t* s = sin_table + row * half;
        for (int64_t head = 0; head < heads; ++head) {
          const scalar_t* g = in + (row * heads + head) * 2 * half;
          scalar_t* o = out + (row * heads + head) * 2 * half;
          const int64_t step = interleaved ? 2 : 1, second = interleaved ? 1 : half;
          for (int64_t i = 0; i < half; ++i) {
            const acc_t a = static_cast<acc_t>(g[i]), b = static_cast<acc_t>(g[i + half]);
            o[i * step] = static_cast<scalar_t>(a * c[i] + b * s[i]);
            o[i * step + second] = static_cast<scalar_t>(b * c[i] - a * s[i]);
          }
        }
      }
    });
  });
  return output;
}

at::Tensor rotate_plain(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine, bool interleaved) {
  const int64_t half = x.size(2) / 2;
  const at::Tensor wide = x.to(cosine.scalar_type());
  const at::Tensor a = interleaved ? wide.slice(2, 0, 2 * half, 2) : wide.narrow(2, 0, half);
  const at::Tensor b = interleaved ? wide.slice(2, 1, 2 * half, 2) : wide.narrow(2, half, half);
  const at::Tensor c = cosine.unsqueeze(1), s = sine.unsqueeze(1);
  return at::cat({a * c - b * s, b * c + a * s}, 2).to(x.scalar_type());
}

struct Rope : torch::autograd::Function<Rope> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine, bool interleaved) {
    context->save_for_backward({cosine, sine});
    context->saved_data["interleaved"] = interleaved;
    return rotate(x.stride(2) == 1 ? x : x.contiguous(), cosine, sine, interleaved);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    refuse_second_derivative("dunwu::rope");
    const auto saved = context->get_saved_variables();
    return {rotate_back(grads[0], saved[0], saved[1], context->saved_data["interleaved"].toBool()), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor rope(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine, bool interleaved) {
  TORCH_CHECK(x.dim() == 3 && x.size(2) % 2 == 0, "rope: x must be [rows, heads, even width], got ", x.sizes());
  TORCH_CHECK(cosine.dim() == 2 && cosine.size(0) == x.size(0) && cosine.size(1) * 2 == x.size(2) && sine.sizes() == cosine.sizes(), "rope: cosine and sine must be [rows, width / 2], got ", cosine.sizes(), " and ", sine.sizes(), " for x ", x.sizes());
  check_same_device("rope", x, {cosine, sine});
  const auto type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  if (!x.is_cpu()) return rotate_plain(x, cosine.to(type), sine.to(type), interleaved);
  return Rope::apply(x, cosine.to(type).contiguous(), sine.to(type).contiguous(), interleaved);
}

/// x [rows, heads, width] → the same, where heads [first, first + count) have their last 2 · cosine.size(1) numbers turned: by
/// the angles, or back (the transpose), for gradients. All else is copied.
template <bool back>
at::Tensor rotate_part(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine, bool interleaved, int64_t first, int64_t count) {
  const int64_t rows = x.size(0), heads = x.size(1), width = x.size(2), half = cosine.size(1), plain = width - 2 * half;
  at::Tensor output = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, x.scalar_type(), back ? "rope_part_backward" : "rope_part", [&] {
    using acc_t = compute_t<scalar_t>;
    const scalar_t* in = x.const_data_ptr<scalar_t>();
    scalar_t* out = output.data_ptr<scalar_t>();
    const acc_t* cos_table = cosine.const_data_ptr<acc_t>();
    const acc_t* sin_table = sine.const_data_ptr<acc_t>();
    const int64_t step = interleaved ? 2 : 1, second = interleaved ? 1 : half;
    at::parallel_for(0, rows, 1 + 16384 / (heads * width + 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const acc_t* c = cos_table + row * half;
        const acc_t* s = sin_table + row * half;
        const scalar_t* from = in + row * heads * width;
        scalar_t* to = out + row * heads * width;
        std::copy(from, from + first * width, to);
        for (int64_t head = first; head < first + count; ++head) {
          std::copy(from + head * width, from + head * width + plain, to + head * width);
          const scalar_t* xi = from + head * width + plain;
          scalar_t* o = to + head * width + plain;
          for (int64_t i = 0; i < half; ++i) {
            if constexpr (back) {
              const acc_t a = static_cast<acc_t>(xi[i]), b = static_cast<acc_t>(xi[i + half]);
              o[i * step] = static_cast<scalar_t>(a * c[i] + b * s[i]);
              o[i * step + second] = static_cast<scalar_t>(b * c[i] - a * s[i]);
            } else {
              const acc_t a = static_cast<acc_t>(xi[i * step]), b = static_cast<acc_t>(xi[i * step + second]);
              o[i] = static_cast<scalar_t>(a * c[i] - b * s[i]);
              o[i + half] = static_cast<scalar_t>(b * c[i] + a * s[i]);
            }
          }
        }
        std::copy(from + (first + count) * width, from + heads * width, to + (first + count) * width);
      }
    });
  });
  return output;
}

struct RopePart : torch::autograd::Function<RopePart> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine, bool interleaved, int64_t first,
                            int64_t count) {
    context->save_for_backward({cosine, sine});
    context->saved_data["interleaved"] = interleaved;
    context->saved_data["first"] = first;
    context->saved_data["count"] = count;
    return rotate_part<false>(x, cosine, sine, interleaved, first, count);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    refuse_second_derivative("dunwu::rope_part");
    const auto saved = context->get_saved_variables();
    auto& data = context->saved_data;
    return {rotate_part<true>(grads[0].contiguous(), saved[0], saved[1], data["interleaved"].toBool(), data["first"].toInt(), data["count"].toInt()),
            at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor rope_part(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine, bool interleaved, int64_t first, int64_t count) {
  TORCH_CHECK(x.dim() == 3, "rope_part: x must be [rows, heads, width], got ", x.sizes());
  TORCH_CHECK(first >= 0 && count >= 0 && first + count <= x.size(1), "rope_part: heads ", first, " to ", first + count, " of x ", x.sizes());
  TORCH_CHECK(cosine.dim() == 2 && cosine.size(0) == x.size(0) && cosine.size(1) * 2 <= x.size(2) && sine.sizes() == cosine.sizes(),
              "rope_part: cosine and sine must be [rows, at most width / 2], got ", cosine.sizes(), " and ", sine.sizes(), " for x ", x.sizes());
  check_same_device("rope_part", x, {cosine, sine});
  const auto type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  if (!x.is_cpu()) {
    const int64_t turned = 2 * cosine.size(1), plain = x.size(2) - turned, after = first + count;
    const at::Tensor part = x.narrow(1, first, count);
    const at::Tensor rotated = rotate_plain(part.narrow(2, plain, turned), cosine.to(type), sine.to(type), interleaved);
    return at::cat({x.narrow(1, 0, first), at::cat({part.narrow(2, 0, plain), rotated}, 2), x.narrow(1, after, x.size(1) - after)}, 1);
  }
  return RopePart::apply(x.contiguous(), cosine.to(type).contiguous(), sine.to(type).contiguous(), interleaved, first, count);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dunwu, m) {
  m.def("rope(Tensor x, Tensor cosine, Tensor sine, bool interleaved) -> Tensor");
  m.def("rope_part(Tensor x, Tensor cosine, Tensor sine, bool interleaved, int first, int count) -> Tensor");
}
TORCH_LIBRARY_IMPL(dunwu, CompositeImplicitAutograd, m) {
  m.impl("rope", rope);
  m.impl("rope_part", rope_part);
}

}  // namespace dunwu
