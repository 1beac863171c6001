import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { UsageError } from './errors.js';
import { findModel, requireTokenizer } from './model-folder.js';
import { openModel } from './open-model.js';
import {
  type AdapterFlag,
  adapterOption,
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

interface ChatFlags extends SamplingFlags, SpeculativeFlag, AdapterFlag, DeviceFlag, TypeFlag {
  readonly maxTokens: number;
  readonly seed: number;
  readonly system?: string;
}

/** Answers shorter than this are not worth beginning: earlier turns are forgotten first. */
const LEAST_ANSWER = 16;

const HELP = `/reset  begin anew   /system TEXT  set the system's message (none without TEXT)   /help   /exit
Ctrl-C ends an answer, Ctrl-D the conversation.`;

/** `dunwu chat MODEL`: a conversation in the terminal. */
export function registerChat(program: Command): void {
  const command = program
    .command('chat')
    .summary('talk with a model in the terminal')
    .description(
      'A conversation: what the model thinks is shown apart from what it answers, as it comes. Earlier questions and\n' +
        'answers are part of the prompt, earlier thoughts are not. When the positions of the model run out, the oldest turns\n' +
        'are forgotten, and that is said. In a pipe each line is a question.',
    )
    .argument('<model>', "a model's folder (with tokenizer.json), or a run folder: then its last model")
    .option('--max-tokens <n>', 'longest answer', wholeNumber('--max-tokens', 1), 1024);
  typeOption(deviceOption(adapterOption(speculativeOption(samplingOptions(command)))))
    .option('--seed <n>', 'seed of the draws: the same questions get the same answers', wholeNumber('--seed', 0), 1)
    .option('--system <text>', "the system's message")
    .addHelpText(
      'after',
      `
Within it:
  ${HELP.replace('\n', '\n  ')}

Examples:
  dunwu chat runs/r1-mini
  dunwu chat my-model --system "Answer in one sentence." --temperature 0
  dunwu chat my-model < questions.txt`,
    )
    .action(chatCommand);
}

async function chatCommand(given: string, flags: ChatFlags): Promise<void> {
  const { folder } = await findModel(given);
  requireTokenizer(folder, 'a model reads and writes text through its tokenizer');
  const [
    opened,
    { createGenerator, speculativeText },
    { checkChatTemplate },
    { begunThought },
    { Conversation },
    { AnswerPrinter },
  ] = await Promise.all([
    openModel(folder, flags),
    import('./speculative.js'),
    import('../text/chat-prompt.js'),
    import('../text/begun-thought.js'),
    import('./conversation.js'),
    import('./answer-printer.js'),
  ]);
  const { tokenizer, stopIds } = opened;
  const { user, assistant } = tokenizer.special;
  if ((user === undefined || assistant === undefined) && tokenizer.chat_template === undefined) {
    throw new UsageError(
      `${tokenizer.path}: has neither role tokens nor a chat template: a base model cannot chat; see dunwu generate --raw`,
    );
  }
  checkChatTemplate(tokenizer);
  const engine = await createGenerator(opened, folder, flags.speculative === true);
  const { model } = engine;
  const stop = stopIds(model);
  const conversation = new Conversation(tokenizer);
  if (flags.system !== undefined) conversation.system = flags.system;

  const terminal = process.stdin.isTTY === true;
  const lines = createInterface({
    input: process.stdin,
    ...(terminal ? { output: process.stdout, prompt: '> ' } : {}),
  });
  let answering: AbortController | null = null;
  lines.on('SIGINT', () => {
    if (answering === null) lines.close();
    else answering.abort();
  });
  if (terminal) process.stdout.write(`${HELP}\n`);
  let asked = 0;

  /** @returns false when the conversation is over */
  const turn = async (line: string): Promise<boolean> => {
    const [command = '', ...rest] = line.split(' ');
    if (command === '/exit' || command === '/quit') return false;
    if (command === '/help') process.stdout.write(`${HELP}\n`);
    else if (command === '/reset') conversation.reset();
    else if (command === '/system') conversation.system = rest.join(' ').trim();
    else if (command.startsWith('/')) process.stdout.write(`There is no ${command}.\n${HELP}\n`);
    if (line.trim() === '' || command.startsWith('/')) return true;
    const limit = model.config.max_position_embeddings;
    const prompt = conversation.ask(line, limit, Math.min(LEAST_ANSWER, flags.maxTokens));
    if (prompt === null) {
      process.stderr.write(`(the question is too long: the model reaches to ${limit} tokens)\n`);
      return true;
    }
    if (prompt.forgotten > 0)
      process.stderr.write(`(forgotten: the ${prompt.forgotten / 2} oldest questions and answers)\n`);
    const begun = begunThought(tokenizer, prompt.tokens);
    const printer = new AnswerPrinter(tokenizer, { ends: stop, thinking: begun !== '' });
    const said: number[] = [];
    answering = new AbortController();
    try {
      const [sample] = await engine.generate([{ tokens: prompt.tokens, samples: 1, key: `chat/${asked++}` }], {
        sampling: {
          temperature: flags.temperature,
          top_p: flags.topP,
          top_k: flags.topK,
          max_tokens: Math.min(flags.maxTokens, prompt.left),
        },
        seed: flags.seed,
        stop,
        signal: answering.signal,
        onToken: (token) => {
          said.push(token);
          printer.token(token);
        },
      });
      printer.end(sample?.reason ?? 'stop');
    } catch (error) {
      if (!answering.signal.aborted) throw error;
      printer.end('stop');
      process.stderr.write('(interrupted)\n');
    } finally {
      answering = null;
    }
    conversation.keep(line, begun + tokenizer.decode(said.filter((id) => !stop.includes(id))));
    return true;
  };

  try {
    if (terminal) lines.prompt();
    for await (const line of lines) {
      if (!(await turn(line))) break;
      if (terminal) lines.prompt();
    }
    if (engine.stats !== null) process.stderr.write(`${speculativeText(engine.stats)}\n`);
  } finally {
    lines.close();
    model.dispose();
  }
}
