import type { Decodable } from '../model/decodable.js';
import { extractAnswer } from '../reward/answer.js';
import { extractAnswerText } from '../reward/answer-text.js';
import { readability } from '../reward/readability.js';
import { accuracyRule, isPlainNumber, sameMaths } from '../reward/rules/accuracy.js';
import { codeRule } from '../reward/rules/code.js';
import { formatRule } from '../reward/rules/format.js';
import { instructionRule } from '../reward/rules/instruction.js';
import { languageConsistency } from '../reward/rules/language.js';
import { chainOfThought } from '../reward/tags.js';
import type { Trace } from '../reward/trace.js';
import { RolloutEngine, type Sample } from '../rollout/engine.js';
import { stopIds } from '../rollout/stop-ids.js';
import type { Problem } from '../task/problem.js';
import { decodeResponse, type Instruction, renderPrompt } from '../text/template.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { type AnswerEquality, majorityCorrect, type Vote } from './majority.js';
import { clusteredMean, clusterInterval, passAtK, wilsonInterval } from './statistics.js';

/** Shares are between 0 and 1; intervals are 95 %, with the problem as what was drawn. */
export interface Measures {
  /** Right answers in the required format. */
  readonly accuracy: number;
  /** Think and answer tags once each, in order. */
  readonly format: number;
  /** Mean share of the words of the chain of thought that are in the problem's language. */
  readonly language_consistency: number;
  readonly language_consistency_ci95: readonly [number, number];
  /** Mean of `readability` (reward/readability.ts) over the responses. */
  readonly readability: number;
  readonly readability_ci95: readonly [number, number];
}

export interface Evaluation extends Measures {
  readonly n: number;
  /** Wilson score interval of the greedy accuracy, 95 %. */
  readonly ci95: readonly [number, number];
  /** Tokens of a greedy response, the end-of-text token included. */
  readonly mean_length: number;
  /** k samples a problem: `accuracy` is pass@1, averaged over the k. */
  readonly sampled?: Measures & SampledMeasures;
  /** New tokens generated in all. */
  readonly tokens: number;
}

/** What k samples a problem say beyond the shares. Intervals are 95 %, with the problem as what was drawn. */
export interface SampledMeasures {
  readonly k: number;
  /** Tokens of a sample, the end-of-text token included. */
  readonly mean_length: number;
  readonly temperature: number;
  readonly top_p: number;
  /** Of `accuracy`. */
  readonly standard_error: number;
  readonly ci95: readonly [number, number];
  /** Share of the problems of which at least one of k samples is right. */
  readonly pass_at_k: number;
  /** The same for 1, 2, 4, … and k samples, estimated without bias from the k there are. */
  readonly pass_at: Readonly<Record<string, number>>;
  /** Majority vote of the k samples: `majorityCorrect`, mean over the problems with a gold answer; absent without any. */
  readonly cons_at_k?: number;
  readonly cons_ci95?: readonly [number, number];
}

export interface JudgedResponse {
  readonly problem: Problem;
  readonly response: string;
  readonly mode: 'greedy' | 'sampled';
  readonly correct: boolean;
  readonly trace: Trace;
}

export interface EvaluatedSample extends JudgedResponse {
  /** Index among the samples of its problem and mode. */
  readonly sample: number;
  /** New tokens, the end-of-text token included. */
  readonly length: number;
  /** `length`: cut off at the longest response. */
  readonly reason: Sample['reason'];
}

export interface EvaluateOptions {
  /** Samples a problem; 0 leaves sampling out. */
  readonly samples: number;
  /** Of the samples, above 0. Default 1. */
  readonly temperature?: number;
  /** Of the samples. Default 1. */
  readonly topP?: number;
  readonly maxTokens: number;
  /** Texts that end a response, beside the model's own tokens (sampling.stop). */
  readonly stop?: string[];
  readonly seed: number | string;
  readonly instruction?: Instruction;
  /** Put around each question: `{question}` stands for it. */
  readonly template?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (finished: number, total: number) => void;
  /** Problems that are answered side by side and finished together; all by default. */
  readonly batch?: number;
  /** Told what a batch gave: its greedy responses, then its samples, each in the order of the problems. */
  readonly onBatch?: (samples: readonly EvaluatedSample[]) => void;
  /**
   * What earlier batches gave, as `onBatch` was told: they are not generated again. With the same model, problems and
   * options the outcome is that of an unbroken evaluation, bit for bit: batches hold the same problems, and each
   * sample's random numbers hang on its problem alone.
   */
  readonly finished?: readonly EvaluatedSample[];
}

/**
 * Greedy accuracy, and of samples accuracy, pass@k, majority vote and language mixing: greedy decoding takes one
 * language for everything, so mixing shows under sampling only.
 * @returns the measures, and all greedy responses, then all samples, in the order of the problems
 */
