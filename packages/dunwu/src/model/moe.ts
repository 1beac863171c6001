import { groupedExperts, noGrad, type Tensor } from '@dunwu/torch';
import type { DecoderParts } from './decoder-parts.js';
import type { DeepseekConfig } from './deepseek-config.js';
import type { Linear } from './linear.js';
import { SwigluMlp } from './mlp.js';
import { filled, normal, type Parameter, parameter } from './parameter.js';

/** What the router of one layer decided for every token. */
export interface RouterOutput {
  /** Before the sigmoid or softmax, float32 [tokens, experts]. */
  readonly logits: Tensor;
  /** Chosen experts, int64 [tokens, top_k]. */
  readonly indices: Tensor;
  /** Their weights in the sum, [tokens, top_k]. */
  readonly weights: Tensor;
  /** sigmoid(logits), of DeepSeek-V2 softmax(logits), [tokens, experts]. */
  readonly scores: Tensor;
}

/**
 * The gate. Of DeepSeek-V3 (arXiv 2412.19437 §2.1.2; order as in the published inference code): sigmoid scores, a bias for
 * selection only, the best groups by the sum of their two best biased scores, top-k within those, weights from the
 * unbiased scores. Of DeepSeek-V2 (arXiv 2405.04434 §2.2): softmax scores without a bias, the best groups by their best
 * score (`group_limited_greedy`; `greedy` knows no groups), weights not normalised.
 */
export class Router {
  readonly weight: Tensor;
  /** e_score_correction_bias: moved by the balancing rule, never by gradients. */
  readonly bias: Tensor | null;
  readonly #config: DeepseekConfig;

  constructor(config: DeepseekConfig) {
    this.#config = config;
    this.weight = normal([config.n_routed_experts, config.hidden_size], config.initializer_range);
    this.bias = config.model_type === 'deepseek_v3' ? filled([config.n_routed_experts], 0) : null;
    if (this.bias !== null) this.bias.requiresGrad = false;
  }

  /** @param x [tokens, hidden] */
  forward(x: Tensor): RouterOutput {
    // In float32 whatever the network computes in: a rounded score can choose another expert.
    return route(x.to('float32').linear(this.weight.to('float32')), this.bias, this.#config);
  }
}

/** What the gate makes of its logits, float32 [tokens, experts]. @param bias for the choice only; null: V2's softmax */
export function route(logits: Tensor, bias: Tensor | null, config: DeepseekConfig): RouterOutput {
  const { topk_group, num_experts_per_tok, norm_topk_prob, routed_scaling_factor, topk_method } = config;
  const n_group = topk_method === 'greedy' ? 1 : config.n_group;
  const scores = bias === null ? logits.softmax(-1) : logits.sigmoid();
  const indices = noGrad(() => {
    let choice = bias === null ? scores.detach() : scores.detach().add(bias);
    if (n_group > 1) {
      const [tokens, experts] = choice.shape as [number, number];
      const groups = choice.view([tokens, n_group, experts / n_group]);
      const groupScores = groups.topk(bias === null ? 1 : 2, -1, true, false)[0].sum(-1);
      const best = groupScores.topk(topk_group, -1, true, false)[1];
      const closed = groupScores.mul(0).scatterValue(1, best, 1).eq(0);
      const shut = closed.unsqueeze(-1).expand(groups.shape).reshape([tokens, experts]);
      choice = choice.maskedFill(shut, Number.NEGATIVE_INFINITY);
    }
    return choice.topk(num_experts_per_tok, -1, true, false)[1];
  });
  let weights = scores.gather(1, indices);
  if (norm_topk_prob) weights = weights.div(weights.sum(-1, true).add(1e-20));
  return { logits, indices, weights: weights.mul(routed_scaling_factor), scores };
}

/** Shared experts that every token goes through, and routed experts of which each token takes top_k. */
export class MoeLayer {
  readonly router: Router;
  readonly gateUp: Tensor;
  readonly down: Tensor;
  readonly shared: SwigluMlp | null;
  readonly #config: DeepseekConfig;

  constructor(config: DeepseekConfig) {
    this.#config = config;
    const { n_routed_experts, moe_intermediate_size, hidden_size, initializer_range } = config;
    this.router = new Router(config);
    this.gateUp = normal([n_routed_experts, 2 * moe_intermediate_size, hidden_size], initializer_range);
    this.down = normal([n_routed_experts, hidden_size, moe_intermediate_size], initializer_range);
    const sharedExperts = config.n_shared_experts;
    this.shared =
      sharedExperts > 0 ? new SwigluMlp(hidden_size, sharedExperts * moe_intermediate_size, initializer_range) : null;
  }

  /** @param x [tokens, hidden] → the same shape, and what the router chose. */
  forward(x: Tensor): { output: Tensor; router: RouterOutput } {
    const router = this.router.forward(x);
    const routed = groupedExperts(x, router.indices, router.weights.to(x.dtype), this.gateUp, this.down);
    return { output: this.shared === null ? routed : routed.add(this.shared.forward(x)), router };
  }

  decoderParts(): DecoderParts {
    return {
      router: this.router.weight,
      router_bias: this.router.bias,
      experts_gate_up: this.gateUp,
      experts_down: this.down,
      ...this.shared?.decoderParts(),
    };
  }

  /** Those of the shared experts; routed ones are computed together. */
  linears(): Linear[] {
    return this.shared?.linears() ?? [];
  }

  parameters(prefix: string): Parameter[] {
    const inner = this.#config.moe_intermediate_size;
    const experts = Array.from({ length: this.#config.n_routed_experts }, (_, e) => e);
    return [
      parameter(`${prefix}.gate.weight`, 'router', this.router.weight),
      ...(this.router.bias === null
        ? []
        : [parameter(`${prefix}.gate.e_score_correction_bias`, 'buffer', this.router.bias)]),
      parameter(
        `${prefix}.experts.gate_up_proj`,
        'matrix',
        this.gateUp,
        experts.flatMap((e) => [
          { name: `${prefix}.experts.${e}.gate_proj.weight`, view: (w: Tensor) => w.select(0, e).narrow(0, 0, inner) },
          {
            name: `${prefix}.experts.${e}.up_proj.weight`,
            view: (w: Tensor) => w.select(0, e).narrow(0, inner, inner),
          },
        ]),
      ),
      parameter(
        `${prefix}.experts.down_proj`,
        'matrix',
        this.down,
        experts.map((e) => ({ name: `${prefix}.experts.${e}.down_proj.weight`, view: (w: Tensor) => w.select(0, e) })),
      ),
      ...(this.shared === null ? [] : this.shared.parameters(`${prefix}.shared_experts`)),
    ];
  }
}
