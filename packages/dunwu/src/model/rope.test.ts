import { describe, expect, it } from 'vitest';
import { attentionScale, frequencies, RopeTable, yarnScale } from './rope.js';
import { ids, tinyConfig } from './testing/tiny.js';

const expectClose = (actual: readonly number[], expected: readonly number[], digits = 6): void => {
  expect(actual.length).toBe(expected.length);
  actual.forEach((value, i) => {
    expect(value, `entry ${i}`).toBeCloseTo(expected[i] as number, digits);
  });
};

describe('plain frequencies', () => {
  // θ = 100, width 4: pairs turn by 100^(−0/4) = 1 and 100^(−2/4) = 0.1 radians per position.
  const config = tinyConfig({ rope_theta: 100 });

  it('are θ^(−2i/width)', () => {
    const { inverse, factor } = frequencies(config, 4);
    expectClose(inverse, [1, 0.1]);
    expect(factor).toBe(1);
  });

  it('the table holds their cosines and sines', () => {
    const table = new RopeTable(config, 4);
    const [cosine, sine] = table.at(ids([[0, 3, 20]]).reshape([-1]));
    expectClose(cosine.numbers(), [1, 1, Math.cos(3), Math.cos(0.3), Math.cos(20), Math.cos(2)]);
    expectClose(sine.numbers(), [0, 0, Math.sin(3), Math.sin(0.3), Math.sin(20), Math.sin(2)]);
  });

  it('the table grows and keeps its values', () => {
    const table = new RopeTable(tinyConfig({ rope_theta: 100, max_position_embeddings: 4096 }), 4);
    expect(table.length).toBe(512);
    const before = table.at(ids([[511]]).reshape([-1]))[0].numbers();
    table.reserve(700);
    expect(table.length).toBe(1024);
    expect(table.at(ids([[511]]).reshape([-1]))[0].numbers()).toEqual(before);
    expectClose(table.at(ids([[900]]).reshape([-1]))[1].numbers(), [Math.sin(900), Math.sin(90)], 4);
  });

  it('rope_parameters count as rope_theta does; the default is 10000', () => {
    expectClose(
      frequencies(tinyConfig({ rope_parameters: { rope_type: 'default', rope_theta: 16 } }), 4).inverse,
      [1, 0.25],
    );
    expectClose(frequencies(tinyConfig(), 4).inverse, [1, 0.01]);
  });

  it('scale = (nope + rope)^−½', () => {
    expect(attentionScale(tinyConfig())).toBeCloseTo(1 / Math.sqrt(10), 12);
  });
});

describe('YaRN', () => {
  // width 8, θ 10⁴, original length 64, factor 4. The ramp runs from the pair that turns 32 times in 64 positions,
  // 8 ln(64/(32·2π)) / (2 ln 10⁴) = −0.497 → 0, to the pair that turns once, 8 ln(64/2π) / (2 ln 10⁴) = 1.008 → 2:
  // pair 0 stays, pair 1 is half interpolated, pairs 2 and 3 are divided by 4.
  const yarn = (extra: Record<string, number | boolean> = {}) =>
    tinyConfig({
      qk_rope_head_dim: 8,
      max_position_embeddings: 256,
      rope_theta: 10_000,
      rope_scaling: {
        type: 'yarn',
        factor: 4,
        original_max_position_embeddings: 64,
        beta_fast: 32,
        beta_slow: 1,
        ...extra,
      },
    });

  it('interpolates low frequencies', () => {
    expectClose(frequencies(yarn(), 8).inverse, [1, 0.1 * (0.5 / 4 + 0.5), 0.01 / 4, 0.001 / 4], 9);
  });

  it('without rounding the ramp is 0 to 1.0081', () => {
    const high = (8 * Math.log(64 / (2 * Math.PI))) / (2 * Math.log(10_000));
    expectClose(
      frequencies(yarn({ truncate: false }), 8).inverse.slice(1, 2),
      [0.1 * (1 / high / 4 + 1 - 1 / high)],
      9,
    );
  });

  it('mscale: 0.1 m ln(factor) + 1', () => {
    expect(yarnScale(4, 1)).toBeCloseTo(1.1386294361119891, 12);
    expect(yarnScale(40, 0.5)).toBeCloseTo(1 + 0.05 * Math.log(40), 12);
    expect(yarnScale(1, 1)).toBe(1);
  });

  it('cosine and sine are scaled by mscale / mscale_all_dim, the scores by mscale_all_dim²', () => {
    expect(frequencies(yarn(), 8).factor).toBeCloseTo(1.1386294361119891, 12);
    expect(attentionScale(yarn())).toBeCloseTo(1 / Math.sqrt(14), 12);
    const both = yarn({ mscale: 1, mscale_all_dim: 1 });
    expect(frequencies(both, 8).factor).toBe(1);
    expect(attentionScale(both)).toBeCloseTo(1.1386294361119891 ** 2 / Math.sqrt(14), 12);
    const uneven = yarn({ mscale: 0.5, mscale_all_dim: 1 });
    expect(frequencies(uneven, 8).factor).toBeCloseTo((1 + 0.05 * Math.log(4)) / 1.1386294361119891, 12);
    expect(frequencies(yarn({ attention_factor: 1.5 }), 8).factor).toBe(1.5);
  });
});

describe('llama3', () => {
  it('frequencies by hand: kept, on the ramp, divided', () => {
    // θ 10⁴, width 8: 1, 0.1, 0.01, 0.001 radians a position. In 64 positions they turn 10.2, 1.02, 0.10 and 0.01 times.
    const config = {
      max_position_embeddings: 512,
      rope_theta: 10_000,
      rope_scaling: {
        rope_type: 'llama3' as const,
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 64,
      },
    };
    const smooth = (6.4 / (2 * Math.PI) - 1) / 3;
    const { inverse, factor } = frequencies(config, 8);
    expectClose(inverse, [1, (1 - smooth) * (0.1 / 8) + smooth * 0.1, 0.01 / 8, 0.001 / 8], 12);
    expect(factor).toBe(1);
  });
});
