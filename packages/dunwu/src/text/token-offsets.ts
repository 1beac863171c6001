import type { Tokenizer } from './tokenizer.js';

/**
 * Where each token of a response ends in its text: after token k the first `result[k]` UTF-16 code units of
 * `decodeResponse(tokenizer, ids)` are complete. A character whose bytes lie in several tokens is complete with the last
 * of them; tokens that hold only a part of one end where the character before it ends. From the first id of `stop` on (the
 * EOS by default) there is no text. (Bytes that are no UTF-8 become U+FFFD with the token that makes certain that they are none.)
 *
 * @throws Error for a tokenizer that is not byte-level.
 */
export function tokenTextEnds(
  tokenizer: Tokenizer,
  ids: readonly number[],
  stop: readonly (number | undefined)[] = [tokenizer.special.eos],
): number[] {
  const decoder = tokenizer.stream();
  const end = ids.findIndex((id) => stop.includes(id));
  const kept = end < 0 ? ids.length : end;
  const ends: number[] = [];
  let length = 0;
  for (let k = 0; k < kept; k++) {
    length += decoder.push(ids[k] as number).length;
    // What is left unfinished at the end of the text belongs to its last token.
    if (k === kept - 1) length += decoder.end().length;
    ends.push(length);
  }
  while (ends.length < ids.length) ends.push(length);
  return ends;
}

/**
 * The token with which a half-open range of the text ends: the first one after which all its characters are complete.
 * @param ends what `tokenTextEnds` gives; @param end the range's end in UTF-16 code units
 * @throws Error when the text is shorter than that.
 */
export function tokenOfTextEnd(ends: readonly number[], end: number): number {
  let low = 0;
  let high = ends.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ends[middle] as number) >= end) high = middle;
    else low = middle + 1;
  }
  if (low === ends.length) {
    throw new Error(`a range ends at character ${end}, but the text of the tokens has only ${ends.at(-1) ?? 0}`);
  }
  return low;
}
