import { existsSync } from 'node:fs';
import path from 'node:path';
import { type Command, Option } from 'commander';
import type { Evaluation } from '../eval/evaluate.js';
import type { EvaluationFolder } from '../pipeline/evaluation-folder.js';
import type { Problem } from '../task/problem.js';
import type { Instruction } from '../text/template.js';
import { errorText, UsageError } from '../util/errors.js';
import { writeFileAtomic } from '../util/fs.js';
import { EXIT } from './errors.js';
import { interruption } from './interrupt.js';
import { findModel, type RunOfModel, requireTokenizer } from './model-folder.js';
import { openModel } from './open-model.js';
import {
  type AdapterFlag,
  adapterOption,
  type DeviceFlag,
  deviceOption,
  realNumber,
  type TypeFlag,
  typeOption,
  wholeNumber,
} from './options.js';
import { type ChosenTask, chooseTask } from './task-argument.js';

interface EvalFlags extends AdapterFlag, DeviceFlag, TypeFlag {
  readonly task?: string;
  readonly n?: number;
  readonly samples: number;
  readonly temperature?: number;
  readonly topP?: number;
  readonly split?: string;
  readonly seed: number;
  readonly maxTokens?: number;
  readonly instruction: Instruction;
  readonly template?: string;
  readonly json?: boolean;
  readonly out?: string;
  readonly resume?: boolean;
}

const DEFAULT_PROBLEMS = 300;
const DEFAULT_TOKENS = 128;
const INSTRUCTIONS: readonly Instruction[] = ['none', 'r1-zero-en', 'r1-zero-zh'];

/** `dunwu eval MODEL`: how many problems of a task a model solves. */
export function registerEval(program: Command): void {
  typeOption(deviceOption(adapterOption(program.command('eval'))))
    .summary('measure a model on held-out problems')
    .description(
      'Measures a model on problems with checkable answers that it was not trained on. Right means right in the ' +
        'required format (think and answer tags once each, in order).\n\n' +
        "Greedy: accuracy with Wilson's 95 % interval, the share in the required format, length. With --samples k " +
        'also pass@1 averaged over the k samples, with an interval that counts problems (samples of one problem are ' +
        'not independent); pass@k without bias; cons@k, the majority vote by answers; language mixing, which greedy ' +
        'decoding hides. docs/measuring.md has the definitions. Progress goes to standard error.',
    )
    .argument('<model>', "a model's folder (with tokenizer.json), or a run folder: then its last model")
    .option(
      '-t, --task <task>',
      'a JSONL, JSON or Parquet file of problems, word-problem, equation, general, or a task block (YAML or JSON, or a file with it) (default: the task of the run)',
    )
    .option('-n, --n <n>', `problems (default: ${DEFAULT_PROBLEMS}, or all there are)`, wholeNumber('--n', 1))
    .option('-k, --samples <k>', 'samples a problem, beside the greedy one', wholeNumber('--samples', 0), 0)
    .option(
      '--temperature <t>',
      'of the samples (default: 1)',
      realNumber('--temperature', 0, Number.POSITIVE_INFINITY, true),
    )
    .option(
      '--top-p <p>',
      'draw samples from the likeliest tokens that reach this share (default: 1, all)',
      realNumber('--top-p', 0, 1, true),
    )
    .option('--split <split>', 'validation (for choices) or test (for reports) (default: test)')
    .option('--seed <n>', 'seed of the samples', wholeNumber('--seed', 0), 1)
    .option('--max-tokens <n>', "longest response (default: the run's, else 128)", wholeNumber('--max-tokens', 1))
    .addOption(
      new Option('--instruction <name>', "R1-Zero's instruction before each question")
        .choices([...INSTRUCTIONS])
        .default('none'),
    )
    .option('--template <text>', 'text around each question, with {question} where it goes')
    .option('--json', 'print one JSON object')
    .option(
      '--out <dir>',
      'folder for every response with its trace, the settings and the measures; a name ending in .jsonl: a file with the responses, at the end',
    )
    .option('-r, --resume', 'go on with the evaluation in --out: finished problems are not answered again')
    .addHelpText(
      'after',
      `
FILE.jsonl holds one problem a line, in the shape of GSM8K, CMATH or MATH, or with tests for a program:
  {"question": "…", "answer": "… #### 18"}      {"question": "…", "golden": "18"}
  {"problem": "…", "solution": "… \\\\boxed{\\\\frac{3}{4}}"}
  {"question": "…", "language": "python", "entry": "add", "tests": [{"args": [1, 2], "expected": 3}]}

Examples:
  dunwu eval runs/r1-zero-mini --samples 8             the last model of a run, on the run's task
  dunwu eval runs/r1-zero-mini/models/pretrain         the base model, likewise
  dunwu eval my-model --task gsm8k/test.jsonl --n 1319 --max-tokens 300 --out evals/gsm8k
  dunwu eval my-model --task gsm8k/test.jsonl --n 1319 --max-tokens 300 --out evals/gsm8k --resume
  dunwu eval my-model --task test.jsonl --samples 64 --temperature 0.6 --top-p 0.95      as in R1's tables
  dunwu eval my-model --task '{type: word-problem, steps: [2, 3]}' --n 500 --json
  dunwu eval my-model --task test.jsonl --template '{question} Put the answer into <answer> tags.'`,
    )
    .action(async (model: string, flags: EvalFlags) => evalCommand(model, flags));
}

