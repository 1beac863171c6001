import { describe, expect, it } from 'vitest';
import { type ExtractOptions, extractAnswer, MAX_ANSWER_TEXT, parseGold } from './answer.js';

/** "18 hash": the value and what marked it; or the kind when there is not one answer. */
function summary(response: string, options?: ExtractOptions): string {
  const answer = extractAnswer(response, options);
  if (answer.kind !== 'found') return answer.kind;
  return `${answer.number.value.toFraction()}${answer.number.percent ? '%' : ''} ${answer.form}`;
}

function taken(response: string): string {
  const answer = extractAnswer(response);
  return answer.kind === 'found' ? response.slice(...answer.span) : answer.kind;
}

/** What models write, and the answer a person reads there. */
const CASES: readonly (readonly [response: string, answer: string])[] = [
  ['#### 18', '18 hash'],
  ['She makes 9 * 2 = $18.\n#### 18', '18 hash'],
  ['#### $1,234.50', '2469/2 hash'],
  ['#### **18**', '18 hash'],
  ['#### -5', '-5 hash'],
  ['####18', '18 hash'],
  ['#### 50%', '50% hash'],
  ['#### 18 dollars', '18 hash'],
  ['#### Step 1: Compute\n16-3-4 = 9\n#### Step 2: Multiply\n9*2=18\n\nThe total is **$18**.', '18 last-number'],
  ['#### 1. Compute the eggs\n16-3=13\n#### 2. Multiply\n13*2 = 26 dollars', '26 last-number'],
  ['#### 5 + 3 = 8', '8 hash'],
  ['A: 18', '18 phrase'],
  ['Some reasoning 4+5=9.\nA: 9', '9 phrase'],
  ['A: Janet has 16 eggs.\nShe sells 16 - 3 - 4 = 9.\nShe makes 9*2 = 18 dollars.', '18 last-number'],
  ['Answer: 18 apples', '18 phrase'],
  ['**Answer:** 18', '18 phrase'],
  ['**Answer: $18**', '18 phrase'],
  ['Answer: **18 dollars**', '18 phrase'],
  ['**Final Answer**\n\n18', '18 phrase'],
  ['## Final Answer\n\nJanet makes **$18** per day.', '18 phrase'],
  ['The answer is 18.', '18 phrase'],
  ['The answer is: $18.00', '18 phrase'],
  ['The answer is $\\boxed{18}$.', '18 boxed'],
  ['The final answer is: $\\boxed{18}$', '18 boxed'],
  ['The final answer is \\(18\\).', '18 phrase'],
  ['The answer is $18$.', '18 phrase'],
  ['The answer is \\$18.', '18 phrase'],
  ['So the answer is 9 * 2 = 18.', '18 phrase'],
  ['The answer is 1/2.', '1/2 phrase'],
  ['The answer is 1 1/2 hours.', '3/2 phrase'],
  ['The answer is \\frac{3}{4}.', '3/4 phrase'],
  ['\\boxed{\\frac{3}{4}}', '3/4 boxed'],
  ['\\boxed{\\dfrac{3}{4}}', '3/4 boxed'],
  ['\\boxed{1\\frac{1}{2}}', '3/2 boxed'],
  ['\\boxed{-\\frac{3}{4}}', '-3/4 boxed'],
  ['\\boxed{18 \\text{ dollars}}', '18 boxed'],
  ['\\boxed{\\$18}', '18 boxed'],
  ['\\boxed{1{,}000}', '1000 boxed'],
  ['\\boxed{1,000}', '1000 boxed'],
  ['\\boxed{x = 5}', '5 boxed'],
  ['\\boxed{\\text{No}}', 'none'],
  ['\\boxed{18, 20}', 'several'],
  ['\\boxed{20 \\text{ cm}^2}', '20 boxed'],
  ['First \\boxed{9} then \\boxed{18}.', '18 boxed'],
  ['\\[ \\boxed{18} \\]\nThis is because 9 × 2 = 18 and she has 7 days.', '18 boxed'],
  ['<answer>18</answer>', '18 tag'],
  ['<think>16-3=13</think><answer>13 eggs</answer>', '13 tag'],
  ['<answer>18, 20</answer>', 'several'],
  ['<answer>1 2 3 4 5</answer>', 'several'],
  ['<answer>18</answer> <answer>20</answer>', 'several'],
  ['<answer>18</answer> <answer>18.0</answer>', '18 tag'],
  ['<answer>9 * 2 = 18</answer>', '18 tag'],
  ['<answer>x = 5</answer>', '5 tag'],
  ['<answer></answer>', 'none'],
  ['<answer>no idea</answer>', 'none'],
  ['<answer>18 or 20</answer>', 'several'],
  ['<answer>$18.50</answer>', '37/2 tag'],
  ['<answer>\\boxed{18}</answer>', '18 tag'],
  ['<answer>十八</answer>', '18 tag'],
  ['答案是18', '18 phrase'],
  ['答案：18', '18 phrase'],
  ['答案是 18 元。', '18 phrase'],
  ['答案为：18个', '18 phrase'],
  ['所以答案是三十八个。', '38 phrase'],
  ['**答案：** 18', '18 phrase'],
  ['答：一共买了18小包茶叶。', '18 phrase'],
  ['3×6=18（包）\n答：一共买了18小包茶叶。', '18 phrase'],
  ['一共买了3×6=18小包茶叶。', '18 last-number'],
  ['答案：１８', '18 phrase'],
  ['答案是−5', '-5 phrase'],
  ['最终答案：3分之2', '2/3 phrase'],
  ['答案是三分之二', '2/3 phrase'],
  ['答案是百分之四十', '40% phrase'],
  ['答案是2万', '2 phrase'],
  ['因此，小明有 \\( 18 \\) 个苹果。', '18 last-number'],
  ['So she makes 9*2 = $18 every day.', '18 last-number'],
  ['so the total = 18 dollars.', '18 last-number'],
  ['It takes **18 days** for 5 workers.', '18 last-number'],
  ['4 * 5 = 20. So 20 students in 3 classes were there.', '20 last-number'],
  ['She has 18 because 20 - 2 = 18 and 5 > 3.', '18 last-number'],
  ['The ratio is 3:4.', '3/4 last-number'],
  ['The answer is 15-20.', 'several'],
  ['The answer is 18 or 20.', 'several'],
  ['The answer is ≈ 18.33', '1833/100 phrase'],
  ['The answer is approximately 18.33.', '1833/100 phrase'],
  ['x = 5', '5 last-number'],
  ['The total is 20\u200b0.', '200 last-number'],
  ['The answer is 2.5 million.', '5/2 phrase'],
  ['The answer is 3.2e5.', '320000 phrase'],
  ['The answer is 3 \\times 10^5.', '300000 phrase'],
  ['The answer is 20 m^2.', '20 phrase'],
  ['I do not know.', 'none'],
  ['', 'none'],
  ['The answer is eighteen.', '18 phrase'],
  ['The answer is 5.\n\nQuestion: Tom has 3 apples and 4 pears. How many?\nAnswer: The answer is 7.', '5 phrase'],
  ['Answer: 18\nExplanation: 16-3-4 = 9, then 9*2=18 for 1 day.', '18 phrase'],
  ['<think>The answer is 20? No.</think>\nThe answer is 18.', '18 phrase'],
  ['<think>9*2 = 18. The answer is 18.</think>', '18 phrase'],
  ['Therefore, the answer to the question is 18.', '18 phrase'],
  ['The correct answer would be 18 eggs.', '18 phrase'],
  ['Thus she pays $1,080 in total.', '1080 last-number'],
  ['Total: $ 18', '18 last-number'],
  ['The number of eggs is 16-3-4=<<16-3-4=9>>9', '9 last-number'],
  ['He saves 210/350 = 0.6 or 60%.', '60% last-number'],
  ['The temperature is -5 degrees.', '-5 last-number'],
  ['Final Answer: 3/4 of the cake', '3/4 phrase'],
  ['Answer = 42', '42 phrase'],
  ['**18**', '18 last-number'],
  ['18', '18 last-number'],
  ['$18$', '18 last-number'],
  ['¥18', '18 last-number'],
  ['18 is the answer.', '18 last-number'],
  ['Ans: 7', '7 phrase'],
  ["Answer: Let's do it.\n1. 3+4 = 7\n2. 7*2 = 14\nSo it is 14.", '14 last-number'],
  ['The answer is the following: 12.', '12 phrase'],
  ['Hence, the answer is 1,234,567.', '1234567 phrase'],
  ['The answer is 8:30.', '4/15 phrase'],
  ['The answer is 12 (since 3 × 4 = 12).', '12 phrase'],
  ['Therefore Bob is 12 years old and Al is 24, the answer is Bob: 12.', '12 phrase'],
  ['所以，正确答案应该是 1，234。', '1234 phrase'],
  ['答案：A. 18', '18 phrase'],
  ['(A) 18 \n\nThe answer is (B) 20.', '20 phrase'],
  ['The answer is H2O 5.', '5 phrase'],
  ['答：需要1.5小时。', '3/2 phrase'],
  ['解：设有x个，3x=54，x=18。答：有18个。', '18 phrase'],
  ['We get 2/3 ≈ 0.67', '67/100 last-number'],
  ['The area is 50 cm².', '50 last-number'],
  ['#### 2,500\n\nLet me explain with 3 steps.', '2500 hash'],
  ['### Answer: 18', '18 phrase'],
  ['> 18', '18 last-number'],
  ['- 18', '18 last-number'],
  ['The answer is \\textbf{18}.', '18 phrase'],
  ['$$x = \\frac{36}{2} = 18$$', '18 last-number'],
  ['\\begin{aligned} x &= 36/2 \\\\ &= 18 \\end{aligned}', '18 last-number'],
  ['The answer is 18 - 3 = 15.', '15 phrase'],
  ['The answer is $20 - $2 = $18.', '18 phrase'],
  ['So, the answer is 160 minutes or 2.67 hours.', '160 phrase'],
  ['The answer is 160 minutes (2 hours and 40 minutes).', '160 phrase'],
  ['Each correct answer is worth 5 points. He has 10 correct, so 10 * 5 = 50 points.', '50 last-number'],
  ['The number of correct answers = 4 × 5 = 20', '20 last-number'],
  ['#### 9 eggs x $2 = $18', '18 hash'],
  ['#### 18 (9*2)', '18 hash'],
  ['Therefore, Janet makes $18 every day, selling 9 eggs at $2 each.', '2 last-number'],
  ['9 * 2 = 18. Therefore, Janet makes $18 every day, selling 9 eggs at $2 each.', '18 last-number'],
  ['Answer: (C) 18', '18 phrase'],
  ['The answer is (18).', '18 phrase'],
  ['The final answer is:\n$$\n18\n$$', '18 phrase'],
  ['The answer is therefore 18.', '18 phrase'],
  ['答案：45。\n\n解析：淘淘摘了32+8=40个，奇奇摘了40+5=45个，比米米多13个。', '45 phrase'],
  ['占全长的 $\\frac{2}{5}$。', '2/5 last-number'],
  ['还剩下全长的5分之2', '2/5 last-number'],
  ['The answer is 18 <|endoftext|>', '18 phrase'],
  ['She earns $18/day.', '18 last-number'],
  ['It is 1½ cups.', '3/2 last-number'],
  ['The answer is ½.', '1/2 phrase'],
  ['The answer is US$18.', '18 phrase'],
  ['The answer is 0.5%', '1/2% phrase'],
  ['The answer is 18<br>', '18 phrase'],
  ['```\nprint(18)\n```\nAnswer: `18`', '18 phrase'],
  ['The answer is $\\approx 18.3$.', '183/10 phrase'],
  ['$\\text{Total} = 18$', '18 last-number'],
  ['The answer is 1\u202f234\u202f567.', '1234567 phrase'],
];

