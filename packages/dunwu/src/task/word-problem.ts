import { z } from 'zod';
import { hash32, type Random } from '../util/random.js';
import { applyOperation, type Expression, equationText, infix, isTrivial, type Operation } from './arithmetic.js';
import type { Language, Problem, Split } from './problem.js';
import { SPLITS } from './problem.js';
import { languageWeights, operationWeights, range } from './schema.js';
import { firstDistinct, splitOf } from './split.js';
import { type GoldStep, type WorkedTask, writeSolution } from './worked.js';

const LIMIT = 1_000_000;

/** Parameters of the story problems: what makes them harder or easier. Every key has a default; unknown keys are errors. */
export const wordProblemSchema = z
  .strictObject({
    type: z.literal('word-problem'),
    /** Number of clauses, and so of equations. */
    steps: range(1, 12).default([2, 4]),
    operations: operationWeights.default({ add: 1, sub: 1, mul: 0, div: 0 }),
    /** What the story starts with. */
    start: range(0, LIMIT).default([10, 80]),
    /** What is added or taken away: from `small` with probability `small_share`, else from `large`. */
    operand: z
      .strictObject({
        small: range(1, LIMIT).default([2, 9]),
        large: range(1, LIMIT).default([10, 29]),
        small_share: z.number().min(0).max(1).default(0.4),
      })
      .prefault({}),
    factor: range(2, 9).default([2, 5]),
    divisor: range(2, 9).default([2, 5]),
    /** Every value on the way stays within these. */
    bounds: range(0, LIMIT).default([0, 99]),
    languages: languageWeights.default({ en: 1, zh: 1 }),
    /** Number the clauses: "#1 loses 21." Tiny models need it to match a line of the solution with its clause. */
    markers: z.boolean().default(true),
  })
  .refine(({ start, bounds }) => start[0] <= bounds[1] && start[1] >= bounds[0], {
    path: ['start'],
    error: 'the start range lies outside bounds: widen bounds or move start into it',
  });

export type WordProblemConfig = z.output<typeof wordProblemSchema>;

interface Verb {
  /** How a line of the solution calls it. */
  readonly label: Readonly<Record<Language, string>>;
  /** The clause for an operand n and the counted thing's measure word. */
  readonly en: (n: number) => string;
  readonly zh: (n: number, unit: string) => string;
}

const counted = (en: string, zh: string): Verb => ({
  label: { en, zh },
  en: (n) => `${en} ${n}`,
  zh: (n, unit) => `${zh}${n}${unit}`,
});

/** Few verbs on purpose: what is learned is arithmetic and order, not a vocabulary. */
const VERBS: Readonly<Record<Operation, readonly Verb[]>> = {
  add: [counted('gets', '得到'), counted('finds', '找到'), counted('buys', '买了')],
  sub: [counted('loses', '丢了'), counted('gives', '送出'), counted('sells', '卖了')],
  mul: [{ label: { en: 'times', zh: '变成' }, en: (n) => `now has ${n} times as many`, zh: (n) => `变成${n}倍` }],
  div: [
    {
      label: { en: 'shares', zh: '平分' },
      en: (n) => `keeps one of ${n} equal shares`,
      zh: (n) => `平分成${n}份留一份`,
    },
  ],
};

const NAMES: Readonly<Record<Language, readonly (readonly [name: string, pronoun: string])[]>> = {
  en: [
    ['Mary', 'She'],
    ['Tom', 'He'],
    ['Anna', 'She'],
    ['Ben', 'He'],
  ],
  zh: [
    ['小明', '他'],
    ['小红', '她'],
    ['小华', '他'],
    ['小丽', '她'],
  ],
};

const THINGS = [
  { en: 'card', zh: '卡片', unit: '张' },
  { en: 'apple', zh: '苹果', unit: '个' },
  { en: 'book', zh: '书', unit: '本' },
  { en: 'pen', zh: '笔', unit: '支' },
] as const;

interface Move {
  readonly op: Operation;
  readonly operand: number;
}

interface Skeleton {
  readonly start: number;
  readonly moves: readonly Move[];
  readonly expression: string;
}

/**
 * Endless story problems in Chinese and English: "Mary has 80 cards. #1 loses 21. #2 gets 15. How many are left?".
 *
 * The splits are disjoint in the arithmetic itself (start, operations, operands: `meta.expression`), so a test problem is
 * not in training with another name, thing, verb or language. `meta`: `expression`, `numbers` (in the order of the text,
 * markers left out), `steps` (GoldStep[]).
 * Throws when the parameters leave a split without problems.
 */
