// Seconds to train a byte-level BPE on generated Chinese and English text, and to encode half of it.
//
//   npm run build && node bench/bpe.mjs [--mb 10] [--vocab 8000] [--json FILE]
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BpeTrainer } from '../packages/dunwu/dist/text/bpe-trainer.js';
import { Tokenizer } from '../packages/dunwu/dist/text/tokenizer.js';
import { saveTokenizer } from '../packages/dunwu/dist/text/tokenizer-file.js';
import { Random } from '../packages/dunwu/dist/util/random.js';

const { values } = parseArgs({
  options: {
    mb: { type: 'string', default: '10' },
    vocab: { type: 'string', default: '8000' },
    json: { type: 'string' },
    corpus: { type: 'string' }, // also write the generated text here, one document a line as JSON
  },
});

/** Words with Zipf's frequencies: English-like ones of syllables, Chinese ones of one to three characters. */
function makeDocuments(bytes) {
  const rng = new Random('bpe bench');
  const zipf = (n) => Math.floor(n ** rng.next()) - 1;
  const syllables = 'ka lo mi ten ra su per in con tra ble ment ing er st an o de fi un qu ly ex age pro'.split(' ');
  const english = Array.from({ length: 30_000 }, () =>
    Array.from({ length: rng.int(1, 4) }, () => rng.choice(syllables)).join(''),
  );
  const characters = Array.from({ length: 3500 }, () => String.fromCharCode(rng.int(0x4e00, 0x9fa0)));
  const chinese = Array.from({ length: 30_000 }, () =>
    Array.from({ length: rng.int(1, 3) }, () => characters[zipf(characters.length)]).join(''),
  );
  const documents = [];
  for (let written = 0; written < bytes; ) {
    const zh = rng.chance(0.5);
    const parts = [];
    for (let i = 0; i < 80; i++) {
      if (!zh && i > 0) parts.push(' ');
      parts.push(rng.chance(0.08) ? String(rng.int(0, 5000)) : zh ? chinese[zipf(30_000)] : english[zipf(30_000)]);
      if (rng.chance(0.1)) parts.push(zh ? rng.choice(['，', '。', '；', '！\n']) : rng.choice([',', '.', ';', '!\n']));
    }
    const text = parts.join('');
    documents.push(text);
    written += Buffer.byteLength(text);
  }
  return documents;
}

const seconds = (work) => {
  const start = performance.now();
  const result = work();
  return [result, (performance.now() - start) / 1000];
};

const documents = makeDocuments(Number(values.mb) * 1e6);
if (values.corpus) writeFileSync(values.corpus, documents.map((text) => JSON.stringify(text)).join('\n'));
const trainer = new BpeTrainer({ vocab_size: Number(values.vocab) });
const [, count_seconds] = seconds(() => {
  for (const text of documents) trainer.add(text);
});
const [bpe, train_seconds] = seconds(() => trainer.train());

const folder = mkdtempSync(join(tmpdir(), 'dunwu-bpe-'));
await saveTokenizer(folder, bpe);
const tokenizer = Tokenizer.load(folder);
rmSync(folder, { recursive: true });
const half = documents.slice(0, documents.length >> 1);
const half_mb = half.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6;
const [ids, encode_seconds] = seconds(() => half.map((text) => tokenizer.encode(text)));
const [back, decode_seconds] = seconds(() => ids.map((list) => tokenizer.decode(list)));
if (back.some((text, i) => text !== half[i])) throw new Error('decode(encode(text)) is not the text');

const result = {
  mb: Number(values.mb),
  vocab: bpe.vocab.length,
  distinct_words: trainer.distinct_words,
  count_seconds,
  merge_seconds: train_seconds,
  train_seconds: count_seconds + train_seconds,
  encode_mb: half_mb,
  encode_seconds,
  decode_seconds,
  tokens: ids.reduce((sum, list) => sum + list.length, 0),
  peak_rss_mb: process.resourceUsage().maxRSS / 1024,
};
for (const [key, value] of Object.entries(result)) console.log(`${key.padEnd(16)} ${+value.toFixed(2)}`);
if (values.json) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
