import { z } from 'zod';
import { type AdvantageConfig, groupAdvantages } from './advantage.js';

/**
 * How the outcome's reward (all rules but the step rules) joins the steps'. The paper has step rewards only.
 *
 * - `none`: it does not; it is logged and moves nothing
 * - `add`: A_it = A_i + weight · A_it(steps), each normalised by itself
 * - `final-step`: it is one step more, which ends at the output's last token, and is normalised with all others
 */
const outcomeSchema = z.discriminatedUnion('join', [
  z.strictObject({ join: z.literal('none') }),
  z.strictObject({
    join: z.literal('add'),
    /** What the steps' advantage is multiplied with. */
    step_weight: z.number().positive().default(1),
  }),
  z.strictObject({ join: z.literal('final-step') }),
]);

const outcome = z.literal('outcome').optional().default('outcome');
const process = z.literal('process');
const std = {
  scale: z.literal('std').optional().default('std'),
  std: z.enum(['population', 'sample']).default('population'),
  epsilon: z.number().min(0).default(1e-4),
};
const none = { scale: z.literal('none') };
const join = { outcome: outcomeSchema.prefault({ join: 'add' }) };

/**
 * What GRPO's advantages are made of; `scale`, `std` and `epsilon` as in `advantageSchema`.
 *
 * - `kind: outcome` (the default): one reward for each output, the same advantage at all its tokens
 * - `kind: process`: points for each step, see `processAdvantages`
 */
export const grpoAdvantageSchema = z.discriminatedUnion('kind', [
  z.discriminatedUnion('scale', [
    z.strictObject({ kind: outcome, ...std }),
    z.strictObject({ kind: outcome, ...none }),
  ]),
  z.discriminatedUnion('scale', [
    z.strictObject({ kind: process, ...std, ...join }),
    z.strictObject({ kind: process, ...none, ...join }),
  ]),
]);

export type GrpoAdvantageConfig = z.output<typeof grpoAdvantageSchema>;
export type ProcessAdvantageConfig = Extract<GrpoAdvantageConfig, { kind: 'process' }>;

/** One output of a group, as process supervision sees it. */
export interface SteppedOutput {
  /** |o_i|: response tokens. */
  readonly tokens: number;
  /** Its steps: the token with which each ends (0..tokens − 1), and its reward. In any order; none is allowed. */
  readonly steps: readonly { readonly end: number; readonly reward: number }[];
  /** The reward of the output as a whole. */
  readonly outcome: number;
}

export interface ProcessAdvantages {
  /** For each group, for each output: the advantage of each of its tokens. */
  readonly advantages: readonly (readonly Float64Array[])[];
  /** For each group, for each output: r̃ of each of its steps, in the order given. */
  readonly stepAdvantages: readonly (readonly Float64Array[])[];
  /** Groups that teach nothing: every advantage of every token is 0. */
  readonly zeroSpread: number;
}

/**
 * Process supervision (DeepSeekMath, arXiv 2402.03300, section 4.1.3). With R = all step rewards of all outputs of a
 * group and index(j) = the token with which step j ends:
 *
 *     r̃_i^j = (r_i^j − mean R) / (std R + ε),   Â_it = Σ over steps j of output i with index(j) ≥ t of r̃_i^j
 *
 * So a token answers for the steps that it belongs to or comes before, not for those that were done by then. Tokens
 * after the last step, and all tokens of an output without steps, get 0 from it. Where all step rewards of a group are
 * the same, or there are none, all get 0. How the outcome joins is `config.outcome`.
 *
 * Mind what the formula rewards: each step above the group's mean adds to the sum, so more of them add more; an output
 * without steps is at 0, above one whose steps were all below the mean.
 *
 * @throws Error when a group is empty, a reward is not finite, or a step ends outside its output, naming it.
 */
export function processAdvantages(
  groups: readonly (readonly SteppedOutput[])[],
  config: ProcessAdvantageConfig,
): ProcessAdvantages {
  const advantages: Float64Array[][] = [];
  const stepAdvantages: Float64Array[][] = [];
  let zeroSpread = 0;
  groups.forEach((group, index) => {
    check(group, index);
    const joins = config.outcome;
    const final = joins.join === 'final-step';
    const rewards = group.flatMap(({ steps, outcome: whole }) => [
      ...steps.map(({ reward }) => reward),
      ...(final ? [whole] : []),
    ]);
    const pool = normalised(rewards, config);
    const outcomes = normalised(joins.join === 'add' ? group.map((output) => output.outcome) : [], config);
    let at = 0;
    const steps: Float64Array[] = [];
    const tokens = group.map((output, i) => {
      const own = pool.slice(at, at + output.steps.length);
      at += output.steps.length;
      steps.push(own);
      const perToken = new Float64Array(output.tokens);
      output.steps.forEach(({ end }, j) => {
        perToken[end] = (perToken[end] as number) + (own[j] as number);
      });
      if (final) {
        const last = output.tokens - 1;
        perToken[last] = (perToken[last] as number) + (pool[at] as number);
        at++;
      }
      // From the end: what stands at a token counts for all tokens up to it.
      for (let t = output.tokens - 2; t >= 0; t--) {
        perToken[t] = (perToken[t] as number) + (perToken[t + 1] as number);
      }
      if (joins.join !== 'add') return perToken;
      return perToken.map((value) => (outcomes[i] as number) + joins.step_weight * value);
    });
    advantages.push(tokens);
    stepAdvantages.push(steps);
    if (tokens.every((one) => one.every((value) => value === 0))) zeroSpread++;
  });
  return { advantages, stepAdvantages, zeroSpread };
}

/** (r − mean)/(std + ε) over a list that may be empty; zeros where all are the same. */
function normalised(rewards: readonly number[], config: AdvantageConfig): Float64Array {
  if (rewards.length === 0) return new Float64Array(0);
  return groupAdvantages([rewards], config).advantages[0] as Float64Array;
}

function check(group: readonly SteppedOutput[], index: number): void {
  if (group.length === 0) throw new Error(`processAdvantages: group ${index} is empty`);
  group.forEach(({ tokens, steps, outcome: whole }, i) => {
    const place = `output ${i} of group ${index}`;
    if (!(tokens >= 1)) throw new Error(`processAdvantages: ${place} has ${tokens} tokens; at least 1 is needed`);
    if (!Number.isFinite(whole)) throw new Error(`processAdvantages: the reward of ${place} is ${whole}`);
    steps.forEach(({ end, reward }, j) => {
      if (!Number.isFinite(reward)) {
        throw new Error(`processAdvantages: the reward of step ${j} of ${place} is ${reward}`);
      }
      if (!(Number.isInteger(end) && end >= 0 && end < tokens)) {
        throw new Error(`processAdvantages: step ${j} of ${place} ends at token ${end}; it has ${tokens} tokens`);
      }
    });
  });
}
