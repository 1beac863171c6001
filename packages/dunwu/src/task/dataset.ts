import { basename, extname, resolve } from 'node:path';
import { z } from 'zod';
import { isLanguage, LANGUAGES } from '../text/language-codes.js';
import { lastBoxed } from '../util/braces.js';
import { hash32, type Random } from '../util/random.js';
import { readRows } from '../util/rows.js';
import { rowTests } from './code-tests.js';
import { languagesOf } from './language.js';
import type { Problem, Split, Task } from './problem.js';
import { splitOf } from './split.js';

const unknownLanguage = (code: unknown): string =>
  `${JSON.stringify(code)} is no ISO 639-1 code of a language; known are ${LANGUAGES.join(', ')}`;

/** A problem set in files. Unknown keys are errors. */
export const datasetSchema = z.strictObject({
  type: z.literal('dataset'),
  /** JSONL (one problem a line), JSON (a list) or Parquet, in GSM8K's, CMATH's or MATH's shape, or with tests for a program. */
  path: z.string().min(1),
  /** A file for the test split. Without it, `path` is split 80/10/10 by a hash of the question. */
  test: z.string().min(1).optional(),
  /** What the problems' `source` says: reward weights are looked up by it. Default: the file's name, or its folder's. */
  source: z.string().min(1).optional(),
  /**
   * What is asked: `{question}` stands for the row's own. For a model that has to be told how to answer. Rules see the whole
   * prompt, but look for numbers and the language in the question alone.
   */
  template: z
    .string()
    .refine((text) => text.includes('{question}'), { error: 'must have {question} where the question stands' })
    .default('{question}'),
  /**
   * ISO 639-1 code for the rows that have no `"language"` of their own. Default: by the script of each question where
   * they are Chinese or English, else by `eld` ({@link languagesOf}).
   */
  language: z
    .string()
    .refine(isLanguage, { error: (issue) => unknownLanguage(issue.input) })
    .optional(),
});

export type DatasetConfig = z.output<typeof datasetSchema>;

/** A gold equation from a `<<48/2=24>>` annotation. */
export interface AnnotatedStep {
  /** As annotated: `48/2=24`. */
  readonly equation: string;
  readonly expression: string;
  readonly result: string;
}

export interface DatasetTask extends Task {
  /** What was read, and what was left out so that no problem is used twice or on both sides. */
  readonly counts: Readonly<Record<Split | 'repeated' | 'inTest', number>>;
}

const SHAPES =
  'expected GSM8K\'s {"question": "…", "answer": "… #### 18"} or CMATH\'s {"question": "…", "golden": "18", "grade"?, "reasoning_step"?} or MATH\'s {"problem": "…", "solution": "… \\\\boxed{18}" or "answer": "18", "level"?, "type"?} ' +
  'or, for programs, {"question": "…", "language": "javascript", "entry"?: "function", "tests": [{"args": […], "expected": …}]}';

/** What is read of a Parquet file. */
const KEYS = [
  'question',
  'problem',
  'answer',
  'golden',
  'solution',
  'grade',
  'reasoning_step',
  'level',
  'type',
  'subject',
  'language',
  'entry',
  'tolerance',
  'tests',
];

/**
 * Problems from JSONL, JSON or Parquet files: GSM8K's shape (`question`, `answer` ending in `#### x`, with `<<a=b>>` annotations) or
 * CMATH's (`question`, `golden`) or MATH's (`problem`, and `answer` or the last `\boxed{…}` of `solution`), or code
 * problems (`question`, `language`, `entry`, `tests`: code-tests.ts), which have no `answer`. `meta`: `numbers` (in the
 * question), `line`, and where the row has them `tests`, `steps` (AnnotatedStep[]), `solution` (the answer's text without
 * annotations), `grade`, `reasoningSteps`, `level`, `subject`. A row's `language` (ISO 639-1) goes before the config's;
 * a code problem's is the program's.
 *
 * With a `test` file, `path` is split 90/10 into train and validation; questions that are in the test file too are left
 * out of both. Repeated questions (but for case, width and spaces) count once.
 *
 * @param base folder that relative paths start from.
 * @throws Error that names file and line, what is there and what was expected.
 */
