import { noGrad, randn, scope } from '@dunwu/torch';

/** Best matrix-product rate this process reaches now, FLOP/s: what "share of the measured peak" refers to. */
export function measurePeak(size = 1024, seconds = 0.15): number {
  return scope(() =>
    noGrad(() => {
      const [a, b] = [randn([size, size]), randn([size, size])];
      let best = Number.POSITIVE_INFINITY;
      const end = performance.now() + seconds * 1000;
      while (performance.now() < end) {
        const start = performance.now();
        a.mm(b).dispose();
        best = Math.min(best, performance.now() - start);
      }
      return (2 * size ** 3) / (best / 1000);
    }),
  );
}
