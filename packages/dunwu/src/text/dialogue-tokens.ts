import {
  encodeTagged,
  inOwnForm,
  type Message,
  renderChatTemplate,
  renderMessages,
  responseTokens,
} from './template.js';
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
 * A conversation as it is asked for and answered (template.ts), with what of it is learnt. An assistant's turn is learnt from
 * its first token after the prompt to its EOS: who speaks is told to the model, when to stop it must know itself.
 *
 * Of a checkpoint with a chat template of its own the prompts are what that says, and the turns to learn are what was said,
 * thoughts that the template would leave out included; see {@link promptedTokens}.
 *
 * @throws Error for an unknown role, or when the tokenizer lacks one of the template's tokens.
 */
export function dialogueTokens(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  loss: LossMask = 'assistant',
): DialogueTokens {
  if (!inOwnForm(tokenizer)) return promptedTokens(tokenizer, messages, loss);
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

/**
 * Each turn that is learnt behind the prompt that its chat template makes of the messages before it.
 * @throws Error when the template writes an earlier turn that is learnt too otherwise than it was said
 */
function promptedTokens(tokenizer: Tokenizer, messages: readonly Message[], loss: LossMask): DialogueTokens {
  const eos = tokenizer.special_id('eos');
  const turns = messages.flatMap(({ role }, index) => (role === 'assistant' ? [index] : []));
  const tokens: number[] = [];
  const mask: number[] = [];
  const add = (ids: readonly number[], weight: 0 | 1): void => {
    for (const id of ids) {
      tokens.push(id);
      mask.push(loss === 'all' ? 1 : weight);
    }
  };
  /** Adds what a prompt has beyond the tokens so far, which it begins with. */
  const goOn = (prompt: readonly number[], index: number): void => {
    if (tokens.some((id, i) => prompt[i] !== id)) {
      throw new Error(
        `chat template: before message ${index + 1} it writes the assistant's earlier turns otherwise than they were said, without their reasoning perhaps; use mask: last`,
      );
    }
    add(prompt.slice(tokens.length), 0);
  };
  for (const index of loss === 'last' ? turns.slice(-1) : turns) {
    const prompt = renderMessages(tokenizer, messages.slice(0, index), { add_generation_prompt: true });
    goOn(prompt, index);
    add([...responseTokens(tokenizer, prompt, messages[index]?.content ?? ''), eos], 1);
  }
  if (turns.at(-1) !== messages.length - 1) goOn(renderMessages(tokenizer, messages), messages.length - 1);
  return { tokens, mask };
}

/**
 * A conversation in the tokenizer's own chat template (jinja), with what of it is learnt: of
 * an assistant's turn, what comes after the template's generation prompt, up to and with the end-of-text token.
 *
 * A template may do things that cannot be trained on as they stand, such as leaving out the reasoning of earlier turns;
 * each of them is an error, never a mask in the wrong place.
 *
 * @throws Error when there is no template or end-of-text token, when the turns cannot be told apart in what it renders,
 *   when it leaves out what the assistant said, and when a message contains a special token.
 */
export function chatDialogueTokens(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  loss: LossMask = 'assistant',
): DialogueTokens {
  const { chat_template: template, special } = tokenizer;
  if (template === undefined)
    throw new Error(`${tokenizer.path}: has no chat_template (chat_template.jinja, or tokenizer_config.json)`);
  const eos = special.eos === undefined ? undefined : tokenizer.id_to_token(special.eos);
  if (eos === undefined) throw new Error(`${tokenizer.path}: has no end-of-text token (eos_token)`);
  const bos = special.bos === undefined ? undefined : tokenizer.id_to_token(special.bos);
  const render = (count: number, add_generation_prompt: boolean): string =>
    renderChatTemplate(template, messages.slice(0, count), { bos_token: bos, eos_token: eos, add_generation_prompt });
  for (const [index, message] of messages.entries()) checkNoSpecial(tokenizer, message, index);

  const whole = render(messages.length, false);
  const turns: [start: number, end: number][] = [];
  messages.forEach(({ role, content }, index) => {
    if (role !== 'assistant') return;
    const [before, after] = [render(index, true), render(index + 1, false)];
    if (!after.startsWith(before) || !whole.startsWith(after)) {
      throw new Error(
        `chat template: message ${index + 1} does not stand as it would be generated; use template: dunwu`,
      );
    }
    const said = after.indexOf(content.trim(), before.length);
    if (said < 0) {
      throw new Error(
        `chat template: it leaves out (part of) what the assistant says in message ${index + 1}, reasoning perhaps; use template: dunwu`,
      );
    }
    const end = after.indexOf(eos, said + content.trim().length);
    if (end < 0) {
      throw new Error(
        `chat template: message ${index + 1} does not end in ${eos}: a model trained on it would never stop`,
      );
    }
    turns.push([before.length, end + eos.length]);
  });

  const learnt = loss === 'last' ? turns.slice(-1) : turns;
  const tokens: number[] = [];
  const mask: number[] = [];
  let at = 0;
  const add = (end: number, weight: 0 | 1): void => {
    for (const id of tokenizer.encode(whole.slice(at, end), { allow_special: true })) {
      tokens.push(id);
      mask.push(loss === 'all' ? 1 : weight);
    }
    at = end;
  };
  for (const [start, end] of learnt) {
    add(start, 0);
    add(end, 1);
  }
  add(whole.length, 0);
  if (String(tokens) !== String(tokenizer.encode(whole, { allow_special: true }))) {
    throw new Error('chat template: a token goes across the border of an assistant turn; use template: dunwu');
  }
  return { tokens, mask };
}

/** A role token within a message would begin another turn. Tags are the assistant's to use. */
function checkNoSpecial(tokenizer: Tokenizer, { role, content }: Message, index: number): void {
  const text = role === 'assistant' ? content.replaceAll(/<\/?(?:think|answer)>/g, ' ') : content;
  const [plain, special] = [tokenizer.encode(text), tokenizer.encode(text, { allow_special: true })];
  if (String(plain) !== String(special)) {
    throw new Error(`message ${index + 1} (${role}) contains a special token of this tokenizer; use template: dunwu`);
  }
}