export async function evaluate(
  model: Decodable,
  tokenizer: Tokenizer,
  problems: readonly Problem[],
  options: EvaluateOptions,
): Promise<{ evaluation: Evaluation; samples: EvaluatedSample[] }> {
  const { samples: k, temperature = 1, topP = 1, batch = problems.length } = options;
  if (problems.length === 0) throw new Error('evaluate: there are no problems');
  if (k > 0 && !(temperature > 0)) throw new Error('evaluate: samples need a temperature above 0');
  const stop = stopIds(model, tokenizer);
  const engine = new RolloutEngine(model);
  const total = problems.length * (1 + k);
  const all = [...(options.finished ?? [])];
  const done = all.length / (1 + k);
  if (!Number.isInteger(done) || done > problems.length || (done % batch !== 0 && done !== problems.length)) {
    throw new Error(`evaluate: ${all.length} finished responses are not whole batches of ${batch} problems`);
  }
  for (let start = done; start < problems.length; start += batch) {
    const part = problems.slice(start, start + batch);
    const prompts = part.map((problem) => evaluationPrompt(tokenizer, problem, options));
    const generate = async (samples: number, heat: number, before: number): Promise<EvaluatedSample[]> => {
      const drawn = await engine.generate(
        prompts.map((tokens, i) => ({ tokens, samples, key: part[i]?.id ?? String(start + i) })),
        {
          sampling: {
            temperature: heat,
            top_p: heat === 0 ? 1 : topP,
            top_k: 0,
            max_tokens: options.maxTokens,
            stop: options.stop,
          },
          seed: options.seed,
          stop,
          tokenizer,
          ...(options.signal === undefined ? {} : { signal: options.signal }),
          onProgress: (finished) => options.onProgress?.(before + finished, total),
        },
      );
      return drawn.map((one) => {
        const prompt = prompts[one.prompt] as number[];
        const response = decodeResponse(tokenizer, one.tokens, { prompt, stop, strings: options.stop });
        return {
          ...judge(part[one.prompt] as Problem, response, heat === 0 ? 'greedy' : 'sampled'),
          sample: one.sample,
          length: one.tokens.length,
          reason: one.reason,
        };
      });
    };
    const greedy = await generate(1, 0, all.length);
    const sampled = k === 0 ? [] : await generate(k, temperature, all.length + greedy.length);
    all.push(...greedy, ...sampled);
    options.onBatch?.([...greedy, ...sampled]);
  }
  const samples = [...all.filter(({ mode }) => mode === 'greedy'), ...all.filter(({ mode }) => mode === 'sampled')];
  return { evaluation: summarise(samples, k, { temperature, top_p: topP }), samples };
}

/** The prompt's tokens. */
export function evaluationPrompt(
  tokenizer: Tokenizer,
  problem: Problem,
  { instruction, template }: Pick<EvaluateOptions, 'instruction' | 'template'>,
): number[] {
  const question = template === undefined ? problem.prompt : template.replaceAll('{question}', () => problem.prompt);
  return renderPrompt(tokenizer, question, instruction === undefined ? {} : { instruction });
}

/**
 * The measures of responses: the greedy one to each problem, then k samples of each.
 * @param sampling how the samples were drawn
 */
export function summarise(
  samples: readonly EvaluatedSample[],
  k: number,
  sampling: Pick<SampledMeasures, 'temperature' | 'top_p'>,
): Evaluation {
  const greedy = samples.filter(({ mode }) => mode === 'greedy');
  const n = greedy.length;
  const right = greedy.filter(({ correct }) => correct).length;
  const tokens = (list: readonly EvaluatedSample[]): number => list.reduce((sum, { length }) => sum + length, 0);
  const evaluation: Evaluation = {
    ...measure(greedy),
    n,
    ci95: wilsonInterval(right, n),
    mean_length: tokens(greedy) / n,
    tokens: tokens(samples),
  };
  if (k === 0) return evaluation;
  const sampled = samples.filter(({ mode }) => mode === 'sampled');
  const groups = greedy.map((_, i) => sampled.slice(i * k, (i + 1) * k));
  const correct = groups.map((group) => group.filter((sample) => sample.correct).length);
  const passAt = (size: number): number => correct.reduce((sum, count) => sum + passAtK(k, count, size), 0) / n;
  const pass_at: Record<string, number> = {};
  for (let size = 1; size < k; size *= 2) pass_at[size] = passAt(size);
  pass_at[k] = passAt(k);
  const single = clusterInterval(correct.map((count) => count / k));
  // Programs and what follows an instruction have no answer to vote by.
  const voters = groups.filter(([first]) => first?.problem.answer !== undefined);
  const votes = voters.map(majority);
  const vote = votes.length === 0 ? undefined : clusterInterval(votes);
  return {
    ...evaluation,
    sampled: {
      ...measure(sampled),
      k,
      mean_length: tokens(sampled) / sampled.length,
      ...sampling,
      standard_error: single.standard_error,
      ci95: single.ci95,
      pass_at_k: passAt(k),
      pass_at,
      ...(vote === undefined ? {} : { cons_at_k: vote.mean, cons_ci95: vote.ci95 }),
    },
  };
}

