import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { trainBpe } from './bpe-trainer.js';
import type { Digits } from './pre-tokenizer.js';
import { Tokenizer } from './tokenizer.js';
import { tokenizerJson } from './tokenizer-file.js';

/** Against what Hugging Face's tokenizers (Rust) trained, encoded and decoded: testing/make_golden.py. */

interface Inputs {
  vocab_size: number;
  min_frequency: number;
  special_tokens: string[];
  corpus: string[];
}

interface Golden {
  tokenizer: unknown;
  cases: { text: string; special: number[]; plain: number[]; cut: string; cut_skipped: string }[];
}

const read = <T>(name: string) =>
  JSON.parse(readFileSync(new URL(`testing/golden/${name}.json`, import.meta.url), 'utf8')) as T;
const inputs = read<Inputs>('inputs');

describe.each<Digits>(['single', 'up-to-3', 'free'])('Hugging Face parity, digits %s', (digits) => {
  const golden = read<Golden>(digits);
  const folder = mkdtempSync(path.join(tmpdir(), 'dunwu-parity-'));
  let tokenizer: Tokenizer;
  beforeAll(() => {
    writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(golden.tokenizer));
    tokenizer = Tokenizer.load(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('our training writes the same tokenizer.json: vocabulary, merges, splits, added tokens, decoder', () => {
    const { vocab_size, min_frequency, special_tokens, corpus } = inputs;
    const ours = tokenizerJson(trainBpe(corpus, { vocab_size, min_frequency, special_tokens, digits }));
    expect(JSON.parse(ours)).toEqual(golden.tokenizer);
  });

  it('encodes the same ids, with and without special tokens', () => {
    expect(golden.cases.length).toBeGreaterThan(150);
    for (const { text, special, plain } of golden.cases) {
      expect({ text, ids: tokenizer.encode(text, { allow_special: true }) }).toEqual({ text, ids: special });
      expect({ text, ids: tokenizer.encode(text) }).toEqual({ text, ids: plain });
    }
  });

  it('decodes the same text, also when characters are cut at the ends', () => {
    for (const { text, special, cut, cut_skipped } of golden.cases) {
      const ids = special.slice(1, -1);
      expect({ text, cut: tokenizer.decode(ids) }).toEqual({ text, cut });
      expect({ text, cut: tokenizer.decode(ids, { skip_special: true }) }).toEqual({ text, cut: cut_skipped });
      expect(tokenizer.decode(special)).toBe(text);
    }
  });
});
