import { describe, expect, it } from 'vitest';
import { MAX_ANSWER_TEXT } from './answer.js';
import { extractAnswerText } from './answer-text.js';

function summary(response: string, options = {}): string {
  const answer = extractAnswerText(response, options);
  if (answer.kind !== 'found') return answer.kind;
  expect(response.slice(...answer.span)).toBe(answer.text);
  return `${answer.form}: ${answer.text}`;
}

describe('extractAnswerText', () => {
  it.each([
    ['<answer> (0,1] </answer>', 'tag: (0,1]'],
    ['<answer>so \\boxed{\\frac{1}{2}} of it</answer>', 'tag: \\frac{1}{2}'],
    ['<answer>The answer is $x^2$.</answer>', 'tag: x^2'],
    ['<answer>1</answer> no, <answer> 1 </answer>', 'tag: 1'],
    ['<answer>1</answer><answer>2</answer>', 'several'],
    ['<answer></answer>', 'none'],
    ['<answer>\\{1,2\\}', 'tag: \\{1,2\\}'],
    ['First \\boxed{1}, so \\boxed{\\{1,2\\}}.', 'boxed: \\{1,2\\}'],
    ['\\boxed{\\frac{1}{2}', 'boxed: \\frac{1}{2}'],
    ['x = \\boxed{3}\n#### (1, 2)\nmore', 'hash: (1, 2)'],
    ['#### 1. Solve it\nso $x=2$', 'last-number: x=2'],
    ['The answer is $\\frac{3}{4}$, as 3 of 4.', 'phrase: \\frac{3}{4}'],
    ['The answer is: \\[ x^2 \\]', 'phrase: x^2'],
    ['The answer is (0, 1.5].', 'phrase: (0, 1.5]'],
    ['The answer is 5!. Done', 'phrase: 5!'],
    ['答案是 $\\{1,2\\}$。', 'phrase: \\{1,2\\}'],
    ['答案：x > 3。所以', 'phrase: x > 3'],
    ['<think>The answer is 2x.</think>The answer is 3x.', 'phrase: 3x'],
    ['We get $a=1$ and then \\(b = 2\\), fine.', 'last-number: b = 2'],
    ['It costs 18 dollars', 'last-number: 18'],
    ['', 'none'],
  ])('%j → %s', (response, answer) => {
    expect(summary(response)).toBe(answer);
  });

  it.each([
    ['\\boxed{1}', 'none'],
    ['<answer>1', 'none'],
    ['<answer><answer>1</answer></answer>', 'none'],
    ['<answer>So the answer is 3/4.</answer>', 'tag: 3/4'],
    ['<answer>所以答案是$\\frac34$。</answer>', 'tag: \\frac34'],
    ['<answer>2, or the answer is 1</answer>', 'tag: 2, or the answer is 1'],
    ['<answer>the answer is $1$ or 2</answer>', 'tag: $1$ or 2'],
  ])('only whole tags count in training: %j → %s', (response, answer) => {
    expect(summary(response, { requireTags: true })).toBe(answer);
  });

  it('without a fallback, what nothing marks is no answer', () => {
    expect(summary('so $x=2$', { fallback: 'none' })).toBe('none');
  });

  it.each(['$', '\\boxed{', '\\(', '<answer>', 'answer is ', '####', '答案：', ' '])(
    'reads the end of a megabyte of %j in bounded time',
    (piece) => {
      const text = piece.repeat(Math.ceil(1e6 / piece.length));
      const answer = extractAnswerText(`${text} The answer is $x$.`);
      const [span] = answer.kind === 'found' ? [answer.span] : answer.spans;
      expect((span?.[0] ?? text.length) >= text.length - MAX_ANSWER_TEXT).toBe(true);
    },
  );
});