export function createDataset(input: z.input<typeof datasetSchema>, base = process.cwd()): DatasetTask {
  const config = datasetSchema.parse(input);
  const source = config.source ?? sourceName(config.path);
  const splits: Record<Split, Row[]> = { train: [], validation: [], test: [] };
  const counts = { repeated: 0, inTest: 0 };

  const testKeys = new Set<string>();
  if (config.test !== undefined) {
    for (const row of readProblems(resolve(base, config.test), `${source}:test`, source, config)) {
      if (testKeys.has(row.key)) counts.repeated++;
      else splits.test.push(row);
      testKeys.add(row.key);
    }
  }
  const seen = new Set<string>();
  for (const row of readProblems(resolve(base, config.path), source, source, config)) {
    if (testKeys.has(row.key)) {
      counts.inTest++;
      continue;
    }
    if (seen.has(row.key)) {
      counts.repeated++;
      continue;
    }
    seen.add(row.key);
    const split = splitOf(row.key);
    splits[split === 'test' && config.test !== undefined ? 'train' : split].push(row);
  }
  // Files are often sorted (CMATH by grade): the first n of a split must not be the easiest n.
  for (const rows of Object.values(splits)) rows.sort((a, b) => a.order - b.order || (a.key < b.key ? -1 : 1));

  return {
    id: source,
    counts: {
      train: splits.train.length,
      validation: splits.validation.length,
      test: splits.test.length,
      ...counts,
    },
    size: (split) => splits[split].length,
    sample(rng: Random, split: Split): Problem {
      if (splits[split].length === 0) {
        throw new Error(`${config.path}: the ${split} split is empty: the file has too few problems for it`);
      }
      return rng.choice(splits[split]).problem;
    },
    fixed(split: Split, n: number): Problem[] {
      const rows = splits[split];
      if (n > rows.length) {
        throw new RangeError(`${config.path}: the ${split} split has ${rows.length} problems, ${n} asked for`);
      }
      return rows.slice(0, n).map(({ problem }) => problem);
    },
  };
}

interface Row {
  readonly key: string;
  readonly order: number;
  readonly problem: Problem;
}

/** gsm8k/train.jsonl → gsm8k; math.jsonl → math. */
function sourceName(path: string): string {
  const name = basename(path, extname(path));
  const folder = basename(resolve(path, '..'));
  return /^(train|test|validation|valid|dev|data)$/i.test(name) && folder !== '' ? folder : name;
}

function* readProblems(
  path: string,
  idPrefix: string,
  source: string,
  { language, template }: Pick<DatasetConfig, 'language' | 'template'>,
): Generator<Row> {
  const read: { row: Omit<Row, 'problem'>; problem: Omit<Problem, 'language'>; language: string | undefined }[] = [];
  for (const { value, number, where } of readRows(path, KEYS)) {
    const fail = (what: string): never => {
      throw new Error(`${where}: ${what}; ${SHAPES}`);
    };
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return fail(`found ${value === null ? 'null' : Array.isArray(value) ? 'a list' : `a ${typeof value}`}`);
    }
    const row = value as Record<string, unknown>;
    const isMath = !('question' in row) && 'problem' in row;
    const question = isMath ? row.problem : row.question;
    const asked = isMath ? 'problem' : 'question';
    if (typeof question !== 'string' || question.trim() === '') {
      return fail(
        asked in row
          ? `"${asked}" must be a text that is not empty`
          : `neither "question" nor "problem" among the keys ${Object.keys(row).join(', ') || '(none)'}`,
      );
    }
    const isCode = 'tests' in row;
    const gold = isCode
      ? fromCode(row, fail)
      : isMath
        ? fromMath(row, fail)
        : 'golden' in row
          ? fromCmath(row, fail)
          : fromGsm8k(row, fail);
    const key = question.normalize('NFKC').toLowerCase().replace(/\s+/g, ' ').trim();
    const spoken = isCode ? undefined : row.language;
    if (spoken !== undefined && (typeof spoken !== 'string' || !isLanguage(spoken))) {
      throw new Error(`${where}: "language": ${unknownLanguage(spoken)}`);
    }
    read.push({
      row: { key, order: hash32(`order:${key}`) },
      language: spoken ?? language,
      problem: {
        id: `${idPrefix}:${number}`,
        prompt: question,
        ...(gold.answer === undefined ? {} : { answer: gold.answer }),
        source,
        meta: { line: number, numbers: numbersIn(question), ...gold.meta },
      },
    });
  }
  if (read.length === 0) throw new Error(`${path}: the file has no problems; ${SHAPES}, one a line`);
  const open = read.filter((each) => each.language === undefined);
  const told = languagesOf(open.map(({ problem }) => problem.prompt)).values();
  for (const { row, problem, language } of read) {
    const prompt = template.replaceAll('{question}', () => problem.prompt);
    yield { ...row, problem: { ...problem, prompt, language: language ?? (told.next().value as string) } };
  }
}

