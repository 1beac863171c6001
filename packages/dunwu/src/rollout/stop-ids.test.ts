import { expect, test } from 'vitest';
import { TINY } from '../model/testing/tiny.js';
import { makeTokenizer, SMALL_CORPUS } from '../text/testing/make-tokenizer.js';
import { stopIds } from './stop-ids.js';

test("generation_config.json's, else config.json's, and the tokenizer's; each once", async () => {
  const tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 });
  const config = { ...TINY, eos_token_id: 7 };
  expect(stopIds({ config, generation: null }, tokenizer)).toEqual([7, 1]);
  expect(stopIds({ config: { ...TINY, eos_token_id: 1 }, generation: {} }, tokenizer)).toEqual([1]);
  expect(stopIds({ config, generation: { eos_token_id: [2, 1, 5] } }, tokenizer)).toEqual([2, 1, 5]);
});
