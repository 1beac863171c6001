import type { DeepseekModel } from '../model/deepseek.js';
import { accuracyRule } from '../reward/rules/accuracy.js';
import { formatRule } from '../reward/rules/format.js';
import { languageConsistency } from '../reward/rules/language.js';
import { chainOfThought } from '../reward/tags.js';
import type { Trace } from '../reward/trace.js';
import { RolloutEngine } from '../rollout/engine.js';
import type { Problem } from '../task/problem.js';
import { decodeResponse, type Instruction, renderPrompt } from '../text/template.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { passAtK, wilsonInterval } from './statistics.js';

/** Shares are between 0 and 1. */
export interface Measures {
  /** Right answers in the required format. */
  readonly accuracy: number;
  /** Think and answer tags once each, in order. */
  readonly format: number;
  /** Mean share of the words of the chain of thought that are in the problem's language. */
  readonly language_consistency: number;
}

export interface Evaluation extends Measures {
  readonly n: number;
  /** Wilson score interval of the greedy accuracy, 95 %. */
  readonly ci95: readonly [number, number];
  /** Tokens of a greedy response, the end-of-text token included. */
  readonly mean_length: number;
  /** At temperature 1, k samples a problem. */
  readonly sampled?: Measures & {
    readonly k: number;
    /** Share of the problems of which at least one of k samples is right. */
    readonly pass_at_k: number;
    /** The same for 1, 2, 4, … and k samples, estimated without bias from the k there are. */
    readonly pass_at: Readonly<Record<string, number>>;
  };
  /** New tokens generated in all. */
  readonly tokens: number;
}

export interface EvaluatedSample {
  readonly problem: Problem;
  readonly response: string;
  readonly mode: 'greedy' | 'sampled';
  readonly correct: boolean;
  readonly trace: Trace;
}

export interface EvaluateOptions {
  /** Samples a problem at temperature 1; 0 leaves sampling out. */
  readonly samples: number;
  readonly maxTokens: number;
  readonly seed: number | string;
  readonly instruction?: Instruction;
  readonly signal?: AbortSignal;
  readonly onProgress?: (finished: number, total: number) => void;
}

/**
 * Greedy accuracy, and at temperature 1 accuracy, pass@k and language mixing: greedy decoding takes one language for
 * everything, so mixing shows under sampling only.
 */
export async function evaluate(
  model: DeepseekModel,
  tokenizer: Tokenizer,
  problems: readonly Problem[],
  options: EvaluateOptions,
): Promise<{ evaluation: Evaluation; samples: EvaluatedSample[] }> {
  if (problems.length === 0) throw new Error('evaluate: there are no problems');
  const engine = new RolloutEngine(model);
  const prompts = problems.map((problem) =>
    renderPrompt(
      tokenizer,
      problem.prompt,
      options.instruction === undefined ? {} : { instruction: options.instruction },
    ),
  );
  const total = problems.length * (1 + options.samples);
  let before = 0;
  const generate = async (samples: number, temperature: number): Promise<EvaluatedSample[]> => {
    const drawn = await engine.generate(
      prompts.map((tokens, i) => ({ tokens, samples, key: problems[i]?.id ?? String(i) })),
      {
        sampling: { temperature, top_p: 1, top_k: 0, max_tokens: options.maxTokens },
        seed: options.seed,
        stop: [tokenizer.special_id('eos')],
        ...(options.signal === undefined ? {} : { signal: options.signal }),
        onProgress: (finished) => options.onProgress?.(before + finished, total),
      },
    );
    before += drawn.length;
    tokens += drawn.reduce((sum, sample) => sum + sample.tokens.length, 0);
    if (temperature === 0) lengths = drawn.map((sample) => sample.tokens.length);
    return drawn.map((sample) =>
      judge(
        problems[sample.prompt] as Problem,
        decodeResponse(tokenizer, sample.tokens),
        temperature === 0 ? 'greedy' : 'sampled',
      ),
    );
  };
  let tokens = 0;
  let lengths: number[] = [];
  const greedy = await generate(1, 0);
  const right = greedy.filter(({ correct }) => correct).length;
  let evaluation: Evaluation = {
    ...measure(greedy),
    n: problems.length,
    ci95: wilsonInterval(right, problems.length),
    mean_length: lengths.reduce((a, b) => a + b, 0) / lengths.length,
    tokens,
  };
  let samples = greedy;
  if (options.samples > 0) {
    const sampled = await generate(options.samples, 1);
    const correct = problems.map(
      (_, i) => sampled.slice(i * options.samples, (i + 1) * options.samples).filter((sample) => sample.correct).length,
    );
    const passAt = (k: number): number =>
      correct.reduce((sum, count) => sum + passAtK(options.samples, count, k), 0) / problems.length;
    const pass_at: Record<string, number> = {};
    for (let k = 1; k < options.samples; k *= 2) pass_at[k] = passAt(k);
    const k = options.samples;
    pass_at[k] = passAt(k);
    evaluation = { ...evaluation, sampled: { ...measure(sampled), k, pass_at_k: passAt(k), pass_at }, tokens };
    samples = [...greedy, ...sampled];
  }
  return { evaluation, samples };
}

/** What `dunwu eval --json` prints: these keys and no others. */
export interface EvaluationRecord extends Measures {
  readonly model: string;
  readonly task: string;
  readonly n: number;
  readonly ci95: readonly [number, number];
  readonly mean_length: number;
  readonly sampled?: Measures & { readonly pass_at_k: number };
}

export function evaluationRecord(model: string, task: string, evaluation: Evaluation): EvaluationRecord {
  const { n, accuracy, ci95, format, language_consistency, mean_length, sampled } = evaluation;
  const record = { model, task, n, accuracy, ci95, format, language_consistency, mean_length };
  if (sampled === undefined) return record;
  return {
    ...record,
    sampled: {
      accuracy: sampled.accuracy,
      format: sampled.format,
      language_consistency: sampled.language_consistency,
      pass_at_k: sampled.pass_at_k,
    },
  };
}

const accuracy = accuracyRule({ require_tags: true });
const format = formatRule();

/** Right means right in the required format: tags once each and in order, and the answer tag holds the gold number. */
export function judge(problem: Problem, response: string, mode: EvaluatedSample['mode']): EvaluatedSample {
  const parts = [accuracy(problem, response), format(problem, response)].map(({ steps: _, ...part }) => ({
    ...part,
    weight: 1,
  }));
  const correct = parts.every(({ status }) => status === 'ok');
  return {
    problem,
    response,
    mode,
    correct,
    trace: { total: parts.reduce((sum, { points }) => sum + points, 0), parts },
  };
}

/** Shares over judged samples. Responses without a single word have no language and do not count for it. */
export function measure(samples: readonly EvaluatedSample[]): Measures {
  const consistencies = samples.flatMap(({ problem, response }) => {
    const [start, end] = chainOfThought(response);
    const share = languageConsistency(response.slice(start, end), problem.language);
    return share === null ? [] : [share];
  });
  const mean = (list: readonly number[]): number =>
    list.length === 0 ? 0 : list.reduce((a, b) => a + b, 0) / list.length;
  return {
    accuracy: mean(samples.map(({ correct }) => (correct ? 1 : 0))),
    format: mean(samples.map(({ trace }) => (trace.parts[1]?.status === 'ok' ? 1 : 0))),
    language_consistency: mean(consistencies),
  };
}
