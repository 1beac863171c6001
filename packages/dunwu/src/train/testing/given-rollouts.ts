import { Random } from '../../util/random.js';
import type { rollOut as original, Rollout } from '../rollouts.js';

/** In the place of `rollOut`: responses of digits, every other one of them 3, the same ones on every device. */
export const rollOut: typeof original = async (_engine, given, problems, { samples, key }) =>
  problems.flatMap((problem, i) =>
    Array.from({ length: samples }, (_, sample): Rollout => {
      const rng = new Random(`${key(i)}/${sample}`);
      const digits = Array.from({ length: rng.int(1, 5) }, () => rng.int(2, 4)).join('');
      const response = sample % 2 === 0 ? '3' : digits;
      const tokens = given.encode(response);
      const logprobs = tokens.map(() => -rng.int(50, 60) / 10);
      const prompt = given.encode(problem.prompt);
      return { problem, prompt, response, sample: { prompt: i, sample, tokens, logprobs, reason: 'stop' } };
    }),
  );
