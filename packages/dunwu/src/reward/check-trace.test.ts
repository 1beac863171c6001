import { describe, expect, it } from 'vitest';
import { checkTrace, traceFault, traceSchema } from './check-trace.js';
import { RewardProgram } from './program.js';
import type { Trace } from './trace.js';

const part = (name: string, weight: number, points: number, evidence: [number, number][] = []) => ({
  name,
  weight,
  points,
  max: 1,
  status: 'ok' as const,
  evidence,
});

describe('checkTrace', () => {
  it('adds up in the order of the parts', () => {
    // 0.1 + 0.2 + 0.3 is 0.6000000000000001, 0.3 + 0.2 + 0.1 is 0.6.
    const parts = [part('a', 0.1, 1), part('b', 0.2, 1), part('c', 0.3, 1)];
    expect(checkTrace({ total: 0.6000000000000001, parts })).toEqual({ sum: 0.6000000000000001, exact: true });
    expect(checkTrace({ total: 0.6, parts })).toEqual({ sum: 0.6000000000000001, exact: false });
    expect(checkTrace({ total: 0.6, parts: parts.toReversed() })).toEqual({ sum: 0.6, exact: true });
  });

  it('finds every trace of a program exact, also read back from JSON', () => {
    const program = new RewardProgram({ rules: { accuracy: 0.7, format: 0.1, steps: 0.3, language: 0.13 } });
    const problem = {
      id: 'p',
      prompt: 'Tom has 80 cards, loses 21, then 11.',
      answer: '48',
      source: 's',
      language: 'en',
      meta: { steps: 3 },
    };
    for (const response of ['<think>80-21=59 卡 cards here</think><answer>48</answer>', '80-21=58; 58-11=47', '']) {
      const trace = traceSchema.parse(JSON.parse(JSON.stringify(program.score(problem, response)))) as Trace;
      expect(checkTrace(trace)).toEqual({ sum: trace.total, exact: true });
      expect(traceFault(trace, response)).toBeNull();
    }
  });
});

describe('traceFault', () => {
  it('names what is of no use to this response', () => {
    expect(traceFault({ total: 1, parts: [part('a', 1, 1, [[0, 4]])] }, 'abc')).toBe(
      'the rule a shows [0, 4], the response has 3 characters',
    );
    expect(traceFault({ total: 1, parts: [part('a', 1, 1, [[2, 1]])] }, 'abc')).toContain('[2, 1]');
    const steps = [{ span: [0, 1] as const, points: 1, rule: 'b' }];
    expect(traceFault({ total: 1, parts: [part('a', 1, 1)], steps }, 'abc')).toBe(
      'a step is of the rule b, which has no part',
    );
  });
});
