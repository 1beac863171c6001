import type { SteppedOutput } from '../objective/process-advantage.js';
import { begunThought } from '../text/begun-thought.js';
import { tokenOfTextEnd, tokenTextEnds } from '../text/token-offsets.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { ScoredRollout } from './rollouts.js';

/**
 * A judged response as process supervision wants it: the steps of its trace, each with the token that completes its last
 * character and its weighted points; and as the outcome's reward the sum of all parts whose rule gave no steps (a rule
 * that did is judged by its steps).
 * @param stop token ids that end a response
 * @throws Error when a step's span lies outside the response, or the tokenizer is not byte-level.
 */
export function steppedOutput(rollout: ScoredRollout, tokenizer: Tokenizer, stop?: readonly number[]): SteppedOutput {
  const { prompt, sample, trace } = rollout;
  const given = trace.steps ?? [];
  const stepRules = new Set(given.map(({ rule }) => rule));
  const weights = new Map(trace.parts.map(({ name, weight }) => [name, weight]));
  const ends = given.length === 0 ? [] : tokenTextEnds(tokenizer, sample.tokens, stop);
  // What the prompt has begun of the thought is in the response's text, but no token of it.
  const begun = begunThought(tokenizer, prompt).length;
  return {
    tokens: sample.tokens.length,
    steps: given.map(({ span, points, rule }) => ({
      end: tokenOfTextEnd(ends, Math.max(0, span[1] - begun)),
      reward: (weights.get(rule) ?? 1) * points,
    })),
    outcome: trace.parts.reduce(
      (sum, { name, weight, points }) => (stepRules.has(name) ? sum : sum + weight * points),
      0,
    ),
  };
}