describe('extractAnswer', () => {
  it.each(CASES)('%j → %s', (response, answer) => {
    expect(summary(response)).toBe(answer);
  });

  it.each([
    ['She makes 9 * 2 = $18.\n#### $1,080', '$1,080'],
    ['The answer is **-5** degrees.', '-5'],
    ['答案：１，０８０元', '１，０８０'],
    ['\\boxed{\\dfrac{3}{4}} of it', '\\dfrac{3}{4}'],
    ['<think>20</think> <answer> 40 % </answer>', '40 %'],
    ['The total is 1\u200b8 eggs', '1\u200b8'],
    ['<think>9 is wrong.</think>\nSo she has 12 left.', '12'],
    ['答案是三分之二。', '三分之二'],
    ['It costs 1 1/2 dollars', '1 1/2'],
  ])('marks where it read: %j', (response, text) => {
    expect(taken(response)).toBe(text);
  });

  it('spans point into the whole response when only its end is read', () => {
    const response = `${'1 '.repeat(MAX_ANSWER_TEXT)}The answer is 42.`;
    expect(taken(response)).toBe('42');
  });

  describe('with requireTags', () => {
    const strict = { requireTags: true };
    it.each([
      ['<think>1+1=2</think><answer>2</answer>', '2 tag'],
      ['<answer>18 dollars</answer>', '18 tag'],
      ['<answer>$1,080.00</answer>', '1080 tag'],
      ['#### 18', 'none'],
      ['\\boxed{18}', 'none'],
      ['The answer is 18', 'none'],
      ['<answer>18', 'none'],
      ['18</answer>', 'none'],
      ['<answer><answer>18</answer></answer>', 'none'],
      ['<answer>18</answer><answer>', 'none'],
      ['<think><answer>18</answer></think><answer>20</answer>', 'several'],
      ['<answer>18</answer><answer>18</answer>', '18 tag'],
      ['<answer>18 20</answer>', 'several'],
      ['<answer>18/20</answer>', '9/10 tag'],
      ['<answer>the answer is 18, not 20</answer>', 'several'],
      ['<answer>1, 2, 3, 4, 5, 6, 7, 8, 9, 18</answer>', 'several'],
      ['<answer>18 = 20</answer>', 'several'],
      ['<answer>17 = 18 = 19</answer>', 'several'],
      ['<answer><think>18</think></answer>', 'none'],
    ])('%j → %s', (response, answer) => {
      expect(summary(response, strict)).toBe(answer);
    });
  });

  it('without a fallback, an unmarked number is no answer', () => {
    expect(summary('She has 18.', { fallback: 'none' })).toBe('none');
    expect(summary('She has 18.\n#### 18', { fallback: 'none' })).toBe('18 hash');
  });

  it('shows every number of a list as evidence', () => {
    const answer = extractAnswer('<answer>18, 20</answer>');
    if (answer.kind !== 'several') throw new Error(answer.kind);
    expect(answer.spans).toEqual([
      [8, 10],
      [12, 14],
    ]);
  });
});

