/**
 * Whether two JSON values are the same: key by key in any order, numbers equal or, with a tolerance, off by at most
 * `tolerance · max(1, |expected|)`. `true` is not 1, and 1.0 is 1. Neither is ever called or read but for its own keys.
 * `expected` is at most as deep as code-tests.ts lets it be, so that no value of a program makes this go deeper.
 */
export function sameValue(expected: unknown, found: unknown, tolerance = 0): boolean {
  if (typeof expected === 'number' && typeof found === 'number') {
    return expected === found || Math.abs(expected - found) <= tolerance * Math.max(1, Math.abs(expected));
  }
  if (typeof expected !== 'object' || expected === null) return expected === found;
  if (typeof found !== 'object' || found === null || Array.isArray(expected) !== Array.isArray(found)) return false;
  const keys = Object.keys(expected);
  if (keys.length !== Object.keys(found).length) return false;
  return keys.every(
    (key) =>
      Object.hasOwn(found, key) &&
      sameValue((expected as Record<string, unknown>)[key], (found as Record<string, unknown>)[key], tolerance),
  );
}

/** Whether two outputs are the same but for white space at the end of lines and at the end of all. */
export function sameOutput(expected: string, found: string): boolean {
  return trimmed(expected) === trimmed(found);
}

function trimmed(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
    .trimEnd();
}
