import { liveTensors, manualSeed, noGrad, scope, type Tensor, tokenLogprobs } from '@dunwu/torch';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CausalModel } from './causal-model.js';
import { setComputeType } from './compute-type.js';
import {
  absorbAdapters,
  addAdapters,
  mergeAdapters,
  unmergeAdapters,
  withAdaptersOff,
  withoutAdapters,
} from './lora.js';
import { loraConfig } from './lora-config.js';
import { adapted } from './testing/adapted.js';
import { difference, ids, rows, tinyDense, tinyModel } from './testing/tiny.js';

const FAMILIES = {
  // Every expert is chosen: a choice that changes is a step in the loss, and finite differences want none.
  deepseek: () => tinyModel(1, { num_experts_per_tok: 8, n_group: 1 }),
  qwen2: () => tinyDense('qwen2', 1),
  llama: () => tinyDense('llama', 1, { attention_bias: true, mlp_bias: true }),
} as const;

const config = (overrides: object = {}) => loraConfig.parse({ rank: 3, alpha: 6, ...overrides });
const tokens = ids(rows(2, 11));
const logits = (model: CausalModel, absorbed = false): Tensor =>
  noGrad(() => model.logits(model.forward({ tokens }, { absorbed }).hidden));
const values = (model: CausalModel) => model.parameters().map(({ tensor }) => tensor.detach().numbers());

let model: CausalModel | null = null;
beforeEach(() => {
  model = null;
});
afterEach(() => model?.dispose());

describe.each(Object.entries(FAMILIES))('%s', (_, make) => {
  it('fresh adapters change nothing; only they are trained', () => {
    model = make();
    const before = logits(model);
    addAdapters(model, config());
    expect(difference(logits(model), before)).toBe(0);
    const trained = model.trained();
    expect(trained.every(({ name, kind }) => /\.lora_[AB]\.weight$/.test(name) && kind === 'matrix')).toBe(true);
    expect(trained.every(({ tensor }) => tensor.requiresGrad)).toBe(true);
    expect(model.parameters().filter(({ tensor }) => tensor.requiresGrad)).toEqual([]);
    model.setTrainable(false);
    expect(trained.some(({ tensor }) => tensor.requiresGrad)).toBe(false);
    model.setTrainable(true);
    expect(model.parameters().some(({ tensor }) => tensor.requiresGrad)).toBe(false);
  });

  it('gradients: of every adapter, by finite differences; of no base weight; through experts, norms and head', () => {
    const m = adapted(make());
    model = m;
    const loss = (): Tensor =>
      tokenLogprobs(m.forward({ tokens }).hidden, m.headWeight, tokens.reshape([-1]))[0].mean();
    scope(() => loss().backward());
    for (const { name, tensor } of m.parameters()) expect(tensor.grad, name).toBeNull();
    let largest = 0;
    for (const { name, tensor } of m.trained()) {
      const gradient = tensor.grad?.numbers() ?? [];
      expect(gradient.length, name).toBe(tensor.numel);
      expect(Math.max(...gradient.map(Math.abs)), name).toBeGreaterThan(0);
      // Along the gradient itself: the slope is its squared norm.
      const norm = Math.hypot(...gradient);
      const at = (step: number): number =>
        scope(() =>
          noGrad(() => {
            const grad = tensor.grad as Tensor;
            tensor.add_(grad.mul(step / norm));
            const there = loss().item();
            tensor.add_(grad.mul(-step / norm));
            return there;
          }),
        );
      const h = 4e-3;
      const slope = (at(h) - at(-h)) / (2 * h);
      largest = Math.max(largest, norm);
      expect(Math.abs(slope - norm), `${name}: ${slope} ${norm}`).toBeLessThan(0.02 * norm + 1e-3);
    }
    expect(largest).toBeGreaterThan(0.01);
  });

  it('computed in bfloat16: the gradients of float32, nearly; none of base weights', () => {
    const m = adapted(make());
    model = m;
    const gradients = (['float32', 'bfloat16'] as const).map((type) => {
      const before = setComputeType(type);
      try {
        scope(() => {
          const { hidden } = m.forward({ tokens });
          expect(hidden.dtype).toBe(type);
          tokenLogprobs(hidden, m.headWeight, tokens.reshape([-1]))[0]
            .mean()
            .backward();
        });
      } finally {
        setComputeType(before);
      }
      return m.trained().flatMap(({ tensor }) => {
        expect(tensor.grad?.dtype).toBe('float32');
        const numbers = tensor.grad?.numbers() ?? [];
        tensor.grad = null;
        return numbers;
      });
    });
    for (const { name, tensor } of m.parameters()) expect(tensor.grad, name).toBeNull();
    const [exact, short] = gradients as [number[], number[]];
    const dot = (a: readonly number[], b: readonly number[]): number =>
      a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);
    expect(dot(exact, short) / Math.sqrt(dot(exact, exact) * dot(short, short))).toBeGreaterThan(0.98);
  });

  it('off, merged, unmerged, absorbed; the absorbed attention too', () => {
    const base = make();
    const plain = logits(base);
    const before = values(base);
    model = adapted(base);
    const beside = logits(model);
    const scale = beside.abs().amax().item();
    expect(difference(beside, plain)).toBeGreaterThan(0.1);
    expect(difference(beside, logits(model, true))).toBeLessThan(1e-5 * scale);
    expect(
      difference(
        withoutAdapters(model, () => logits(base)),
        plain,
      ),
    ).toBe(0);
    const off = withAdaptersOff(model);
    expect(
      difference(
        noGrad(() => base.logits(off.forward({ tokens }).hidden)),
        plain,
      ),
    ).toBe(0);
    expect(off.headWeight).toBe(base.headWeight);
    expect(difference(logits(model), beside)).toBe(0);
    mergeAdapters(model);
    expect(difference(logits(model), beside)).toBeLessThan(1e-5 * scale);
    expect(
      difference(
        withoutAdapters(model, () => logits(base)),
        plain,
      ),
    ).toBe(0);
    unmergeAdapters(model);
    expect(values(model)).toEqual(before);
    expect(difference(logits(model), beside)).toBe(0);
    absorbAdapters(model);
    expect(model.lora).toBeNull();
    expect(model.trained().map(({ name }) => name)).toEqual(
      model.parameters().flatMap(({ kind, name }) => (kind === 'buffer' ? [] : [name])),
    );
    expect(model.trained().every(({ tensor }) => tensor.requiresGrad)).toBe(true);
    expect(difference(logits(model), beside)).toBeLessThan(1e-5 * scale);
  });
});

