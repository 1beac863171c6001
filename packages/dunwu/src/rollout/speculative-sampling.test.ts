import { scope, type Tensor, tensor } from '@dunwu/torch';
import { describe, expect, it } from 'vitest';
import { verifyDrafts } from './speculative-sampling.js';

const rowsOf = (shares: readonly number[], count: number): Tensor =>
  tensor(
    Float32Array.from({ length: count * shares.length }, (_, i) => shares[i % shares.length] as number),
    {
      shape: [count, shares.length],
    },
  );
const int64 = (values: readonly number[]): Tensor => tensor(BigInt64Array.from(values, BigInt));

describe('verifyDrafts', () => {
  it('by hand', () => {
    const [p, q] = [
      [0.5, 0.3, 0.2, 0],
      [0.2, 0.6, 0.1, 0.1],
    ];
    // Kept with probability min(1, p/q): token 0 always, 1 half of the time, 2 always, 3 never. What is left over of p is
    // 0.3 at token 0 and 0.1 at token 2: three quarters and one quarter.
    const cases: [draft: number, keep: number, redraw: number, accepted: boolean, token: number][] = [
      [0, 0.999, 0.9, true, 0],
      [1, 0.49, 0.9, true, 1],
      [1, 0.51, 0.74, false, 0],
      [1, 0.51, 0.76, false, 2],
      [2, 0.999, 0, true, 2],
      [3, 0, 0, false, 0],
    ];
    scope(() => {
      const { accepted, tokens } = verifyDrafts(
        rowsOf(p as number[], cases.length),
        rowsOf(q as number[], cases.length),
        int64(cases.map(([draft]) => draft)),
        cases.map(([, keep]) => keep),
        cases.map(([, , redraw]) => redraw),
      );
      expect(accepted).toEqual(cases.map(([, , , kept]) => kept));
      expect(tokens.numbers()).toEqual(cases.map(([, , , , token]) => token));
    });
  });

  it.each([
    ['near', [0.4, 0.3, 0.2, 0.1], [0.35, 0.35, 0.1, 0.2]],
    ['equal', [0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]],
    ['apart', [0.7, 0.3, 0, 0], [0, 0.1, 0.6, 0.3]],
    ['cut by top-k', [0.5, 0.5, 0, 0], [0, 0, 1, 0]],
  ])('%s: summed over all draws the tokens are distributed as p, whatever q is', (_, p, q) => {
    // Both uniforms over a grid: the sum over it is the integral, within a cell.
    const K = 60;
    const grid = q
      .flatMap((_share, draft) =>
        Array.from({ length: K * K }, (_cell, i) => ({
          draft,
          keep: (Math.floor(i / K) + 0.5) / K,
          redraw: ((i % K) + 0.5) / K,
        })),
      )
      .filter(({ draft }) => (q[draft] as number) > 0);
    scope(() => {
      const { tokens, accepted } = verifyDrafts(
        rowsOf(p, grid.length),
        rowsOf(q, grid.length),
        int64(grid.map(({ draft }) => draft)),
        grid.map(({ keep }) => keep),
        grid.map(({ redraw }) => redraw),
      );
      const out = [0, 0, 0, 0];
      let kept = 0;
      tokens.numbers().forEach((token, i) => {
        const weight = (q[grid[i]?.draft as number] as number) / (K * K);
        out[token] = (out[token] as number) + weight;
        if (accepted[i]) kept += weight;
      });
      p.forEach((share, token) => {
        expect(Math.abs((out[token] as number) - share)).toBeLessThan(1 / K);
      });
      // Leviathan et al., theorem 3.5: Σ min(p, q) are kept.
      expect(kept).toBeCloseTo(
        p.reduce((sum, share, i) => sum + Math.min(share, q[i] as number), 0),
        1,
      );
    });
  });
});
