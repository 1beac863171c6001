import { expect, test } from 'vitest';
import { readNumber, sameNumber } from '../reward/number.js';
import { Random } from '../util/random.js';
import { majorityCorrect, type Vote } from './majority.js';

/** Votes by their texts; null is an answer that cannot be read. */
function votes(gold: string, ...answers: (string | null)[]): Vote[] {
  return answers.map((text) => {
    const answer = text === null ? null : readNumber(text);
    const right = readNumber(gold);
    return { answer, correct: answer !== null && right !== null && sameNumber(right, answer) };
  });
}
const vote = (gold: string, ...answers: (string | null)[]): number => majorityCorrect(votes(gold, ...answers));

test('the answer with the most votes decides', () => {
  expect(vote('18', '18', '18', '20')).toBe(1);
  expect(vote('18', '18', '20', '20')).toBe(0);
  expect(vote('18', '18')).toBe(1);
});

test('votes are counted by the number, not by the text', () => {
  expect(vote('18', '18', '18.00', '36/2', '20', '20')).toBe(1); // three against two
  expect(vote('1080', '1,080', '$1080', '7', '7', '9')).toBe(0.5); // two against two
  expect(vote('40', '40', '40%', '3', '3', '9')).toBe(0.5);
});

test('linked through others: 83.33 and 83.333 are two answers, until 250/3 says that they are one', () => {
  expect(vote('250/3', '83.33', '83.333', '84', '84')).toBe(0);
  expect(vote('250/3', '83.33', '83.333', '250/3', '84', '84')).toBe(1);
});

test('ties: the mean over the answers that lead', () => {
  expect(vote('18', '18', '20')).toBe(1 / 2);
  expect(vote('18', '18', '20', '21')).toBe(1 / 3);
  expect(vote('18', '20', '20', '21', '21', '18')).toBe(0);
  expect(vote('18', '18', '18', '20', '20', '7')).toBe(1 / 2);
});

test('abstentions count for nothing; all abstaining is wrong', () => {
  expect(vote('18', '18', null, null, null)).toBe(1);
  expect(vote('18', null, null)).toBe(0);
  expect(majorityCorrect([])).toBe(0);
});

test('members of one answer that are judged differently: the share that is right', () => {
  // Gold 0.5: "50%" is right, "50" is not, and both are the same vote.
  expect(vote('0.5', '50%', '50', '50', '7')).toBe(1 / 3);
});

test('the order of the votes does not matter', () => {
  const random = new Random('order');
  const list = votes('0.5', '50%', '50', '0.5', '1/2', '83.33', '83.333', '250/3', '7', '7', '7', '7', null);
  const value = majorityCorrect(list);
  // 50%, 50, 0.5 and 1/2 are one answer with four votes, three of them right; so has 7, none right; 250/3 has three.
  expect(value).toBe((3 / 4 + 0) / 2);
  for (let i = 0; i < 50; i++) expect(majorityCorrect(random.shuffle([...list]))).toBe(value);
});
