import { BYTE_TO_CHAR } from './byte-alphabet.js';

type Json = Readonly<Record<string, unknown>>;

/** NFC makes at most this many UTF-16 code units one (Unicode Standard Annex 15, the expansion of NFD). */
const COMPOSED = 4;

/**
 * UTF-16 code units of text that one token stands for at most, so that longer texts than so many for each token need not be
 * encoded to know that they are too long.
 * @param json tokenizer.json
 * @returns Infinity where text may vanish: tokenizers that are not byte-level or lack bytes, normalisers other than NFC,
 *   splits that are removed, added tokens that take the blanks beside them
 */
export function longestToken(
  json: Json,
  vocab: Json,
  added: readonly { readonly content: string; readonly lstrip?: boolean; readonly rstrip?: boolean }[],
): number {
  const composed = composition(json.normalizer);
  const steps = stepsOf(json.pre_tokenizer, 'pretokenizers');
  const keeps = steps.every(
    ({ type, behavior }) => type === 'ByteLevel' || type === 'Digits' || (type === 'Split' && behavior !== 'Removed'),
  );
  const byteLevel =
    steps.some(({ type }) => type === 'ByteLevel') && BYTE_TO_CHAR.every((char) => Object.hasOwn(vocab, char));
  if (composed === undefined || !keeps || !byteLevel) return Number.POSITIVE_INFINITY;
  if (added.some(({ lstrip, rstrip }) => lstrip === true || rstrip === true)) return Number.POSITIVE_INFINITY;
  // A byte-level token is spelled with one character for each byte, and a code unit has one byte at least.
  let longest = 0;
  for (const token of Object.keys(vocab)) longest = Math.max(longest, token.length);
  for (const { content } of added) longest = Math.max(longest, content.length);
  return longest * composed;
}

/** How many code units a normaliser may make one; undefined for one that is not known. */
function composition(normalizer: unknown): number | undefined {
  const types = stepsOf(normalizer, 'normalizers').map(({ type }) => type);
  if (types.some((type) => type !== 'NFC')) return undefined;
  return types.length === 0 ? 1 : COMPOSED;
}

/** The parts of a `Sequence`, or the one there is. */
function stepsOf(config: unknown, parts: 'pretokenizers' | 'normalizers'): Json[] {
  if (typeof config !== 'object' || config === null) return [];
  const { type, [parts]: inner } = config as Json;
  return type === 'Sequence' && Array.isArray(inner) ? inner.flatMap((one) => stepsOf(one, parts)) : [config as Json];
}