async function evalCommand(given: string, flags: EvalFlags): Promise<void> {
  checkFlags(flags);
  const { folder, run } = await findModel(given);
  requireTokenizer(folder, 'a model answers problems through its tokenizer');
  const chosen = await chooseTask(flags.task, run);
  const problems = heldOut(chosen, flags);
  const [evaluation, { tokenizer, load, stopIds }, { createProgress }] = await Promise.all([
    import('../eval/evaluate.js'),
    openModel(folder, flags),
    import('../util/progress.js'),
  ]);
  const model = load();
  const prompts = problems.map((problem) => evaluation.evaluationPrompt(tokenizer, problem, flags));
  const longest = prompts.reduce((most, { length }) => Math.max(most, length), 0);
  const maxTokens = longestResponse(flags.maxTokens, run, model.config.max_position_embeddings, longest);
  const { samples: k, temperature = 1, topP = 1, seed, instruction, template } = flags;
  const batch = problemsAtOnce(k);
  const kept = await openFolder(flags, folder, problems, prompts, {
    task: chosen.task.id,
    n: problems.length,
    samples: k,
    temperature,
    top_p: topP,
    seed,
    max_tokens: maxTokens,
    stop: stopIds(model).join(','),
    instruction,
    template: template ?? null,
    dtype: flags.dtype,
    batch,
  });
  const measured = flags.adapter === undefined ? folder : `${folder} with ${flags.adapter}`;
  const progress = createProgress({ out: process.stderr });
  const stop = interruption(() => progress.log('Stopping. Ctrl-C again stops at once.'));
  let problemsDone = 0;
  try {
    const finished = kept?.finished(problems, k, batch) ?? [];
    problemsDone = finished.length / (1 + k);
    progress.log(`${measured} on ${chosen.task.id} (${chosen.from})`);
    if (problemsDone > 0) progress.log(`${problemsDone} of ${problems.length} problems were finished before`);
    progress.start('evaluate', problems.length * (1 + k), {
      unit: 'samples',
      done: finished.length,
      amount: finished.length,
    });
    const { evaluation: result, samples } = await evaluation.evaluate(model, tokenizer, problems, {
      samples: k,
      temperature,
      topP,
      seed,
      maxTokens,
      instruction,
      ...(template === undefined ? {} : { template }),
      batch,
      finished,
      signal: stop.signal,
      onBatch: (rows) => {
        kept?.append(rows);
        problemsDone += rows.length / (1 + k);
      },
      onProgress: (done) => progress.update(done),
    });
    progress.end();
    const record = evaluation.evaluationRecord(measured, chosen.task.id, result);
    await kept?.finish(record);
    if (flags.out !== undefined && isFile(flags.out)) {
      const { sampleRow } = await import('../pipeline/evaluation-folder.js');
      await writeFileAtomic(flags.out, samples.map((sample) => `${JSON.stringify(sampleRow(sample))}\n`).join(''));
    }
    process.stdout.write(`${flags.json ? JSON.stringify(record) : evaluationText(measured, chosen, flags, result)}\n`);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    progress.end();
    progress.log(
      kept === null
        ? 'Stopped; nothing is kept (--out DIR keeps what is finished).'
        : `Stopped: ${problemsDone} of ${problems.length} problems are finished. The same command with --resume goes on.`,
    );
    process.exitCode = EXIT.interrupted;
  } finally {
    stop.dispose();
    kept?.close();
    model.dispose();
  }
}

/** Options that would be ignored, and those that cannot be, before anything is loaded. */
function checkFlags(flags: EvalFlags): void {
  const { samples, temperature, topP, template, out, resume } = flags;
  for (const [name, value] of [
    ['--temperature', temperature],
    ['--top-p', topP],
  ] as const) {
    if (value !== undefined && samples === 0) {
      throw new UsageError(`${name} ${value}: would be ignored: it is for samples; give --samples too`);
    }
  }
  if (template !== undefined && !template.includes('{question}')) {
    throw new UsageError(`--template ${template}: must hold {question}, where the question goes`);
  }
  if (resume && (out === undefined || isFile(out))) {
    throw new UsageError('--resume: needs --out DIR, the folder that the evaluation is kept in');
  }
  if (out !== undefined && isFile(out) && !existsSync(path.dirname(path.resolve(out)))) {
    throw new UsageError(`--out ${out}: there is no folder ${path.dirname(out)}`);
  }
}

const isFile = (out: string): boolean => out.endsWith('.jsonl');

