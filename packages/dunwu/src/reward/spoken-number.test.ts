import { describe, expect, it } from 'vitest';
import { extractAnswer } from './answer.js';
import { findNumbers, readNumber, sameNumber } from './number.js';

/** The value, and the text that it was read from. */
function read(response: string): string {
  const answer = extractAnswer(response);
  if (answer.kind !== 'found') return answer.kind;
  return `${answer.number.value.toFraction()} «${response.slice(...answer.span)}»`;
}

describe('numbers as people say them', () => {
  it.each([
    ['The answer is 1 000.', '1000 «1 000»'],
    ['<answer>12 345 678</answer>', '12345678 «12 345 678»'],
    ['<answer>1 000.5 km</answer>', '2001/2 «1 000.5»'],
    ['答案是 10 000 元。', '10000 «10 000»'],
    ['The answer is $1.5k.', '3/2 «$1.5k»'],
    ['The answer is minus 5.', '-5 «minus 5»'],
    ['<answer>negative 5 degrees</answer>', '-5 «negative 5»'],
    ['<answer>minus five</answer>', '-5 «minus five»'],
    ['答案是零下5度', '-5 «零下5»'],
    ['答案是一半。', '1/2 «一半»'],
    ['<answer>half</answer>', '1/2 «half»'],
    ['The answer is three quarters.', '3/4 «three quarters»'],
    ['The answer is 2 and a half hours.', '5/2 «2 and a half»'],
    ['答：要3个半小时。', '7/2 «3个半»'],
    ['The answer is 18 dollars and 50 cents.', '37/2 «18 dollars and 50 cents»'],
    ['<answer>$18 and 50 cents</answer>', '37/2 «$18 and 50 cents»'],
    ['<answer>2 hours 30 minutes</answer>', '5/2 «2 hours 30 minutes»'],
    ['<answer>5 feet, 6 inches</answer>', '11/2 «5 feet, 6 inches»'],
    ['答：需要2小时30分。', '5/2 «2小时30分»'],
    ['<answer>3元5角2分</answer>', '88/25 «3元5角2分»'],
  ])('%j: %s', (response, value) => {
    expect(read(response)).toBe(value);
  });

  it.each([
    ['20 minus 5 is 15.', '15 «15»'],
    ['The total is 20 minus 5', '5 «5»'],
    ['She has 3 100 dollar bills.', '100 «100»'],
    ['<answer>1 2 3</answer>', 'several'],
    ['<answer>1 000, 2 000</answer>', 'several'],
    ['<answer>18 dollars and 20 dollars</answer>', 'several'],
    ['<answer>18 dollars and 150 cents</answer>', 'several'],
    ['<answer>5 apples and 6 pears</answer>', 'several'],
    ['<answer>2 days and 3 dollars</answer>', 'several'],
    ['<answer>3k + 2</answer>', 'several'],
    ['The answer is half of 18.', '18 «18»'],
    ['The answer is 3 kg.', '3 «3»'],
    ['答案是一半以上', 'none'],
  ])('reads nothing into %j: %s', (response, value) => {
    expect(read(response)).toBe(value);
  });

  it.each([
    ['1000', '1k', true],
    ['1', '1k', true], // the question may ask for thousands
    ['10', '1k', false],
    ['18.5', '18 dollars and 50 cents', true],
    ['1850', '18 dollars and 50 cents', true], // in cents
    ['18', '18 dollars and 50 cents', false],
    ['50', '18 dollars and 50 cents', false],
    ['150', '2小时30分', true],
    ['2', '2小时30分', false],
  ])('gold %s, answer %s: %s', (gold, answer, same) => {
    const [a, b] = [readNumber(gold), readNumber(answer)];
    if (!a || !b) throw new Error('unreadable');
    expect(sameNumber(a, b)).toBe(same);
  });

  it('leaves the numbers of a calculation apart', () => {
    expect(findNumbers('2 hours 30 minutes, 1 000').map(({ value }) => value.toFraction())).toEqual([
      '2',
      '30',
      '1',
      '0',
    ]);
  });
});
