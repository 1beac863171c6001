import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../util/random.js';
import { trainBpe } from './bpe-trainer.js';
import { BYTE_ALPHABET } from './byte-alphabet.js';
import { SPECIAL_TOKEN_LIST, SPECIAL_TOKENS } from './special-tokens.js';
import { makeTokenizer, SMALL_CORPUS } from './testing/make-tokenizer.js';
import { Tokenizer } from './tokenizer.js';
import { saveTokenizer, tokenizerJson } from './tokenizer-file.js';

const HARD_STRINGS = [
  '你好，世界！小明有25个苹果。',
  '👩‍👩‍👧‍👦 🇨🇳 👍🏽',
  'def f(x):\n\treturn x ** 2  # 注释\n\n\n',
  `a${' '.repeat(1000)}b   `,
  'line\r\nline\r\n\r\n\rend',
  '\u0301\u0301 lone marks \u200d',
  '\ufeffbyte-order mark \u0000 \u0085 \u2028',
  `${SPECIAL_TOKENS.user}hi${SPECIAL_TOKENS.assistant}<think>x</think>`,
  '𠀀㐀〇 カタカナ 한국어 ภาษาไทย',
];

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 400 });
});

describe('Tokenizer', () => {
  it('knows its size and its special tokens', () => {
    expect(tokenizer.special).toEqual({
      bos: 0,
      pad: 0,
      eos: 1,
      user: 2,
      assistant: 3,
      think: 4,
      think_end: 5,
      answer: 6,
      answer_end: 7,
    });
    expect(tokenizer.special_id('think_end')).toBe(5);
    expect(tokenizer.id_to_token(4)).toBe('<think>');
    expect(tokenizer.token_to_id('<think>')).toBe(4);
    expect(tokenizer.id_to_token(tokenizer.vocab_size)).toBeUndefined();
    expect(tokenizer.vocab_size).toBeGreaterThan(264);
    expect(tokenizer.vocab_size).toBeLessThanOrEqual(400);
    expect(tokenizer.chat_template).toContain('add_generation_prompt');
  });

  it('gives every digit its own token', () => {
    const ids = tokenizer.encode('1980');
    expect(ids.map((id) => tokenizer.id_to_token(id))).toEqual(['1', '9', '8', '0']);
  });

  it('shortens text that it has seen, and gives [] for nothing', () => {
    expect(tokenizer.encode(' marbles')).toHaveLength(1);
    expect(tokenizer.encode('个苹果')).toHaveLength(1);
    expect(tokenizer.encode('')).toEqual([]);
    expect(tokenizer.decode([])).toBe('');
  });

  it.each(HARD_STRINGS)('gives back %j', (text) => {
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    expect(tokenizer.decode(tokenizer.encode(text, { allow_special: true }))).toBe(text);
  });

  it('gives back random strings, the same ids each time', () => {
    const rng = new Random(5);
    for (let i = 0; i < 300; i++) {
      const text = String.fromCodePoint(
        ...Array.from({ length: rng.int(1, 20) }, () => {
          const code = rng.int(0, rng.chance(0.5) ? 0x3ff : 0x1ffff);
          return code >= 0xd800 && code < 0xe000 ? 0x41 : code;
        }),
      );
      const ids = tokenizer.encode(text);
      expect(tokenizer.decode(ids)).toBe(text);
      expect(tokenizer.encode(text)).toEqual(ids);
    }
  });

  it('recognises special tokens only when asked to', () => {
    const text = `a${SPECIAL_TOKENS.eos}<think>`;
    const a = tokenizer.token_to_id('a') as number;
    expect(tokenizer.encode(text, { allow_special: true })).toEqual([a, 1, 4]);
    expect(Math.min(...tokenizer.encode(text))).toBeGreaterThanOrEqual(8);
    for (const token of SPECIAL_TOKEN_LIST) expect(tokenizer.encode(token).every((id) => id >= 8)).toBe(true);
  });

  it('leaves special tokens out when asked to', () => {
    const ids = tokenizer.encode('<think>苹果</think>18', { allow_special: true });
    expect(tokenizer.decode([0, ...ids, 1], { skip_special: true })).toBe('苹果18');
    expect(tokenizer.decode([...ids, 1])).toBe('<think>苹果</think>18<｜end▁of▁sentence｜>');
  });

  it('decodes anything: cut characters and unknown ids are U+FFFD', () => {
    const ids = tokenizer.encode('é龘'); // not in the corpus: 2 + 3 bytes
    expect(ids).toHaveLength(5);
    expect(tokenizer.decode(ids.slice(1, -1))).toBe('\ufffd\ufffd');
    expect(tokenizer.decode([ids[0] as number, 4, ids[1] as number])).toBe('\ufffd<think>\ufffd');
    expect(tokenizer.decode([-1, 99_999_999, 0.5, Number.NaN])).toBe('\ufffd'.repeat(4));
  });

  it('makes lone surrogates U+FFFD', () => {
    expect(tokenizer.decode(tokenizer.encode('a\ud800b\udc00'))).toBe('a\ufffdb\ufffd');
    expect(tokenizer.encode('\ud800')).toEqual(tokenizer.encode('\ufffd'));
  });

  it('streams: no half characters, and the pieces add up', () => {
    const stream = tokenizer.stream();
    expect(tokenizer.encode('龘').map((id) => stream.push(id))).toEqual(['', '', '龘']);
    for (const text of HARD_STRINGS) {
      const ids = tokenizer.encode(text, { allow_special: true });
      const pieces = ids.map((id) => stream.push(id));
      expect(pieces.join('') + stream.end()).toBe(text);
      expect(pieces.some((piece) => piece.includes('\ufffd'))).toBe(false);
    }
    const [first, ...rest] = tokenizer.encode('龘');
    expect(rest.map((id) => stream.push(id)).join('') + stream.end()).toBe('\ufffd\ufffd');
    expect(stream.push(first as number)).toBe('');
    expect(stream.end()).toBe('\ufffd');
    const skipping = tokenizer.stream({ skip_special: true });
    expect([4, ...tokenizer.encode('好'), 5].map((id) => skipping.push(id)).join('')).toBe('好');
  });
});

