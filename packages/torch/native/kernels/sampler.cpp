// Draws a token for each row of logits, in one pass over each row where nothing is cut off.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "math.h"

namespace dunwu {
namespace {

/// Numbers that are added up in one piece when a token is looked for.
constexpr int64_t kPiece = 256;

struct Drawn {
  int64_t token;
  float logprob, raw;
};

/// Sets what top_k and top_p cut off to 0. `mass` holds e^(z − top) of every token.
void cut(const float* z, std::vector<float>& mass, int64_t top_k, double top_p) {
  const auto vocabulary = static_cast<int64_t>(mass.size());
  if (top_k > 0 && top_k < vocabulary) {
    std::vector<float> sorted(z, z + vocabulary);
    std::nth_element(sorted.begin(), sorted.begin() + top_k - 1, sorted.end(), std::greater<>());
    const float threshold = sorted[top_k - 1];
    for (int64_t v = 0; v < vocabulary; ++v)
      if (z[v] < threshold) mass[v] = 0;
  }
  if (top_p < 1) {
    std::vector<int64_t> order;
    for (int64_t v = 0; v < vocabulary; ++v)
      if (mass[v] > 0) order.push_back(v);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return mass[a] > mass[b]; });
    const double total = std::accumulate(mass.begin(), mass.end(), 0.0);
    // A token stays when the mass before it is still below top_p; so the first always stays.
    double before = 0;
    for (const int64_t v : order) {
      const double own = mass[v];
      if (before >= top_p * total) mass[v] = 0;
      before += own;
    }
  }
}

Drawn draw(const float* z, int64_t vocabulary, double uniform, double temperature, int64_t top_k, double top_p, std::vector<float>& mass) {
  const float top = maximum(z, vocabulary);
  mass.assign(z, z + vocabulary);
  const double raw_log_sum = std::log(static_cast<double>(exponentiate(mass.data(), vocabulary, top)));
  if (temperature == 0) {
    const int64_t token = std::find(z, z + vocabulary, top) - z;
    const float logprob = static_cast<float>(-raw_log_sum);
    return {token, logprob, logprob};
  }
  double log_sum = raw_log_sum;
  if (temperature != 1) {
    for (int64_t v = 0; v < vocabulary; ++v) mass[v] = static_cast<float>((z[v] - top) / temperature);
    log_sum = std::log(static_cast<double>(exponentiate(mass.data(), vocabulary, 0.0f)));
  }
  // fast_exp gives no less than e^-87: what lies there has no probability, as −inf has none.
  for (int64_t v = 0; v < vocabulary; ++v) mass[v] = mass[v] < 1.7e-38f ? 0.0f : mass[v];
  if (top_k > 0 || top_p < 1) cut(z, mass, top_k, top_p);
  std::vector<double> pieces((vocabulary + kPiece - 1) / kPiece);
  for (size_t i = 0; i < pieces.size(); ++i) {
    const float* part = mass.data() + i * kPiece;
    const int64_t count = std::min<int64_t>(kPiece, vocabulary - i * kPiece);
    double total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t v = 0; v < count; ++v) total += part[v];
    pieces[i] = total;
  }
  const double target = uniform * std::accumulate(pieces.begin(), pieces.end(), 0.0);
  double before = 0;
  int64_t piece = 0;
  while (piece + 1 < static_cast<int64_t>(pieces.size()) && before + pieces[piece] <= target) before += pieces[piece++];
  // The first token whose share reaches beyond the target; by rounding there may be none: then the last with any.
  int64_t token = -1;
  for (int64_t v = piece * kPiece; v < vocabulary; ++v) {
    if (mass[v] == 0) continue;
    token = v;
    before += mass[v];
    if (before > target) break;
  }
  for (int64_t v = piece * kPiece - 1; token < 0 && v >= 0; --v)
    if (mass[v] > 0) token = v;
  return {token, static_cast<float>((z[token] - top) / temperature - log_sum), static_cast<float>(z[token] - top - raw_log_sum)};
}

at::Tensor sample_tokens(const at::Tensor& logits, const at::Tensor& settings) {
  TORCH_CHECK(logits.is_cpu() && logits.dim() == 2 && logits.size(1) > 0 && logits.scalar_type() == at::kFloat, "sample_tokens: logits must be float32 [rows, vocabulary] on the CPU, got ", logits.sizes());
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  TORCH_CHECK(settings.scalar_type() == at::kDouble && settings.dim() == 2 && settings.size(0) == 4 && settings.size(1) == rows && settings.is_contiguous(), "sample_tokens: settings must be float64 [4, rows]: uniform, temperature, top_k and top_p of each; got ", settings.sizes());
  const at::Tensor all = logits.contiguous();
  const double* setting = settings.const_data_ptr<double>();
  at::Tensor result = at::empty({3, rows}, at::kDouble);
  const float* z = all.const_data_ptr<float>();
  double *token = result.data_ptr<double>(), *logprob = token + rows, *plain = logprob + rows;
  at::parallel_for(0, rows, 1 + 16384 / vocabulary, [&](int64_t begin, int64_t end) {
    std::vector<float> mass;
    for (int64_t row = begin; row < end; ++row) {
      const float* own = z + row * vocabulary;
      bool usable = false, broken = false;
#pragma omp simd reduction(| : usable, broken)
      for (int64_t v = 0; v < vocabulary; ++v) {
        usable |= own[v] > -INFINITY;
        broken |= !(own[v] < INFINITY);
      }
      TORCH_CHECK(usable && !broken, "sample_tokens: the logits of row ", row, " are not finite: the model's weights may be broken");
      const Drawn drawn = draw(own, vocabulary, setting[row], setting[rows + row], static_cast<int64_t>(setting[2 * rows + row]), setting[3 * rows + row], mass);
      token[row] = static_cast<double>(drawn.token);
      logprob[row] = drawn.logprob;
      plain[row] = drawn.raw;
    }
  });
  return result;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dunwu, m) {
  m.def("sample_tokens(Tensor logits, Tensor settings) -> Tensor", sample_tokens);
}

}  // namespace dunwu
