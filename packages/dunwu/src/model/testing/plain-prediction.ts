import type { DeepseekV3Config } from '../deepseek-config.js';

/** A matrix as rows of numbers; a vector is a matrix of one row. */
export type Matrix = readonly (readonly number[])[];

/** A checkpoint's tensors by their published names. */
export type PlainWeights = (name: string) => Matrix;

/**
 * Multi-token prediction once more, from the equations alone (arXiv 2412.19437 §2.1 and §2.2, eqs. 1–16 and 21–23), in
 * loops over float64: nothing of the model's own code is in it.
 *
 * @param hidden h⁰, the main model's states after its final norm
 * @returns for each depth the logits at every place that has a token k places further on: tokens.length − k rows
 */
export function plainPrediction(
  config: DeepseekV3Config,
  weights: PlainWeights,
  tokens: readonly number[],
  hidden: Matrix,
  depth: number,
): number[][][] {
  const result: number[][][] = [];
  let previous: Matrix = hidden;
  for (let k = 1; k <= depth; k++) {
    const prefix = `model.layers.${config.num_hidden_layers + k - 1}`;
    const of = (name: string): Matrix => weights(`${prefix}.${name}.weight`);
    const embedding = weights('model.embed_tokens.weight');
    const joined = tokens.slice(k).map((token, i) => {
      const read = norm(embedding[token] as number[], row(of('enorm')), config.rms_norm_eps);
      const state = norm(previous[i] as number[], row(of('hnorm')), config.rms_norm_eps);
      return product([...read, ...state], of('eh_proj'));
    });
    const outputs = block(config, of, weights(`${prefix}.mlp.gate.e_score_correction_bias`), joined);
    const states = outputs.map((state) => norm(state, row(of('shared_head.norm')), config.rms_norm_eps));
    result.push(states.map((state) => product(state, weights('lm_head.weight'))));
    previous = states;
  }
  return result;
}

const row = (matrix: Matrix): readonly number[] => matrix[0] as readonly number[];
const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);
const product = (x: readonly number[], w: Matrix): number[] => w.map((out) => dot(x, out));
const plus = (a: readonly number[], b: readonly number[]): number[] => a.map((x, i) => x + (b[i] as number));
const silu = (x: number): number => x / (1 + Math.exp(-x));

function norm(x: readonly number[], weight: readonly number[], eps: number): number[] {
  const scale = 1 / Math.sqrt(dot(x, x) / x.length + eps);
  return x.map((value, i) => value * scale * (weight[i] as number));
}

function block(
  config: DeepseekV3Config,
  of: (name: string) => Matrix,
  bias: Matrix,
  inputs: readonly number[][],
): number[][] {
  const eps = config.rms_norm_eps;
  const attended = attention(
    config,
    of,
    inputs.map((x) => norm(x, row(of('input_layernorm')), eps)),
  ).map((x, i) => plus(x, inputs[i] as number[]));
  return attended.map((x) =>
    plus(x, experts(config, of, row(bias), norm(x, row(of('post_attention_layernorm')), eps))),
  );
}

function attention(config: DeepseekV3Config, of: (name: string) => Matrix, inputs: readonly number[][]): number[][] {
  const { qk_nope_head_dim: nope, qk_rope_head_dim: rope, v_head_dim: width, kv_lora_rank: rank } = config;
  const heads = Array.from({ length: config.num_attention_heads }, (_, h) => h);
  const turned = (x: readonly number[], position: number): number[] =>
    x.map((value, i) => {
      const angle = position / 10_000 ** ((i - (i % 2)) / rope);
      const other = x[i % 2 === 0 ? i + 1 : i - 1] as number;
      return value * Math.cos(angle) + (i % 2 === 0 ? -1 : 1) * other * Math.sin(angle);
    });
  const places = inputs.map((x, position) => {
    const query = product(
      norm(product(x, of('self_attn.q_a_proj')), row(of('self_attn.q_a_layernorm')), 1e-6),
      of('self_attn.q_b_proj'),
    );
    const compressed = product(x, of('self_attn.kv_a_proj_with_mqa'));
    const latent = norm(compressed.slice(0, rank), row(of('self_attn.kv_a_layernorm')), 1e-6);
    const rotary = turned(compressed.slice(rank), position);
    const expanded = product(latent, of('self_attn.kv_b_proj'));
    return heads.map((h) => {
      const own = query.slice(h * (nope + rope), (h + 1) * (nope + rope));
      const pair = expanded.slice(h * (nope + width), (h + 1) * (nope + width));
      return {
        query: [...own.slice(0, nope), ...turned(own.slice(nope), position)],
        key: [...pair.slice(0, nope), ...rotary],
        value: pair.slice(nope),
      };
    });
  });
  return places.map((place, i) => {
    const mixed = heads.flatMap((h) => {
      const { query } = place[h] as { query: number[] };
      const seen = places.slice(0, i + 1).map((other) => other[h] as { key: number[]; value: number[] });
      const scores = seen.map(({ key }) => Math.exp(dot(query, key) / Math.sqrt(nope + rope)));
      const total = scores.reduce((a, b) => a + b, 0);
      return Array.from({ length: width }, (_, v) =>
        seen.reduce((sum, { value }, j) => sum + ((scores[j] as number) / total) * (value[v] as number), 0),
      );
    });
    return product(mixed, of('self_attn.o_proj'));
  });
}

function experts(
  config: DeepseekV3Config,
  of: (name: string) => Matrix,
  bias: readonly number[],
  x: readonly number[],
): number[] {
  const { n_routed_experts: count, n_group: groups, topk_group, num_experts_per_tok: top } = config;
  const scores = product(x, of('mlp.gate')).map((logit) => 1 / (1 + Math.exp(-logit)));
  const biased = scores.map((score, e) => score + (bias[e] as number));
  const best = (list: readonly number[], values: readonly number[], n: number): number[] =>
    [...list].sort((a, b) => (values[b] as number) - (values[a] as number)).slice(0, n);
  const members = Array.from({ length: groups }, (_, g) =>
    Array.from({ length: count / groups }, (_, i) => (g * count) / groups + i),
  );
  const groupScores = members.map((ids) => best(ids, biased, 2).reduce((sum, e) => sum + (biased[e] as number), 0));
  const open = best(
    members.map((_, g) => g),
    groupScores,
    topk_group,
  ).flatMap((g) => members[g] as number[]);
  const chosen = best(open, biased, top);
  const total = chosen.reduce((sum, e) => sum + (scores[e] as number), 0);
  const mlp = (prefix: string): number[] => {
    const up = product(x, of(`${prefix}.up_proj`));
    const inner = product(x, of(`${prefix}.gate_proj`)).map((gate, i) => silu(gate) * (up[i] as number));
    return product(inner, of(`${prefix}.down_proj`));
  };
  return chosen.reduce((sum, e) => {
    const share = ((scores[e] as number) / total) * config.routed_scaling_factor;
    return plus(
      sum,
      mlp(`mlp.experts.${e}`).map((value) => value * share),
    );
  }, mlp('mlp.shared_experts'));
}
