import type { Tokenizer } from './tokenizer.js';

/**
 * What a prompt has begun of the response's thought: R1-Distill's and QwQ's chat templates end in `<think>\n`, so that the
 * model's own tokens begin inside the thought. '' where the prompt begins none.
 */
export function begunThought(tokenizer: Tokenizer, prompt: readonly number[]): string {
  const { think } = tokenizer.special;
  const at = think === undefined ? -1 : prompt.lastIndexOf(think);
  if (at < 0) return '';
  // Anything behind the tag but blanks (an instruction that names it, `</think>`) makes it part of the prompt.
  const begun = prompt.slice(at);
  const blank = begun.every((id, i) => i === 0 || tokenizer.decode([id]).trim() === '');
  return blank ? tokenizer.decode(begun) : '';
}
