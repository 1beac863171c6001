// Which tokens go to which experts, and back; on the CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace dunwu {

/// Where each (token, choice) pair went: `position[n*K + k]` in expert-sorted order, `token[p]` back, `offset[e]` starts.
struct Routing {
  at::Tensor position;
  at::Tensor token;
  std::vector<int64_t> offset;
};

/// @param indices int64 [tokens, top_k]
Routing sort_by_expert(const at::Tensor& indices, int64_t experts);

/// out[n] = Σ_k weight[n, k] · rows[position[n, k]]; without weights a plain sum. In order of k: deterministic.
at::Tensor combine(const at::Tensor& rows, const at::Tensor& position, const at::Tensor& weights, int64_t tokens, int64_t per_token);

}  // namespace dunwu
