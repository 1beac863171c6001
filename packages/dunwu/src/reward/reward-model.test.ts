import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ScalarModel } from '../model/scalar-model.js';
import { tinyModel } from '../model/testing/tiny.js';
import { renderDocument } from '../text/template.js';
import { makeTokenizer, SMALL_CORPUS } from '../text/testing/make-tokenizer.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { RewardModel, rewardTokens } from './reward-model.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-reward-model-'));
let tokenizer: Tokenizer;
let model: RewardModel;
beforeAll(async () => {
  tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 280, digits: 'single' });
  const trunk = tinyModel(5, { vocab_size: tokenizer.vocab_size, max_position_embeddings: 48 });
  model = new RewardModel(new ScalarModel(trunk), 'preference', 'final');
});
afterAll(() => {
  model.dispose();
  rmSync(root, { recursive: true, force: true });
});

const ITEMS = [
  { prompt: '1+2?', response: '<think>1+2=3</think><answer>3</answer>' },
  { prompt: '1+2?', response: '4' },
  { prompt: '还剩多少？', response: '很多，很多。' },
  { prompt: '1+2?', response: '' },
];

describe('what is read', () => {
  it('whole: the document as in training; final: the answer part without blanks', () => {
    const response = '<think>1+2=3</think><answer> 3\n</answer>';
    expect(rewardTokens(tokenizer, { prompt: '1+2?', response }, 'whole')).toEqual(
      renderDocument(tokenizer, '1+2?', response),
    );
    expect(rewardTokens(tokenizer, { prompt: '1+2?', response }, 'final')).toEqual(
      renderDocument(tokenizer, '1+2?', '3'),
    );
  });

  it('a response that is too long loses its end but not its EOS; a prompt that is, is an error', () => {
    const item = { prompt: '1+2?', response: '123456' };
    const whole = rewardTokens(tokenizer, item, 'whole');
    const cut = rewardTokens(tokenizer, item, 'whole', whole.length - 2);
    expect(cut).toEqual([...whole.slice(0, -3), whole.at(-1)]);
    expect(() => rewardTokens(tokenizer, item, 'whole', 3)).toThrow(/a prompt of 7 tokens does not fit .* 3 positions/);
    expect(Number.isFinite(model.score(tokenizer, [{ prompt: '1?', response: '9'.repeat(500) }])[0])).toBe(true);
  });
});

describe('score', () => {
  it('of an item does not depend on the others, on their order, or on the micro-batches', () => {
    const scores = model.score(tokenizer, ITEMS);
    expect(new Set(scores.map((score) => score.toFixed(4))).size).toBe(4);
    expect(model.score(tokenizer, ITEMS)).toEqual(scores);
    const others = [
      ITEMS.map((item) => model.score(tokenizer, [item])[0]),
      model.score(tokenizer, ITEMS, 1),
      model.score(tokenizer, [...ITEMS].reverse()).reverse(),
    ];
    for (const other of others) {
      other.forEach((score, i) => {
        expect(score).toBeCloseTo(scores[i] as number, 5);
      });
    }
  });

  it('equal items get equal scores, bit for bit; `final` does not see the thought', () => {
    const [, four] = ITEMS as [unknown, (typeof ITEMS)[0]];
    const asked = [four, ...ITEMS, { ...four, response: '<think>long thought, 12345</think> 4 ' }];
    const scores = model.score(tokenizer, asked);
    expect(scores[0]).toBe(scores[2]);
    expect(scores[5]).toBe(scores[2]);
    const whole = new RewardModel(model.model, 'safety', 'whole').score(tokenizer, asked);
    expect(whole[5]).not.toBeCloseTo(whole[2] as number, 3);
    expect(whole[1]).not.toBeCloseTo(scores[1] as number, 3);
    expect(model.score(tokenizer, [])).toEqual([]);
  });
});

describe('folders', () => {
  it('saved and loaded: the same scores, kind and reading; weights that want no gradient', async () => {
    const folder = path.join(root, 'good');
    await model.save(folder);
    expect(JSON.parse(readFileSync(path.join(folder, 'reward_model.json'), 'utf8'))).toEqual({
      format: 1,
      kind: 'preference',
      reads: 'final',
    });
    const loaded = RewardModel.load(folder);
    expect([loaded.kind, loaded.reads]).toEqual(['preference', 'final']);
    expect(loaded.score(tokenizer, ITEMS)).toEqual(model.score(tokenizer, ITEMS));
    expect(loaded.model.parameters().some(({ tensor }) => tensor.requiresGrad)).toBe(false);
    loaded.dispose();
  });

  it.each([
    ['{"format":1,"kind":"preference","reads":"all"}', /reward_model\.json: not the description .* reads/],
    ['{"format":2,"kind":"preference","reads":"final"}', /format/],
    ['{"format":1,"kind":"preference","reads":"final","bias":3}', /bias/],
    ['[]', /top level/],
    ['{', /not valid JSON/],
  ])('%s is refused', (text, message) => {
    writeFileSync(path.join(root, 'reward_model.json'), text);
    expect(() => RewardModel.load(root)).toThrow(message);
  });

  it('a folder without one says what is missing', () => {
    expect(() => RewardModel.load(path.join(root, 'none'))).toThrow(/none.reward_model\.json: cannot be read/);
  });
});
