// Attention in bfloat16 on the matrix units, for rows that are not too long: attention_blocks.cpp for all else.
#pragma once

#include <c10/util/BFloat16.h>

#include "attention.h"

namespace dunwu {

/// Whether the two below can take this.
bool takes_short_attention(const AttentionShape& shape, const AttentionRows& rows);

/// As attention_forward.
void short_attention_forward(const AttentionShape& shape, const AttentionOperands<const c10::BFloat16>& in, const AttentionRows& rows, c10::BFloat16* output, float* log_sum);

/// As attention_backward.
void short_attention_backward(const AttentionShape& shape, const AttentionOperands<const c10::BFloat16>& in, const AttentionRows& rows, const c10::BFloat16* output, const float* log_sum,
                              const c10::BFloat16* gradient, const AttentionOperands<c10::BFloat16>& out, float* shared_gradient);

}  // namespace dunwu
