import { describe, expect, it } from 'vitest';
import { chatDialogueTokens, dialogueTokens } from './dialogue-tokens.js';
import { type Message, renderMessages } from './template.js';
import { makeTokenizer, R1_DISTILL_TEMPLATE, SMALL_CORPUS } from './testing/make-tokenizer.js';
import type { Tokenizer } from './tokenizer.js';

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

describe('of a checkpoint with a template of its own: its prompts, and what was said', async () => {
  const distilled = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 }, R1_DISTILL_TEMPLATE);
  const plain = TWO_TURNS.map((message) => ({ ...message, content: message.content.replace('<｜Assistant｜>', '+') }));

  it('a thought is learnt though the template would leave it out; its tag is the prompt’s', () => {
    const text = '<｜begin▁of▁sentence｜>c<｜User｜>1+2<｜Assistant｜><think>\n[a][</think>][b][<｜end▁of▁sentence｜>]';
    const turn = [{ role: 'system', content: 'c' } as const, ...plain.slice(1, 3)];
    const said = turn.map((one) => ({ ...one, content: one.content.replace('苹', '') }));
    for (const loss of ['assistant', 'last'] as const) expect(marked(dialogueTokens(distilled, said, loss))).toBe(text);
    expect(new Set(dialogueTokens(distilled, said, 'all').mask)).toEqual(new Set([1]));
  });

  it('the last of two turns: the first as the template has it; both cannot be, where it is changed', () => {
    expect(marked(dialogueTokens(distilled, plain.slice(1), 'last'))).toBe(
      '<｜begin▁of▁sentence｜><｜User｜>1+2<｜Assistant｜>b<｜end▁of▁sentence｜>' +
        '<｜User｜>c<｜Assistant｜><think>\n[d][<｜end▁of▁sentence｜>]',
    );
    expect(() => dialogueTokens(distilled, plain, 'assistant')).toThrow(/before message 5 .* use mask: last$/);
  });

  it('two turns that the template writes as they were said; a question behind them is not learnt', async () => {
    const template =
      "{% for m in messages %}{{ '<｜User｜>' if m.role == 'user' else '<｜Assistant｜>' }}{{ m.content }}" +
      "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}";
    const spoken = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 }, template);
    const talk: Message[] = [
      { role: 'user', content: 'c' },
      { role: 'assistant', content: '<think>a</think>b' },
      { role: 'user', content: 'c' },
      { role: 'assistant', content: 'd' },
      { role: 'user', content: 'e' },
    ];
    expect(marked(dialogueTokens(spoken, talk))).toBe(
      '<｜User｜>c<｜Assistant｜>[<think>][a][</think>][b][<｜end▁of▁sentence｜>]' +
        '<｜User｜>c<｜Assistant｜>[d][<｜end▁of▁sentence｜>]<｜User｜>e',
    );
  });
});

describe('a chat template', () => {
  const harmless = TWO_TURNS.map((message) => ({
    ...message,
    content: message.content.replace('<｜Assistant｜>', '+'),
  }));
  /** The same tokenizer with another template. */
  const having = (chat_template: string | undefined): Tokenizer =>
    new Proxy(tokenizer, {
      get(target, key) {
        if (key === 'chat_template') return chat_template;
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  const PLAIN =
    "{{ bos_token }}{% for m in messages %}{{ '<｜' + (m.role | capitalize) + '｜>' + m.content }}" +
    "{% if m.role == 'assistant' %}{{ eos_token + '\n' }}{% endif %}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}";

  it('our own: the same tokens and masks', () => {
    for (const loss of ['assistant', 'last', 'all'] as const) {
      expect(chatDialogueTokens(tokenizer, harmless, loss)).toEqual(dialogueTokens(tokenizer, harmless, loss));
    }
  });

  it('of another kind: up to the end-of-text token, not the line break behind it', () => {
    const text = marked(chatDialogueTokens(having(PLAIN), harmless.slice(1)));
    expect(text).toBe(
      '<｜begin▁of▁sentence｜><｜User｜>1+2<｜Assistant｜>[<think>][a][\uFFFD][\uFFFD][</think>][b][<｜end▁of▁sentence｜>]\n' +
        '<｜User｜>c<｜Assistant｜>[d][<｜end▁of▁sentence｜>]\n',
    );
  });

  it.each([
    ['nothing', undefined, 'has no chat_template (chat_template.jinja, or tokenizer_config.json)'],
    ['a template that drops reasoning', PLAIN.replace('m.content', "m.content.split('</think>')[-1]"), 'leaves out'],
    [
      'one that changes earlier turns',
      PLAIN.replace('m.content', '(m.content if loop.last else 1)'),
      'as it would be generated',
    ],
    ['one without end-of-text', PLAIN.replace('eos_token +', ''), 'does not end in <｜end▁of▁sentence｜>'],
    ['no generation prompt', PLAIN.replace("{{ '<｜Assistant｜>' }}", 'x'), 'as it would be generated'],
  ])('refused: %s', (_, template, message) => {
    expect(() => chatDialogueTokens(having(template), harmless.slice(1))).toThrow(message);
  });

  it('a special token within a message is refused', () => {
    expect(() => chatDialogueTokens(tokenizer, TWO_TURNS)).toThrow('message 2 (user) contains a special token');
  });
});
