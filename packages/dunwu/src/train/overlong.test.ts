import { describe, expect, it } from 'vitest';
import { overlongPoints } from '../reward/rules/length.js';
import { grpoConfig } from './grpo-config.js';
import { addOverlong } from './overlong.js';
import type { ScoredRollout } from './rollouts.js';

describe('overlong', () => {
  // DAPO's equation 13 by hand, L_max = 100, L_cache = 20: 0 up to 80, then (80 − |y|)/20, −1 beyond 100.
  it.each([
    [1, 0],
    [80, 0],
    [81, -1 / 20],
    [95, -15 / 20],
    [100, -1],
    [130, -1],
  ])('%d tokens: %f, plus 1', (length, punishment) => {
    expect(overlongPoints(length, 100, 20)).toBeCloseTo(punishment + 1, 12);
  });

  it('is a part of the trace, and its sum stays exact', () => {
    const rollout = (count: number): ScoredRollout => ({
      problem: { id: 'p', prompt: 'q', source: 's', language: 'en', meta: {} },
      prompt: [1],
      sample: { prompt: 0, sample: 0, tokens: Array(count).fill(1), logprobs: Array(count).fill(-1), reason: 'stop' },
      response: 'abc',
      trace: {
        total: 0.25,
        parts: [{ name: 'format', points: 0.25, max: 1, status: 'wrong', evidence: [], weight: 1 }],
      },
    });
    const [short, long] = addOverlong([rollout(4), rollout(9)], { buffer: 4, weight: 2 }, 10);
    expect(short?.trace).toMatchObject({ total: 2.25, parts: [{}, { name: 'overlong', points: 1, status: 'ok' }] });
    expect(long?.trace.total).toBe(0.25 + 2 * 0.25);
    expect(long?.trace.parts[1]).toEqual({
      name: 'overlong',
      points: 0.25,
      max: 1,
      weight: 2,
      status: 'wrong',
      evidence: [[0, 3]],
      note: '9 tokens, free up to 6',
    });
  });

  it('the buffer lies within the longest response', () => {
    const parsed = grpoConfig.safeParse({
      steps: 1,
      questions_per_step: 1,
      group_size: 2,
      sampling: { temperature: 1, max_tokens: 10 },
      rewards: { rules: { format: 1 } },
      overlong: { buffer: 11 },
      loss: { ratio: 'token', kl: { estimator: 'none' } },
      optimizer: { kind: 'adamw', learning_rate: 1 },
    });
    expect(parsed.error?.issues.map(({ path }) => path.join('.'))).toEqual(['overlong.buffer']);
  });
});
