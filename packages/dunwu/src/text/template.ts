import { begunThought } from './begun-thought.js';
import { chatTokens, type Message } from './chat-prompt.js';
import { CHAT_TEMPLATE } from './chat-template.js';
import { type PromptLimit, PromptTooLong } from './prompt-limit.js';
import { cutAtStop } from './stop-strings.js';
import type { Tokenizer } from './tokenizer.js';

export { type Message, renderChatTemplate } from './chat-prompt.js';
export { SPECIAL_TOKEN_LIST, SPECIAL_TOKENS, type SpecialName } from './special-tokens.js';

/**
 * Documents as token ids. A document is
 *
 *     BOS <｜User｜> question <｜Assistant｜> response EOS
 *
 * and the prompt for generation ends after `<｜Assistant｜>`. Documents are put together from parts, never by encoding
 * one long string: a question that contains `<｜Assistant｜>` or `<think>` stays a question.
 */

/** R1-Zero's instruction before the question, in one of two languages, or no instruction. */
export type Instruction = 'none' | 'r1-zero-en' | 'r1-zero-zh';

export interface PromptOptions {
  /** Default `none`. */
  readonly instruction?: Instruction;
}

/** DeepSeek-R1 (arXiv 2501.12948), table 1, up to the question; the Chinese text says the same. */
export const R1_ZERO_INSTRUCTION: Readonly<Record<Exclude<Instruction, 'none'>, string>> = {
  'r1-zero-en':
    'A conversation between User and Assistant. The user asks a question, and the Assistant solves it. ' +
    'The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. ' +
    'The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, ' +
    'i.e., <think> reasoning process here </think> <answer> answer here </answer>.',
  'r1-zero-zh':
    '以下是用户与助手之间的对话。用户提出问题，助手解答。助手先在心中思考推理过程，再把答案告诉用户。' +
    '推理过程和答案分别写在 <think> </think> 和 <answer> </answer> 标签之中，' +
    '即 <think> 推理过程 </think> <answer> 答案 </answer>。',
};

/**
 * R1-Zero's prompt as plain text, for a base model without role tokens: the instruction, then
 * `User: question Assistant:` (用户：… 助手：).
 */
export function r1ZeroPromptText(question: string, language: 'en' | 'zh' = 'en'): string {
  return language === 'en'
    ? `${R1_ZERO_INSTRUCTION['r1-zero-en']} User: ${question} Assistant:`
    : `${R1_ZERO_INSTRUCTION['r1-zero-zh']}用户：${question}助手：`;
}

const TAG_PATTERN = /(<think>|<\/think>|<answer>|<\/answer>)/;
const TAG_NAME: Readonly<Record<string, 'think' | 'think_end' | 'answer' | 'answer_end'>> = {
  '<think>': 'think',
  '</think>': 'think_end',
  '<answer>': 'answer',
  '</answer>': 'answer_end',
};

/**
 * Ids of a text in which the four think and answer tags are tokens, as far as the tokenizer has them, and nothing else is
 * special: our own instructions, and responses, which may otherwise hold any text.
 */
export function encodeTagged(tokenizer: Tokenizer, text: string): number[] {
  const ids: number[] = [];
  let plain = '';
  const flush = (): void => {
    for (const id of tokenizer.encode(plain)) ids.push(id);
    plain = '';
  };
  for (const [i, part] of text.split(TAG_PATTERN).entries()) {
    const name = i % 2 === 1 ? TAG_NAME[part] : undefined;
    const id = name === undefined ? undefined : tokenizer.special[name];
    if (id === undefined) plain += part;
    else {
      flush();
      ids.push(id);
    }
  }
  flush();
  return ids;
}

/**
 * Whether turns are begun in our own way: a tokenizer that we trained, or one without a chat template. A checkpoint's own
 * template says otherwise even where the tokenizer has DeepSeek's role tokens: R1-Distill's begins the thought,
 * DeepSeek-V2-Chat's spells the roles out.
 */
export function inOwnForm({ special, chat_template }: Tokenizer): boolean {
  if (chat_template === undefined) return true;
  const complete = special.bos !== undefined && special.user !== undefined && special.assistant !== undefined;
  return complete && chat_template === CHAT_TEMPLATE;
}

/**
 * BOS [instruction] `<｜User｜>` question `<｜Assistant｜>`: what a response is generated after. Of a checkpoint with a chat
 * template of its own, what that says, with the instruction as the system's message.
 * Throws when the tokenizer lacks one of these tokens and has no chat template.
 */