describe('the numbers of fresh adapters', () => {
  it('A ~ U(−1/√inputs, 1/√inputs), B = 0, by the seed; scale α/r, with rsLoRA α/√r', () => {
    const seen = [false, true].map((use_rslora) => {
      const one = tinyDense('qwen2', 3);
      manualSeed(4);
      addAdapters(one, config({ rank: 4, alpha: 2, use_rslora }));
      const [first] = one.linears();
      const [adapter] = first?.linear.adapters ?? [];
      const all = one.trained().map(({ tensor }) => tensor.detach().numbers());
      const scale = adapter?.scale;
      one.dispose();
      return { scale, all };
    });
    expect(seen.map(({ scale }) => scale)).toEqual([0.5, 1]);
    expect(seen[0]?.all).toEqual(seen[1]?.all);
    const a = (seen[0]?.all ?? []).filter((_, i) => i % 2 === 0);
    const b = (seen[0]?.all ?? []).filter((_, i) => i % 2 === 1);
    expect(b.flat().every((value) => value === 0)).toBe(true);
    // 16 inputs each but down_proj's 24: uniform has the deviation bound/√3.
    const first = a.filter((list) => list.length === 4 * 16).flat();
    expect(Math.max(...first.map(Math.abs))).toBeLessThan(0.25);
    expect(Math.max(...first.map(Math.abs))).toBeGreaterThan(0.24);
    const deviation = Math.sqrt(first.reduce((sum, value) => sum + value * value, 0) / first.length);
    expect(deviation).toBeCloseTo(0.25 / Math.sqrt(3), 2);
  });

  it('sizes: r · (inputs + outputs) of every part on disk', () => {
    model = tinyDense('qwen2', 3);
    addAdapters(model, config({ rank: 2, target_modules: ['q_proj', 'gate_proj'] }));
    expect(model.trained().reduce((sum, { tensor }) => sum + tensor.numel, 0)).toBe(2 * 2 * (16 + 16 + 16 + 24));
  });
});

