import type { Random } from '../util/random.js';

/** The languages that generated problems are written in. Problems of data sets may be in any other. */
export type Language = 'en' | 'zh';

/** The three disjoint parts every task is split into: train on one, choose on the second, report on the third. */
export type Split = 'train' | 'validation' | 'test';

export const SPLITS: readonly Split[] = ['train', 'validation', 'test'];

/** One problem with a checkable answer. */
export interface Problem {
  /** Stable and unique within its task: the same problem has the same id in every run. */
  readonly id: string;
  /** What the model is asked, as plain text without chat tokens. */
  readonly prompt: string;
  /** Gold answer as text, as the data set has it; absent when there is nothing to check against. */
  readonly answer?: string;
  /** Where it comes from; reward weights are looked up by this (N12). */
  readonly source: string;
  /** ISO 639-1 code: `en`, `zh`, `ja`, `fr`, …; a {@link Language} where the problem is generated. */
  readonly language: string;
  /**
   * Facts rules may use, for example `numbers` (number[]: those in the prompt) and `steps` (the gold equations, each at
   * least `{ equation: 'a-b=c' }`; a generated task's are `GoldStep`s).
   */
  readonly meta: Readonly<Record<string, unknown>>;
}

/** A source of problems. */
export interface Task {
  readonly id: string;
  /** Number of problems in a split; Infinity when they are generated without end. */
  size(split: Split): number;
  /** Draws a problem of a split. Splits never share a problem. */
  sample(rng: Random, split: Split): Problem;
  /** The first n problems of a split, always the same ones, without repeats: what an evaluation uses. */
  fixed(split: Split, n: number): Problem[];
}
