#include "short_experts.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstring>
#include <vector>

#include "checks.h"
#include "math.h"
#include "products.h"
#include "routing.h"
#include "short_products.h"
#include "swiglu.h"

namespace dunwu {

#if DUNWU_TILES

namespace {

/// The tokens of each expert: rows offset[e] to offset[e + 1].
using Offsets = std::vector<int64_t>;

/// y[rows of e] = x[rows of e] · B_e for every expert, with B_e = W_eᵀ (`transposed`) or W_e. w [experts, n, k] float32.
template <typename Kind>
void multiply_experts(const at::Tensor& x, const at::Tensor& w, bool transposed, const Offsets& offset, const at::Tensor& y) {
  using T = typename Kind::Number;
  constexpr int kParts = Kind::kParts;
  const int64_t experts = w.size(0), n = w.size(1), k = w.size(2);
  const int64_t depth = transposed ? k : n, columns = transposed ? n : k;
  const T* in = x.const_data_ptr<T>();
  const float* weight = w.const_data_ptr<float>();
  T* out = y.data_ptr<T>();
  // Two, so that one can be packed while another thread still reads the one before.
  const ShortBuffer first(pairs_size<kParts>(depth, columns)), second(pairs_size<kParts>(depth, columns));
  const Pairs packed[2] = {Pairs(first.memory, depth, columns, kParts), Pairs(second.memory, depth, columns, kParts)};
  together(at::get_num_threads(), [&](const Team& team) {
    open_tiles();
    int64_t turn = 0;
    for (int64_t e = 0; e < experts; ++e) {
      const int64_t count = offset[e + 1] - offset[e];
      if (count == 0) continue;
      const Pairs& to = packed[turn++ % 2];
      const float* own = weight + e * n * k;
      if (transposed) {
        const auto [begin, end] = team.share(to.width, kPanel);
        pack_column_pairs<kParts>(own, k, begin, end, depth, columns, to);
      } else {
        const auto [begin, end] = team.share(to.pairs);
        pack_row_pairs<kParts>(own, k, begin, end, depth, columns, to);
      }
      team.meet();
      const auto [begin, end] = team.share(count, 32);
      multiply_panels<kParts>(in + offset[e] * depth, begin, end, depth, columns, to, out + offset[e] * columns);
    }
    close_tiles();
  });
}

/// dw[e] = dy[rows of e]ᵀ · x[rows of e], float32.
template <typename Kind>
void expert_gradients(const at::Tensor& dy, const at::Tensor& x, const Offsets& offset, const at::Tensor& dw) {
  using T = typename Kind::Number;
  constexpr int kParts = Kind::kParts;
  const int64_t experts = dw.size(0), outputs = dw.size(1), inputs = dw.size(2);
  const T *g = dy.const_data_ptr<T>(), *in = x.const_data_ptr<T>();
  float* d = dw.data_ptr<float>();
  int64_t most = 0;
  for (int64_t e = 0; e < experts; ++e) most = std::max(most, offset[e + 1] - offset[e]);
  const ShortBuffer first(pairs_size<kParts>(most, inputs)), second(pairs_size<kParts>(most, inputs));
  Short* const packed[2] = {first.memory, second.memory};
  together(at::get_num_threads(), [&](const Team& team) {
    open_tiles();
    const auto [low, high] = team.share(outputs, 32);
    for (int64_t e = 0; e < experts; ++e) {
      const int64_t count = offset[e + 1] - offset[e];
      const Pairs to(packed[e % 2], count, inputs, kParts);
      const auto [begin, end] = team.share(to.pairs);
      pack_row_pairs<kParts>(in + offset[e] * inputs, inputs, begin, end, count, inputs, to);
      team.meet();
      weight_gradient<kParts>(g + offset[e] * outputs, outputs, count, low, high, to, inputs, d + e * outputs * inputs, false);
    }
    close_tiles();
  });
}

// On the bits themselves, so that compilers vectorise the loops they stand in.
inline float widened(float value) { return value; }
inline float widened(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}
inline void put(float value, float& to) { to = value; }
inline void put(float value, uint16_t& to) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  // To the nearest, to even between two; not a number stays none.
  const uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  to = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : nearest);
}

/// Backward between the two products, of a pair with routing weight w whose expert gave down · a, a = silu(gate) · up, and `back` =
/// dy · down: gate and up get the gradient of w · back · a, the weight gets back · a, and a itself becomes w · a, of which the gradient
/// of `down` is made.
struct Between {
  at::Tensor d_projected, weighted, d_weight;
};

