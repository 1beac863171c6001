import type { Span } from './trace.js';

export const TAG_NAMES = ['<think>', '</think>', '<answer>', '</answer>'] as const;
export type TagName = (typeof TAG_NAMES)[number];

export interface Tag {
  readonly name: TagName;
  readonly start: number;
  readonly end: number;
}

/** Every think and answer tag of a response, in order. Exact spelling only: the tags are single tokens of the model. */
export function findTags(response: string): Tag[] {
  const tags: Tag[] = [];
  const pattern = /<\/?(?:think|answer)>/g;
  for (let match = pattern.exec(response); match; match = pattern.exec(response)) {
    tags.push({ name: match[0] as TagName, start: match.index, end: match.index + match[0].length });
  }
  return tags;
}

/** Contents of the answer tags, in order; `nested` when an answer opens inside another one or a tag has no partner. */
export function answerContents(tags: readonly Tag[]): { contents: Span[]; unbalanced: boolean } {
  const contents: Span[] = [];
  let open: number | null = null;
  let unbalanced = false;
  for (const tag of tags) {
    if (tag.name === '<answer>') {
      if (open !== null) unbalanced = true;
      open = tag.end;
    } else if (tag.name === '</answer>') {
      if (open === null) unbalanced = true;
      else contents.push([open, tag.start]);
      open = null;
    } else if (open !== null) {
      unbalanced = true;
    }
  }
  return { contents, unbalanced: unbalanced || open !== null };
}

/**
 * Where the chain of thought is: from the first <think> to its </think> (or to the answer, or to the end, when it is
 * never closed); without a <think>, everything before the first answer tag.
 */
export function chainOfThought(response: string): Span {
  const tags = findTags(response);
  const opened = tags.findIndex((tag) => tag.name === '<think>');
  const rest = opened < 0 ? tags : tags.slice(opened + 1);
  const begin = opened < 0 ? 0 : (tags[opened]?.end ?? 0);
  const close = rest.find((tag) => tag.name === '</think>' || tag.name === '<answer>');
  return [begin, close ? close.start : response.length];
}

/**
 * Where a response gives its result: in its answer tags, else after `</think>`, else everywhere. Answer tags after the
 * thought go before those within it, which only talk about an answer; of several the first counts. Never throws.
 */
export function finalSpan(response: string): Span {
  const tags = findTags(response);
  const thought = tags.findLast((tag) => tag.name === '</think>')?.end ?? 0;
  const { contents } = answerContents(tags);
  return contents.find(([start]) => start >= thought) ?? contents[0] ?? [thought, response.length];
}

/** The text of {@link finalSpan}: what the user is told. */
export function finalPart(response: string): string {
  return response.slice(...finalSpan(response));
}
