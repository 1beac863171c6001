import { readNumber } from '../../reward/number.js';
import { answerContents, findTags } from '../../reward/tags.js';
import { writtenIn } from '../../task/language.js';
import type { Problem } from '../../task/problem.js';

/** One step from a model's text towards the output format: pure, and what it does not understand it leaves alone. */
export type PostProcessStep = (response: string, problem: Problem) => string;

/**
 * Composed characters (NFC), line feeds only, one space where there were several, no blank lines, no white space beside
 * a tag.
 */
export function normaliseLines(response: string): string {
  const lines = response
    .normalize('NFC')
    .replace(/\r\n?/g, '\n')
    .split('\n')
    .map((line) => line.replace(/\s+/g, ' ').trim());
  return lines
    .filter((line) => line !== '')
    .join('\n')
    .replace(/\s?(<\/?(?:think|answer)>)\s?/g, '$1');
}

/** A line that says the same as the line before it goes; the first of them stays. */
export function dropRepeatedLines(response: string): string {
  const lines = response.split('\n');
  return lines.filter((line, i) => i === 0 || line !== lines[i - 1]).join('\n');
}

const ORDER = ['<think>', '</think>', '<answer>', '</answer>'];

/**
 * Removes what stands before `<think>`, between `</think>` and `<answer>`, and after `</answer>`. Only where each tag
 * stands once and in order: elsewhere nobody knows what is outside.
 */
export function stripOutside(response: string): string {
  const tags = findTags(response);
  if (tags.length !== ORDER.length || tags.some((tag, i) => tag.name !== ORDER[i])) return response;
  const [openThink, closeThink, openAnswer, closeAnswer] = tags;
  if (!openThink || !closeThink || !openAnswer || !closeAnswer) return response;
  return response.slice(openThink.start, closeThink.end) + response.slice(openAnswer.start, closeAnswer.end);
}

/**
 * A bare number in the answer tag becomes a sentence in the problem's language, so that the part that is read after the
 * thought is a summary (the cold start's "reasoning, then summary": DeepSeek-R1, arXiv 2501.12948, section 2.3.1). The
 * `accuracy` rule reads the number all the same.
 */
export function summary(response: string, problem: Problem): string {
  if (problem.answer === undefined) return response; // a bare number may be what was asked for
  const { contents, unbalanced } = answerContents(findTags(response));
  const [content] = contents;
  if (content === undefined || contents.length > 1 || unbalanced) return response;
  const answer = response.slice(...content).trim();
  if (readNumber(answer) === null) return response;
  const sentence = writtenIn(problem.language) === 'zh' ? `所以答案是${answer}。` : `So the answer is ${answer}.`;
  return response.slice(0, content[0]) + sentence + response.slice(content[1]);
}

/** By the names that a recipe gives them. */
export const POST_PROCESS = {
  normalise_lines: normaliseLines,
  drop_repeated_lines: dropRepeatedLines,
  strip_outside: stripOutside,
  summary,
} as const satisfies Record<string, PostProcessStep>;

export type PostProcessName = keyof typeof POST_PROCESS;
export const POST_PROCESS_NAMES = Object.keys(POST_PROCESS) as [PostProcessName, ...PostProcessName[]];

/** The steps, one after another, in the order given. */
export function postProcess(response: string, problem: Problem, steps: readonly PostProcessName[]): string {
  return steps.reduce((text, name) => POST_PROCESS[name](text, problem), response);
}