describe('Tokenizer files', () => {
  const root = mkdtempSync(path.join(tmpdir(), 'dunwu-tokenizer-test-'));
  afterAll(() => rmSync(root, { recursive: true }));
  let count = 0;
  const write = (text: string, config?: string) => {
    const folder = path.join(root, String(count++));
    mkdirSync(folder);
    writeFileSync(path.join(folder, 'tokenizer.json'), text);
    if (config !== undefined) writeFileSync(path.join(folder, 'tokenizer_config.json'), config);
    return folder;
  };
  const bpe = trainBpe(SMALL_CORPUS, { vocab_size: 300 });
  const good = JSON.parse(tokenizerJson(bpe)) as { model: object };

  it('are two, complete, and the same for the same vocabulary', async () => {
    const [a, b] = [path.join(root, 'a', 'deep'), path.join(root, 'b')];
    await saveTokenizer(a, bpe);
    await saveTokenizer(b, trainBpe([...SMALL_CORPUS].reverse(), { vocab_size: 300 }));
    expect(readdirSync(a).sort()).toEqual(['tokenizer.json', 'tokenizer_config.json']);
    for (const name of readdirSync(a)) {
      expect(readFileSync(path.join(b, name), 'utf8')).toBe(readFileSync(path.join(a, name), 'utf8'));
    }
    expect(Tokenizer.load(a).encode('many')).toEqual(Tokenizer.load(path.join(a, 'tokenizer.json')).encode('many'));
  });

  it('hold every token, whatever its name', () => {
    const vocab = [...BYTE_ALPHABET, '12', '__', '__p', '__proto__'];
    const json = JSON.parse(tokenizerJson({ vocab, merges: [['1', '2']], special_tokens: [], digits: 'free' })) as {
      model: { vocab: object; merges: unknown };
    };
    expect(new Map(Object.entries(json.model.vocab))).toEqual(new Map(vocab.map((token, id) => [token, id])));
    expect(json.model.merges).toEqual([['1', '2']]);
  });

  it('without merges load too', () => {
    const folder = write(tokenizerJson({ vocab: BYTE_ALPHABET, merges: [], special_tokens: [], digits: 'single' }));
    const plain = Tokenizer.load(folder);
    expect(plain.encode('你').length).toBe(3);
    expect(plain.special).toEqual({});
    expect(() => plain.special_id('bos')).toThrow(/tokenizer\.json: has no bos token \(<｜begin▁of▁sentence｜>\)/);
  });

  it('of others may let text grow into an added token: it is spelled out instead', () => {
    const words = ['th', 'in', 'thin'];
    const merges = [
      ['t', 'h'],
      ['i', 'n'],
      ['th', 'in'],
      ['thin', 'k'],
    ] as const;
    const folder = write(
      tokenizerJson({
        vocab: ['think', ...BYTE_ALPHABET, ...words],
        merges,
        special_tokens: ['think'],
        digits: 'free',
      }),
    );
    const foreign = Tokenizer.load(folder);
    expect(foreign.encode('think', { allow_special: true })).toEqual([0]);
    const ids = foreign.encode('think');
    expect(ids.map((id) => foreign.id_to_token(id))).toEqual(['t', 'h', 'i', 'n', 'k']);
  });

  it('may name other special tokens in their config', () => {
    const vocab = ['<s>', '</s>', '<pad>', ...BYTE_ALPHABET];
    const folder = write(
      tokenizerJson({ vocab, merges: [], special_tokens: ['<s>', '</s>', '<pad>'], digits: 'single' }),
      JSON.stringify({ bos_token: '<s>', eos_token: { content: '</s>' }, pad_token: '<pad>' }),
    );
    expect(Tokenizer.load(folder).special).toEqual({ bos: 0, eos: 1, pad: 2 });
  });

  it.each([
    ['not JSON', '{"model":', /\/tokenizer\.json: not valid JSON/],
    ['not an object', '[]', /\/tokenizer\.json: must hold a JSON object/],
    ['no model', '{}', /\/tokenizer\.json: "model" is missing/],
    ['another model', '{"model":{"type":"Unigram","vocab":[]}}', /"model\.type" is "Unigram"; only "BPE" is supported/],
    ['a bad id', '{"model":{"type":"BPE","vocab":{"a":1.5},"merges":[]}}', /the id of "a" is 1\.5/],
    ['an id twice', '{"model":{"type":"BPE","vocab":{"a":1,"b":1},"merges":[]}}', /"a" and "b" both have id 1/],
    ['no merges', '{"model":{"type":"BPE","vocab":{"a":1}}}', /"model\.merges" must be a list/],
    ['a bad merge', '{"model":{"vocab":{"a":1},"merges":[["a"]]}}', /"model\.merges"\[0\] must be a pair/],
    ['an unknown merge', '{"model":{"vocab":{"a":1},"merges":["a a"]}}', /"model\.merges"\[0\] needs "aa"/],
    [
      'a bad added token',
      '{"model":{"vocab":{"a":1},"merges":[]},"added_tokens":[{"id":-1,"content":"x"}]}',
      /"added_tokens"\[0\]/,
    ],
    [
      'an unknown step',
      JSON.stringify({ ...good, pre_tokenizer: { type: 'Telepathy' } }),
      /\/tokenizer\.json: .*Telepathy/,
    ],
  ])('with %s are refused by name', (_, text, message) => {
    const folder = write(text);
    expect(() => Tokenizer.load(folder)).toThrow(message);
  });

  it('that are missing or have a broken config are refused by name', () => {
    expect(() => Tokenizer.load(path.join(root, 'nowhere'))).toThrow(/nowhere: no such file or folder/);
    mkdirSync(path.join(root, 'empty'));
    expect(() => Tokenizer.load(path.join(root, 'empty'))).toThrow(/empty\/tokenizer\.json: cannot be read/);
    expect(() => Tokenizer.load(write(JSON.stringify(good), '{'))).toThrow(/tokenizer_config\.json: not valid JSON/);
  });
});
