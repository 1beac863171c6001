import { z } from 'zod';
import type { Problem } from '../../task/problem.js';
import { extractAnswer, parseGold } from '../answer.js';
import { extractAnswerText } from '../answer-text.js';
import type { MathsOptions } from '../maths/equality.js';
import { judgeMaths } from '../maths/judge.js';
import { type NumberToken, sameNumber } from '../number.js';
import type { Rule, RuleResult } from '../trace.js';

export const accuracyOptions = z
  .strictObject({
    /** Only the answer tag counts. In training this keeps every other place free for thinking. */
    require_tags: z.boolean().default(true),
    /** What counts when nothing marks the answer; not used with require_tags. */
    fallback: z.enum(['last-number', 'none']).default('last-number'),
    /**
     * What an answer is compared as: `number`, exactly, by the rule of numbers; `maths`, as sets, intervals, expressions
     * and so on (docs/maths.md); `auto`, as maths where the gold answer is no plain number.
     */
    equality: z.enum(['auto', 'number', 'maths']).default('auto'),
    /** Whether the answer needs the gold answer's unit, or one that converts to it. Default: ignore. */
    units: z.enum(['ignore', 'match']).optional(),
    /** Fewest decimal places of a rounded answer where the gold answer has no finite decimal (√2). Default: 2. */
    decimals: z.number().int().min(1).max(12).optional(),
    /** Largest relative error where the gold answer is a decimal. Default: 0. */
    tolerance: z.number().min(0).max(0.1).optional(),
    /** Time for one comparison. Default: 2000. */
    timeout_ms: z.number().int().min(10).max(60_000).optional(),
  })
  .superRefine((options, context) => {
    if (options.equality !== 'number') return;
    for (const key of ['units', 'decimals', 'tolerance', 'timeout_ms'] as const) {
      if (options[key] === undefined) continue;
      context.addIssue({
        code: 'custom',
        path: [key],
        message: 'numbers are compared exactly; not with `equality: number`',
      });
    }
  });
export type AccuracyOptions = z.input<typeof accuracyOptions>;

const base = { name: 'accuracy', max: 1, points: 0 } as const;

/**
 * 1 point when the response's final answer (answer.ts has the order of precedence) equals the gold answer: as an exact
 * rational (number.ts: sameNumber), or as mathematics (maths/equality.ts). Evidence: the span of the answer that was read.
 * `bad-gold`: the gold answer is missing or cannot be read. `unparsable`: no answer found, or none that can be read.
 * `wrong`: another answer, or several. `timeout`: comparing took too long.
 */
export function accuracyRule(options: AccuracyOptions = {}): Rule {
  const parsed = accuracyOptions.parse(options);
  const { equality, units = 'ignore', decimals = 2, tolerance = 0, timeout_ms: ms = 2000 } = parsed;
  const extract = { requireTags: parsed.require_tags, fallback: parsed.fallback };
  return (problem, response): RuleResult => {
    const gold = problem.answer === undefined ? null : parseGold(problem.answer);
    const asMaths = equality === 'maths' || (equality === 'auto' && !isPlainNumber(problem.answer ?? ''));
    if (asMaths && problem.answer !== undefined) {
      return judgeAsMaths(problem.answer, response, extract, { units, decimals, tolerance }, ms);
    }
    return gold ? judgeAsNumber(gold, response, extract) : badGold(problem);
  };
}

function badGold({ answer }: Pick<Problem, 'answer'>, missing = 'no number'): RuleResult {
  const shown = answer === undefined ? 'missing' : `${missing}: "${answer.slice(-60)}"`;
  return { ...base, status: 'bad-gold', evidence: [], note: `the gold answer is ${shown}` };
}

/**
 * Whether two answers are the same mathematics, by this rule's defaults, as far as `ms` milliseconds show it. Never throws
 * for any text.
 */
export function sameMaths(gold: string, answer: string, ms: number): boolean {
  return judgeMaths(gold, answer, { units: 'ignore', decimals: 2, tolerance: 0 }, ms) === 'equal';
}

/** A digit before a letter that is no usual unit (`2x`), or before a power other than the 10's of 3 × 10^5 (`2^3`, `101_2`). */
const EXPRESSION =
  /\d\s?[a-eipqru-z](?![A-Za-z]| [A-Za-z]{2})|(?<!(?:×|x|\*|·|\\times|\\cdot)\s?1)\d\s?[\^_](?!\s?\{?\s?\\circ)/;

/** Whether a gold answer is compared as a number where `equality` is `auto`. */
export function isPlainNumber(gold: string): boolean {
  return parseGold(gold) !== null && !isExpression(gold);
}

/** Whether a gold answer that reads as a number with a unit is none. */
function isExpression(gold: string): boolean {
  return EXPRESSION.test(gold.slice(gold.lastIndexOf('####') + 1).slice(-1000));
}

function judgeAsNumber(gold: NumberToken, response: string, options: Extract): RuleResult {
  const answer = extractAnswer(response, options);
  if (answer.kind === 'none') return { ...base, status: 'unparsable', evidence: answer.spans, note: answer.note };
  if (answer.kind === 'several') return { ...base, status: 'wrong', evidence: answer.spans, note: answer.note };
  const right = sameNumber(gold, answer.number);
  const shown = response.slice(answer.span[0], answer.span[1]).slice(0, 60);
  return {
    ...base,
    points: right ? 1 : 0,
    status: right ? 'ok' : 'wrong',
    evidence: [answer.span],
    note: `${answer.form}: ${shown} ${right ? '=' : '≠'} ${gold.value.toFraction()}${gold.percent ? '%' : ''}`,
  };
}

interface Extract {
  readonly requireTags: boolean;
  readonly fallback: 'last-number' | 'none';
}

function judgeAsMaths(
  answer: string,
  response: string,
  extract: Extract,
  options: MathsOptions,
  ms: number,
): RuleResult {
  const hash = answer.lastIndexOf('####');
  const gold = (hash < 0 ? answer : answer.slice(hash + 4)).trim();
  const given = extractAnswerText(response, extract);
  if (given.kind !== 'found') {
    if (judgeMaths(gold, '0', options, ms) === 'bad-gold') return badGold({ answer }, 'not to be read as mathematics');
    const status = given.kind === 'none' ? 'unparsable' : 'wrong';
    return { ...base, status, evidence: given.spans, note: given.note };
  }
  const verdict = judgeMaths(gold, given.text, options, ms);
  if (verdict === 'bad-gold') return badGold({ answer }, 'not to be read as mathematics');
  const shown = `${given.form}: ${given.text.slice(0, 60)}`;
  const part = { ...base, evidence: [given.span] };
  if (verdict === 'equal') return { ...part, points: 1, status: 'ok', note: `${shown} = ${gold.slice(0, 60)}` };
  if (verdict === 'timeout') return { ...part, status: 'timeout', note: `${shown}: not compared within ${ms} ms` };
  if (verdict === 'unparsable')
    return { ...part, status: 'unparsable', note: `${shown}: not to be read as mathematics` };
  const why = verdict === 'undecided' ? 'could not be shown to equal' : '≠';
  return { ...part, status: 'wrong', note: `${shown} ${why} ${gold.slice(0, 60)}` };
}