template <typename T>
Between between_products(const at::Tensor& back, const at::Tensor& projected, const at::Tensor& weight) {
  const int64_t pairs = back.size(0), width = back.size(1);
  Between result{at::empty_like(projected), at::empty_like(back), at::empty_like(weight)};
  using Raw = std::conditional_t<std::is_same_v<T, Short>, uint16_t, float>;
  const auto raw = [](const at::Tensor& tensor) { return static_cast<Raw*>(tensor.data_ptr()); };
  const Raw *gradient = raw(back), *in = raw(projected);
  const float* w = weight.const_data_ptr<float>();
  Raw *d = raw(result.d_projected), *a = raw(result.weighted);
  float* d_weight = result.d_weight.data_ptr<float>();
  at::parallel_for(0, pairs, 1 + 16384 / (width + 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Raw *gate = in + row * 2 * width, *up = gate + width, *from = gradient + row * width;
      Raw *d_gate = d + row * 2 * width, *d_up = d_gate + width, *to = a + row * width;
      const float factor = w[row];
      float total = 0;
#pragma omp simd reduction(+ : total)
      for (int64_t i = 0; i < width; ++i) {
        const float g = widened(gate[i]), u = widened(up[i]), got = widened(from[i]), own = got * factor;
        const float s = sigmoid(g), silu = g * s;
        put(own * u * (s + silu * (1.0f - s)), d_gate[i]);
        put(own * silu, d_up[i]);
        put(silu * u * factor, to[i]);
        total += got * silu * u;
      }
      d_weight[row] = total;
    }
  });
  return result;
}

template <typename Kind>
struct ShortExperts : torch::autograd::Function<ShortExperts<Kind>> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& gate_up, const at::Tensor& down) {
    const int64_t tokens = x.size(0), per_token = indices.size(1);
    const Routing routing = sort_by_expert(indices, gate_up.size(0));
    const at::Tensor sorted = x.index_select(0, routing.token);
    const at::Tensor projected = at::empty({sorted.size(0), gate_up.size(1)}, x.options());
    multiply_experts<Kind>(sorted, gate_up, true, routing.offset, projected);
    const at::Tensor rows = at::empty_like(sorted);
    multiply_experts<Kind>(swiglu_forward(projected), down, true, routing.offset, rows);
    context->save_for_backward({x, weights, gate_up, down, routing.position, routing.token, projected});
    context->saved_data["offset"] = routing.offset;
    context->saved_data["per_token"] = per_token;
    return combine(rows, routing.position, weights, tokens, per_token);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    refuse_second_derivative("dunwu::grouped_experts");
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weights = saved[1], &gate_up = saved[2], &down = saved[3];
    const at::Tensor &position = saved[4], &token = saved[5], &projected = saved[6];
    const Offsets offset = context->saved_data["offset"].toIntVector();
    const int64_t per_token = context->saved_data["per_token"].toInt(), tokens = x.size(0), pairs = token.size(0);
    const at::Tensor dy_sorted = grads[0].contiguous().index_select(0, token);
    const at::Tensor pair_weight = at::empty({pairs}, at::kFloat);
    pair_weight.index_copy_(0, position, weights.reshape({-1}).to(at::kFloat));

    const at::Tensor back = at::empty({pairs, down.size(2)}, x.options());  // before the routing weight
    multiply_experts<Kind>(dy_sorted, down, false, offset, back);
    const auto [d_projected, weighted, d_pair_weight] = between_products<typename Kind::Number>(back, projected, pair_weight);
    // Frozen experts (those beside adapters) want none.
    at::Tensor d_down, d_gate_up;
    if (context->needs_input_grad(4)) {
      d_down = at::empty_like(down);
      expert_gradients<Kind>(dy_sorted, weighted, offset, d_down);
    }
    if (context->needs_input_grad(3)) {
      d_gate_up = at::empty_like(gate_up);
      expert_gradients<Kind>(d_projected, x.index_select(0, token), offset, d_gate_up);
    }
    const at::Tensor dx_sorted = at::empty({pairs, x.size(1)}, x.options());
    multiply_experts<Kind>(d_projected, gate_up, false, offset, dx_sorted);
    const at::Tensor dx = combine(dx_sorted, position, at::Tensor(), tokens, per_token);
    const at::Tensor d_weights = d_pair_weight.index_select(0, position).view({tokens, per_token}).to(weights.scalar_type());
    return {dx, at::Tensor(), d_weights, d_gate_up, d_down};
  }
};

}  // namespace

bool takes_short_experts(const at::Tensor& x, const at::Tensor& gate_up, const at::Tensor& down) {
  return on_matrix_units(x) && gate_up.scalar_type() == at::kFloat && down.scalar_type() == at::kFloat;
}

at::Tensor short_experts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& gate_up, const at::Tensor& down) {
  if (x.scalar_type() == at::kBFloat16) return ShortExperts<Operand<Short, 1>>::apply(x, indices, weights, gate_up, down);
  if (rounds_float32()) return ShortExperts<Operand<float, 1>>::apply(x, indices, weights, gate_up, down);
  return ShortExperts<Operand<float, 2>>::apply(x, indices, weights, gate_up, down);
}

#else

bool takes_short_experts(const at::Tensor&, const at::Tensor&, const at::Tensor&) { return false; }

at::Tensor short_experts(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&) { TORCH_CHECK(false, "short_experts: this processor has no matrix units"); }

#endif

}  // namespace dunwu
