import { chatTokens, type Message } from './chat-prompt.js';
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

/** Whether a tokenizer has our own way to begin turns; else its chat template says how. */
function hasRoles({ special, chat_template }: Tokenizer): boolean {
  const complete = special.bos !== undefined && special.user !== undefined && special.assistant !== undefined;
  return complete || chat_template === undefined;
}

/**
 * BOS [instruction] `<｜User｜>` question `<｜Assistant｜>`: what a response is generated after. Of a tokenizer without these
 * tokens, what its chat template says, with the instruction as the system's message.
 * Throws when the tokenizer lacks one of these tokens and has no chat template.
 */
export function renderPrompt(tokenizer: Tokenizer, question: string, options: PromptOptions = {}): number[] {
  const { instruction = 'none' } = options;
  if (!hasRoles(tokenizer)) {
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
  return [
    ...renderPrompt(tokenizer, question, options),
    ...encodeTagged(tokenizer, response),
    tokenizer.special_id('eos'),
  ];
}

/** The text of generated ids, up to the first EOS, think and answer tags kept: what rewards read. Never throws. */
export function decodeResponse(tokenizer: Tokenizer, ids: Iterable<number>): string {
  const { eos } = tokenizer.special;
  const kept: number[] = [];
  for (const id of ids) {
    if (id === eos) break;
    kept.push(id);
  }
  return tokenizer.decode(kept);
}

/**
 * A conversation as token ids: the same as encoding our chat template's text, except that no message can bring in
 * role tokens. Tags are tokens in assistant messages only. Of a tokenizer without our role tokens, what its own chat
 * template says.
 */
export function renderMessages(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  options: { readonly add_generation_prompt?: boolean } = {},
): number[] {
  // Concatenated, not pushed with a spread: a long message has more tokens than a call may have arguments.
  if (!hasRoles(tokenizer)) return chatTokens(tokenizer, messages, options);
  let ids = [tokenizer.special_id('bos')];
  for (const { role, content } of messages) {
    if (role === 'system') ids = ids.concat(tokenizer.encode(content));
    else if (role === 'user') ids = ids.concat(tokenizer.special_id('user'), tokenizer.encode(content));
    else if (role === 'assistant') {
      const response = encodeTagged(tokenizer, content);
      ids = ids.concat(tokenizer.special_id('assistant'), response, tokenizer.special_id('eos'));
    } else throw new Error(`messages: unknown role ${JSON.stringify(role)}; allowed are system, user, assistant`);
  }
  if (options.add_generation_prompt) ids.push(tokenizer.special_id('assistant'));
  return ids;
}
