import type { CodeLanguage } from '../task/code-tests.js';
import { finalSpan } from './tags.js';
import type { Span } from './trace.js';

/** Info strings of a fence that stand for a language. */
const NAMES: Readonly<Record<CodeLanguage, readonly string[]>> = {
  javascript: ['javascript', 'js', 'mjs', 'cjs', 'node', 'ecmascript'],
  python: ['python', 'py', 'python3', 'py3', 'pyodide'],
};

export interface CodeBlock {
  readonly code: string;
  /** Where it stands in the response. */
  readonly span: Span;
  /** False when there is no fence and the whole answer part is taken. */
  readonly fenced: boolean;
}

/**
 * The program in a response: the last fenced block of its final part (tags.ts: finalSpan) that is marked as `language`,
 * else the last block of all; without a fence the whole final part. A fence that is never closed runs to the end. Null when
 * that is blank. Fences as in CommonMark 0.31 section 4.5: three or more ` or ~, indented by at most three spaces.
 * Never throws; linear.
 */
export function findCode(response: string, language: CodeLanguage): CodeBlock | null {
  const [from, to] = finalSpan(response);
  let open: { mark: string; marked: boolean; start: number } | null = null;
  let last: { start: number; end: number; marked: boolean } | null = null;
  const close = (end: number): void => {
    if (open !== null && (open.marked || last?.marked !== true)) last = { ...open, end };
    open = null;
  };
  for (let start = from; start < to; ) {
    const newline = response.indexOf('\n', start);
    const end = newline < 0 || newline >= to ? to : newline;
    // A fence is short: what comes after it on a long line does not matter.
    // Back quotes after back quotes are code within a line.
    const fence = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})[ \t]*(\S*)/.exec(response.slice(start, Math.min(end, start + 300)));
    const [, mark = '', info = ''] = fence ?? [];
    if (open === null && fence !== null) {
      const begin = Math.min(end + 1, to);
      open = { mark, marked: NAMES[language].includes(info.toLowerCase()), start: begin };
    } else if (open !== null && fence !== null && info === '' && mark.startsWith((open as { mark: string }).mark)) {
      close(start);
    }
    start = end + 1;
  }
  close(to);
  const block = last as { start: number; end: number } | null;
  const span: Span = block === null ? [from, to] : [block.start, block.end];
  const code = response.slice(...span).replaceAll('\r\n', '\n');
  return code.trim() === '' ? null : { code, span, fenced: block !== null };
}
