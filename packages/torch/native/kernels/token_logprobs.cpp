// The language-model head, its softmax and what a loss needs of it, chunk by chunk: the [tokens, vocabulary] logits are
// never held in full, neither forward nor backward (the backward pass computes them again).
#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "checks.h"
#include "math.h"
#include "products.h"

namespace dunwu {
namespace {

/// Whether the products of the head are made on matrix units, from the weight as it is kept: its logits are sums in float32 then.
bool takes(const at::Tensor& hidden, const at::Tensor& weight) { return on_matrix_units(hidden) && weight.scalar_type() == at::kFloat; }

/// The weight as the products of all chunks take it.
at::Tensor head(const at::Tensor& hidden, const at::Tensor& weight) { return takes(hidden, weight) ? weight.contiguous() : weight.to(hidden.scalar_type()); }

/// Logits of one chunk in float32 (float64 for float64): [rows, vocabulary], divided by the temperature.
at::Tensor chunk_logits(const at::Tensor& hidden, const at::Tensor& weight, double inverse_temperature) {
  at::Tensor logits;
  if (takes(hidden, weight)) {
    logits = product_forward(hidden, weight, at::kFloat);
  } else {
    logits = at::mm(hidden, weight.t());
    if (logits.scalar_type() != at::kDouble) logits = logits.to(at::kFloat);
  }
  if (inverse_temperature != 1.0) logits.mul_(inverse_temperature);
  return logits;
}

/// Per row: log p(target) and the entropy of the whole distribution.
void read_rows(const at::Tensor& logits, const at::Tensor& targets, at::Tensor logprobs, at::Tensor entropies) {
  if (!logits.is_cpu()) {
    const at::Tensor log_p = at::log_softmax(logits, -1);
    logprobs.copy_(log_p.gather(1, targets.unsqueeze(1)).squeeze(1));
    entropies.copy_((log_p.exp() * log_p).sum(1).neg());
    return;
  }
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  const int64_t* target = targets.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES(logits.scalar_type(), "token_logprobs", [&] {
    const scalar_t* in = logits.const_data_ptr<scalar_t>();
    scalar_t* logprob = logprobs.data_ptr<scalar_t>();
    scalar_t* entropy = entropies.data_ptr<scalar_t>();
    at::parallel_for(0, rows, 1 + 8192 / (vocabulary + 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const scalar_t* z = in + row * vocabulary;
        const scalar_t top = maximum(z, vocabulary);
        scalar_t sum, weighted;
        exponential_sums(z, vocabulary, top, sum, weighted);
        const scalar_t log_sum = std::log(sum);
        logprob[row] = z[target[row]] - top - log_sum;
        entropy[row] = log_sum - weighted / sum;
      }
    });
  });
}

/// Logits → their gradient, in place: d/dz log p(target) = onehot − softmax, times the row's incoming gradient.
void gradient_rows(at::Tensor& logits, const at::Tensor& targets, const at::Tensor& gradients, double inverse_temperature) {
  if (!logits.is_cpu()) {
    at::Tensor p = at::softmax(logits, -1);
    p.neg_();
    p.scatter_add_(1, targets.unsqueeze(1), at::ones({targets.size(0), 1}, p.options()));
    logits = p * (gradients * inverse_temperature).unsqueeze(1);
    return;
  }
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  const int64_t* target = targets.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES(logits.scalar_type(), "token_logprobs_backward", [&] {
    scalar_t* data = logits.data_ptr<scalar_t>();
    const scalar_t* gradient = gradients.const_data_ptr<scalar_t>();
    at::parallel_for(0, rows, 1 + 8192 / (vocabulary + 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        scalar_t* z = data + row * vocabulary;
        const scalar_t sum = exponentiate(z, vocabulary, maximum(z, vocabulary));
        const scalar_t g = gradient[row] * static_cast<scalar_t>(inverse_temperature);
        const scalar_t factor = -g / sum;
        for (int64_t v = 0; v < vocabulary; ++v) z[v] *= factor;
        z[target[row]] += g;
      }
    });
  });
}