interface Gold {
  readonly answer?: string;
  readonly meta: Readonly<Record<string, unknown>>;
}

function fromCode(row: Record<string, unknown>, fail: (what: string) => never): Gold {
  for (const key of ['answer', 'golden']) {
    if (key in row) return fail(`"${key}" beside "tests" would be ignored; take one of the two out`);
  }
  try {
    return { meta: { tests: rowTests(row) } };
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

function fromCmath(row: Record<string, unknown>, fail: (what: string) => never): Gold {
  const { golden, grade, reasoning_step } = row;
  const answer = typeof golden === 'number' ? String(golden) : golden;
  if (typeof answer !== 'string' || answer.trim() === '') return fail('"golden" must be a text or a number');
  const meta: Record<string, unknown> = {};
  for (const [key, name, value] of [
    ['grade', 'grade', grade],
    ['reasoning_step', 'reasoningSteps', reasoning_step],
  ] as const) {
    if (value === undefined || value === null) continue;
    if (typeof value !== 'number') return fail(`"${key}" must be a number`);
    meta[name] = value;
  }
  return { answer: answer.trim(), meta };
}

/** Hendrycks et al., arXiv 2103.03874: the answer is what the solution's last box holds. */
function fromMath(row: Record<string, unknown>, fail: (what: string) => never): Gold {
  const { answer, solution, level, type, subject = type } = row;
  if (solution !== undefined && typeof solution !== 'string') return fail('"solution" must be a text');
  const given = typeof answer === 'number' ? String(answer) : answer;
  if (given !== undefined && typeof given !== 'string') return fail('"answer" must be a text or a number');
  if (given === undefined && solution === undefined) {
    return fail(`neither "answer" nor "solution" among the keys ${Object.keys(row).join(', ')}`);
  }
  const gold = given?.trim() ?? lastBoxed(solution ?? '');
  if (gold === null) return fail('"solution" has no \\boxed{…} that holds the answer, and there is no "answer"');
  if (gold === '') return fail(given === undefined ? '"solution" has an empty \\boxed{}' : '"answer" is empty');
  return {
    answer: gold,
    meta: {
      ...(solution === undefined ? {} : { solution }),
      ...(typeof level === 'string' || typeof level === 'number' ? { level } : {}),
      ...(typeof subject === 'string' ? { subject } : {}),
    },
  };
}

function fromGsm8k(row: Record<string, unknown>, fail: (what: string) => never): Gold {
  const { answer: text } = row;
  if (typeof text !== 'string') {
    return fail(
      'answer' in row
        ? '"answer" must be a text'
        : `neither "answer" nor "golden" among the keys ${Object.keys(row).join(', ')}`,
    );
  }
  const mark = text.lastIndexOf('####');
  if (mark < 0) return fail('"answer" has no final answer after "####"');
  const answer = text.slice(mark + 4).trim();
  if (answer === '') return fail('"answer" has nothing after "####"');
  const steps: AnnotatedStep[] = [];
  for (const [, annotation = ''] of text.matchAll(/<<([^<>]*)>>/g)) {
    const parts = annotation.split('=');
    const [expression = '', result = ''] = parts.map((part) => part.trim());
    // The annotations are hints, not the gold answer: one that is no equation is passed over.
    if (parts.length === 2 && expression !== '' && result !== '') {
      steps.push({ equation: `${expression}=${result}`, expression, result });
    }
  }
  const solution = text
    .slice(0, mark)
    .replace(/<<[^<>]*>>/g, '')
    .trim();
  return { answer, meta: { steps, ...(solution === '' ? {} : { solution }) } };
}

/** Numbers as written in a text: 1,000 is one number, full-width digits count. */
function numbersIn(text: string): number[] {
  const found = text.normalize('NFKC').match(/\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?/g) ?? [];
  return found.map((number) => Number(number.replaceAll(',', '')));
}
