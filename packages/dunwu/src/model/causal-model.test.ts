import {
  arange,
  liveTensors,
  manualSeed,
  noGrad,
  scope,
  type Tensor,
  tensor,
  tokenLogprobs,
  zeros,
} from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { CausalModel, causalMask, type ModelInput } from './causal-model.js';
import {
  difference,
  gradientDifference,
  ids,
  rows,
  type TinyOverrides,
  takeGradients,
  tinyConfig,
  tinyDense,
  tinyModel,
} from './testing/tiny.js';

const logits = (model: CausalModel, tokens: Tensor, absorbed = false): Tensor =>
  scope(() => noGrad(() => model.logits(model.forward({ tokens }, { absorbed }).hidden)));

const VARIANTS: [string, TinyOverrides][] = [
  ['with q compression', {}],
  ['without q compression', { q_lora_rank: null }],
  ['with biases and the half rotary layout', { attention_bias: true, rope_interleave: false }],
  [
    'with YaRN and a tied head',
    {
      tie_word_embeddings: true,
      rope_scaling: {
        type: 'yarn',
        factor: 4,
        original_max_position_embeddings: 16,
        mscale: 0.7,
        mscale_all_dim: 1,
      },
    },
  ],
  ['dense', { first_k_dense_replace: 3 }],
  ['one head, no shared expert', { num_attention_heads: 1, n_shared_experts: null }],
];

describe('naive and absorbed attention are one function', () => {
  it.each(VARIANTS)('%s: logits within 1e-5, gradients within 1e-5 of the largest', (_, overrides) => {
    const model = tinyModel(1, overrides);
    const tokens = ids(rows(3, 17));
    const naive = logits(model, tokens);
    expect(difference(naive, logits(model, tokens, true))).toBeLessThan(1e-5 * naive.abs().amax().item());
    const gradients = [false, true].map((absorbed) => {
      scope(() => {
        const { hidden } = model.forward({ tokens }, { absorbed });
        tokenLogprobs(hidden, model.headWeight, tokens.reshape([-1]))[0]
          .sum()
          .backward();
      });
      return takeGradients(model);
    });
    expect(gradientDifference(gradients[0] as never, gradients[1] as never)).toBeLessThan(1e-5);
    model.dispose();
  });
});

describe('batches', () => {
  it.each(VARIANTS)('%s: a row alone gives what it gives in a batch', (_, overrides) => {
    const model = tinyModel(2, overrides);
    const batch = rows(4, 12);
    const together = logits(model, ids(batch)).view([4, 12, -1]);
    batch.forEach((row, r) => {
      expect(difference(logits(model, ids([row])).view([12, -1]), together.select(0, r))).toBeLessThan(2e-5);
    });
    model.dispose();
  });

  it('what stands on the right of a token does not change it', () => {
    const model = tinyModel(3);
    const [row] = rows(1, 9) as [number[]];
    const short = logits(model, ids([row])).view([9, -1]);
    const padded = logits(model, ids([[...row, 0, 0, 0, 23, 5]])).view([14, -1]);
    expect(difference(short, padded.narrow(0, 0, 9))).toBeLessThan(2e-5);
    // But what stands on the left does: the test above is not about a model that sees nothing.
    const other = logits(model, ids([[(row[0] as number) + 1, ...row.slice(1)]])).view([9, -1]);
    expect(difference(short.narrow(0, 8, 1), other.narrow(0, 8, 1))).toBeGreaterThan(1e-3);
    model.dispose();
  });

  it('attention knows relative positions only: all positions shifted alike change nothing', () => {
    const model = tinyModel(4);
    const tokens = ids(rows(2, 10));
    const shifted = noGrad(() => {
      const positions = ids([0, 1].map(() => Array.from({ length: 10 }, (_, t) => t + 21)));
      return model.logits(model.forward({ tokens, positions }).hidden);
    });
    expect(difference(logits(model, tokens), shifted)).toBeLessThan(5e-5);
    const stretched = noGrad(() => {
      const positions = ids([0, 1].map(() => Array.from({ length: 10 }, (_, t) => 2 * t)));
      return model.logits(model.forward({ tokens, positions }).hidden);
    });
    expect(difference(logits(model, tokens), stretched)).toBeGreaterThan(1e-3);
    model.dispose();
  });
});

