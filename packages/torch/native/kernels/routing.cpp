#include "routing.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include "math.h"

namespace dunwu {

Routing sort_by_expert(const at::Tensor& indices, int64_t experts) {
  const at::Tensor flat = indices.contiguous();
  const int64_t* chosen = flat.const_data_ptr<int64_t>();
  const int64_t pairs = flat.numel();
  const int64_t per_token = indices.size(1);
  Routing routing;
  routing.offset.assign(experts + 1, 0);
  for (int64_t i = 0; i < pairs; ++i) {
    TORCH_CHECK_INDEX(chosen[i] >= 0 && chosen[i] < experts, "grouped_experts: expert ", chosen[i], " of ", experts);
    ++routing.offset[chosen[i] + 1];
  }
  for (int64_t e = 0; e < experts; ++e) routing.offset[e + 1] += routing.offset[e];
  routing.position = at::empty({pairs}, at::kLong);
  routing.token = at::empty({pairs}, at::kLong);
  int64_t* position = routing.position.data_ptr<int64_t>();
  int64_t* token = routing.token.data_ptr<int64_t>();
  std::vector<int64_t> next(routing.offset.begin(), routing.offset.end() - 1);
  for (int64_t i = 0; i < pairs; ++i) {
    const int64_t p = next[chosen[i]]++;
    position[i] = p;
    token[p] = i / per_token;
  }
  return routing;
}

at::Tensor combine(const at::Tensor& rows, const at::Tensor& position, const at::Tensor& weights, int64_t tokens, int64_t per_token) {
  const int64_t width = rows.size(1);
  at::Tensor output = at::empty({tokens, width}, rows.options());
  const int64_t* at_position = position.const_data_ptr<int64_t>();
  const at::Tensor scale = weights.defined() ? weights.to(rows.scalar_type()).contiguous() : at::Tensor();
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, rows.scalar_type(), "grouped_experts_combine", [&] {
    using acc_t = compute_t<scalar_t>;
    const scalar_t* in = rows.const_data_ptr<scalar_t>();
    const scalar_t* w = scale.defined() ? scale.const_data_ptr<scalar_t>() : nullptr;
    scalar_t* out = output.data_ptr<scalar_t>();
    at::parallel_for(0, tokens, 1 + 16384 / (width * per_token + 1), [&](int64_t begin, int64_t end) {
      std::vector<acc_t> sum(width);
      for (int64_t n = begin; n < end; ++n) {
        std::fill(sum.begin(), sum.end(), acc_t(0));
        for (int64_t k = 0; k < per_token; ++k) {
          const scalar_t* row = in + at_position[n * per_token + k] * width;
          const acc_t factor = w != nullptr ? static_cast<acc_t>(w[n * per_token + k]) : acc_t(1);
          for (int64_t i = 0; i < width; ++i) sum[i] += factor * static_cast<acc_t>(row[i]);
        }
        scalar_t* o = out + n * width;
        for (int64_t i = 0; i < width; ++i) o[i] = static_cast<scalar_t>(sum[i]);
      }
    });
  });
  return output;
}

}  // namespace dunwu
