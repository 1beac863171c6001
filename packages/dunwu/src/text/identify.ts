import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { eld } from 'eld/small';

/**
 * ISO 639-1 codes of the languages that can be told: those of `eld`, without Kurdish, which it knows in Arabic letters
 * only. A list and not asked of the library, so that a recipe is checked without loading it.
 */
export const TOLD_LANGUAGES: readonly string[] = (
  'am ar az be bg bn ca cs da de el en es et eu fa fi fr gu he hi hr hu hy is it ja ka kn ko lo lt lv ml mr ms nl no or ' +
  'pa pl pt ro ru sk sl sq sr sv ta te th tl tr uk ur vi yo zh'
).split(' ');

const told = new Set(TOLD_LANGUAGES);

/** Languages that the library has under the code of their nearest relative. */
const TOLD_AS: Readonly<Record<string, string>> = { nb: 'no', nn: 'no', id: 'ms', bs: 'hr' };

/** The code that a language is told by, one of {@link TOLD_LANGUAGES}; null where the library does not know it. */
export function toldAs(language: string): string | null {
  const code = Object.hasOwn(TOLD_AS, language) ? (TOLD_AS[language] as string) : language;
  return told.has(code) ? code : null;
}

/** Fewer letters than this are too short to be told; of scripts without spaces {@link MIN_UNSPACED} are enough. */
export const MIN_LETTERS = 20;
export const MIN_UNSPACED = 8;
/** So many are enough where one language is far ahead, and so many for a mere leaning ({@link judgeLanguage}). */
const MIN_SHORT = 12;
const MIN_LEANING = 8;

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

/** What the library says, and the letters it has to go by; null for fewer than `minimum`. */
function detect(source: string, minimum: number): { result: ReturnType<typeof eld.detect>; letters: number } | null {
  const text = source.slice(0, 1000);
  const unspaced = text.match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/gu)?.length ?? 0;
  const counted = text.match(/[\p{L}\p{M}]/gu)?.length ?? 0;
  const letters = unspaced >= MIN_UNSPACED ? Math.max(counted, MIN_LETTERS) : counted;
  return letters < minimum ? null : { result: load().detect(text), letters };
}

/**
 * The language of a text by its letter n-grams (`eld`, small tables), one of {@link TOLD_LANGUAGES}; null when it is too
 * short or the library does not hold its own answer to be reliable. Deterministic, offline; reads about 350 bytes.
 *
 * @throws Error on Node before 20.19, or when the library is not installed.
 */
export function identifyLanguage(text: string): string | null {
  const result = detect(text, MIN_LETTERS)?.result;
  return result !== undefined && told.has(result.language) && result.isReliable() ? result.language : null;
}

/**
 * How much likelier (of the library's scores, from 0 to 1) a language must be than another one. The library's own test of
 * reliability does not look at this: near relatives (Russian and Ukrainian) differ by less in single sentences, now this
 * way and now that, and three short words may look like any language.
 */
const MARGIN = 0.01;
const SHORT_MARGIN = 0.08;

export interface LanguageVerdict {
  /** Whether the text is in the language; null where neither can be said. */
  readonly told: boolean | null;
  /** The language is the likeliest one, if only by a little. */
  readonly leaning: boolean;
}

/**
 * Whether a text is in a language (ISO 639-1). Not told: what is too short, what the library does not hold to be
 * reliable, and near relatives that differ too little. Of languages that the library does not know it only tells that a
 * text is English instead: it takes them for relatives of theirs, but hardly ever for English.
 *
 * @throws Error as {@link identifyLanguage}.
 */
export function judgeLanguage(text: string, language: string): LanguageVerdict {
  const detected = detect(text, MIN_LEANING);
  if (detected === null) return { told: null, leaning: false };
  const { result, letters } = detected;
  const asked = toldAs(language);
  if (asked === null) {
    const english = result.language === 'en' && letters >= MIN_LETTERS && result.isReliable();
    return { told: english ? false : null, leaning: !english };
  }
  const { [asked]: own = 0, ...others } = result.getScores();
  const lead = own - Math.max(0, ...Object.values(others));
  const enough = letters >= MIN_LETTERS ? MARGIN : letters >= MIN_SHORT ? SHORT_MARGIN : Infinity;
  const clear = Math.abs(lead) >= enough && result.isReliable();
  return { told: clear ? lead > 0 : null, leaning: lead > 0 };
}
