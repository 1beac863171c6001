import type { Command } from 'commander';
import type { Tokenizer } from '../text/tokenizer.js';
import { UsageError } from './errors.js';
import { findModel, requireTokenizer } from './model-folder.js';
import { openModel } from './open-model.js';
import {
  type AdapterFlag,
  adapterOption,
  collect,
  type DeviceFlag,
  deviceOption,
  type SamplingFlags,
  type SpeculativeFlag,
  samplingOptions,
  speculativeOption,
  type TypeFlag,
  typeOption,
  wholeNumber,
} from './options.js';

interface GenerateFlags extends SamplingFlags, SpeculativeFlag, AdapterFlag, DeviceFlag, TypeFlag {
  readonly maxTokens?: number;
  readonly seed: number;
  readonly n: number;
  readonly raw?: boolean;
  readonly json?: boolean;
  readonly stop: readonly string[];
}

const DEFAULT_TOKENS = 512;

/** `dunwu generate MODEL PROMPT`: lets a model answer. */
export function registerGenerate(program: Command): void {
  const command = program
    .command('generate')
    .summary("print a model's answer to a prompt")
    .description(
      'Asks a model and prints what it thinks and, apart from that, what it answers, as it comes. The prompt is put\n' +
        "into the model's chat template. The same seed gives the same answer.",
    )
    .argument('<model>', "a model's folder (with tokenizer.json), or a run folder: then its last model")
    .argument('<prompt>', 'the question, or - for standard input')
    .option(
      '--max-tokens <n>',
      `longest answer (default: ${DEFAULT_TOKENS}, or what fits)`,
      wholeNumber('--max-tokens', 1),
    );
  typeOption(deviceOption(adapterOption(speculativeOption(samplingOptions(command)))))
    .option('--seed <n>', 'seed of the draws', wholeNumber('--seed', 0), 1)
    .option('--n <n>', 'answers', wholeNumber('--n', 1), 1)
    .option('--stop <text>', 'end an answer before this text; may be given more than once', collect, [])
    .option('--raw', 'go on with the prompt as plain text, without the template (tags in it are tokens)')
    .option('--json', 'print one JSON object an answer: response, thinking, answer, reason, tokens')
    .addHelpText(
      'after',
      `
Examples:
  dunwu generate runs/r1-zero-mini "小明有25个苹果，送出了7个，还剩多少个？"
  dunwu generate my-model "Mary has 80 cards and loses 21. How many are left?" --temperature 1 --n 4
  dunwu generate my-model - --json < question.txt
  dunwu generate my-model "Once upon a time" --raw
  dunwu generate runs/mtp-mini "Mary has 80 cards. #1 loses 21. How many are left?" --speculative`,
    )
    .action(async (model: string, prompt: string, flags: GenerateFlags) => generateCommand(model, prompt, flags));
}

async function generateCommand(given: string, prompt: string, flags: GenerateFlags): Promise<void> {
  const { folder } = await findModel(given);
  requireTokenizer(folder, 'a model reads and writes text through its tokenizer');
  const question = prompt === '-' ? await standardInput() : prompt;
  if (question === '' && !flags.raw)
    throw new UsageError('the prompt is empty: give a question, or - and standard input');
  if (flags.stop.includes('')) throw new UsageError('--stop: the text is empty');
  const [{ tokenizer, stopIds, ...opened }, { createGenerator, speculativeText }, { begunThought }, { AnswerPrinter }] =
    await Promise.all([
      openModel(folder, flags),
      import('./speculative.js'),
      import('../text/begun-thought.js'),
      import('./answer-printer.js'),
    ]);
  const tokens = await promptTokens(tokenizer, question, flags.raw === true);
  const generator = await createGenerator(opened, folder, flags.speculative === true);
  const { model } = generator;
  const ends = stopIds(model);
  const printer = new AnswerPrinter(tokenizer, {
    ends,
    stop: flags.stop,
    raw: flags.raw === true,
    thinking: begunThought(tokenizer, tokens) !== '',
  });
  const samples = await generator.generate([{ tokens, samples: flags.n, key: 'prompt' }], {
    sampling: {
      temperature: flags.temperature,
      top_p: flags.topP,
      top_k: flags.topK,
      max_tokens: longestAnswer(flags.maxTokens, model.config.max_position_embeddings, tokens.length),
      stop: [...flags.stop],
    },
    seed: flags.seed,
    stop: ends,
    tokenizer,
    ...(flags.json || flags.n > 1 ? {} : { onToken: (token) => printer.token(token) }),
  });
  model.dispose();
  if (!flags.json && flags.n === 1) printer.end(samples[0]?.reason ?? 'stop');
  else {
    for (const [index, { tokens: ids, reason }] of samples.entries()) {
      if (flags.json) process.stdout.write(`${JSON.stringify(printer.record(ids, index, reason))}\n`);
      else printer.whole(ids, index, reason);
    }
  }
  if (generator.stats !== null) process.stderr.write(`${speculativeText(generator.stats)}\n`);
}

/** What is asked for, as far as the model's positions reach. */
function longestAnswer(asked: number | undefined, limit: number, prompt: number): number {
  const room = limit - prompt;
  const explained = `the prompt has ${prompt} tokens, the model reaches to ${limit} (max_position_embeddings)`;
  if (room < 1) throw new UsageError(`the prompt is too long: ${explained}`);
  if (asked !== undefined && asked > room)
    throw new UsageError(`--max-tokens ${asked}: at most ${room} fit: ${explained}`);
  return asked ?? Math.min(room, DEFAULT_TOKENS);
}

/** The prompt's ids in the model's chat template; with `raw` the text itself, behind the begin-of-text token. */
async function promptTokens(tokenizer: Tokenizer, prompt: string, raw: boolean): Promise<number[]> {
  const { renderPrompt, SPECIAL_TOKENS } = await import('../text/template.js');
  const { bos, user, assistant } = tokenizer.special;
  if (raw) {
    const ids = tokenizer.encode(prompt, { allow_special: true });
    return bos === undefined || ids[0] === bos ? ids : [bos, ...ids];
  }
  const roles = bos !== undefined && user !== undefined && assistant !== undefined;
  if (roles || tokenizer.chat_template !== undefined) return renderPrompt(tokenizer, prompt);
  throw new UsageError(
    `${tokenizer.path}: has neither ${SPECIAL_TOKENS.user} and ${SPECIAL_TOKENS.assistant} nor a chat template; ` +
      'give --raw to go on with the prompt as plain text',
  );
}

async function standardInput(): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
  const text = Buffer.concat(chunks).toString('utf8');
  return text.endsWith('\n') ? text.slice(0, -1) : text; // the shell's last newline is not part of the question
}