/// What a chunk's logits' gradient gives: that of its hidden states, and its part of the weight's where one is wanted. Sums over chunks in a long type are not
/// rounded to the products' short one.
void chunk_gradients(const at::Tensor& d_logits, const at::Tensor& hidden, const at::Tensor& weight, at::Tensor d_hidden, at::Tensor& d_weight) {
  if (takes(hidden, weight)) {
    d_hidden.copy_(product_input_gradient(d_logits, weight));
    if (d_weight.defined()) product_weight_gradient(d_logits, hidden, d_weight, true);
    return;
  }
  at::mm_out(d_hidden, d_logits, weight);
  if (!d_weight.defined()) return;
  if (d_weight.scalar_type() == d_logits.scalar_type())
    d_weight.addmm_(d_logits.t(), hidden);
  else
    d_weight.add_(at::mm(d_logits.t(), hidden));
}

struct TokenLogprobs : torch::autograd::Function<TokenLogprobs> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight,
                                                const at::Tensor& targets, double temperature, int64_t chunk) {
    const int64_t rows = hidden.size(0);
    const at::Tensor own = head(hidden, weight);
    const auto type = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor logprobs = at::empty({rows}, hidden.options().dtype(type));
    at::Tensor entropies = at::empty({rows}, hidden.options().dtype(type));
    for (int64_t begin = 0; begin < rows; begin += chunk) {
      const int64_t count = std::min(chunk, rows - begin);
      const at::Tensor logits = chunk_logits(hidden.narrow(0, begin, count), own, 1.0 / temperature);
      read_rows(logits, targets.narrow(0, begin, count), logprobs.narrow(0, begin, count), entropies.narrow(0, begin, count));
    }
    context->save_for_backward({hidden, weight, targets});
    context->saved_data["temperature"] = temperature;
    context->saved_data["chunk"] = chunk;
    context->mark_non_differentiable({entropies});
    return {logprobs, entropies};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    refuse_second_derivative("dunwu::token_logprobs");
    const auto saved = context->get_saved_variables();
    const at::Tensor &hidden = saved[0], &weight = saved[1], &targets = saved[2];
    const double inverse_temperature = 1.0 / context->saved_data["temperature"].toDouble();
    const int64_t chunk = context->saved_data["chunk"].toInt();
    const int64_t rows = hidden.size(0);
    const at::Tensor gradients = grads[0].contiguous();
    const at::Tensor own = head(hidden, weight);
    at::Tensor d_hidden = at::empty_like(hidden);
    // A frozen head (LoRA) is as large as its gradient would be.
    at::Tensor d_weight = context->needs_input_grad(1) ? at::zeros_like(weight, at::MemoryFormat::Contiguous) : at::Tensor();
    for (int64_t begin = 0; begin < rows; begin += chunk) {
      const int64_t count = std::min(chunk, rows - begin);
      const at::Tensor h = hidden.narrow(0, begin, count);
      at::Tensor logits = chunk_logits(h, own, inverse_temperature);
      gradient_rows(logits, targets.narrow(0, begin, count), gradients.narrow(0, begin, count), inverse_temperature);
      const at::Tensor d_logits = logits.to(hidden.scalar_type());
      chunk_gradients(d_logits, h, own, d_hidden.narrow(0, begin, count), d_weight);
    }
    return {d_hidden, d_weight, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

std::tuple<at::Tensor, at::Tensor> token_logprobs(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets, double temperature, int64_t chunk) {
  TORCH_CHECK(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1), "token_logprobs: hidden must be [tokens, hidden] and weight [vocabulary, hidden], got ", hidden.sizes(), " and ", weight.sizes());
  TORCH_CHECK(targets.dim() == 1 && targets.size(0) == hidden.size(0) && targets.scalar_type() == at::kLong, "token_logprobs: targets must be int64 [tokens], got ", targets.sizes());
  TORCH_CHECK(temperature > 0, "token_logprobs: the temperature must be above 0, got ", temperature);
  TORCH_CHECK(chunk > 0, "token_logprobs: chunk must be at least 1, got ", chunk);
  check_same_device("token_logprobs", hidden, {weight, targets});
  if (targets.is_cpu() && targets.numel() > 0) {
    const int64_t low = targets.min().item<int64_t>(), high = targets.max().item<int64_t>();
    TORCH_CHECK_INDEX(low >= 0 && high < weight.size(0), "token_logprobs: targets must lie in [0, ", weight.size(0), "), got ", low, " to ", high);
  }
  const auto results = TokenLogprobs::apply(hidden.contiguous(), weight, targets.contiguous(), temperature, chunk);
  return {results[0], results[1]};
}

// --------------------------------------------------------------------------------------------------- exact divergence

struct TokenKl : torch::autograd::Function<TokenKl> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight,
                            const at::Tensor& reference_hidden, const at::Tensor& reference_weight, double temperature, int64_t chunk) {
    const int64_t rows = hidden.size(0);
    const at::Tensor own = head(hidden, weight), reference_own = head(reference_hidden, reference_weight);
    const auto type = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor divergence = at::empty({rows}, hidden.options().dtype(type));
    for (int64_t begin = 0; begin < rows; begin += chunk) {
      const int64_t count = std::min(chunk, rows - begin);
      const at::Tensor log_p = at::log_softmax(chunk_logits(hidden.narrow(0, begin, count), own, 1.0 / temperature), -1);
      const at::Tensor log_q = at::log_softmax(chunk_logits(reference_hidden.narrow(0, begin, count), reference_own, 1.0 / temperature), -1);
      divergence.narrow(0, begin, count).copy_((log_p.exp() * (log_p - log_q)).sum(1));
    }
    context->save_for_backward({hidden, weight, reference_hidden, reference_weight, divergence});
    context->saved_data["temperature"] = temperature;
    context->saved_data["chunk"] = chunk;
    return divergence;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    refuse_second_derivative("dunwu::token_logprobs");
    const auto saved = context->get_saved_variables();
    const at::Tensor &hidden = saved[0], &weight = saved[1], &reference_hidden = saved[2], &reference_weight = saved[3], &divergence = saved[4];
    const double inverse_temperature = 1.0 / context->saved_data["temperature"].toDouble();
    const int64_t chunk = context->saved_data["chunk"].toInt();
    const int64_t rows = hidden.size(0);
    const at::Tensor own = head(hidden, weight), reference_own = head(reference_hidden, reference_weight);
    at::Tensor d_hidden = at::empty_like(hidden);
    at::Tensor d_weight = context->needs_input_grad(1) ? at::zeros_like(weight, at::MemoryFormat::Contiguous) : at::Tensor();
    for (int64_t begin = 0; begin < rows; begin += chunk) {
      const int64_t count = std::min(chunk, rows - begin);
      const at::Tensor h = hidden.narrow(0, begin, count);
      const at::Tensor log_p = at::log_softmax(chunk_logits(h, own, inverse_temperature), -1);
      const at::Tensor log_q = at::log_softmax(chunk_logits(reference_hidden.narrow(0, begin, count), reference_own, inverse_temperature), -1);
      // d KL / d z_j = p_j (log p_j − log q_j − KL)
      const at::Tensor inner = log_p - log_q - divergence.narrow(0, begin, count).unsqueeze(1);
      const at::Tensor d_logits = (log_p.exp() * inner * (grads[0].narrow(0, begin, count) * inverse_temperature).unsqueeze(1)).to(hidden.scalar_type());
      chunk_gradients(d_logits, h, own, d_hidden.narrow(0, begin, count), d_weight);
    }
    return {d_hidden, d_weight, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor token_kl(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& reference_hidden, const at::Tensor& reference_weight, double temperature, int64_t chunk) {
  TORCH_CHECK(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1), "token_kl: hidden must be [tokens, hidden] and weight [vocabulary, hidden], got ", hidden.sizes(), " and ", weight.sizes());
  TORCH_CHECK(reference_hidden.size(0) == hidden.size(0) && reference_weight.size(0) == weight.size(0), "token_kl: policy and reference must have the same tokens and vocabulary, got ", hidden.sizes(), ", ", weight.sizes(), ", ", reference_hidden.sizes(), ", ", reference_weight.sizes());
  TORCH_CHECK(temperature > 0 && chunk > 0, "token_kl: temperature and chunk must be above 0");
  check_same_device("token_kl", hidden, {weight, reference_hidden, reference_weight});
  return TokenKl::apply(hidden.contiguous(), weight, reference_hidden.contiguous(), reference_weight, temperature, chunk);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dunwu, m) {
  m.def("token_logprobs(Tensor hidden, Tensor weight, Tensor targets, float temperature, int chunk) -> (Tensor, Tensor)");
  m.def("token_kl(Tensor hidden, Tensor weight, Tensor reference_hidden, Tensor reference_weight, float temperature, int chunk) -> Tensor");
}
TORCH_LIBRARY_IMPL(dunwu, CompositeImplicitAutograd, m) {
  m.impl("token_logprobs", token_logprobs);
  m.impl("token_kl", token_kl);
}

}  // namespace dunwu
