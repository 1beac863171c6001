import type { DType } from './dtype.js';
import { callAny, callTensor, lazy } from './operator.js';
import type { Tensor } from './tensor.js';

/**
 * Fused operators of this package (native/kernels/), with gradients. Each has its plain reference in reference.ts,
 * against which it is tested forward and backward.
 */

// Slots of the table of resolved operators, apart from those of the generated methods (which count up from 0).
const SWIGLU = 100_000;
const RMS_NORM = 100_001;
const GROUPED_EXPERTS = 100_002;
const TOKEN_LOGPROBS = 100_003;
const TOKEN_KL = 100_004;
const ROPE = 100_005;
const ADD_RMS_NORM = 100_010;
const SHORT_LINEAR = 100_011;
const LATENT_ATTENTION = 100_006;
const GROUPED_ATTENTION = 100_007;
const ROPE_PART = 100_008;

/** silu(gate) · up for a projection that holds both side by side: [..., 2I] → [..., I] (arXiv 2002.05202). */
export function swiglu(gateUp: Tensor): Tensor {
  return callTensor(lazy(SWIGLU, 'dunwu::swiglu'), gateUp);
}

/** weight · x / sqrt(mean(x²) + eps) over the last dimension; weight [last dimension] (arXiv 1910.07467). */
export function fusedRmsNorm(x: Tensor, weight: Tensor, eps: number): Tensor {
  return callTensor(lazy(RMS_NORM, 'dunwu::rms_norm'), x, weight, eps);
}

/**
 * x · weightᵀ + bias in x's type, bfloat16 say, with weight and bias kept in float32: they are rounded on the way, their gradients
 * are not. On processors with matrix units for bfloat16 (AMX) both ways run on those, with sums in float32; so do products of float32
 * under {@link setFloat32MatmulPrecision}('high'), three of bfloat16 for each (arXiv 1904.06376), and under 'medium', one.
 *
 * @param x [..., inputs]
 * @param weight [outputs, inputs]; `bias` [outputs] or null
 */
export function shortLinear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  return callTensor(lazy(SHORT_LINEAR, 'dunwu::short_linear'), x, weight, bias);
}

/**
 * A residual addition and the RMSNorm after it: sum = x + delta, normed = weight · sum / sqrt(mean(sum²) + eps).
 *
 * @param x the residual stream, float32 (or float64) [..., width], as the weight is
 * @param delta what is added to it, of the type of `dtype`; null: nothing, and sum is x
 * @param dtype of `normed`; default that of delta, or of x
 * @returns [sum, normed]
 */
export function addRmsNorm(
  x: Tensor,
  delta: Tensor | null,
  weight: Tensor,
  eps: number,
  dtype?: DType,
): [sum: Tensor, normed: Tensor] {
  return callAny(lazy(ADD_RMS_NORM, 'dunwu::add_rms_norm'), x, delta, weight, eps, dtype ?? null) as [Tensor, Tensor];
}

/**
 * The routed experts of a mixture-of-experts layer (DeepSeekMoE, arXiv 2401.06066, eq. 3):
 * y_n = Σ_k weights[n, k] · down[e] · swiglu(gate_up[e] · x_n), e = indices[n, k].
 *
 * @param x [tokens, hidden]
 * @param indices int64 [tokens, top_k]
 * @param weights [tokens, top_k]
 * @param gateUp [experts, 2 · inner, hidden]; like `down` it may be of a longer type than x, and is rounded then
 * @param down [experts, hidden, inner]
 * @returns [tokens, hidden]
 */
export function groupedExperts(x: Tensor, indices: Tensor, weights: Tensor, gateUp: Tensor, down: Tensor): Tensor {
  return callTensor(lazy(GROUPED_EXPERTS, 'dunwu::grouped_experts'), x, indices, weights, gateUp, down);
}

export interface HeadOptions {
  /** Logits are divided by it before the softmax; default 1. */
  readonly temperature?: number;
  /** Tokens whose logits exist at one time; default 1024. */
  readonly chunk?: number;
}

/**
 * log softmax(hidden · weightᵀ / temperature)[target] per token, and the entropy of each distribution in nats.
 * The [tokens, vocabulary] logits are never held in full. The entropies carry no gradient.
 *
 * @param hidden [tokens, hidden]
 * @param weight [vocabulary, hidden]; of another type than hidden it is rounded to hidden's, its gradient is not
 * @param targets int64 [tokens]
 * @returns [log-probabilities, entropies], float32 [tokens] each (float64 for float64)
 */
export function tokenLogprobs(
  hidden: Tensor,
  weight: Tensor,
  targets: Tensor,
  { temperature = 1, chunk = 1024 }: HeadOptions = {},
): [Tensor, Tensor] {
  return callAny(lazy(TOKEN_LOGPROBS, 'dunwu::token_logprobs'), hidden, weight, targets, temperature, chunk) as [
    Tensor,
    Tensor,
  ];
}