export function renderPrompt(tokenizer: Tokenizer, question: string, options: PromptOptions = {}): number[] {
  const { instruction = 'none' } = options;
  if (!inOwnForm(tokenizer)) {
    const system: Message[] =
      instruction === 'none' ? [] : [{ role: 'system', content: R1_ZERO_INSTRUCTION[instruction] }];
    return chatTokens(tokenizer, [...system, { role: 'user', content: question }], { add_generation_prompt: true });
  }
  return [
    tokenizer.special_id('bos'),
    ...(instruction === 'none' ? [] : encodeTagged(tokenizer, R1_ZERO_INSTRUCTION[instruction])),
    tokenizer.special_id('user'),
    ...tokenizer.encode(question),
    tokenizer.special_id('assistant'),
  ];
}

/**
 * The prompt, the response with its tags as tokens, and EOS: what a model is trained on. Its first
 * `renderPrompt(…).length` ids are the prompt.
 */
export function renderDocument(
  tokenizer: Tokenizer,
  question: string,
  response: string,
  options: PromptOptions = {},
): number[] {
  const prompt = renderPrompt(tokenizer, question, options);
  return [...prompt, ...responseTokens(tokenizer, prompt, response), tokenizer.special_id('eos')];
}

/** A response's ids behind a prompt, tags as tokens: without `<think>` where the prompt has begun the thought already. */
export function responseTokens(tokenizer: Tokenizer, prompt: readonly number[], response: string): number[] {
  const begun = begunThought(tokenizer, prompt);
  const tag = begun.trim();
  if (tag === '' || !response.startsWith(tag)) return encodeTagged(tokenizer, response);
  const rest = response.startsWith(begun) ? response.slice(begun.length) : response.slice(tag.length);
  return encodeTagged(tokenizer, rest);
}

/**
 * The text of generated ids, up to the first id or text that ends a response, think and answer tags kept: what rewards read.
 * A thought that the prompt has begun is whole: its `<think>` is the text's beginning. Never throws.
 * @param options `prompt`: the ids that the response followed; `stop`: ids that end it (default: the tokenizer's EOS);
 *   `strings`: texts that do
 */
export function decodeResponse(
  tokenizer: Tokenizer,
  ids: Iterable<number>,
  options: {
    readonly prompt?: readonly number[];
    readonly stop?: readonly number[];
    readonly strings?: readonly string[] | undefined;
  } = {},
): string {
  const { eos } = tokenizer.special;
  const { prompt, stop = eos === undefined ? [] : [eos], strings = [] } = options;
  const kept: number[] = [];
  for (const id of ids) {
    if (stop.includes(id)) break;
    kept.push(id);
  }
  const begun = prompt === undefined ? '' : begunThought(tokenizer, prompt);
  return begun + cutAtStop(tokenizer.decode(kept), strings);
}

export interface MessageOptions extends PromptLimit {
  readonly add_generation_prompt?: boolean;
}

/**
 * A conversation as token ids: the same as encoding our chat template's text, except that no message can bring in
 * role tokens. Tags are tokens in assistant messages only. Of a checkpoint with a chat template of its own, what that says.
 */
export function renderMessages(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  options: MessageOptions = {},
): number[] {
  return inOwnForm(tokenizer) ? ownTokens(tokenizer, messages, options) : chatTokens(tokenizer, messages, options);
}

/** @throws Error for an unknown role, and when the tokenizer lacks one of our form's tokens */
function ownTokens(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  { add_generation_prompt = false, at_most }: MessageOptions = {},
): number[] {
  const ids = [tokenizer.special_id('bos')];
  // Not pushed with a spread: a long message has more tokens than a call may have arguments.
  const add = (more: readonly number[]): void => {
    for (const id of more) ids.push(id);
  };
  for (const { role, content } of messages) {
    PromptTooLong.check(tokenizer, content.length, at_most);
    if (role === 'system') add(tokenizer.encode(content));
    else if (role === 'user') {
      ids.push(tokenizer.special_id('user'));
      add(tokenizer.encode(content));
    } else if (role === 'assistant') {
      ids.push(tokenizer.special_id('assistant'));
      add(encodeTagged(tokenizer, content));
      ids.push(tokenizer.special_id('eos'));
    } else throw new Error(`messages: unknown role ${JSON.stringify(role)}; allowed are system, user, assistant`);
    PromptTooLong.checkTokens(ids.length, at_most);
  }
  if (add_generation_prompt) ids.push(tokenizer.special_id('assistant'));
  return ids;
}
