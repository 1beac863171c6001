import { z } from 'zod';
import type { Random } from '../util/random.js';
import { applyOperation, type Expression, equationText, infix, isTrivial } from './arithmetic.js';
import { type Problem, SPLITS, type Split } from './problem.js';
import { languageWeights, operationWeights, range } from './schema.js';
import { firstDistinct, splitOf } from './split.js';
import { type GoldStep, type WorkedTask, writeSolution } from './worked.js';

const LIMIT = 1_000_000;

/** Parameters of the bare expressions. Every key has a default; unknown keys are errors. */
export const equationSchema = z.strictObject({
  type: z.literal('equation'),
  /** Number of operations in the expression. */
  steps: range(1, 8).default([2, 3]),
  operations: operationWeights.default({ add: 1, sub: 1, mul: 0.5, div: 0 }),
  /** Numbers that are added or taken away, and the left side of a product or a quotient. */
  operand: range(0, LIMIT).default([2, 29]),
  factor: range(2, 9).default([2, 5]),
  divisor: range(2, 9).default([2, 5]),
  /** Every value on the way stays within these. */
  bounds: range(0, LIMIT).default([0, 99]),
  languages: languageWeights.default({ en: 1, zh: 1 }),
});

export type EquationConfig = z.output<typeof equationSchema>;

interface Evaluated {
  readonly expression: Expression;
  readonly value: number;
  /** The step that computes it; absent for a number. */
  readonly from?: number;
}

/**
 * Expressions to be evaluated: "Compute (12+3)*4-7." / "计算(12+3)*4-7。". A solution has one equation a line, in the order
 * in which a person works from the inside out, left to right. Split by the expression, as in `createWordProblem`.
 * `meta`: `expression`, `numbers`, `steps` (GoldStep[]).
 * Throws when the parameters leave a split without problems.
 */
export function createEquation(input: z.input<typeof equationSchema>): WorkedTask {
  const config = equationSchema.parse(input);
  const task: WorkedTask = {
    id: 'equation',
    bounds: config.bounds,
    minSteps: config.steps[0],
    size: () => Number.POSITIVE_INFINITY,
    sample: (rng, split) => drawProblem(rng, split, config),
    fixed: (split, n) => firstDistinct(task, split, n, (problem) => String(problem.meta.expression)),
    line: (step, _index, language) => `${language === 'zh' ? '得' : 'so'} ${step.equation}`,
    solve: (problem, style) => writeSolution(task, problem, style),
  };
  for (const split of SPLITS) task.fixed(split, 1);
  return task;
}

function drawProblem(rng: Random, split: Split, config: EquationConfig): Problem {
  for (let attempt = 0; attempt < 50_000; attempt++) {
    const steps: GoldStep[] = [];
    const root = drawTree(rng, rng.int(...config.steps), config.operand, steps, config);
    if (root === undefined) continue;
    const expression = infix(root.expression);
    if (splitOf(expression) !== split) continue;
    const language = rng.weighted(config.languages);
    return {
      id: `equation:${language}:${expression}`,
      prompt: language === 'en' ? `Compute ${expression}.` : `计算${expression}。`,
      answer: String(root.value),
      source: 'equation',
      language,
      meta: { expression, numbers: leaves(root.expression), steps },
    };
  }
  throw new Error(
    `equation: the parameters leave no ${split} problem (steps ${config.steps.join('..')}, operand ` +
      `${config.operand.join('..')}, bounds ${config.bounds.join('..')}): widen bounds, operands or operations`,
  );
}

/**
 * A random tree with `count` operations, its steps appended in post-order; undefined when a value leaves the bounds, a step is
 * trivial or is there twice.
 */
function drawTree(
  rng: Random,
  count: number,
  leaf: readonly [number, number],
  steps: GoldStep[],
  config: EquationConfig,
): Evaluated | undefined {
  if (count === 0) {
    const value = rng.int(...leaf);
    return { expression: value, value };
  }
  const op = rng.weighted(config.operations);
  const leftCount = rng.int(0, count - 1);
  const left = drawTree(rng, leftCount, config.operand, steps, config);
  if (left === undefined) return undefined;
  const rightLeaf = op === 'mul' ? config.factor : op === 'div' ? config.divisor : config.operand;
  const right = drawTree(rng, count - 1 - leftCount, rightLeaf, steps, config);
  if (right === undefined) return undefined;
  if (isTrivial(op, left.value, right.value)) return undefined;
  const value = applyOperation(op, left.value, right.value);
  if (value === undefined || value < config.bounds[0] || value > config.bounds[1]) return undefined;
  const equation = equationText(op, left.value, right.value, value);
  const commutes = op === 'add' || op === 'mul';
  const turned = commutes ? equationText(op, right.value, left.value, value) : equation;
  if (steps.some((step) => step.equation === equation || step.equation === turned)) return undefined;
  steps.push({
    op,
    left: left.value,
    right: right.value,
    result: value,
    equation,
    ...(left.from === undefined ? {} : { leftFrom: left.from }),
    ...(right.from === undefined ? {} : { rightFrom: right.from }),
  });
  return { expression: { op, left: left.expression, right: right.expression }, value, from: steps.length - 1 };
}

function leaves(expression: Expression): number[] {
  return typeof expression === 'number' ? [expression] : [...leaves(expression.left), ...leaves(expression.right)];
}