/** The vote of one problem's samples, its answers read and compared as the rule of accuracy does. */
function majority(group: readonly JudgedResponse[]): number {
  const gold = group[0]?.problem.answer ?? '';
  // A response votes as it is judged: one that lacks the required format or a readable answer abstains.
  const formed = ({ trace }: JudgedResponse): boolean =>
    trace.parts.every(({ name, status }) => name !== 'format' || status === 'ok');
  if (isPlainNumber(gold)) {
    const vote = (one: JudgedResponse): Vote => {
      const answer = formed(one) ? extractAnswer(one.response, { requireTags: true }) : null;
      return { answer: answer?.kind === 'found' ? answer.number : null, correct: one.correct };
    };
    return majorityCorrect(group.map(vote));
  }
  const vote = (one: JudgedResponse): Vote<string> => {
    const read = one.trace.parts.every(
      ({ name, status }) => name !== 'accuracy' || status === 'ok' || status === 'wrong',
    );
    const answer = formed(one) && read ? extractAnswerText(one.response, { requireTags: true }) : null;
    return { answer: answer?.kind === 'found' ? answer.text.trim() : null, correct: one.correct };
  };
  return majorityCorrect(group.map(vote), MATHS);
}

/** Many pairs are compared: an answer that takes long is one of its own. */
const MATHS: AnswerEquality<string> = {
  written: (text) => text,
  accepts: (gold, answer) => sameMaths(gold, answer, 200),
};

/** What `dunwu eval --json` prints: these keys and no others. */
export interface EvaluationRecord extends Omit<Evaluation, 'tokens'> {
  readonly model: string;
  readonly task: string;
}

export function evaluationRecord(model: string, task: string, evaluation: Evaluation): EvaluationRecord {
  const { n, accuracy, ci95, format, language_consistency, mean_length, sampled } = evaluation;
  const { language_consistency_ci95, readability, readability_ci95 } = evaluation;
  const record = { model, task, n, accuracy, ci95, format, language_consistency, mean_length };
  const more = { language_consistency_ci95, readability, readability_ci95 };
  return { ...record, ...more, ...(sampled === undefined ? {} : { sampled }) };
}

const accuracy = accuracyRule({ require_tags: true });
const code = codeRule();
const instruction = instructionRule();
const format = formatRule();

/**
 * Right means right in the required format: tags once each and in order, and the answer tag holds the gold answer. Where a
 * problem has tests (`meta.tests`), right means that the program passes all of them; where it has something to be done
 * (`meta.instruction`, `meta.harmful`), done.
 */
export function judge(problem: Problem, response: string, mode: JudgedResponse['mode']): JudgedResponse {
  const { answer, meta } = problem;
  const general = answer === undefined && (meta.instruction !== undefined || meta.harmful === true);
  const rule = meta.tests !== undefined ? code : general ? instruction : accuracy;
  const parts = [rule(problem, response), format(problem, response)].map(({ steps: _, ...part }) => ({
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
export function measure(samples: readonly JudgedResponse[]): Measures {
  const problems = new Map<string, JudgedResponse[]>();
  for (const sample of samples) {
    const group = problems.get(sample.problem.id);
    if (group === undefined) problems.set(sample.problem.id, [sample]);
    else group.push(sample);
  }
  const groups = [...problems.values()];
  const consistency = clusteredMean(
    groups.map((group) =>
      group.flatMap(({ problem, response }) => {
        const [start, end] = chainOfThought(response);
        return languageConsistency(response.slice(start, end), problem.language) ?? [];
      }),
    ),
  );
  const legible = clusteredMean(
    groups.map((group) => group.map(({ problem, response }) => readability(response, problem.language))),
  );
  const mean = (list: readonly number[]): number =>
    list.length === 0 ? 0 : list.reduce((a, b) => a + b, 0) / list.length;
  return {
    accuracy: mean(samples.map(({ correct }) => (correct ? 1 : 0))),
    format: mean(samples.map(({ trace }) => (trace.parts[1]?.status === 'ok' ? 1 : 0))),
    language_consistency: consistency.mean,
    language_consistency_ci95: consistency.ci95,
    readability: legible.mean,
    readability_ci95: legible.ci95,
  };
}
