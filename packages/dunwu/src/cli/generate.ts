import type { Command } from 'commander';
import type { Tokenizer } from '../text/tokenizer.js';
import { visible } from '../util/visible.js';
import { UsageError } from './errors.js';
import { findModel, requireTokenizer, requireVocabulary } from './model-folder.js';
import { realNumber, wholeNumber } from './options.js';
import { type ResponsePart, ResponseReader } from './response-reader.js';

interface GenerateFlags {
  readonly maxTokens?: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly seed: number;
  readonly n: number;
  readonly raw?: boolean;
  readonly json?: boolean;
}

const DEFAULT_TOKENS = 512;

/** `dunwu generate MODEL PROMPT`: lets a model answer. */
export function registerGenerate(program: Command): void {
  program
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
    )
    .option('--temperature <x>', '0 takes the most likely token each time', realNumber('--temperature', 0), 0.6)
    .option(
      '--top-p <x>',
      'draw among the likeliest tokens that reach this share',
      realNumber('--top-p', 0, 1, true),
      0.95,
    )
    .option('--top-k <n>', 'draw among the n likeliest tokens; 0 means all', wholeNumber('--top-k', 0), 0)
    .option('--seed <n>', 'seed of the draws', wholeNumber('--seed', 0), 1)
    .option('--n <n>', 'answers', wholeNumber('--n', 1), 1)
    .option('--raw', 'go on with the prompt as plain text, without the template (tags in it are tokens)')
    .option('--json', 'print one JSON object an answer: response, thinking, answer, reason, tokens')
    .addHelpText(
      'after',
      `
Examples:
  dunwu generate runs/r1-zero-mini "小明有25个苹果，送出了7个，还剩多少个？"
  dunwu generate my-model "Mary has 80 cards and loses 21. How many are left?" --temperature 1 --n 4
  dunwu generate my-model - --json < question.txt
  dunwu generate my-model "Once upon a time" --raw`,
    )
    .action(async (model: string, prompt: string, flags: GenerateFlags) => generateCommand(model, prompt, flags));
}

async function generateCommand(given: string, prompt: string, flags: GenerateFlags): Promise<void> {
  const { folder } = await findModel(given);
  requireTokenizer(folder, 'a model reads and writes text through its tokenizer');
  const question = prompt === '-' ? await standardInput() : prompt;
  if (question === '' && !flags.raw)
    throw new UsageError('the prompt is empty: give a question, or - and standard input');
  const [{ endOfTextIds, loadModel }, { RolloutEngine }, { Tokenizer }, { chooseCompute }] = await Promise.all([
    import('../model/checkpoint.js'),
    import('../rollout/engine.js'),
    import('../text/tokenizer.js'),
    import('../train/compute.js'),
  ]);
  const tokenizer = Tokenizer.load(folder);
  const tokens = await promptTokens(tokenizer, question, flags.raw === true);
  chooseCompute();
  const model = loadModel(folder);
  requireVocabulary(folder, tokenizer.vocab_size, model.config.vocab_size);
  const { eos } = tokenizer.special;
  const stop = [...new Set([...endOfTextIds(folder, model.config), ...(eos === undefined ? [] : [eos])])];
  const printer = new Printer(tokenizer, stop, flags);
  const samples = await new RolloutEngine(model).generate([{ tokens, samples: flags.n, key: 'prompt' }], {
    sampling: {
      temperature: flags.temperature,
      top_p: flags.topP,
      top_k: flags.topK,
      max_tokens: longestAnswer(flags.maxTokens, model.config.max_position_embeddings, tokens.length),
    },
    seed: flags.seed,
    stop,
    ...(flags.json || flags.n > 1 ? {} : { onToken: (token) => printer.token(token) }),
  });
  model.dispose();
  if (!flags.json && flags.n === 1) {
    printer.end(samples[0]?.reason ?? 'stop');
    return;
  }
  for (const [index, { tokens: ids, reason }] of samples.entries()) {
    if (flags.json) process.stdout.write(`${JSON.stringify(printer.record(ids, index, reason))}\n`);
    else printer.whole(ids, index, reason);
  }
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

/**
 * The prompt's ids: our template where the tokenizer has its roles, else the model's own chat template; with `raw` the
 * text itself, behind the begin-of-text token.
 */
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

const LABELS: Readonly<Record<ResponsePart, string>> = { thinking: 'Thinking', answer: 'Answer', other: '' };

/** Prints answers: the thinking dimmed in a terminal, each part under its name. */
class Printer {
  readonly #tokenizer: Tokenizer;
  readonly #stop: ReadonlySet<number>;
  readonly #raw: boolean;
  readonly #colour: boolean;
  readonly #reader: ResponseReader;
  #part: ResponsePart | null = null;
  #written = false;
  #lineOpen = false;

  constructor(tokenizer: Tokenizer, stop: readonly number[], flags: GenerateFlags) {
    this.#tokenizer = tokenizer;
    this.#stop = new Set(stop);
    this.#raw = flags.raw === true;
    this.#colour = process.stdout.isTTY === true && (process.env.NO_COLOR ?? '') === '' && process.env.TERM !== 'dumb';
    this.#reader = new ResponseReader(tokenizer, this.#raw);
  }

  token(id: number): void {
    if (this.#stop.has(id)) return;
    for (const { part, text } of this.#reader.push(id)) this.#write(part, text);
  }

  end(reason: 'stop' | 'length'): void {
    for (const { part, text } of this.#reader.end()) this.#write(part, text);
    if (this.#lineOpen) process.stdout.write('\n');
    this.#part = null;
    this.#written = false;
    this.#lineOpen = false;
    if (reason === 'length') process.stderr.write('(cut at --max-tokens)\n');
  }

  whole(ids: readonly number[], index: number, reason: 'stop' | 'length'): void {
    process.stdout.write(`${index === 0 ? '' : '\n'}${this.#bold(`[${index + 1}]`)}\n`);
    for (const id of ids) this.token(id);
    this.end(reason);
  }

  record(ids: readonly number[], index: number, reason: 'stop' | 'length'): unknown {
    const kept = ids.filter((id) => !this.#stop.has(id));
    const texts: Record<ResponsePart, string | null> = { thinking: null, answer: null, other: null };
    for (const { part, text } of [...kept.flatMap((id) => this.#reader.push(id)), ...this.#reader.end()]) {
      texts[part] = (texts[part] ?? '') + text;
    }
    return {
      index,
      response: this.#tokenizer.decode(kept),
      thinking: texts.thinking?.trim() ?? null,
      answer: texts.answer?.trim() ?? null,
      reason,
      tokens: ids.length,
    };
  }

  #write(part: ResponsePart, text: string): void {
    let shown = visible(text);
    if (part !== this.#part) {
      shown = shown.trimStart();
      if (shown === '') return; // blanks between two parts
      const label = LABELS[part];
      const gap = this.#lineOpen ? '\n\n' : this.#written ? '\n' : '';
      process.stdout.write(`${gap}${label === '' ? '' : `${this.#bold(`${label}:`)}\n`}`);
      this.#part = part;
    }
    if (shown === '') return;
    process.stdout.write(this.#colour && part === 'thinking' ? `\u001b[2m${shown}\u001b[22m` : shown);
    this.#written = true;
    this.#lineOpen = !shown.endsWith('\n');
  }

  #bold(text: string): string {
    return this.#colour ? `\u001b[1m${text}\u001b[22m` : text;
  }
}