describe('parseGold', () => {
  it.each([
    ['18', '18'],
    ['She has <<9*2=18>>18 eggs.\n#### 18', '18'],
    ['#### 109,200,000', '109200000'],
    ['a #### 1\nb\n#### 2', '2'],
    ['1/5', '1/5'],
    ['72/180', '2/5'],
    ['0.80', '4/5'],
    ['40%', '40'],
    ['27.3%', '273/10'],
    ['18元', '18'],
    ['$1,080.50', '2161/2'],
    ['-5', '-5'],
    ['18 apples.', '18'],
    ['1 1/2', '3/2'],
    ['十八', '18'],
    ['1 000', '1000'],
    ['minus 5', '-5'],
    ['一半', '1/2'],
    ['three quarters', '3/4'],
    ['5 and a half', '11/2'],
    ['18 dollars and 50 cents', '37/2'],
    ['2小时30分', '5/2'],
  ])('%j is %s', (text, value) => {
    expect(parseGold(text)?.value.toFraction()).toBe(value);
  });

  it.each([
    '',
    'Monday',
    '18 or 20',
    '18, 20',
    'about 18',
    '####',
    'x = 5',
    '2 dozen',
    '1/0',
    '3月4日',
    'NaN',
    '1 000 200 30',
    '5 apples and 6 pears',
    '18 dollars and 150 cents',
    '一半以上',
  ])('refuses %j', (text) => {
    expect(parseGold(text)).toBeNull();
  });
});

it('reads 负 before digits as a minus sign', () => {
  const found = extractAnswer('答案是负5');
  expect(found.kind === 'found' && found.number.value.toFraction()).toBe('-5');
});
