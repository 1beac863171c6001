import { dirname } from 'node:path';
import { Template } from '@huggingface/jinja';
import { errorText, UsageError } from '../util/errors.js';
import { type PromptLimit, PromptTooLong } from './prompt-limit.js';
import type { Tokenizer } from './tokenizer.js';

export interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/**
 * Renders any model's chat template (jinja) to text. Encode it with `allow_special: true`;
 * mind that special tokens written inside a message are then recognised too: {@link chatTokens} does not. `variables` are
 * what the template may read, for example `bos_token`. Throws the template's own errors and those of its syntax.
 */
export function renderChatTemplate(
  template: string,
  messages: readonly Message[],
  variables: Readonly<Record<string, unknown>> = {},
): string {
  try {
    return new Template(template).render({ messages, add_generation_prompt: false, ...variables });
  } catch (error) {
    throw new Error(`chat template: ${errorText(error)}`);
  }
}

/**
 * Before anything is asked of it: whether the tokenizer's chat template can be read, if it has one.
 * @throws UsageError naming its folder
 */
export function checkChatTemplate({ chat_template, path }: Pick<Tokenizer, 'chat_template' | 'path'>): void {
  try {
    if (chat_template !== undefined) new Template(chat_template);
  } catch (error) {
    throw new UsageError(
      `${dirname(path)}: the chat template (chat_template.jinja, or in tokenizer_config.json) is not valid: ${errorText(error)}`,
    );
  }
}

/**
 * A conversation as token ids by the tokenizer's own chat template: what Hugging Face's `apply_chat_template` gives, but for
 * special tokens that a message spells out, which stay characters. In a user's or system's message no added token is
 * recognised; in an assistant's those that are not special are, and think and answer tags, which templates look for.
 * @throws Error when the tokenizer has no template, or the template fails.
 */
export function chatTokens(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  { at_most, ...options }: PromptLimit & { readonly add_generation_prompt?: boolean } = {},
): number[] {
  const { chat_template: template } = tokenizer;
  if (template === undefined) {
    throw new Error(
      `${tokenizer.path}: has neither role tokens (<｜User｜>, <｜Assistant｜>) nor a chat template (chat_template.jinja, or tokenizer_config.json)`,
    );
  }
  const name = (special: number | undefined): string | undefined =>
    special === undefined ? undefined : tokenizer.id_to_token(special);
  const { bos, eos, pad } = tokenizer.special;
  const break_ = unused(messages);
  const rendered = renderChatTemplate(
    template,
    messages.map(({ role, content }) => ({
      role,
      content: tokenizer.breakAdded(content, break_, { keepPlain: role === 'assistant' }),
    })),
    { bos_token: name(bos) ?? '', eos_token: name(eos), pad_token: name(pad), ...options },
  );
  // Not the messages: a template may leave parts of them out.
  PromptTooLong.check(tokenizer, rendered.length - (rendered.split(break_).length - 1), at_most);
  return tokenizer.encode(rendered, { allow_special: true, ignore: break_ });
}

/** A private-use character that no message has. One look at each character: a message may be long and have all but one. */
function unused(messages: readonly Message[]): string {
  const [first, end] = [0xe000, 0xf8ff];
  const taken = new Set<number>();
  for (const { content } of messages) {
    for (let i = 0; i < content.length; i++) {
      const code = content.charCodeAt(i);
      if (code >= first && code < end) taken.add(code);
    }
  }
  for (let code = first; code < end; code++) if (!taken.has(code)) return String.fromCharCode(code);
  throw new Error('messages: every private-use character occurs in them');
}
