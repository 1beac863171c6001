import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Device, noGrad, readNumbers, scope } from '@dunwu/torch';
import { z } from 'zod';
import { loadScalarModel, type ScalarModel, saveScalarModel } from '../model/scalar-model.js';
import { renderPrompt, responseTokens } from '../text/template.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { writeFileAtomic } from '../util/fs.js';
import { finalPart } from './tags.js';

/** The file of a model folder that says what its score means. */
export const REWARD_MODEL_FILE = 'reward_model.json';

const fileSchema = z.strictObject({
  format: z.literal(1),
  /** `preference`: learnt from pairs; `safety`: from responses marked safe and unsafe. */
  kind: z.enum(['preference', 'safety']),
  /** What of a response is judged. */
  reads: z.enum(['final', 'whole']),
});

export type RewardModelKind = z.output<typeof fileSchema>['kind'];
/** `final`: the answer part alone (tags.ts: finalPart), without blanks around it; `whole`: with the chain of thought. */
export type RewardModelReads = z.output<typeof fileSchema>['reads'];

export interface PromptedResponse {
  readonly prompt: string;
  readonly response: string;
}

/**
 * What a reward model reads, as tokens: BOS `<｜User｜>` prompt `<｜Assistant｜>` response EOS. The score stands at EOS.
 *
 * @param longest a response that would make more tokens than this is cut at its end (EOS stays)
 * @throws Error when the prompt alone is too long.
 */
export function rewardTokens(
  tokenizer: Tokenizer,
  { prompt, response }: PromptedResponse,
  reads: RewardModelReads,
  longest = Number.POSITIVE_INFINITY,
): number[] {
  const before = renderPrompt(tokenizer, prompt);
  const judged = responseTokens(tokenizer, before, reads === 'final' ? finalPart(response).trim() : response);
  const room = longest - before.length - 1;
  if (room < 0) {
    throw new Error(`a prompt of ${before.length} tokens does not fit a reward model of ${longest} positions`);
  }
  return [...before, ...judged.slice(0, room), tokenizer.special_id('eos')];
}

/**
 * A learnt judge: the RLHF way to reward (Ouyang et al. 2022, arXiv 2203.02155, section 3.5), and the place of R1's
 * helpfulness and harmlessness rewards (DeepSeek-R1, arXiv 2501.12948). Unlike a rule it gives a number and no reason.
 */
export class RewardModel {
  constructor(
    /** Owned: disposed with this. */
    readonly model: ScalarModel,
    readonly kind: RewardModelKind,
    readonly reads: RewardModelReads,
  ) {}

  /**
   * Reads a folder: a model folder with reward_model.json and score_head.safetensors.
   * @throws Error naming the file that is missing or malformed.
   */
  static load(folder: string, device: Device = 'cpu'): RewardModel {
    const { kind, reads } = readFile(join(folder, REWARD_MODEL_FILE));
    const model = loadScalarModel(folder, device);
    model.setTrainable(false);
    return new RewardModel(model, kind, reads);
  }

  async save(folder: string): Promise<void> {
    await saveScalarModel(this.model, folder);
    const file = { format: 1, kind: this.kind, reads: this.reads };
    await writeFileAtomic(join(folder, REWARD_MODEL_FILE), `${JSON.stringify(file, null, 2)}\n`);
  }

  /**
   * One score for each item, higher is better. Of a preference model σ(a − b) is the modelled chance that a is preferred
   * to b, and 0 is the mean of what it was trained on; of a safety model σ(score) is the modelled chance of being safe.
   * Equal items get equal scores, bit for bit; what else is asked for changes a score by rounding only.
   *
   * @param microBatchTokens positions computed at one time; bounds memory
   * @throws Error when a prompt is too long for the model. A response that is too long is judged by its beginning.
   */
  score(tokenizer: Tokenizer, items: readonly PromptedResponse[], microBatchTokens = 8192): number[] {
    const longest = this.model.trunk.config.max_position_embeddings;
    const all = items.map((item) => rewardTokens(tokenizer, item, this.reads, longest));
    const distinct = new Map(all.map((tokens) => [tokens.join(' '), tokens]));
    const scores = sequenceScores(this.model, [...distinct.values()], microBatchTokens);
    const byKey = new Map([...distinct.keys()].map((key, i) => [key, scores[i] as number]));
    return all.map((tokens) => byKey.get(tokens.join(' ')) as number);
  }

  dispose(): void {
    this.model.dispose();
  }
}

/** The last token's number of each sequence, without gradient; short ones are computed together. */
export function sequenceScores(
  model: ScalarModel,
  sequences: readonly (readonly number[])[],
  microBatchTokens: number,
): number[] {
  const parts: number[][] = [];
  const order = [...sequences.keys()].sort((a, b) => lengthAt(sequences, a) - lengthAt(sequences, b) || a - b);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    // Sorted: the next one is the longest so far, and all rows are filled up to it.
    while (to < order.length && (to - from + 1) * lengthAt(sequences, order[to] as number) <= microBatchTokens) to++;
    parts.push(order.slice(from, to));
    from = to;
  }
  const scored = (part: readonly number[]) =>
    scope(() => model.last(part.map((i) => sequences[i] as readonly number[])));
  const read = scope(() => noGrad(() => readNumbers(parts.map(scored)))).flat();
  const scores = new Array<number>(sequences.length);
  parts.flat().forEach((i, at) => {
    scores[i] = read[at] as number;
  });
  return scores;
}

const lengthAt = (sequences: readonly (readonly number[])[], i: number): number => sequences[i]?.length ?? 0;

function readFile(path: string): z.output<typeof fileSchema> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new Error(
      `${path}: cannot be read; a reward model's folder holds it (stages of kind reward-model make one)`,
      {
        cause,
      },
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${path}: not valid JSON: ${(cause as Error).message}`, { cause });
  }
  const result = fileSchema.safeParse(value);
  if (!result.success) {
    const issues = result.error.issues.map((issue) => `${issue.path.join('.') || '(top level)'}: ${issue.message}`);
    throw new Error(`${path}: not the description of a reward model: ${issues.join('; ')}`);
  }
  return result.data;
}