describe('outputs', () => {
  it('alone have handles: what autograd keeps for the backward pass is not held beside it', () => {
    const model = tinyModel(5);
    const tokens = ids(rows(2, 6));
    model.forward({ tokens }).hidden.dispose(); // Rotary tables are made by the first pass.
    scope(() => {
      const before = liveTensors();
      const { routers } = model.forward({ tokens });
      expect(liveTensors() - before).toBe(1 + 4 * routers.length);
    });
    model.dispose();
  });

  it('routers: one per mixture layer; hidden states: embeddings, layers but the last, final norm', () => {
    const model = tinyModel(5);
    const tokens = ids(rows(2, 6));
    const { hidden, routers, hiddenStates } = noGrad(() => model.forward({ tokens }, { hiddenStates: true }));
    expect(routers.map(({ indices, weights }) => [indices.shape, weights.shape])).toEqual([
      [
        [12, 2],
        [12, 2],
      ],
      [
        [12, 2],
        [12, 2],
      ],
    ]);
    expect(hiddenStates.map(({ shape }) => shape)).toEqual([1, 2, 3, 4].map(() => [2, 6, 16]));
    const [embeddings] = model.parameters();
    expect((hiddenStates[0] as Tensor).select(0, 0).select(0, 1).numbers()).toEqual(
      embeddings?.tensor
        .select(0, rows(2, 6)[0]?.[1] as number)
        .detach()
        .numbers(),
    );
    expect(difference(hiddenStates[3] as Tensor, hidden.view([2, 6, 16]))).toBe(0);
    model.dispose();
  });

  it('the causal mask by hand', () => {
    const no = Number.NEGATIVE_INFINITY;
    expect(causalMask(3).numbers()).toEqual([0, no, no, 0, 0, no, 0, 0, 0]);
  });

  it('seeded weights: N(0, initializer_range²), norms 1, router bias 0; the same seed gives the same', () => {
    manualSeed(7);
    const config = tinyConfig({ vocab_size: 4096, initializer_range: 0.05 });
    const model = new CausalModel(config);
    const of = (name: string): number[] =>
      model
        .parameters()
        .find((entry) => entry.name === name)
        ?.tensor.detach()
        .numbers() as number[];
    const head = of('lm_head.weight');
    const mean = head.reduce((a, b) => a + b, 0) / head.length;
    // 65,536 draws: the standard error of the mean is 0.0002, that of the deviation 0.00014.
    expect(Math.abs(mean)).toBeLessThan(0.001);
    expect(Math.sqrt(head.reduce((a, b) => a + b * b, 0) / head.length)).toBeCloseTo(0.05, 3);
    expect(of('model.norm.weight')).toEqual(new Array(16).fill(1));
    expect(of('model.layers.1.mlp.gate.e_score_correction_bias')).toEqual(new Array(8).fill(0));
    manualSeed(7);
    const again = new CausalModel(config);
    expect(difference(model.headWeight, again.headWeight)).toBe(0);
    model.dispose();
    again.dispose();
  });

  it('sequences longer than max_position_embeddings are refused with both numbers', () => {
    const model = tinyModel(6);
    expect(() => model.forward({ tokens: ids(rows(1, 65)) })).toThrow(
      'sequences of 65 tokens exceed max_position_embeddings 64',
    );
    model.dispose();
  });
});

