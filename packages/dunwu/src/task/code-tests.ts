import { z } from 'zod';

/** The languages that programs can be judged in. */
export const CODE_LANGUAGES = ['javascript', 'python'] as const;
export type CodeLanguage = (typeof CODE_LANGUAGES)[number];

/** Deeper values than this are refused: comparing them would take a stack without end. */
const MAX_DEPTH = 64;

/** What keeps a value from being compared exactly as JSON, or null. */
function flaw(value: unknown): string | null {
  const open: [value: unknown, depth: number][] = [[value, 1]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [one, depth] = next;
    if (depth > MAX_DEPTH) return `nested more than ${MAX_DEPTH} deep`;
    if (one === null || typeof one === 'string' || typeof one === 'boolean') continue;
    if (typeof one === 'number') {
      if (!Number.isFinite(one)) return `${one} is no number that JSON can hold`;
      if (Number.isInteger(one) && !Number.isSafeInteger(one)) {
        return `the whole number ${one} is not exact in JSON (above 2^53): let the program return its digits as a text`;
      }
      continue;
    }
    if (typeof one !== 'object') return `found ${one === undefined ? 'nothing' : `a ${typeof one}`}, expected JSON`;
    for (const inner of Object.values(one)) open.push([inner, depth + 1]);
  }
  return null;
}

const json = z.unknown().superRefine((value, context) => {
  const message = flaw(value);
  if (message !== null) context.addIssue({ code: 'custom', message });
});

const callCase = z.strictObject({ args: z.array(json), expected: json }).refine((one) => 'expected' in one, {
  error: 'missing',
  path: ['expected'],
});
const streamCase = z.strictObject({ input: z.string(), output: z.string() });

/** A function is called with `args` and is to return `expected`. */
export type CallCase = z.output<typeof callCase>;
/** A program reads `input` and is to print `output`. */
export type StreamCase = z.output<typeof streamCase>;

/**
 * How a program is judged: `meta.tests` of a code problem.
 *
 *     { language: 'javascript', entry: 'add', cases: [{ args: [1, 2], expected: 3 }] }
 *     { language: 'javascript', cases: [{ input: '1 2\n', output: '3\n' }] }
 *
 * With an `entry`, each case calls the function of that name; without, each runs the whole program on standard input.
 * `tolerance`: numbers may be off by so much, absolutely or as a share of the expected one. Unknown keys are errors.
 */
export const codeTestsSchema = z
  .strictObject({
    language: z.enum(CODE_LANGUAGES, {
      error: ({ input }) =>
        `found ${JSON.stringify(input) ?? 'nothing'}: programs can be judged in ${CODE_LANGUAGES.join(', ')} alone`,
    }),
    entry: z
      .string()
      .regex(/^[A-Za-z_$][\w$]{0,99}$/, { error: 'expected the name of a function' })
      .optional(),
    tolerance: z.number().min(0).max(1).optional(),
    cases: z.array(z.unknown()).min(1).max(1000),
  })
  .transform(({ cases, tolerance, ...rest }, context) => {
    if (rest.entry === undefined && tolerance !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['tolerance'],
        message: 'would be ignored: without "entry" what is printed is compared as text',
      });
    }
    const shape = rest.entry === undefined ? streamCase : callCase;
    const parsed = cases.map((one, index) => {
      const result = shape.safeParse(one);
      for (const issue of result.error?.issues ?? []) {
        const expected =
          rest.entry === undefined
            ? 'without "entry" a case is {"input": text, "output": text}'
            : 'with "entry" a case is {"args": [...], "expected": value}';
        context.addIssue({
          code: 'custom',
          path: ['cases', index, ...issue.path],
          message: `${issue.message}; ${expected}`,
        });
      }
      return result.data;
    });
    // As it was written: what was read once can be read again.
    return {
      ...rest,
      ...(rest.entry === undefined ? {} : { tolerance: tolerance ?? 0 }),
      cases: parsed as (CallCase | StreamCase)[],
    };
  });

export type CodeTests = z.output<typeof codeTestsSchema>;

/**
 * The tests of a row of a data set: `{"question", "language", "entry"?, "tolerance"?, "tests": [case, …]}`.
 * @throws Error naming the key and what was expected, without the place of the row.
 */
export function rowTests(row: Readonly<Record<string, unknown>>): CodeTests {
  const { language, entry, tolerance, tests: cases } = row;
  const given = {
    language,
    cases,
    ...(entry === undefined ? {} : { entry }),
    ...(tolerance === undefined ? {} : { tolerance }),
  };
  const parsed = codeTestsSchema.safeParse(given);
  if (parsed.success) return parsed.data;
  throw new Error(testsFlaw(parsed.error, 'tests'));
}

/** The first flaw of tests in one line; `cases` is what the cases are called where the user wrote them. */
export function testsFlaw(error: z.ZodError, cases = 'cases'): string {
  const [issue] = error.issues;
  const path = issue?.path.map((key, at) => (at === 0 && key === 'cases' ? cases : String(key))).join('.');
  return `${path ? `"${path}": ` : ''}${issue?.message ?? 'wrong shape'}`;
}
