import { type NumberToken, sameNumber } from '../reward/number.js';

/** One sample's say in a majority vote. */
export interface Vote<Answer = NumberToken> {
  /** What the sample answers; null abstains: no answer, several, or none that can be read. */
  readonly answer: Answer | null;
  readonly correct: boolean;
}

/** When two answers are one. */
export interface AnswerEquality<Answer> {
  /** Answers with the same text are written in the same way, and so are one. */
  readonly written: (answer: Answer) => string;
  /** Whether `gold`, taken as the gold answer, accepts the other. */
  readonly accepts: (gold: Answer, answer: Answer) => boolean;
}

/** Numbers: 18, 18.00 and 36/2 are one answer. */
export const NUMBERS: AnswerEquality<NumberToken> = {
  written: ({ value, percent, scale, decimals }) => [value.toFraction(), percent, scale, decimals].join(' '),
  accepts: sameNumber,
};

/**
 * Majority vote over the samples of one problem (self-consistency, arXiv 2203.11171; cons@k in DeepSeek-R1's tables):
 * how likely the answer with the most votes is right.
 *
 * - Votes are counted by answer, not by text. Two answers are the same when either, taken as gold, accepts the other, and
 *   so is all that is linked through others.
 * - Abstentions count for nothing; where all abstain, the vote is wrong: 0.
 * - A tie is broken by a fair draw, so its value is the mean over the answers that lead.
 * - Where one answer's members are judged differently (50 % may stand for 50 and for 0.5), its value is the share of
 *   them that is right.
 *
 * The value does not depend on the order of the votes.
 * @returns between 0 and 1; 0 or 1 unless there is such a tie
 */
export function majorityCorrect(votes: readonly Vote[]): number;
export function majorityCorrect<Answer>(votes: readonly Vote<Answer>[], equality: AnswerEquality<Answer>): number;
export function majorityCorrect(
  votes: readonly Vote<unknown>[],
  equality: AnswerEquality<never> = NUMBERS as AnswerEquality<never>,
): number {
  const classes = answerClasses(votes as readonly Vote<never>[], equality);
  const most = Math.max(0, ...classes.map((members) => members.length));
  const leading = classes.filter((members) => members.length === most);
  if (leading.length === 0) return 0;
  const shares = leading.map((members) => members.filter(({ correct }) => correct).length / members.length);
  return shares.reduce((a, b) => a + b, 0) / shares.length;
}

/** The votes that were cast, gathered by equal answers. */
function answerClasses<Answer>(
  votes: readonly Vote<Answer>[],
  { written: text, accepts }: AnswerEquality<Answer>,
): Vote<Answer>[][] {
  // Same way of writing, same answer: what is left to compare is little.
  const written = new Map<string, { answer: Answer; votes: Vote<Answer>[] }>();
  for (const vote of votes) {
    const { answer } = vote;
    if (answer === null) continue;
    const key = text(answer);
    const found = written.get(key);
    if (found === undefined) written.set(key, { answer, votes: [vote] });
    else found.votes.push(vote);
  }
  const left = new Set(written.values());
  const classes: Vote<Answer>[][] = [];
  for (const first of left) {
    left.delete(first);
    const members = [first];
    for (const { answer } of members) {
      for (const other of left) {
        if (!accepts(answer, other.answer) && !accepts(other.answer, answer)) continue;
        left.delete(other);
        members.push(other); // and what is equal to this one follows: the loop goes on over it
      }
    }
    classes.push(members.flatMap((member) => member.votes));
  }
  return classes;
}
