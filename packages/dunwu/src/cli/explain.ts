import { existsSync } from 'node:fs';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { EXIT, UsageError } from './errors.js';
import type { PickFlags } from './explain-sample.js';
import type { ExplainLanguage } from './explain-words.js';
import { collect, wholeNumber } from './options.js';

interface ExplainFlags extends PickFlags {
  readonly rules?: string;
  readonly import: readonly string[];
  readonly json?: boolean;
  readonly html?: string;
  readonly language: ExplainLanguage;
}

/** `dunwu explain SAMPLE`: why a response has the reward that it has. */
export function registerExplain(program: Command): void {
  program
    .command('explain')
    .summary('why a response has its reward: what each rule read, and the points it gave')
    .description(
      'Shows one response with what each rule read in it, the points that it gave and why, and adds them up: the sum is ' +
        'the stored reward to the last bit, otherwise the exit code is 1. Of a GRPO stage also the group that it was ' +
        'compared with, and its advantage.\n\n' +
        'SAMPLE is FILE:LINE (runs/NAME/samples/STAGE.jsonl:17, datasets too), a run folder and a stage, a file of ' +
        'samples, or - for one line of JSON on standard input. Without a choice: the first sample of the last step.',
    )
    .argument('<sample>', 'FILE:LINE, a run folder, a file of samples, or -')
    .argument('[stage]', 'stage of the run folder')
    .option('--step <n>', 'samples of this step', wholeNumber('--step', 0))
    .option('--index <n>', 'the n-th of them, from 1', wholeNumber('--index', 1))
    .option('--best', 'the one with the highest reward, of --step or of all')
    .option('--worst', 'the one with the lowest')
    .option('--random', 'any one')
    .option('--seed <n>', 'with --random: the same one again', wholeNumber('--seed', 0))
    .option(
      '--rules <list>',
      'judge a line without a trace (question, answer, response) by these, as `dunwu score` does',
    )
    .option('--import <file>', 'with --rules: a file of rules of your own (repeatable)', collect, [])
    .option('--json', 'print one JSON object: the sample, its trace, the check, the group')
    .option('--html <file>', 'write a page to look at in a browser')
    .addOption(new Option('--language <language>', 'of headings').choices(['en', 'zh']).default('en'))
    .addHelpText(
      'after',
      `
Under each line of the response there is a line of letters for each rule that read something there: capitals where it
gave points or found nothing wrong, small letters where not. NO_COLOR=1 turns colours off.

Examples:
  dunwu explain runs/r1-zero-mini/samples/r1-zero.jsonl:17
  dunwu explain runs/r1-zero-mini r1-zero --step 45 --index 3
  dunwu explain runs/r1-zero-mini r1-zero --worst --html worst.html
  dunwu explain outputs.jsonl:4 --rules accuracy,format,steps
  dunwu score outputs.jsonl --full --json | tail -n 1 | dunwu explain -`,
    )
    .action(explainCommand);
}

async function explainCommand(reference: string, stage: string | undefined, flags: ExplainFlags): Promise<void> {
  if (flags.import.length > 0 && flags.rules === undefined) {
    throw new UsageError(`--import ${flags.import[0]}: would be ignored; name its rules in --rules`);
  }
  if (flags.html !== undefined && !existsSync(path.dirname(path.resolve(flags.html)))) {
    throw new UsageError(`--html ${flags.html}: there is no folder ${path.dirname(flags.html)}`);
  }
  const [{ findSample, sampleOfText }, { checkTrace }, { layersOf }, { advantageHolds }] = await Promise.all([
    import('./explain-sample.js'),
    import('../reward/check-trace.js'),
    import('./explain-marks.js'),
    import('./explain-lines.js'),
  ]);
  let judged = false;
  const judge = flags.rules === undefined ? null : await scorer(flags.rules, flags.import);
  const score =
    judge &&
    ((line: string) => {
      judged = true;
      return judge(line);
    });
  let sample: ReturnType<typeof findSample>;
  if (reference === '-') {
    const { rules: _, import: __, json: ___, html: ____, language: _____, ...picks } = flags;
    const given = [...(stage === undefined ? [] : [stage]), ...Object.keys(picks).map((name) => `--${name}`)];
    if (given.length > 0) throw new UsageError(`${given.join(', ')}: would be ignored; standard input is one sample`);
    sample = sampleOfText(await standardInput(), score);
  } else sample = findSample(reference, stage, flags, score);
  if (flags.rules !== undefined && !judged) {
    throw new UsageError(`--rules ${flags.rules}: would be ignored; ${sample.place} has a trace already`);
  }
  const check = checkTrace(sample.trace);
  if (flags.html !== undefined) {
    const [{ explainHtml }, { writeFileAtomic }] = await Promise.all([
      import('./explain-html.js'),
      import('../util/fs.js'),
    ]);
    await writeFileAtomic(flags.html, explainHtml(sample, flags.language, judged));
  }
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify({ ...sample, check, marks: layersOf(sample.trace) })}\n`);
  } else {
    const { explainText } = await import('./explain-text.js');
    const { stdout } = process;
    const colour = stdout.isTTY === true && (process.env.NO_COLOR ?? '') === '' && process.env.TERM !== 'dumb';
    const options = { width: Math.min(stdout.columns ?? 100, 120), colour, language: flags.language, fresh: judged };
    stdout.write(`${explainText(sample, options)}\n`);
  }
  if (!check.exact || advantageHolds(sample) === false) process.exitCode = EXIT.failed;
}

async function scorer(list: string, files: readonly string[]) {
  const [{ parseRules, parseResponseLine }, { RewardProgram }, { importRules }] = await Promise.all([
    import('./score-responses.js'),
    import('../reward/program.js'),
    import('../reward/user-rules.js'),
  ]);
  for (const file of files) await importRules(file);
  const program = new RewardProgram(parseRules(list));
  return (line: string) => {
    const { problem, response } = parseResponseLine(line, 0);
    return program.score(problem, response);
  };
}

/** Longest input, in bytes: one sample, not a file of them. */
const MOST_INPUT = 64 * 1024 * 1024;

async function standardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > MOST_INPUT) throw new UsageError('standard input: more than 64 MiB; give one line of JSON');
  }
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/^\ufeff/, '');
}
