import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TINY } from '../model/testing/tiny.js';
import { makeTokenizer, SMALL_CORPUS } from '../text/testing/make-tokenizer.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { stopIds } from './stop-ids.js';

let dir = '';
let tokenizer: Tokenizer;
beforeAll(async () => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-stop-'));
  tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 });
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("generation_config.json's, else config.json's, and the tokenizer's; each once", () => {
  const config = { ...TINY, eos_token_id: 7 };
  expect(stopIds(dir, config, tokenizer)).toEqual([7, 1]);
  expect(stopIds(dir, { ...TINY, eos_token_id: 1 }, tokenizer)).toEqual([1]);
  writeFileSync(path.join(dir, 'generation_config.json'), '{"eos_token_id": [2, 1, 5]}');
  expect(stopIds(dir, config, tokenizer)).toEqual([2, 1, 5]);
});