/**
 * Exact KL(policy ‖ reference) per token over the whole vocabulary, chunk by chunk:
 * Σ_v p_v (log p_v − log q_v). Gradients flow to the policy only.
 *
 * @param hidden the policy's [tokens, hidden]; `weight` its head [vocabulary, hidden]
 * @param referenceHidden the reference's [tokens, hidden']; `referenceWeight` its head [vocabulary, hidden']
 * @returns float32 [tokens]
 */
export function tokenKl(
  hidden: Tensor,
  weight: Tensor,
  referenceHidden: Tensor,
  referenceWeight: Tensor,
  { temperature = 1, chunk = 1024 }: HeadOptions = {},
): Tensor {
  return callTensor(
    lazy(TOKEN_KL, 'dunwu::token_kl'),
    hidden,
    weight,
    referenceHidden,
    referenceWeight,
    temperature,
    chunk,
  );
}

/**
 * Rotary position embedding (arXiv 2104.09864, eq. 34). The result is in the half layout [first halves | second halves].
 * @param x [rows, heads, width]; width even
 * @param cosine [rows, width / 2]; `sine` alike: the angles of each row's position
 * @param interleaved true when x holds its pairs side by side (DeepSeek), false for the half layout (Llama)
 */
export function rope(x: Tensor, cosine: Tensor, sine: Tensor, interleaved: boolean): Tensor {
  return callTensor(lazy(ROPE, 'dunwu::rope'), x, cosine, sine, interleaved);
}

/**
 * {@link rope} of the last 2 · cosine.size(1) numbers of heads `first` … `first + count − 1`; all else is copied. One pass where
 * several kinds of heads, or rotated and plain numbers, stand side by side.
 * @param x [rows, heads, width]
 * @param cosine [rows, at most width / 2]; `sine` alike
 */
export function ropePart(
  x: Tensor,
  cosine: Tensor,
  sine: Tensor,
  interleaved: boolean,
  first: number,
  count: number,
): Tensor {
  return callTensor(lazy(ROPE_PART, 'dunwu::rope_part'), x, cosine, sine, interleaved, first, count);
}

/** Sequences laid end to end, across rows: for attention that goes through them one by one. */
export interface Sequences {
  /** int32 [sequences + 1]: where each begins, counted in batch · time, and behind them where the last one ends. */
  readonly bounds: Tensor;
  /** Tokens of the longest one. */
  readonly longest: number;
  /**
   * Bundles: a beginning (a prompt), then several continuations (answers to it), each of which sees the beginning and itself.
   * int32 [bundles]: tokens of the beginning. `bounds` and `longest` are of bundles then, `starts` count from the bundle's
   * first token, and rows are of no matter. On the CPU only.
   */
  readonly shared?: Tensor;
}

/**
 * Causal attention of DeepSeek's multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, eq. 16–18): every head's
 * query meets the head's own key, followed by one rotary key that the heads share; softmax(scale · q · k) weighs the head's
 * values. Scores exist a block at a time, forward and backward (FlashAttention-2, arXiv 2307.08691, algorithms 1 and 2), and
 * no block above the diagonal or wholly before the starts is computed. Half precision sums and takes the softmax in float32.
 *
 * @param query [batch · time, heads, nope + rope], the last `rope` numbers rotated
 * @param kv [batch · time, heads, nope + v]: keys without the rotary part, then values
 * @param key [batch · time, rope], rotated
 * @param starts int32 or int64 [batch · time] in any shape: token i of a row sees the tokens starts[i] … i of its row, both
 *   counted from the row's first; null: all up to i
 * @param time tokens of a row (an entry of the batch)
 * @param sequences what `starts` say once more, for devices with flash attention (CUDA, in bfloat16 or float16): without it they
 *   take a mask where there are starts; on the CPU for a beginning that sequences share
 * @returns [batch · time, heads · v]
 * @throws Error naming the shapes, when they do not fit one another or `time`, or a start lies beyond its token; and where a
 *   second derivative is asked for
 */
export function latentAttention(
  query: Tensor,
  kv: Tensor,
  key: Tensor,
  starts: Tensor | null,
  time: number,
  scale: number,
  sequences: Sequences | null = null,
): Tensor {
  const operator = lazy(LATENT_ATTENTION, 'dunwu::latent_attention');
  const { bounds = null, longest = 0, shared = null } = sequences ?? {};
  return callTensor(operator, query, kv, key, starts, time, scale, bounds, longest, shared);
}

/**
 * Causal grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245): heads / groups query heads, one after another,
 * share a key and a value. Blocks, `starts`, `time`, `sequences`, precision and errors as in {@link latentAttention}.
 *
 * @param qkv [batch · time, heads + 2 · groups, width]: queries and keys, both rotated, then values
 * @returns [batch · time, heads · width]
 */
export function groupedAttention(
  qkv: Tensor,
  heads: number,
  groups: number,
  starts: Tensor | null,
  time: number,
  scale: number,
  sequences: Sequences | null = null,
): Tensor {
  const operator = lazy(GROUPED_ATTENTION, 'dunwu::grouped_attention');
  const { bounds = null, longest = 0, shared = null } = sequences ?? {};
  return callTensor(operator, qkv, heads, groups, starts, time, scale, bounds, longest, shared);
}