/** Problems that are answered side by side: enough to keep the processor busy, few enough that a kill costs little. */
function problemsAtOnce(samples: number): number {
  return Math.max(1, Math.min(64, Math.floor(256 / Math.max(1, samples))));
}

async function openFolder(
  flags: EvalFlags,
  model: string,
  problems: readonly Problem[],
  prompts: readonly (readonly number[])[],
  settings: Readonly<Record<string, string | number | null>>,
): Promise<EvaluationFolder | null> {
  if (flags.out === undefined || isFile(flags.out)) return null;
  const { EvaluationFolder, modelDigest, problemsDigest } = await import('../pipeline/evaluation-folder.js');
  return EvaluationFolder.open(
    flags.out,
    {
      ...settings,
      model_sha256: await modelDigest(model),
      ...(flags.adapter === undefined ? {} : { adapter_sha256: await modelDigest(flags.adapter) }),
      problems_sha256: problemsDigest(problems, prompts),
    },
    flags.resume === true,
  );
}

function heldOut(chosen: ChosenTask, flags: EvalFlags): Problem[] {
  const { task, whole } = chosen;
  const split = flags.split ?? 'test';
  if (split !== 'validation' && split !== 'test') {
    throw new UsageError(`--split ${split}: allowed are validation and test`);
  }
  if (whole && split !== 'test') {
    throw new UsageError(
      `--split ${split}: a JSONL file is used whole; for its splits give --task '{type: dataset, path: …}'`,
    );
  }
  const n = flags.n ?? Math.min(DEFAULT_PROBLEMS, task.size(split));
  if (n < 1) throw new UsageError(`${chosen.from}: the ${split} split of ${task.id} has no problems`);
  try {
    return task.fixed(split, n);
  } catch (error) {
    throw new UsageError(`--n ${n}: ${errorText(error)}`);
  }
}

/** What was asked for, else what the run's last evaluation used; as far as the model's positions reach. */
function longestResponse(asked: number | undefined, run: RunOfModel | null, limit: number, prompt: number): number {
  const room = limit - prompt;
  const explained = `the longest prompt has ${prompt} tokens, the model reaches to ${limit} (max_position_embeddings)`;
  if (room < 1) throw new UsageError(`no room for a response: ${explained}`);
  if (asked !== undefined) {
    if (asked > room) throw new UsageError(`--max-tokens ${asked}: at most ${room} fit: ${explained}`);
    return asked;
  }
  const used = run?.stages.findLast((stage) => stage.kind === 'eval')?.max_tokens;
  return Math.min(room, typeof used === 'number' ? used : DEFAULT_TOKENS);
}

/** A table for people. */
export function evaluationText(
  model: string,
  chosen: Pick<ChosenTask, 'task' | 'from' | 'whole'>,
  flags: Pick<EvalFlags, 'split'>,
  evaluation: Evaluation,
): string {
  const { sampled } = evaluation;
  const split = chosen.whole ? 'all in the file' : `${flags.split ?? 'test'} split`;
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const interval = (pair: readonly [number, number]): string => pair.map(percent).join(' – ');
  const rows: string[][] = [['', 'greedy', ...(sampled === undefined ? [] : [samplingText(sampled)])]];
  const add = (name: string, greedy: string, other: string | undefined): void => {
    rows.push([name, greedy, ...(sampled === undefined || other === undefined ? [] : [other])]);
  };
  const share = (key: 'accuracy' | 'format' | 'language_consistency' | 'readability'): [string, string | undefined] => [
    percent(evaluation[key]),
    sampled === undefined ? undefined : percent(sampled[key]),
  ];
  add('accuracy', ...share('accuracy'));
  add('  95 % interval', interval(evaluation.ci95), sampled && interval(sampled.ci95));
  if (sampled !== undefined) {
    add('  standard error', '', percent(sampled.standard_error));
    if (sampled.cons_at_k !== undefined) add(`cons@${sampled.k} (majority vote)`, '', percent(sampled.cons_at_k));
    if (sampled.cons_ci95 !== undefined) add('  95 % interval', '', interval(sampled.cons_ci95));
  }
  add('in the required format', ...share('format'));
  add("in the problem's language", ...share('language_consistency'));
  add('readability', ...share('readability'));
  add('mean length (tokens)', evaluation.mean_length.toFixed(1), sampled?.mean_length.toFixed(1));
  for (const [k, pass] of Object.entries(sampled?.pass_at ?? {})) add(`pass@${k}`, '', percent(pass));
  const widths = rows.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(all[i] ?? 0, cell.length)), []);
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(Math.max(widths[i] ?? 0, 16))))
      .join('  ')
      .trimEnd(),
  );
  return [`${model}`, `${chosen.task.id}, ${evaluation.n} problems (${split})`, '', ...lines].join('\n');
}

function samplingText({ k, temperature, top_p }: NonNullable<Evaluation['sampled']>): string {
  return `T = ${temperature}, ${top_p === 1 ? '' : `top_p ${top_p}, `}${k} each`;
}
