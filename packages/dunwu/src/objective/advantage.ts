import { z } from 'zod';

/**
 * How rewards become advantages within a group.
 *
 * `scale: std` is GRPO (DeepSeekMath, arXiv 2402.03300, section 4.1.2: (r_i − mean r) / std r).
 * `scale: none` leaves the division out (Dr. GRPO, arXiv 2503.20783: dividing weighs questions that are almost always
 * or almost never solved more heavily).
 *
 * `std` says which standard deviation; the papers only write "std", and codes differ:
 * - `population`, √(Σ(r − mean)²/G): numpy's `std`, in GRPO-Zero (with ε 1e-4). The default here.
 * - `sample`, √(Σ(r − mean)²/(G−1)): `torch.std`, in TRL (with ε 1e-4) and verl (with ε 1e-6).
 *
 * The choice scales all advantages of groups of size G by √(G/(G−1)): 1.07 for G = 8, 1.008 for G = 64.
 */
export const advantageSchema = z.discriminatedUnion('scale', [
  z.strictObject({
    scale: z.literal('std'),
    std: z.enum(['population', 'sample']).default('population'),
    /** Added to the standard deviation, so that a group whose rewards hardly differ is not blown up. */
    epsilon: z.number().min(0).default(1e-4),
  }),
  z.strictObject({ scale: z.literal('none') }),
]);

/** With defaults filled in. */
export type AdvantageConfig = z.output<typeof advantageSchema>;

/** Group-normalised with the population's standard deviation: what the recipes use unless they say otherwise. */
export const GRPO_ADVANTAGE: AdvantageConfig = { scale: 'std', std: 'population', epsilon: 1e-4 };

/** What the rewards of one group looked like. `std` is the population's unless the configuration says `sample`. */
export interface GroupStatistics {
  readonly mean: number;
  readonly std: number;
  /** All rewards are the same (or the group has one member): the group teaches nothing, its advantages are 0. */
  readonly zeroSpread: boolean;
}

export interface GroupAdvantages {
  /** One array for each group, one advantage for each member, in the order given. */
  readonly advantages: readonly Float64Array[];
  readonly groups: readonly GroupStatistics[];
  /** How many groups have no spread. When all have, the policy gets no gradient but the KL penalty's. */
  readonly zeroSpread: number;
}

/** Rewards that differ by less than this share of their size are the same: sums of parts round differently. */
const SAME = 1e-12;

/**
 * Group-relative advantages, the place of PPO's value network in GRPO (DeepSeekMath, arXiv 2402.03300, section 4.1.2):
 *
 *     A_i = (r_i − mean{r_1..r_G}) / (std{r_1..r_G} + ε)
 *
 * On plain numbers, as rewards are made on the host. For the policy loss every token of output i gets A_i: put the
 * advantages in one tensor [S] and `indexSelect(0, sequence)` it.
 *
 * @param rewards one array for each question: the rewards of its G outputs (groups may differ in size)
 * @throws Error when a group is empty or a reward is not finite, naming group and member.
 */
export function groupAdvantages(
  rewards: readonly ArrayLike<number>[],
  config: AdvantageConfig = GRPO_ADVANTAGE,
): GroupAdvantages {
  const results = rewards.map((group, index) => oneGroup(group, index, config));
  return {
    advantages: results.map(({ advantages }) => advantages),
    groups: results.map(({ statistics }) => statistics),
    zeroSpread: results.filter(({ statistics }) => statistics.zeroSpread).length,
  };
}

function oneGroup(
  rewards: ArrayLike<number>,
  index: number,
  config: AdvantageConfig,
): { advantages: Float64Array; statistics: GroupStatistics } {
  const values = Float64Array.from(rewards);
  const size = values.length;
  if (size === 0) throw new Error(`groupAdvantages: group ${index} is empty; a group is the rewards of one question`);
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new Error(
      `groupAdvantages: reward ${bad} of group ${index} is ${values[bad]}; rewards must be finite numbers`,
    );
  }

  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  const mean = values.reduce((a, b) => a + b, 0) / size;
  // Not "std is 0": the rounded mean of equal rewards can differ from them in the last digit.
  if (high - low <= SAME * Math.max(Math.abs(low), Math.abs(high))) {
    return { advantages: new Float64Array(size), statistics: { mean, std: 0, zeroSpread: true } };
  }

  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const sample = config.scale === 'std' && config.std === 'sample';
  const std = Math.sqrt(squares / (sample ? size - 1 : size));
  const divisor = config.scale === 'std' ? std + config.epsilon : 1;
  return {
    advantages: values.map((value) => (value - mean) / divisor),
    statistics: { mean, std, zeroSpread: false },
  };
}