describe('which modules', () => {
  const names = (one: CausalModel, target_modules: unknown): string[] => {
    addAdapters(one, config({ target_modules }));
    const list = one.trained().map(({ name }) => name.replace('base_model.model.model.layers.', ''));
    return list.filter((name) => name.endsWith('lora_A.weight')).map((name) => name.replace('.lora_A.weight', ''));
  };

  it('by the last part, by a longer end, by the whole name; all-linear', () => {
    model = tinyDense('qwen2', 1);
    expect(names(model, ['q_proj', 'mlp.up_proj', 'model.layers.1.self_attn.o_proj'])).toEqual([
      '0.self_attn.q_proj',
      '0.mlp.up_proj',
      '1.self_attn.q_proj',
      '1.self_attn.o_proj',
      '1.mlp.up_proj',
    ]);
    model.dispose();
    model = tinyModel(1);
    expect(names(model, 'all-linear').filter((name) => name.startsWith('1.'))).toEqual([
      '1.self_attn.q_a_proj',
      '1.self_attn.q_b_proj',
      '1.self_attn.kv_a_proj_with_mqa',
      '1.self_attn.kv_b_proj',
      '1.self_attn.o_proj',
      '1.mlp.shared_experts.gate_proj',
      '1.mlp.shared_experts.up_proj',
      '1.mlp.shared_experts.down_proj',
    ]);
  });

  it('what has no adapters is refused by name, with the reason, and nothing is changed', () => {
    const one = tinyModel(1);
    model = one;
    const why = (target: string): string => {
      try {
        addAdapters(one, config({ target_modules: ['o_proj', target] }));
      } catch (error) {
        return (error as Error).message;
      }
      return '';
    };
    expect(why('experts')).toContain('experts: routed experts have no adapters');
    expect(why('mlp.experts.0.gate_proj')).toContain('routed experts have no adapters');
    expect(why('gate')).toContain('gate: routers have no adapters');
    expect(why('lm_head')).toContain('lm_head: embedding and head have no adapters');
    expect(why('embed_tokens')).toContain('embedding and head');
    expect(why('gate_up_proj')).toContain('is several matrices on disk; name gate_proj, up_proj');
    expect(why('q_a_layernorm')).toContain('is a norm');
    expect(why('proj')).toContain('proj: matches no matrix of this model; it has q_a_proj, q_b_proj,');
    expect(one.lora).toBeNull();
    expect(one.linears().every(({ linear }) => linear.adapters.length === 0)).toBe(true);
  });

  it('a second set is refused', () => {
    model = adapted(tinyModel(1));
    expect(() => addAdapters(model as CausalModel, config())).toThrow('has adapters already');
  });

  it('the configuration: what it does not know, or what stands twice', () => {
    expect(loraConfig.safeParse({ rank: 1, alpha: 1, dropout: 0.1 }).success).toBe(false);
    expect(loraConfig.safeParse({ rank: 1, alpha: 1, target_modules: ['q_proj', 'q_proj'] }).success).toBe(false);
    expect(loraConfig.safeParse({ rank: 0, alpha: 1 }).success).toBe(false);
    expect(loraConfig.parse({ rank: 8, alpha: 16 })).toEqual({
      rank: 8,
      alpha: 16,
      target_modules: 'all-linear',
      use_rslora: false,
    });
  });
});

it('dispose frees the adapters, also merged ones', () => {
  const before = liveTensors();
  scope(() => {
    const one = adapted(tinyModel(2));
    mergeAdapters(one);
    one.dispose();
  });
  expect(liveTensors()).toBe(before);
});
