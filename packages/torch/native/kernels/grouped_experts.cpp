// The routed experts of a mixture-of-experts layer in one operator: tokens are sorted by expert, each expert's tokens
// go through its SwiGLU as one matrix product, and every token sums its experts' outputs in a fixed order.
// Nothing is dropped and nothing is padded; an expert without tokens costs nothing (DeepSeekMoE, arXiv 2401.06066).
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "checks.h"
#include "composed_experts.h"
#include "routing.h"
#include "short_experts.h"
#include "swiglu.h"

namespace dunwu {
namespace {

struct GroupedExperts : torch::autograd::Function<GroupedExperts> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& indices,
                            const at::Tensor& weights, const at::Tensor& gate_up, const at::Tensor& down) {
    const int64_t experts = gate_up.size(0);
    const int64_t tokens = x.size(0);
    const int64_t per_token = indices.size(1);
    const Routing routing = sort_by_expert(indices, experts);
    const at::Tensor sorted = x.index_select(0, routing.token);
    const at::Tensor projected = at::empty({sorted.size(0), gate_up.size(1)}, x.options());
    const at::Tensor rows = at::empty({sorted.size(0), x.size(1)}, x.options());
    for (int64_t e = 0; e < experts; ++e) {
      const int64_t begin = routing.offset[e], count = routing.offset[e + 1] - begin;
      if (count == 0) continue;
      at::Tensor p = projected.narrow(0, begin, count);
      at::mm_out(p, sorted.narrow(0, begin, count), gate_up.select(0, e).t());
    }
    const at::Tensor activated = swiglu_forward(projected);
    for (int64_t e = 0; e < experts; ++e) {
      const int64_t begin = routing.offset[e], count = routing.offset[e + 1] - begin;
      if (count == 0) continue;
      at::Tensor r = rows.narrow(0, begin, count);
      at::mm_out(r, activated.narrow(0, begin, count), down.select(0, e).t());
    }
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
    const std::vector<int64_t> offset = context->saved_data["offset"].toIntVector();
    const int64_t per_token = context->saved_data["per_token"].toInt();
    const int64_t experts = gate_up.size(0), tokens = x.size(0), pairs = token.size(0), inner = down.size(2);
    const at::Tensor dy = grads[0].contiguous();
    const at::Tensor sorted = x.index_select(0, token);
    const at::Tensor dy_sorted = dy.index_select(0, token);
    // Routing weight of each sorted pair.
    const at::Tensor pair_weight = at::empty({pairs}, weights.options());
    pair_weight.index_copy_(0, position, weights.reshape({-1}));

    const at::Tensor back = at::empty({pairs, inner}, x.options());  // dy · down, before the routing weight
    for (int64_t e = 0; e < experts; ++e) {
      const int64_t begin = offset[e], count = offset[e + 1] - begin;
      if (count == 0) continue;
      at::Tensor b = back.narrow(0, begin, count);
      at::mm_out(b, dy_sorted.narrow(0, begin, count), down.select(0, e));
    }
    const at::Tensor scale = pair_weight.to(x.scalar_type()).unsqueeze(1);
    at::Tensor activated;
    const at::Tensor d_projected = swiglu_backward(back * scale, projected, &activated);
    // d weight = dy · (down · activated) = (dy · down) · activated: the expert's output need not be kept.
    const at::Tensor d_pair_weight = (back * activated).sum(1);
    const at::Tensor dy_scaled = dy_sorted * scale;
    // Frozen experts (those beside adapters) want none.
    at::Tensor d_gate_up = context->needs_input_grad(3) ? at::zeros_like(gate_up) : at::Tensor();
    at::Tensor d_down = context->needs_input_grad(4) ? at::zeros_like(down) : at::Tensor();
    const at::Tensor dx_sorted = at::empty_like(sorted);
    for (int64_t e = 0; e < experts; ++e) {
      const int64_t begin = offset[e], count = offset[e + 1] - begin;
      if (count == 0) continue;
      const at::Tensor dp = d_projected.narrow(0, begin, count);
      at::Tensor into;
      if (d_gate_up.defined()) {
        into = d_gate_up.select(0, e);
        at::mm_out(into, dp.t(), sorted.narrow(0, begin, count));
      }
      if (d_down.defined()) {
        into = d_down.select(0, e);
        at::mm_out(into, dy_scaled.narrow(0, begin, count).t(), activated.narrow(0, begin, count));
      }
      into = dx_sorted.narrow(0, begin, count);
      at::mm_out(into, dp, gate_up.select(0, e));
    }
    const at::Tensor dx = combine(dx_sorted, position, at::Tensor(), tokens, per_token);
    const at::Tensor d_weights = d_pair_weight.index_select(0, position).view({tokens, per_token}).to(weights.scalar_type());
    return {dx, at::Tensor(), d_weights, d_gate_up, d_down};
  }
};

at::Tensor grouped_experts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& gate_up, const at::Tensor& down) {
  TORCH_CHECK(x.dim() == 2, "grouped_experts: x must be [tokens, hidden], got ", x.sizes());
  TORCH_CHECK(indices.dim() == 2 && indices.size(0) == x.size(0) && indices.scalar_type() == at::kLong, "grouped_experts: indices must be int64 [tokens, top_k], got ", indices.sizes());
  TORCH_CHECK(weights.sizes() == indices.sizes(), "grouped_experts: weights ", weights.sizes(), " and indices ", indices.sizes(), " differ");
  TORCH_CHECK(gate_up.dim() == 3 && gate_up.size(2) == x.size(1) && gate_up.size(1) % 2 == 0, "grouped_experts: gate_up must be [experts, 2 * inner, hidden], got ", gate_up.sizes());
  TORCH_CHECK(down.dim() == 3 && down.size(0) == gate_up.size(0) && down.size(1) == x.size(1) && down.size(2) * 2 == gate_up.size(1), "grouped_experts: down must be [experts, hidden, inner], got ", down.sizes());
  check_same_device("grouped_experts", x, {indices, weights, gate_up, down});
  if (takes_short_experts(x, gate_up, down)) return short_experts(x.contiguous(), indices.contiguous(), weights, gate_up.contiguous(), down.contiguous());
  // Weights of a longer type are rounded; their gradients come back in their own.
  const at::Tensor up = gate_up.to(x.scalar_type()).contiguous(), to = down.to(x.scalar_type()).contiguous();
  if (!x.is_cpu()) return composed_experts(x, indices, weights, up, to, takes_grouped_product(x, to));
  return GroupedExperts::apply(x.contiguous(), indices.contiguous(), weights, up, to);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dunwu, m) {
  m.def("grouped_experts(Tensor x, Tensor indices, Tensor weights, Tensor gate_up, Tensor down) -> Tensor");
  // What other devices than the CPU run; it has a name so that a test without one can run it.
  m.def("grouped_experts_composed(Tensor x, Tensor indices, Tensor weights, Tensor gate_up, Tensor down, bool grouped) -> Tensor");
}
TORCH_LIBRARY_IMPL(dunwu, CompositeImplicitAutograd, m) {
  m.impl("grouped_experts", grouped_experts);
  m.impl("grouped_experts_composed", composed_experts);
}

}  // namespace dunwu
