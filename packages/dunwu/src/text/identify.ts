import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { eld } from 'eld/small';

/**
 * ISO 639-1 codes of the languages that can be told: those of `eld`, without Kurdish, which it knows in Arabic letters
 * only. A list and not asked of the library, so that a recipe is checked without loading it.
 */
export const LANGUAGES: readonly string[] = (
  'am ar az be bg bn ca cs da de el en es et eu fa fi fr gu he hi hr hu hy is it ja ka kn ko lo lt lv ml mr ms nl no or ' +
  'pa pl pt ro ru sk sl sq sr sv ta te th tl tr uk ur vi yo zh'
).split(' ');

const known = new Set(LANGUAGES);

/** Whether a code is one of {@link LANGUAGES}. */
export const isLanguage = (code: string): boolean => known.has(code);

/** Fewer letters than this are too short to be told; of scripts without spaces {@link MIN_UNSPACED} are enough. */
export const MIN_LETTERS = 20;
export const MIN_UNSPACED = 8;

let detector: typeof eld | undefined;

/** Loads the library on the first call: its tables take a quarter of a second, which Chinese and English need not pay. */
function load(): typeof eld {
  if (detector !== undefined) return detector;
  const require = createRequire(import.meta.url);
  // By path, because the package exports its modules to `import` alone, and rules are synchronous.
  const entry = (require.resolve.paths('eld') ?? [])
    .map((folder) => join(folder, 'eld/src/entries/static.small.js'))
    .find((file) => existsSync(file));
  if (entry === undefined) throw new Error('eld, which tells languages, is not installed: run npm run setup');
  try {
    detector = (require(entry) as { eld: typeof eld }).eld;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_REQUIRE_ESM') throw error;
    throw new Error(
      `telling languages other than English and Chinese needs Node 20.19 or later, this is ${process.version}: install a newer one`,
    );
  }
  return detector;
}

/**
 * The language of a text by its letter n-grams (`eld`, small tables), one of {@link LANGUAGES}; null when it is too short
 * or the library does not hold its own answer to be reliable. Deterministic, offline; reads the first 1000 code units.
 *
 * @throws Error on Node before 20.19, or when the library is not installed.
 */
export function identifyLanguage(source: string): string | null {
  const text = source.slice(0, 1000);
  const unspaced = text.match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/gu)?.length ?? 0;
  const letters = text.match(/[\p{L}\p{M}]/gu)?.length ?? 0;
  if (unspaced < MIN_UNSPACED && letters < MIN_LETTERS) return null;
  const result = load().detect(text);
  return known.has(result.language) && result.isReliable() ? result.language : null;
}
