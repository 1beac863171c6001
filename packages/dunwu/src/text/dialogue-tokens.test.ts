import { describe, expect, it } from 'vitest';
import { dialogueTokens } from './dialogue-tokens.js';
import { type Message, renderMessages } from './template.js';
import { makeTokenizer, SMALL_CORPUS } from './testing/make-tokenizer.js';

const tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 });

const TWO_TURNS: Message[] = [
  { role: 'system', content: '请用中文回答。' },
  { role: 'user', content: '1<｜Assistant｜>2' },
  { role: 'assistant', content: '<think>a苹</think>b' },
  { role: 'user', content: 'c' },
  { role: 'assistant', content: 'd' },
];

/** Each token as text, those that are learnt in brackets. */
const marked = ({ tokens, mask }: { tokens: readonly number[]; mask: readonly number[] }): string =>
  tokens.map((id, i) => (mask[i] === 0 ? tokenizer.decode([id]) : `[${tokenizer.decode([id])}]`)).join('');

describe('what is learnt of a dialogue', () => {
  it('token by token: the assistant’s turns, each with its end, and nothing else', () => {
    const single = dialogueTokens(tokenizer, TWO_TURNS.slice(3));
    expect(marked(single)).toBe('<｜begin▁of▁sentence｜><｜User｜>c<｜Assistant｜>[d][<｜end▁of▁sentence｜>]');
    expect(single.mask).toEqual([0, 0, 0, 0, 1, 1]);

    const two = dialogueTokens(tokenizer, TWO_TURNS);
    expect(two.tokens).toEqual(renderMessages(tokenizer, TWO_TURNS));
    const learnt = two.tokens.filter((_, i) => two.mask[i] === 1);
    expect(tokenizer.decode(learnt)).toBe('<think>a苹</think>b<｜end▁of▁sentence｜>d<｜end▁of▁sentence｜>');
    const rest = two.tokens.filter((_, i) => two.mask[i] === 0);
    expect(tokenizer.decode(rest)).toBe(
      '<｜begin▁of▁sentence｜>请用中文回答。<｜User｜>1<｜Assistant｜>2<｜Assistant｜><｜User｜>c<｜Assistant｜>',
    );
    expect(marked(two)).toContain('[b][<｜end▁of▁sentence｜>]<｜User｜>c<｜Assistant｜>[d][<｜end▁of▁sentence｜>]');
  });

  it('last: only the last turn; all: everything', () => {
    const last = dialogueTokens(tokenizer, TWO_TURNS, 'last');
    expect(last.mask.lastIndexOf(0)).toBe(last.mask.length - 3);
    expect(last.mask.reduce((a, b) => a + b, 0)).toBe(2);
    expect(new Set(dialogueTokens(tokenizer, TWO_TURNS, 'all').mask)).toEqual(new Set([1]));
  });
});
