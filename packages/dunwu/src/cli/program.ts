import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { registerChat } from './chat.js';
import { registerCompare } from './compare.js';
import { registerCurate } from './curate.js';
import { registerDoctor } from './doctor.js';
import { EXIT, errorMessage, exitCode } from './errors.js';
import { registerEval } from './eval.js';
import { registerExplain } from './explain.js';
import { registerGenerate } from './generate.js';
import { registerInspect } from './inspect.js';
import { registerLab } from './lab.js';
import { registerMerge } from './merge.js';
import { registerProfile } from './profile.js';
import { type RecipeParts, registerRun } from './run.js';
import { registerScore } from './score.js';
import { registerServe } from './serve.js';
import { registerVerify } from './verify.js';

export interface ProgramSettings {
  /** Instead of the product's own kinds of stages. */
  readonly parts?: () => Promise<RecipeParts>;
}

/**
 * The `dunwu` command. A command is a module `cli/<name>.ts` that exports `register<Name>(program)`; it imports nothing
 * heavy itself, only inside its action (`--help` must be quick and must work before the engine is built).
 * An action throws UsageError (exit 2) or any other error (exit 1), or sets `process.exitCode`.
 */
export function buildProgram(settings: ProgramSettings = {}): Command {
  const program = new Command('dunwu')
    .description('Dunwu (顿悟): the DeepSeek recipe, from a corpus to a base model, to R1-Zero, to R1, on a laptop')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .exitOverride() // errors come here, to exit with our own codes
    .showSuggestionAfterError(true)
    .configureOutput({ outputError: (text, write) => write(text) })
    .addHelpText(
      'after',
      `
Examples:
  dunwu run recipes/r1-zero-mini.yaml          from nothing to R1-Zero, with a report
  dunwu run RECIPE --resume --out DIR          go on with an interrupted run
  dunwu curate DIR                             decide about the responses that a run put up for people
  dunwu eval runs/r1-zero-mini --samples 8     how much the run's last model solves
  dunwu compare runs/seed-1 runs/seed-2        several runs in one table, with intervals
  dunwu generate runs/r1-zero-mini "…"         ask it something
  dunwu score answers.jsonl --rules accuracy,format,steps
  dunwu explain runs/r1-zero-mini r1-zero      why a response has its reward
  dunwu help run                               all about one command

Exit codes: 0 done, 1 the work failed, 2 the command or recipe was wrong, 3 saved and waiting for people (curate),
130 interrupted and saved.
Environment: DUNWU_DEBUG=1 prints stacks with errors; NO_COLOR=1 turns colours off.`,
    );
  registerRun(program, settings.parts);
  registerCurate(program);
  registerScore(program);
  registerExplain(program);
  registerEval(program);
  registerCompare(program, settings.parts);
  registerGenerate(program);
  registerChat(program);
  registerServe(program);
  registerInspect(program);
  registerMerge(program);
  registerVerify(program);
  registerLab(program);
  registerProfile(program);
  registerDoctor(program);
  return program;
}

/** Runs a command line (without `node` and the script) and gives the exit code. */
export async function runCli(argv: readonly string[], settings: ProgramSettings = {}): Promise<number> {
  const program = buildProgram(settings);
  process.exitCode = undefined;
  try {
    if (argv.length === 0) {
      program.outputHelp({ error: true });
      return EXIT.usage;
    }
    await program.parseAsync([...argv], { from: 'user' });
    return Number(process.exitCode ?? EXIT.done);
  } catch (error) {
    // Commander has printed its own message.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    // A reader that has seen enough (`dunwu score … | head`) is no error.
    if ((error as { code?: unknown }).code === 'EPIPE') return EXIT.done;
    process.stderr.write(`${errorMessage(error, process.env)}\n`);
    return exitCode(error);
  }
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8'); // as far from src/ as from dist/
  return (JSON.parse(text) as { version: string }).version;
}
