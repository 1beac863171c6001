import { z } from 'zod';
import {
  type CallCase,
  type CodeLanguage,
  type CodeTests,
  codeTestsSchema,
  type StreamCase,
  testsFlaw,
} from '../../task/code-tests.js';
import type { Problem } from '../../task/problem.js';
import { findCode } from '../code-block.js';
import { sameOutput, sameValue } from '../code-compare.js';
import type { Call, Limits, Outcome, RunCase } from '../sandbox/case-run.js';
import { runJavaScript } from '../sandbox/javascript.js';
import { readyPython, runPython } from '../sandbox/python.js';
import type { Rule, RuleResult } from '../trace.js';

export const codeOptions = z.strictObject({
  /**
   * What a program may do for one case, counted by the interpreter (about two a turn of a loop, one a call): it ends at the
   * same place on every machine.
   */
  steps: z.number().int().min(10_000).max(10_000_000_000).default(50_000_000),
  /** The clock for one case, beside `steps`: for a long built-in operation. A case that it ends may pass elsewhere. */
  time_limit_ms: z.number().int().min(100).max(600_000).default(10_000),
  /**
   * The clock for all cases of a response together, without the time in which sandboxes get ready: when it is over, cases
   * that have not begun are not run, and count as failed. For problems with many slow cases.
   */
  response_limit_ms: z.number().int().min(100).max(3_600_000).default(120_000),
  /** The sandbox's memory for one case, in MiB; the interpreter takes 16 of it (JavaScript) or 25 (Python). */
  memory_mb: z.number().int().min(32).max(1024).default(128),
});
export type CodeOptions = z.input<typeof codeOptions>;

interface Sandbox {
  readonly run: RunCase;
  /** Waits until the next run can begin at once. */
  readonly ready: (limits: Limits) => void;
}

const SANDBOXES: Readonly<Record<CodeLanguage, Sandbox>> = {
  javascript: { run: runJavaScript, ready: () => {} },
  python: { run: runPython, ready: readyPython },
};

/** After so many cases that ran out of steps or time the others are not run: they count as failed. */
const MAX_TIMEOUTS = 3;

/**
 * Share of the cases of `meta.tests` (task/code-tests.ts) that the program in the response passes (code-block.ts:
 * findCode). Each case runs in a sandbox of its own, which gets the arguments or the input and nothing else: what is
 * expected stays here, and what came out is compared here. Evidence: the program.
 * `ok`: all cases. `timeout`: at least one case ran out of steps or time, or was not begun in the response's. `wrong`: any other flaw. `unparsable`: there is
 * no program, or it is not the language. `bad-gold`: the problem's tests are missing or malformed.
 * @throws Error when the sandbox itself cannot be started, whatever the response is.
 */
export function codeRule(options: CodeOptions = {}): Rule {
  const {
    steps,
    time_limit_ms: timeMs,
    response_limit_ms: responseMs,
    memory_mb: memoryMb,
  } = codeOptions.parse(options);
  const limits: Limits = { steps, timeMs, memoryMb };
  const read = testsReader();
  return (problem, response): RuleResult => {
    const base = { name: 'code', max: 1, points: 0 } as const;
    const tests = read(problem);
    if (typeof tests === 'string') return { ...base, status: 'bad-gold', evidence: [], note: tests };
    const block = findCode(response, tests.language);
    if (block === null) return { ...base, status: 'unparsable', evidence: [], note: 'no program' };
    const evidence: RuleResult['evidence'] = [block.span];
    let passed = 0;
    let timeouts = 0;
    let first: string | null = null;
    const sandbox = SANDBOXES[tests.language];
    let spent = 0;
    for (const [index, one] of tests.cases.entries()) {
      if (spent > responseMs) {
        first ??= `case ${index + 1}: not begun within ${responseMs / 1000} s for the response`;
        timeouts++;
        break;
      }
      sandbox.ready(limits);
      const begun = performance.now();
      const outcome = sandbox.run(block.code, callOf(tests, one), limits);
      spent += performance.now() - begun;
      if (outcome.kind === 'failed' && outcome.at === 'compile') {
        // Without a fence it was no program that was meant; what it says is the same for every case.
        return { ...base, status: block.fenced ? 'wrong' : 'unparsable', evidence, note: outcome.why };
      }
      const why = flaw(tests, one, outcome);
      if (why === null) passed++;
      else first ??= `case ${index + 1}: ${why}`;
      if (outcome.kind === 'timeout' && ++timeouts === MAX_TIMEOUTS) break;
    }
    const all = tests.cases.length;
    return {
      ...base,
      points: passed / all,
      status: timeouts > 0 ? 'timeout' : passed === all ? 'ok' : 'wrong',
      evidence,
      note: `${passed} of ${all} cases pass${first === null ? '' : `; ${first}`}`,
    };
  };
}

/** Tests are read once a problem, not once a response: a group has many. What is no test is told as text. */
function testsReader(): (problem: Problem) => CodeTests | string {
  const known = new WeakMap<object, CodeTests | string>();
  return ({ meta }) => {
    const before = known.get(meta);
    if (before !== undefined) return before;
    const parsed = codeTestsSchema.safeParse(meta.tests);
    const missing = 'the problem has no tests';
    const tests = parsed.success
      ? parsed.data
      : meta.tests === undefined
        ? missing
        : `tests: ${testsFlaw(parsed.error)}`;
    known.set(meta, tests);
    return tests;
  };
}

function callOf({ entry }: CodeTests, one: CallCase | StreamCase): Call {
  if ('args' in one) return { entry: entry ?? '', args: JSON.stringify(one.args) };
  return { input: one.input };
}

/** Why a case failed, or null. Never what was expected: a note may be shown to whoever wrote the program. */
function flaw({ tolerance }: CodeTests, one: CallCase | StreamCase, outcome: Outcome): string | null {
  if (outcome.kind === 'timeout' || outcome.kind === 'failed') return outcome.why;
  if ('args' in one) {
    if (outcome.kind !== 'returned') return 'returned nothing';
    let value: unknown;
    try {
      value = JSON.parse(outcome.text);
    } catch {
      return 'what it returned is no JSON';
    }
    return sameValue(one.expected, value, tolerance) ? null : `returned ${short(outcome.text)}`;
  }
  if (outcome.kind !== 'printed') return 'printed nothing';
  return sameOutput(one.output, outcome.text) ? null : `printed ${short(JSON.stringify(outcome.text))}`;
}

function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
