import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type BpeOptions, trainBpe } from '../bpe-trainer.js';
import { Tokenizer } from '../tokenizer.js';
import { saveTokenizer } from '../tokenizer-file.js';

/** Trains a tokenizer, writes it to a temporary folder, and reads it back from there. */
export async function makeTokenizer(corpus: readonly string[], options: BpeOptions): Promise<Tokenizer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'dunwu-tokenizer-'));
  try {
    await saveTokenizer(folder, trainBpe(corpus, options));
    return Tokenizer.load(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A few sentences in Chinese and English: enough for some merges. */
export const SMALL_CORPUS: readonly string[] = [
  'Mary has 80 cards and loses 21 of them. How many are left? 80 - 21 = 59, so 59 cards are left.',
  '小明有25个苹果，送出了7个，还剩多少个？25 - 7 = 18，所以还剩18个苹果。',
  'Tom has many marbles and finds many more marbles. How many marbles has he? 小红有多少个苹果？还剩多少？',
];