describe('weights', () => {
  it('copyFrom copies all, buffers too; setTrainable leaves buffers alone', () => {
    const [a, b] = [tinyModel(8), tinyModel(9)];
    const tokens = ids(rows(2, 8));
    expect(difference(logits(a, tokens), logits(b, tokens))).toBeGreaterThan(0.1);
    b.copyFrom(a);
    expect(difference(logits(a, tokens), logits(b, tokens))).toBe(0);
    b.setTrainable(false);
    expect(b.parameters().some(({ tensor: weight }) => weight.requiresGrad)).toBe(false);
    b.setTrainable(true);
    expect(
      b
        .parameters()
        .filter(({ tensor: weight }) => !weight.requiresGrad)
        .map(({ name }) => name),
    ).toEqual(['model.layers.1.mlp.gate.e_score_correction_bias', 'model.layers.2.mlp.gate.e_score_correction_bias']);
    a.dispose();
    b.dispose();
  });

  it('dispose frees everything the constructor made', () => {
    const before = liveTensors();
    const model = tinyModel(10);
    expect(liveTensors()).toBeGreaterThan(before + 30);
    model.dispose();
    expect(liveTensors()).toBe(before);
  });

  it('a step of gradient descent moves every weight that was used', () => {
    const model = tinyModel(11);
    scope(() => {
      const { hidden } = model.forward({ tokens: ids(rows(4, 30)) });
      hidden
        .mul(
          tensor(
            Float32Array.from({ length: 120 * 16 }, (_, i) => Math.sin(i)),
            { shape: [120, 16] },
          ),
        )
        .sum()
        .backward();
    });
    const silent = model.parameters().filter(({ tensor: weight, kind }) => {
      if (kind === 'buffer') return false;
      return scope(() => (weight.grad?.abs().amax().item() ?? 0) === 0);
    });
    expect(silent.map(({ name }) => name)).toEqual(['lm_head.weight']);
    model.dispose();
  });

  it('starts are the mask that they stand for: hidden states and all gradients; with a mask or absorbed they are refused', () => {
    const starts = tensor([...Array(3).fill(0), ...Array(70).fill(3), ...Array(7).fill(73), ...Array(80).fill(0)], {
      dtype: 'int64',
      shape: [2, 80],
    });
    const tokens = ids(rows(2, 80));
    for (const make of [
      () => tinyModel(12, { max_position_embeddings: 80 }),
      () => tinyDense('qwen3', 12, { max_position_embeddings: 80 }),
      () => tinyDense('llama', 12, { max_position_embeddings: 80 }),
    ]) {
      const model = make();
      model.setTrainable(true);
      const place = arange(0, 80, 1, { dtype: 'int64' });
      const hides = place.gt(place.unsqueeze(1)).logicalOr(place.lt(starts.unsqueeze(2)));
      const mask = zeros([2, 80, 80]).maskedFill(hides, Number.NEGATIVE_INFINITY).unsqueeze(1);
      const weights = tensor(
        Float32Array.from({ length: 160 * 16 }, (_, i) => Math.sin(i)),
        { shape: [160, 16] },
      );
      const run = (input: ModelInput) =>
        scope(() => {
          const { hidden } = model.forward(input);
          hidden.mul(weights).sum().backward();
          return hidden.detach();
        });
      for (const [fused, plain] of [
        [
          { tokens, starts },
          { tokens, mask },
        ],
        [{ tokens }, { tokens, mask: causalMask(80) }],
      ] as const) {
        const a = run(fused);
        const ours = takeGradients(model);
        ours.delete('lm_head.weight');
        const b = run(plain);
        expect(difference(a, b)).toBeLessThan(1e-5);
        expect(gradientDifference(ours, takeGradients(model))).toBeLessThan(1e-5);
      }
      expect(() => model.forward({ tokens, starts, mask })).toThrow(/starts go neither with a mask/);
      expect(() => model.forward({ tokens, starts }, { absorbed: true })).toThrow(/starts go neither with a mask/);
      model.dispose();
    }
  });
});
