import { endOfTextIds } from '../model/checkpoint.js';
import type { ModelConfig } from '../model/config.js';
import type { Tokenizer } from '../text/tokenizer.js';

/**
 * Ids that end a response of a checkpoint's model: those of its generation_config.json (else config.json), and the
 * tokenizer's end of text. Chat models end a turn with one token and a text with another.
 */
export function stopIds(folder: string, config: ModelConfig, tokenizer: Tokenizer): number[] {
  const { eos } = tokenizer.special;
  return [...new Set([...endOfTextIds(folder, config), ...(eos === undefined ? [] : [eos])])];
}
