import { endOfTextIds } from '../model/checkpoint.js';
import type { Decodable } from '../model/decodable.js';
import type { Tokenizer } from '../text/tokenizer.js';

/**
 * Ids that end a response of a model: those of its generation_config.json (else config.json), and the tokenizer's end of
 * text. Chat models end a turn with one token and a text with another.
 */
export function stopIds(model: Pick<Decodable, 'config' | 'generation'>, tokenizer: Tokenizer): number[] {
  const { eos } = tokenizer.special;
  return [...new Set([...endOfTextIds(model), ...(eos === undefined ? [] : [eos])])];
}
