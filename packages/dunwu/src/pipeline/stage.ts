import type { z } from 'zod';
import type { Trace } from '../reward/trace.js';
import type { Progress } from '../util/progress.js';
import type { Checkpoint, CheckpointStore } from './checkpoint.js';
import type { MetricValue } from './metrics.js';
import type { Recipe } from './recipe.js';

/** Shares are between 0 and 1. The shape that `dunwu eval --json` prints and `report.json` holds. */
export interface EvalShares {
  readonly accuracy: number;
  readonly format: number;
  readonly language_consistency: number;
  readonly language_consistency_ci95?: readonly [low: number, high: number];
  readonly readability?: number;
  readonly readability_ci95?: readonly [low: number, high: number];
}

/** Of the general task's problems; null where there are none of that sort. */
export interface GeneralShares {
  readonly instruction_following: number | null;
  readonly instruction_following_ci95: readonly [low: number, high: number] | null;
  readonly refusal: number | null;
  readonly refusal_ci95: readonly [low: number, high: number] | null;
  readonly over_refusal: number | null;
  readonly mean_length: number;
}

export interface EvalResult extends EvalShares {
  readonly model: string;
  readonly task: string;
  readonly n: number;
  readonly ci95: readonly [low: number, high: number];
  /** Tokens of a response. */
  readonly mean_length: number;
  /** At temperature 1. `pass_at_k`: one share, or one for each k. */
  readonly sampled?: EvalShares & {
    readonly pass_at_k?: number | Readonly<Record<string, number>>;
    readonly k?: number;
    /** Of `accuracy`. */
    readonly ci95?: readonly [low: number, high: number];
    readonly mean_length?: number;
    /** Majority vote of the k samples. */
    readonly cons_at_k?: number;
  };
  /** Beside the task: small instructions, and prompts to be refused. */
  readonly general?: GeneralShares & { readonly n: number; readonly harmful: number; readonly sampled?: GeneralShares };
}

/** A remark for the report, in one wording for both languages or in two; may hold a table below its first line. */
export type Note = string | { readonly en: string; readonly zh: string };

/**
 * What a way of learning costs besides compute: what people have to provide, whoever stands in for them, and what was
 * judged. A number that is left out is 0.
 */
export interface Provided {
  /** Worked solutions that were learnt from. */
  readonly solutions?: number;
  /** Preference pairs or safety labels. */
  readonly preferences?: number;
  /** Different problems whose gold answer was looked at. */
  readonly answers?: number;
  /** Responses judged, by rules or reward models. */
  readonly scored?: number;
}

/** What a stage leaves behind. */
export interface StageResult {
  /** The final model's Hugging Face folder; absolute, inside or outside the run folder. */
  readonly model?: string;
  /** The `tokenizer.json`, or its folder; absolute. */
  readonly tokenizer?: string;
  /** A JSON-lines file of samples, dialogues or preference pairs that this stage made; absolute. */
  readonly dataset?: string;
  /** Tokens this stage computed on (training or generation). */
  readonly tokens: number;
  /** Floating-point operations this stage spent, as counted by formula. */
  readonly flops: number;
  /** Wall-clock seconds, all sessions of a resumed run together. Filled in by the run when left out. */
  readonly seconds?: number;
  readonly eval?: EvalResult;
  readonly provided?: Provided;
  /** Sentences for the report. */
  readonly notes?: readonly Note[];
  /** Anything else that later stages may want; plain JSON values. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** A finished stage, as later stages and the report see it. */
export interface StageRecord extends StageResult {
  readonly name: string;
  readonly kind: string;
  readonly seconds: number;
}

/** One line of `samples/<stage>.jsonl`; `step` is added by the run. Further keys are kept. */
export interface SampleRow {
  /** The problem's id: what lets the report put the same problem before and after side by side. */
  readonly id?: string;
  readonly language?: string;
  readonly prompt: string;
  /** The gold answer. */
  readonly answer?: string;
  readonly response: string;
  readonly mode?: 'greedy' | 'sampled';
  readonly trace?: Trace;
  readonly [key: string]: unknown;
}

/** All that a stage gets from the run. */
export interface StageContext {
  /** The stage's name in the recipe. */
  readonly name: string;
  /** Derived from the recipe's seed and the stage's name: adding a stage changes no other stage's numbers. */
  readonly seed: number;
  readonly recipe: Recipe;
  /** The run folder. */
  readonly dir: string;
  /** `models/<stage>` in the run folder: where the final model goes. Exists, and is empty, when the stage begins. */
  readonly modelDir: string;
  /** `datasets/<stage>.jsonl` in the run folder: where a stage that makes data puts it. Its folder exists, the file not. */
  readonly datasetFile: string;
  readonly signal: AbortSignal;
  /**
   * Lets signals and timers in, then tells whether the run is to stop. Await it once a step: a loop that never gives
   * the event loop a turn cannot be interrupted. When true: save a checkpoint and throw `Interrupted`.
   */
  interrupted(): Promise<boolean>;
  readonly progress: Progress;
  /** A line for people. */
  log(line: string): void;
  /**
   * Appends one line to `metrics.jsonl`, on disk when it returns. Steps never go back, and nothing is written for a
   * step once its checkpoint is saved (a resumed run begins after that step). Metrics that depend on the clock are
   * named `time/…`.
   */
  metrics(step: number, values: Readonly<Record<string, MetricValue>>): void;
  /** Appends to `samples/<stage>.jsonl`, under the same rules. */
  samples(step: number, rows: readonly SampleRow[]): void;
  readonly checkpoints: CheckpointStore;
  /** The checkpoint to go on from, or null when the stage begins anew. */
  resumeFrom(): Checkpoint | null;
  /** What an earlier stage left. Throws when the name is no finished earlier stage. */
  artefact(stage: string): StageRecord;
  /** Seconds spent in this stage so far, those before a resume included. */
  elapsed(): number;
}

/** Thrown by a stage that saved its state because the run is to stop. */
export class Interrupted extends Error {
  override name = 'Interrupted';
  constructor() {
    super('interrupted');
  }
}

/** Thrown by a stage that saved its state because people have to decide something before it can go on. */
export class WaitingForPeople extends Error {
  override name = 'WaitingForPeople';
  /** @param what what is to be decided, in a sentence for people */
  constructor(what: string) {
    super(what);
  }
}

/** The part of a kind that checks a recipe: no torch behind it. What a `x.schema.ts` exports. */
export interface StageSpec<C> {
  /** The stage's own keys, without `name` and `kind`: a `z.strictObject`, so that unknown keys are refused. */
  readonly schema: z.ZodType<C>;
  /** Names of earlier stages that this configuration uses. */
  references?(config: C): readonly string[];
}

/** The part of a kind that works. What a `x.ts` exports. */
export interface StageWork<C> {
  run(ctx: StageContext, config: C): Promise<StageResult>;
}

/** A kind of stage. Both parts are loaded only when a recipe uses the kind. */
export interface StageKind<C = unknown> {
  readonly kind: string;
  /** One line, for people. */
  readonly summary: string;
  /** Usually `() => import('./stages/x.schema.js')`. */
  spec(): Promise<StageSpec<C>>;
  /** Usually `() => import('./stages/x.js')`. */
  work(): Promise<StageWork<C>>;
}

/** Checks that both parts agree on the configuration's type, then forgets it, so that kinds fit in one list. */
export function defineKind<C>(kind: StageKind<C>): StageKind {
  return kind as StageKind<unknown>;
}
