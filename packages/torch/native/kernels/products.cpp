#include "products.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include "short_products.h"

namespace dunwu {

#if DUNWU_TILES

namespace {

/// Calls `body` with what the tensor's numbers are to these products.
template <typename Body>
void with_operand(const at::Tensor& tensor, const Body& body) {
  if (tensor.scalar_type() == at::kBFloat16)
    body(Operand<Short, 1>());
  else if (rounds_float32())
    body(Operand<float, 1>());
  else
    body(Operand<float, 2>());
}

}  // namespace

bool rounds_float32() { return at::globalContext().float32MatmulPrecision() == at::Float32MatmulPrecision::MEDIUM; }

bool on_matrix_units(const at::Tensor& x) {
  if (!x.is_cpu() || !has_tiles()) return false;
  const bool exact = at::globalContext().float32MatmulPrecision() == at::Float32MatmulPrecision::HIGHEST;
  return x.scalar_type() == at::kBFloat16 || (x.scalar_type() == at::kFloat && !exact);
}

at::Tensor product_forward(const at::Tensor& x, const at::Tensor& w, at::ScalarType type) {
  const int64_t tokens = x.size(0), inputs = x.size(1), outputs = w.size(0);
  const at::Tensor y = at::empty({tokens, outputs}, x.options().dtype(type));
  const float* from = w.const_data_ptr<float>();
  with_operand(x, [&](auto operand) {
    using T = typename decltype(operand)::Number;
    constexpr int kParts = decltype(operand)::kParts;
    const ShortBuffer packed(pairs_size<kParts>(inputs, outputs));
    const Pairs panels(packed.memory, inputs, outputs, kParts);
    const auto multiply = [&](auto* to) {
      together(at::get_num_threads(), [&](const Team& team) {
        const auto [first, last] = team.share(panels.width, kPanel);
        pack_column_pairs<kParts>(from, inputs, first, last, inputs, outputs, panels);
        team.meet();
        const auto [begin, end] = team.share(tokens, 32);
        open_tiles();
        multiply_panels<kParts>(x.const_data_ptr<T>(), begin, end, inputs, outputs, panels, to);
        close_tiles();
      });
    };
    if (type == at::kFloat)
      multiply(y.data_ptr<float>());
    else
      multiply(y.data_ptr<Short>());
  });
  return y;
}

at::Tensor product_input_gradient(const at::Tensor& dy, const at::Tensor& w) {
  const int64_t tokens = dy.size(0), outputs = dy.size(1), inputs = w.size(1);
  const at::Tensor dx = at::empty({tokens, inputs}, dy.options());
  const float* from = w.const_data_ptr<float>();
  with_operand(dy, [&](auto operand) {
    using T = typename decltype(operand)::Number;
    constexpr int kParts = decltype(operand)::kParts;
    const ShortBuffer packed(pairs_size<kParts>(outputs, inputs));
    const Pairs panels(packed.memory, outputs, inputs, kParts);
    together(at::get_num_threads(), [&](const Team& team) {
      const auto [first, last] = team.share(panels.pairs);
      pack_row_pairs<kParts>(from, inputs, first, last, outputs, inputs, panels);
      team.meet();
      const auto [begin, end] = team.share(tokens, 32);
      open_tiles();
      multiply_panels<kParts>(dy.const_data_ptr<T>(), begin, end, outputs, inputs, panels, dx.data_ptr<T>());
      close_tiles();
    });
  });
  return dx;
}

void product_weight_gradient(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& dw, bool add) {
  const int64_t tokens = dy.size(0), outputs = dy.size(1), inputs = x.size(1);
  float* to = dw.data_ptr<float>();
  with_operand(dy, [&](auto operand) {
    using T = typename decltype(operand)::Number;
    constexpr int kParts = decltype(operand)::kParts;
    const ShortBuffer packed(pairs_size<kParts>(tokens, inputs));
    const Pairs panels(packed.memory, tokens, inputs, kParts);
    together(at::get_num_threads(), [&](const Team& team) {
      const auto [first, last] = team.share(panels.pairs);
      pack_row_pairs<kParts>(x.const_data_ptr<T>(), inputs, first, last, tokens, inputs, panels);
      team.meet();
      const auto [begin, end] = team.share(outputs, 32);
      open_tiles();
      weight_gradient<kParts>(dy.const_data_ptr<T>(), outputs, tokens, begin, end, panels, inputs, to, add);
      close_tiles();
    });
  });
}

#else

bool on_matrix_units(const at::Tensor&) { return false; }
bool rounds_float32() { return false; }
at::Tensor product_forward(const at::Tensor&, const at::Tensor&, at::ScalarType) { TORCH_CHECK(false, "this processor has no matrix units"); }
at::Tensor product_input_gradient(const at::Tensor&, const at::Tensor&) { TORCH_CHECK(false, "this processor has no matrix units"); }
void product_weight_gradient(const at::Tensor&, const at::Tensor&, const at::Tensor&, bool) { TORCH_CHECK(false, "this processor has no matrix units"); }

#endif

}  // namespace dunwu
