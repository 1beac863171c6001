import { saysSomething, visiblePart } from '../blank.js';
import { findTags } from '../tags.js';
import type { Rule, RuleResult, Span } from '../trace.js';

const ORDER = ['<think>', '</think>', '<answer>', '</answer>'];

/**
 * 1 point when the response is exactly `<think>…</think><answer>…</answer>`: each tag once, in this order, with nothing
 * but white space before, between and after, and neither part empty: a thought has a letter or a digit, an answer
 * something that can be seen. Evidence: the tags that were found (at most 16).
 * `unparsable` when there is no tag at all, `wrong` for every other flaw, which `note` names.
 */
export function formatRule(): Rule {
  return (_problem, response): RuleResult => {
    const tags = findTags(response);
    const evidence = tags.slice(0, 16).map((tag): Span => [tag.start, tag.end]);
    const verdict = (status: RuleResult['status'], note: string): RuleResult => ({
      name: 'format',
      points: status === 'ok' ? 1 : 0,
      max: 1,
      status,
      evidence,
      note,
    });
    if (tags.length === 0) return verdict('unparsable', 'no think or answer tag');
    const [openThink, closeThink, openAnswer, closeAnswer] = tags;
    for (const name of ORDER) {
      const count = tags.filter((tag) => tag.name === name).length;
      if (count !== 1) return verdict('wrong', `${name} stands ${count} times, not once`);
    }
    if (!openThink || !closeThink || !openAnswer || !closeAnswer || tags.some((tag, i) => tag.name !== ORDER[i])) {
      return verdict('wrong', `the tags are not in the order ${ORDER.join(' ')}`);
    }
    const blank = (start: number, end: number): boolean => response.slice(start, end).trim() === '';
    if (
      !blank(0, openThink.start) ||
      !blank(closeThink.end, openAnswer.start) ||
      !blank(closeAnswer.end, response.length)
    ) {
      return verdict('wrong', 'there is text outside the tags');
    }
    if (!saysSomething(response.slice(openThink.end, closeThink.start)))
      return verdict('wrong', 'the thought is empty');
    if (visiblePart(response.slice(openAnswer.end, closeAnswer.start)) === '')
      return verdict('wrong', 'the answer is empty');
    return verdict('ok', 'each tag once and in order');
  };
}
