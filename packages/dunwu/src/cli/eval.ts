import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import type { EvaluatedSample, Evaluation } from '../eval/evaluate.js';
import type { Problem } from '../task/problem.js';
import { errorText, UsageError } from '../util/errors.js';
import { writeFileAtomic } from '../util/fs.js';
import { findModel, type RunOfModel, requireTokenizer, requireVocabulary } from './model-folder.js';
import { wholeNumber } from './options.js';
import { type ChosenTask, chooseTask } from './task-argument.js';

interface EvalFlags {
  readonly task?: string;
  readonly n?: number;
  readonly samples: number;
  readonly split?: string;
  readonly seed: number;
  readonly maxTokens?: number;
  readonly json?: boolean;
  readonly out?: string;
}

const DEFAULT_PROBLEMS = 300;
const DEFAULT_TOKENS = 128;

/** `dunwu eval MODEL`: how many problems of a task a model solves. */
export function registerEval(program: Command): void {
  program
    .command('eval')
    .summary('measure a model on held-out problems')
    .description(
      'Measures a model on problems with checkable answers that it was not trained on: greedy accuracy with its 95 %\n' +
        'confidence interval, share in the required format, language mixing, mean length; with --samples also at\n' +
        'temperature 1, with pass@k. Right means right in the required format. Progress goes to standard error.',
    )
    .argument('<model>', "a model's folder (with tokenizer.json), or a run folder: then its last model")
    .option(
      '-t, --task <task>',
      'word-problem, equation, a task block (YAML or JSON, or a file with it), or a JSONL file (default: the task of the run)',
    )
    .option('-n, --n <n>', `problems (default: ${DEFAULT_PROBLEMS}, or all there are)`, wholeNumber('--n', 1))
    .option('-k, --samples <k>', 'samples a problem at temperature 1, for pass@k', wholeNumber('--samples', 0), 0)
    .option('--split <split>', 'validation (for choices) or test (for reports) (default: test)')
    .option('--seed <n>', 'seed of the samples', wholeNumber('--seed', 0), 1)
    .option('--max-tokens <n>', "longest response (default: the run's, else 128)", wholeNumber('--max-tokens', 1))
    .option('--json', 'print one JSON object')
    .option('--out <file>', 'write every response with its trace to a file (JSONL)')
    .addHelpText(
      'after',
      `
Examples:
  dunwu eval runs/r1-zero-mini --samples 8             the last model of a run, on the run's task
  dunwu eval runs/r1-zero-mini/models/pretrain         the base model, likewise
  dunwu eval my-model --task '{type: word-problem, steps: [2, 3]}' --n 500 --json
  dunwu eval my-model --task gsm8k/test.jsonl --max-tokens 300 --out responses.jsonl`,
    )
    .action(async (model: string, flags: EvalFlags) => evalCommand(model, flags));
}

async function evalCommand(given: string, flags: EvalFlags): Promise<void> {
  const { folder, run } = await findModel(given);
  requireTokenizer(folder, 'a model answers problems through its tokenizer');
  const chosen = await chooseTask(flags.task, run);
  const problems = heldOut(chosen, flags);
  if (flags.out !== undefined && !existsSync(path.dirname(path.resolve(flags.out)))) {
    throw new UsageError(`--out ${flags.out}: there is no folder ${path.dirname(flags.out)}`);
  }
  const [evaluation, { loadModel }, { renderPrompt }, { Tokenizer }, { chooseCompute }, { createProgress }] =
    await Promise.all([
      import('../eval/evaluate.js'),
      import('../model/checkpoint.js'),
      import('../text/template.js'),
      import('../text/tokenizer.js'),
      import('../train/compute.js'),
      import('../util/progress.js'),
    ]);
  const tokenizer = Tokenizer.load(folder);
  chooseCompute();
  const model = loadModel(folder);
  requireVocabulary(folder, tokenizer.vocab_size, model.config.vocab_size);
  const limit = model.config.max_position_embeddings;
  const longest = Math.max(...problems.map(({ prompt }) => renderPrompt(tokenizer, prompt).length));
  const maxTokens = longestResponse(flags.maxTokens, run, limit, longest);
  const progress = createProgress({ out: process.stderr });
  progress.log(`${folder} on ${chosen.task.id} (${chosen.from})`);
  progress.start('evaluate', problems.length * (1 + flags.samples), { unit: 'samples' });
  const { evaluation: result, samples } = await evaluation.evaluate(model, tokenizer, problems, {
    samples: flags.samples,
    seed: flags.seed,
    maxTokens,
    onProgress: (finished) => progress.update(finished),
  });
  progress.end();
  model.dispose();
  if (flags.out !== undefined) {
    await writeFileAtomic(flags.out, samples.map((sample) => `${JSON.stringify(sampleRow(sample))}\n`).join(''));
  }
  const record = evaluation.evaluationRecord(folder, chosen.task.id, result);
  process.stdout.write(`${flags.json ? JSON.stringify(record) : evaluationText(folder, chosen, flags, result)}\n`);
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

function sampleRow({ problem, response, mode, correct, trace }: EvaluatedSample): unknown {
  return {
    id: problem.id,
    language: problem.language,
    mode,
    question: problem.prompt,
    ...(problem.answer === undefined ? {} : { answer: problem.answer }),
    response,
    correct,
    trace,
  };
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
  const rows: string[][] = [['', 'greedy', ...(sampled === undefined ? [] : [`T = 1, ${sampled.k} each`])]];
  const add = (name: string, greedy: string, other: string | undefined): void => {
    rows.push([name, greedy, ...(sampled === undefined || other === undefined ? [] : [other])]);
  };
  const share = (key: 'accuracy' | 'format' | 'language_consistency'): [string, string | undefined] => [
    percent(evaluation[key]),
    sampled === undefined ? undefined : percent(sampled[key]),
  ];
  add('accuracy', ...share('accuracy'));
  add('  95 % interval', evaluation.ci95.map(percent).join(' – '), '');
  add('in the required format', ...share('format'));
  add("in the problem's language", ...share('language_consistency'));
  add('mean length (tokens)', evaluation.mean_length.toFixed(1), '');
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