export function createWordProblem(input: z.input<typeof wordProblemSchema>): WorkedTask {
  const config = wordProblemSchema.parse(input);
  const task: WorkedTask = {
    id: 'word-problem',
    bounds: config.bounds,
    minSteps: config.steps[0],
    size: () => Number.POSITIVE_INFINITY,
    sample: (rng, split) => tell(drawSkeleton(rng, split, config), rng, config),
    fixed: (split, n) => firstDistinct(task, split, n, (problem) => String(problem.meta.expression)),
    line(step, index, language) {
      const verb = step.verb?.[language] ?? '';
      const label = config.markers ? `#${index + 1} ${verb}` : verb;
      return `${label}${language === 'zh' ? '：' : ': '}${step.equation}`;
    },
    solve: (problem, style) => writeSolution(task, problem, style),
  };
  for (const split of SPLITS) task.fixed(split, 1); // impossible parameters are found now, not in the middle of a run
  return task;
}

function drawMove(rng: Random, value: number, config: WordProblemConfig): Move | undefined {
  const op = rng.weighted(config.operations);
  const { small, large, small_share } = config.operand;
  const operands =
    op === 'mul' ? config.factor : op === 'div' ? config.divisor : rng.chance(small_share) ? small : large;
  const operand = rng.int(...operands);
  if (isTrivial(op, value, operand)) return undefined;
  const result = applyOperation(op, value, operand);
  if (result === undefined || result < config.bounds[0] || result > config.bounds[1]) return undefined;
  return { op, operand };
}

function drawSkeleton(rng: Random, split: Split, config: WordProblemConfig): Skeleton {
  for (let attempt = 0; attempt < 20_000; attempt++) {
    const start = rng.int(Math.max(config.start[0], config.bounds[0]), Math.min(config.start[1], config.bounds[1]));
    const length = rng.int(...config.steps);
    const moves: Move[] = [];
    let value = start;
    const values = new Set([start]);
    let expression: Expression = start;
    for (let tries = 0; moves.length < length && tries < 40; tries++) {
      const move = drawMove(rng, value, config);
      if (move === undefined) continue;
      const result = applyOperation(move.op, value, move.operand) as number;
      // "loses 7, gets 7, loses 7" would write the same equation twice: a story never comes back to a value.
      if (values.has(result)) continue;
      values.add(result);
      value = result;
      moves.push(move);
      expression = { op: move.op, left: expression, right: move.operand };
    }
    if (moves.length < length) continue;
    const text = infix(expression);
    if (splitOf(text) === split) return { start, moves, expression: text };
  }
  throw new Error(
    `word-problem: the parameters leave no ${split} problem (steps ${config.steps.join('..')}, start ` +
      `${config.start.join('..')}, bounds ${config.bounds.join('..')}): widen bounds, ranges or operations`,
  );
}

function tell({ start, moves, expression }: Skeleton, rng: Random, config: WordProblemConfig): Problem {
  const language = rng.weighted(config.languages);
  const [name, pronoun] = rng.choice(NAMES[language]);
  const thing = rng.choice(THINGS);
  const verbs = moves.map(({ op }) => rng.choice(VERBS[op]));
  const clauses = moves.map(({ operand }, index) => {
    const verb = verbs[index] as Verb;
    const subject = config.markers ? `#${index + 1} ` : language === 'en' ? `${pronoun} ` : pronoun;
    return language === 'en' ? `${subject}${verb.en(operand)}. ` : `${subject}${verb.zh(operand, thing.unit)}。`;
  });
  // "left" suits a story in which something went away.
  const less = moves.some(({ op }) => op === 'sub' || op === 'div');
  const prompt =
    language === 'en'
      ? `${name} has ${start} ${thing.en}${start === 1 ? '' : 's'}. ${clauses.join('')}How many ${less ? 'are left' : 'now'}?`
      : `${name}有${start}${thing.unit}${thing.zh}。${clauses.join('')}${less ? '还剩' : '现在有'}多少${thing.unit}？`;

  const steps: GoldStep[] = [];
  let value = start;
  for (const [index, { op, operand }] of moves.entries()) {
    const result = applyOperation(op, value, operand) as number;
    const equation = equationText(op, value, operand, result);
    const from = index > 0 ? { leftFrom: index - 1 } : {};
    steps.push({ op, left: value, right: operand, result, equation, ...from, verb: (verbs[index] as Verb).label });
    value = result;
  }
  return {
    id: `word-problem:${language}:${expression}:${hash32(prompt).toString(16).padStart(8, '0')}`,
    prompt,
    answer: String(value),
    source: 'word-problem',
    language,
    meta: { expression, numbers: [start, ...moves.map(({ operand }) => operand)], steps },
  };
}
