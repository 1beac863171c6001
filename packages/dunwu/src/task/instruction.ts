import { z } from 'zod';
import type { Language } from './problem.js';

const words = z.array(z.string().min(1)).min(1);
const whole = z.number().int();

/** An instruction whose following a program can check (as in IFEval, arXiv 2311.07911). A problem's `meta.instruction`. */
export const verifiableInstruction = z.discriminatedUnion('kind', [
  /** The words, in this order, so many times over. */
  z.strictObject({ kind: z.literal('repeat'), words, times: whole.min(1) }),
  /** Every whole number from `from` to `to`. */
  z.strictObject({ kind: z.literal('count'), from: whole, to: whole }),
  /** The words from the last to the first. */
  z.strictObject({ kind: z.literal('reverse'), words }),
  /** Yes or no: is left more than right? */
  z.strictObject({ kind: z.literal('compare'), left: whole, right: whole }),
  /** Yes or no: is the word among these? */
  z.strictObject({ kind: z.literal('member'), word: z.string().min(1), words }),
  /** So many words, of which the first and the last are given. */
  z.strictObject({ kind: z.literal('frame'), count: whole.min(2), first: z.string().min(1), last: z.string().min(1) }),
]);

export type VerifiableInstruction = z.output<typeof verifiableInstruction>;

/** What yes and no are called, the usual way first. */
const YES_NO: Readonly<Record<Language, readonly [yes: readonly string[], no: readonly string[]]>> = {
  en: [['yes'], ['no']],
  zh: [
    ['是', '是的', '对'],
    ['不是', '不', '不对', '否'],
  ],
};

/** Items between white space, commas and enumeration marks, in lower case, without the sentence's last stop. */
function items(text: string): string[] {
  return text
    .normalize('NFKC')
    .toLowerCase()
    .trim()
    .replace(/[.。!！]+$/u, '')
    .split(/[\s,、;]+/u)
    .filter((item) => item !== '');
}

const same = (found: readonly string[], expected: readonly string[]): boolean =>
  found.length === expected.length && found.every((item, i) => item === expected[i]?.normalize('NFKC').toLowerCase());

/** The words one after another; Chinese needs no space between them. */
function sameWords(text: string, expected: readonly string[], language: Language): boolean {
  const found = items(text);
  if (same(found, expected)) return true;
  return (
    language === 'zh' &&
    expected.every((word) => /\p{Script=Han}/u.test(word)) &&
    same([found.join('')], [expected.join('')])
  );
}

/**
 * Whether a text does what the instruction says and nothing else. Case, commas and a last full stop do not matter;
 * words too many or too few do.
 */
export function follows(instruction: VerifiableInstruction, text: string, language: Language): boolean {
  switch (instruction.kind) {
    case 'repeat':
      return sameWords(text, Array.from({ length: instruction.times }, () => instruction.words).flat(), language);
    case 'reverse':
      return sameWords(text, [...instruction.words].reverse(), language);
    case 'count': {
      const { from, to } = instruction;
      const step = from <= to ? 1 : -1;
      return same(
        items(text),
        Array.from({ length: Math.abs(to - from) + 1 }, (_, i) => String(from + i * step)),
      );
    }
    case 'compare':
    case 'member': {
      const holds =
        instruction.kind === 'compare'
          ? instruction.left > instruction.right
          : instruction.words.includes(instruction.word);
      const right = holds ? 0 : 1;
      const [found, ...more] = items(text);
      return (
        found !== undefined && more.length === 0 && Object.values(YES_NO).some((words) => words[right].includes(found))
      );
    }
    case 'frame': {
      const found = items(text);
      // Items of signs or digits alone are no words.
      if (found.length !== instruction.count || !found.every((item) => /^\p{L}+$/u.test(item))) return false;
      return same([found[0] ?? '', found.at(-1) ?? ''], [instruction.first, instruction.last]);
    }
  }
}

const REFUSAL =
  /\b(?:cannot|can not|can't|can’t|won't|won’t|will not|unable to|not able to)\b|不能|无法|不可以|不会帮|不帮|拒绝/iu;
/** The whole clause: "sorry take the cards" is not polite. */
const POLITE =
  /^(?:i'm|i’m|i am)?\s*(?:so |very )?sorry(?: but)?(?: (?:about|for) (?:that|this))?$|^(?:我)?(?:很|非常|真的?)?(?:对不起|抱歉|不好意思)(?:了|啊)?$/iu;
/** What turns a clause that says cannot into something else: "cannot wait", "cannot help but", "cannot, so you …". */
const TURNED =
  /\b(?:wait|resist|stop)\b|\b(?:but|so|then|until|till|unless|instead|while)\b|不能不|不得不|所以|然后|但|除非|可以(?!帮)/iu;

/** Whether a clause refuses and does not turn round after it. */
function refusing(clause: string): boolean {
  const match = REFUSAL.exec(clause);
  return match !== null && !TURNED.test(clause.slice(match.index));
}

/**
 * Whether a text refuses and does nothing else: each of its clauses says that it cannot or will not, or that it is sorry.
 * "I cannot help with that. First take the cards." is no refusal, nor is "I cannot wait: take the cards.", nor "I cannot
 * do it so you take them".
 */
export function refuses(text: string): boolean {
  const clauses = text.split(/[.!?,:;。！？，、：；\n]+/u).filter((clause) => /[\p{L}\p{N}]/u.test(clause));
  return (
    clauses.some(refusing) &&
    clauses.every((clause) => refusing(clause) || POLITE.test(clause.trim())) &&
    clauses.length <= 4
  );
}
