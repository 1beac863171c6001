import { mkdirSync } from 'node:fs';
import { saveModel } from '../../model/checkpoint.js';
import { type TinyOverrides, tinyModel } from '../../model/testing/tiny.js';
import { trainBpe } from '../../text/bpe-trainer.js';
import { SMALL_CORPUS } from '../../text/testing/make-tokenizer.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { saveTokenizer } from '../../text/tokenizer-file.js';

/** Writes a tiny random model with a tokenizer into a folder. */
export async function makeTinyFolder(folder: string, seed = 1, overrides: TinyOverrides = {}): Promise<Tokenizer> {
  mkdirSync(folder, { recursive: true });
  await saveTokenizer(folder, trainBpe(SMALL_CORPUS, { vocab_size: 300 }));
  const tokenizer = Tokenizer.load(folder);
  const model = tinyModel(seed, {
    vocab_size: tokenizer.vocab_size,
    max_position_embeddings: 160,
    bos_token_id: tokenizer.special_id('bos'),
    eos_token_id: tokenizer.special_id('eos'),
    ...overrides,
  });
  await saveModel(model, folder);
  model.dispose();
  return tokenizer;
}
