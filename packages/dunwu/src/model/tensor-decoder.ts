import {
  arange,
  cat,
  type Device,
  groupedExperts,
  keep,
  noGrad,
  rmsNorm,
  scaledDotProductAttention,
  scope,
  stack,
  swigluReference,
  type Tensor,
  tensor,
  zeros,
} from '@dunwu/torch';
import { isDeepseek, type ModelConfig } from './config.js';
import type { Decodable } from './decodable.js';
import { type DecoderStep, type DecoderType, decoderType } from './decoder.js';
import { decoderTensors } from './decoder-parts.js';
import type { DeepseekConfig } from './deepseek-config.js';
import { route } from './moe.js';
import { PAGE_TOKENS, type PagedCache } from './paged-cache.js';
import { attentionScale } from './rope.js';
import { layOut, type StepShape } from './step-layout.js';

/** Columns of a step that is recorded, at most: with more, mixtures sort them, which on some devices is waited for. */
export const MOST_RECORDED = 512;

/** What a step computes with, beside weights: all on the device. */
interface Step {
  /** Where each column's entry goes, int64 [columns]. */
  readonly slots: Tensor;
  /** Of every column, [columns, 1, rotated width]: cosines, and sines with the sign of the pair's place. */
  readonly cosine: Tensor;
  readonly sine: Tensor;
  readonly runs: readonly StepRun[];
}

interface StepRun {
  readonly first: number;
  readonly count: number;
  readonly time: number;
  /** int64 [count · pagesEach] */
  readonly pages: Tensor;
  /** Added to scores, [count, 1, time, keys]: −inf beyond each column's own position. */
  readonly mask: Tensor;
}

/**
 * The same function as {@link Decoder}, in libtorch's operators: for devices other than the CPU. Every shape hangs on how many columns,
 * sequences and pages there are, never on values, and nothing is read back: a step can be recorded as a graph. Numbers are those of
 * `CausalModel.forward`: the residual stream, norms, the router and softmaxes in float32, products in the decoder's type.
 *
 * With float32 weights nothing is copied: a later update of the weights is seen. In bfloat16 the weights are copied when the
 * decoder is made, and so, in either type, are matrices that have adapters beside them.
 */
export class TensorDecoder {
  readonly #model: Decodable;
  readonly #parts: ReadonlyMap<string, Tensor>;
  /** What weights are read as, and what its caches hold. */
  readonly dtype: DecoderType;
  readonly device: Device;

