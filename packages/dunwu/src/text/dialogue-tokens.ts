import { encodeTagged, type Message, renderMessages } from './template.js';
import type { Tokenizer } from './tokenizer.js';

/**
 * Which tokens are learnt. `assistant`: every turn of the assistant with its end-of-text; `last`: the last such turn
 * only; `all`: every token.
 */
export type LossMask = 'assistant' | 'last' | 'all';

export interface DialogueTokens {
  readonly tokens: number[];
  /** 1 where predicting the token of this place counts, else 0; as long as `tokens`. */
  readonly mask: number[];
}

/**
 * A conversation in our own template, with what of it is learnt. An assistant's turn is learnt from its first token
 * after `<｜Assistant｜>` to its EOS: who speaks is told to the model, when to stop it must know itself.
 *
 * @throws Error for an unknown role, or when the tokenizer lacks one of the template's tokens.
 */
export function dialogueTokens(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  loss: LossMask = 'assistant',
): DialogueTokens {
  const tokens = renderMessages(tokenizer, messages);
  if (loss === 'all') return { tokens, mask: tokens.map(() => 1) };
  const mask = new Array<number>(tokens.length).fill(0);
  const last = messages.findLastIndex(({ role }) => role === 'assistant');
  let at = 1;
  messages.forEach(({ role, content }, index) => {
    if (role !== 'assistant') {
      at += tokenizer.encode(content).length + (role === 'user' ? 1 : 0);
      return;
    }
    const begin = at + 1;
    at = begin + encodeTagged(tokenizer, content).length + 1;
    if (loss === 'assistant' || index === last) mask.fill(1, begin, at);
  });
  return { tokens, mask };
}