  /** @param dtype default as the model computes */
  constructor(model: Decodable, dtype: DecoderType = decoderType(model)) {
    this.#model = model;
    this.dtype = dtype;
    this.#parts = scope(() =>
      noGrad(
        () =>
          new Map(
            [...decoderTensors(model.decoderParts(), dtype)].map(([name, tensor]) => [name, keep(tensor)] as const),
          ),
      ),
    );
    this.device = this.#part('embedding').device;
  }

  /** As {@link Decoder.step}. @returns logits float32 [wanted, vocabulary] */
  step(step: DecoderStep, cache: PagedCache): Tensor {
    return scope(() => {
      const { shape, numbers } = layOut(step, this.limits(cache));
      return this.compute(shape, tensor(numbers, { device: this.device }), cache.layers);
    });
  }

  limits(cache: PagedCache): { vocabulary: number; positions: number; pages: number } {
    const pages = cache.layers[0]?.size(0) ?? 0;
    return { vocabulary: this.#model.config.vocab_size, positions: this.#model.rotary[0].size(0), pages };
  }

  /**
   * A step whose numbers ({@link StepLayout}) are on the device already.
   * @param tokens int64 [columns], where they are not those of `numbers`
   * @returns logits float32 [wanted, vocabulary]
   */
  compute(shape: StepShape, numbers: Tensor, layers: readonly Tensor[], tokens?: Tensor): Tensor {
    return scope(() => noGrad(() => this.#forward(shape, numbers.to('int64'), layers, tokens)));
  }

  dispose(): void {
    for (const part of this.#parts.values()) part.dispose();
  }

  #part(name: string): Tensor {
    const part = this.#parts.get(name);
    if (part === undefined) throw new Error(`decoder: there is no tensor ${name}`);
    return part;
  }

  #linear(x: Tensor, name: string): Tensor {
    return x.linear(this.#part(name), this.#parts.get(`${name}_bias`) ?? null);
  }

  /** In float32, rounded after. */
  #norm(x: Tensor, name: string, eps = this.#model.config.rms_norm_eps): Tensor {
    return rmsNorm(x.to('float32'), x.size(-1), this.#part(name), eps).to(this.dtype);
  }

  #forward(shape: StepShape, numbers: Tensor, layers: readonly Tensor[], tokens?: Tensor): Tensor {
    const { columns, wanted } = shape;
    const step = this.#prepare(shape, numbers);
    let stream = this.#part('embedding')
      .index([tokens ?? numbers.narrow(0, 0, columns)])
      .to('float32');
    layers.forEach((cache, i) => {
      const at = `layers.${i}.`;
      // What a layer computes on the way is freed before the next one.
      stream = scope(() => {
        const attended = stream.add(this.#attention(this.#norm(stream, `${at}input_norm`), at, step, cache));
        return attended.add(this.#feedForward(this.#norm(attended, `${at}post_norm`), at));
      });
    });
    if (wanted !== null) stream = stream.index([numbers.narrow(0, numbers.size(0) - wanted, wanted)]);
    return this.#linear(this.#norm(stream, 'norm'), 'head').to('float32');
  }

  /** What all layers share. */
  #prepare(shape: StepShape, numbers: Tensor): Step {
    const { columns, runs, pagesEach } = shape;
    const { config, rotary } = this.#model;
    const positions = numbers.narrow(0, columns, columns);
    const [cosine, sine] = rotary.map((table) => table.index([positions]).unsqueeze(1)) as [Tensor, Tensor];
    const pairs = (first: Tensor, second: Tensor): Tensor =>
      stack([first, second], isInterleaved(config) ? 3 : 2).reshape([columns, 1, -1]);
    const keys = arange(0, pagesEach * PAGE_TOKENS, 1, { dtype: 'int64', device: this.device });
    let [first, table] = [0, 3 * columns];
    return {
      slots: numbers.narrow(0, 2 * columns, columns),
      cosine: pairs(cosine, cosine),
      sine: pairs(sine.neg(), sine),
      runs: runs.map(({ count, time }) => {
        const own = positions.narrow(0, first, count * time).view([count, 1, time, 1]);
        const mask = zeros([count, 1, time, keys.numel], { dtype: this.dtype, device: this.device });
        const run = {
          first,
          count,
          time,
          pages: numbers.narrow(0, table, count * pagesEach),
          mask: mask.maskedFill(keys.gt(own), Number.NEGATIVE_INFINITY),
        };
        first += count * time;
        table += count * pagesEach;
        return run;
      }),
    };
  }

  /**
   * Rotary embedding of x [columns, heads, width]. Numbers stay where they are: of the two layouts that there are, queries
   * and keys are in the same.
   */
  #rotate(x: Tensor, { cosine, sine }: Step): Tensor {
    const [columns, heads, width] = x.shape as [number, number, number];
    const interleaved = isInterleaved(this.#model.config);
    const dim = interleaved ? 3 : 2;
    const pairs = x.reshape(interleaved ? [columns, heads, width / 2, 2] : [columns, heads, 2, width / 2]);
    const swapped = cat([pairs.narrow(dim, 1, 1), pairs.narrow(dim, 0, 1)], dim).view(x.shape);
    return x.mul(cosine).add(swapped.mul(sine)).to(this.dtype);
  }

  #attention(x: Tensor, at: string, step: Step, cache: Tensor): Tensor {
    const { config } = this.#model;
    const mixed = isDeepseek(config)
      ? this.#latent(x, at, step, cache, config)
      : this.#grouped(x, at, step, cache, config);
    return this.#linear(mixed, `${at}output`);
  }

  /** Multi-head latent attention with the up-projections absorbed (DeepSeek-V2, arXiv 2405.04434 §2.1.2): the heads share a key. */
  #latent(x: Tensor, at: string, step: Step, cache: Tensor, config: DeepseekConfig): Tensor {
    const { num_attention_heads: heads, qk_nope_head_dim: nope, qk_rope_head_dim: turned } = config;
    const { kv_lora_rank: rank, v_head_dim: valueWidth } = config;
    const columns = x.size(0);
    const compressed = this.#parts.has(`${at}query_a`)
      ? this.#norm(this.#linear(x, `${at}query_a`), `${at}query_norm`, 1e-6)
      : x;
    const query = this.#linear(compressed, `${at}query_b`).view([columns, heads, nope + turned]);
    const kv = this.#linear(x, `${at}kv_a`);
    const latent = this.#norm(kv.narrow(1, 0, rank), `${at}kv_norm`, 1e-6);
    const key = this.#rotate(kv.narrow(1, rank, turned).unsqueeze(1), step).squeeze(1);
    const width = rank + turned;
    cache
      .view([-1, cache.size(2)])
      .narrow(1, 0, width)
      .indexCopy_(0, step.slots, cat([latent, key], 1));
    const up = this.#part(`${at}kv_b`).view([heads, nope + valueWidth, rank]);
    const latentQuery = query
      .narrow(2, 0, nope)
      .transpose(0, 1)
      .bmm(up.narrow(1, 0, nope))
      .transpose(0, 1);
    const queries = cat([latentQuery, this.#rotate(query.narrow(2, nope, turned), step)], 2);
    const mixed = this.#attend(queries.unsqueeze(1), step, attentionScale(config), ({ count, pages }) => {
      const entries = cache
        .index([pages])
        .view([count, 1, -1, cache.size(2)])
        .narrow(3, 0, width);
      return [entries, entries.narrow(3, 0, rank)];
    });
    const values = mixed
      .squeeze(1)
      .transpose(0, 1)
      .bmm(up.narrow(1, nope, valueWidth).transpose(1, 2));
    return values.transpose(0, 1).reshape([columns, heads * valueWidth]);
  }

  /** Grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245). */
  #grouped(x: Tensor, at: string, step: Step, cache: Tensor, config: Exclude<ModelConfig, DeepseekConfig>): Tensor {
    const { num_attention_heads: heads, num_key_value_heads: groups, head_dim: width } = config;
    const columns = x.size(0);
    const all = this.#linear(x, `${at}qkv`).view([columns, heads + 2 * groups, width]);
    const normed = (first: number, count: number, name: string): Tensor => {
      const own = all.narrow(1, first, count);
      return this.#parts.has(`${at}${name}`) ? this.#norm(own, `${at}${name}`) : own;
    };
    const query = this.#rotate(normed(0, heads, 'query_norm'), step);
    const key = this.#rotate(normed(heads, groups, 'key_norm'), step);
    const padded = cache.size(2) / (2 * groups);
    cache
      .view([-1, 2 * groups, padded])
      .narrow(2, 0, width)
      .indexCopy_(0, step.slots, cat([key, all.narrow(1, heads + groups, groups)], 1));
    const queries = query.view([columns, groups, heads / groups, width]);
    return this.#attend(queries, step, width ** -0.5, ({ count, pages }) => {
      const entries = cache
        .index([pages])
        .view([count, -1, 2 * groups, padded])
        .transpose(1, 2)
        .narrow(3, 0, width);
      return [entries.narrow(1, 0, groups), entries.narrow(1, groups, groups)];
    }).reshape([columns, heads * width]);
  }

  /**
   * @param queries [columns, groups, shared, width]: heads that share a key are more rows of one product
   * @param read keys and values of a run's sequences, [count, groups, keys, ·]
   * @returns [columns, groups, shared, width of a value]
   */
  #attend(queries: Tensor, step: Step, scale: number, read: (run: StepRun) => [Tensor, Tensor]): Tensor {
    const [, groups, shared, width] = queries.shape as [number, number, number, number];
    const outputs = step.runs.map((run) => {
      const { first, count, time, mask } = run;
      const [keys, values] = read(run);
      const rows = queries.narrow(0, first, count * time);
      if (time === 1) return scaledDotProductAttention(rows, keys, values, mask, 0, false, { scale });
      // Several of a sequence: each head by itself, so that one mask serves all.
      const every = (x: Tensor): Tensor => {
        const shape = [count, groups, shared, x.size(2), x.size(3)];
        return x
          .unsqueeze(2)
          .expand(shape)
          .reshape([count, groups * shared, x.size(2), x.size(3)]);
      };
      const heads = rows.view([count, time, groups * shared, width]).transpose(1, 2);
      return scaledDotProductAttention(heads, every(keys), every(values), mask, 0, false, { scale })
        .transpose(1, 2)
        .reshape([count * time, groups, shared, values.size(3)]);
    });
    return outputs.length === 1 ? (outputs[0] as Tensor) : cat(outputs, 0);
  }

  #feedForward(x: Tensor, at: string): Tensor {
    const dense = (): Tensor => this.#linear(swigluReference(this.#linear(x, `${at}gate_up`)), `${at}down`);
    const { config } = this.#model;
    if (!isDeepseek(config) || !this.#parts.has(`${at}router`)) return dense();
    const routed = this.#routed(x, at, config);
    return this.#parts.has(`${at}gate_up`) ? routed.add(dense()) : routed;
  }

  /**
   * The experts that each column chose. Few columns fetch the matrices of their own experts, which reads them, writes them and
   * reads them again; for more it is less to read every expert's once and to weigh the unchosen ones with 0; for many,
   * where computing is what costs, columns are sorted by expert.
   */
  #routed(x: Tensor, at: string, config: DeepseekConfig): Tensor {
    const [gateUp, down] = [this.#part(`${at}experts_gate_up`), this.#part(`${at}experts_down`)];
    const logits = x.to('float32').linear(this.#part(`${at}router`));
    const { indices, weights } = route(logits, this.#parts.get(`${at}router_bias`) ?? null, config);
    const [columns, chosen] = indices.shape as [number, number];
    const experts = gateUp.size(0);
    if (columns > MOST_RECORDED) return groupedExperts(x, indices, weights.to(this.dtype), gateUp, down);
    if (3 * columns * chosen <= experts) {
      const own = indices.reshape([-1]);
      const each = x
        .unsqueeze(1)
        .expand([columns, chosen, x.size(1)])
        .reshape([columns * chosen, x.size(1), 1]);
      const inner = swigluReference(gateUp.index([own]).bmm(each).squeeze(2));
      const outputs = down
        .index([own])
        .bmm(inner.unsqueeze(2))
        .view([columns, chosen, x.size(1)]);
      return weights.to(this.dtype).unsqueeze(1).bmm(outputs).squeeze(1);
    }
    const shares = zeros([columns, experts], { device: this.device }).scatter(1, indices, weights).to(this.dtype);
    const inner = swigluReference(
      x
        .unsqueeze(0)
        .expand([experts, columns, x.size(1)])
        .bmm(gateUp.transpose(1, 2)),
    );
    const outputs = inner.bmm(down.transpose(1, 2));
    return shares.unsqueeze(1).bmm(outputs.transpose(0, 1)).squeeze(1);
  }
}

/** Whether the two numbers of a rotated pair stand side by side, rather than half a width apart. */
function isInterleaved(config: ModelConfig): boolean {
  return isDeepseek(config) && config.rope_interleave;
}
