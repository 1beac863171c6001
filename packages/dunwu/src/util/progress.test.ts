import { expect, test } from 'vitest';
import { createProgress, formatCount, formatNumber, formatSeconds, type Output } from './progress.js';
import { textWidth } from './text-width.js';

class Screen implements Output {
  text = '';
  constructor(
    readonly isTTY: boolean,
    readonly columns = 80,
  ) {}
  write(text: string): void {
    this.text += text;
  }
  get lines(): string[] {
    return this.text.split('\n').filter((line) => line !== '');
  }
}

test('piped: one line each tenth, none within 5 s, and one at the end', () => {
  const out = new Screen(false);
  let now = 0;
  const progress = createProgress({ out, env: {}, now: () => now });
  progress.start('pretrain', 100, { unit: 'tokens', done: 0 });
  for (let step = 1; step <= 100; step++) {
    now += 200; // 20 s in all: tenths are 2 s apart, so lines fall where 5 s are over
    progress.update(step, { loss: 4 / step }, step * 1000);
  }
  progress.end();
  expect(out.text).not.toContain('\u001b');
  expect(out.lines).toEqual([
    'pretrain 25/100 · loss 0.1600 · 5.00k tokens/s · 15s left',
    'pretrain 50/100 · loss 0.0800 · 5.00k tokens/s · 10s left',
    'pretrain 75/100 · loss 0.0533 · 5.00k tokens/s · 5.0s left',
    'pretrain 100/100 · loss 0.0400 · 5.00k tokens/s · 20s',
  ]);
});

test('piped: slow work speaks after 30 s of silence', () => {
  const out = new Screen(false);
  let now = 0;
  const progress = createProgress({ out, env: {}, now: () => now });
  progress.start('grpo', 1000);
  for (let step = 1; step <= 7; step++) {
    now += 10_000;
    progress.update(step);
  }
  expect(out.lines.map((line) => line.split(' · ')[0])).toEqual(['grpo 3/1000', 'grpo 6/1000']);
});

test('a resumed piece of work counts its rate from where it began again', () => {
  const out = new Screen(false);
  let now = 0;
  const progress = createProgress({ out, env: {}, now: () => now });
  progress.start('grpo', 100, { done: 50 });
  now += 10_000;
  progress.update(60);
  expect(out.lines).toEqual(['grpo 60/100 · 1 steps/s · 40s left']);
});

test('live: redraws in place, fits the width with Chinese text, colours only when wanted', () => {
  let now = 0;
  const draw = (columns: number, env: Record<string, string>): string => {
    const out = new Screen(true, columns);
    const progress = createProgress({ out, env, now: () => now });
    progress.start('强化学习', 10);
    now += 1000;
    progress.update(5, { 准确率: 0.8125, 奖励: 1.25, 输出长度: 80.5 });
    return out.text.split('\r').at(-1) ?? '';
  };
  const wide = draw(110, {});
  expect(wide).toContain('强化学习 5/10 · 准确率 0.8125 · 奖励 1.250 · 输出长度 80.50 · 5 steps/s · 1.0s left');
  expect(wide).toContain('\u001b[36m━━━━━━━━━━');
  const plain = draw(110, { NO_COLOR: '1' });
  expect(plain).not.toContain('\u001b[36m');
  for (const columns of [20, 33, 60, 64]) expect(textWidth(draw(columns, { NO_COLOR: '1' }))).toBeLessThan(columns);
});

test('a logged line does not tear the live one', () => {
  const out = new Screen(true);
  const progress = createProgress({ out, env: { NO_COLOR: '1' }, now: () => 0 });
  progress.start('eval', 4);
  progress.log('checkpoint saved');
  expect(out.text).toContain('\r\u001b[2Kcheckpoint saved\n\r\u001b[2K');
  progress.end();
  expect(out.text.endsWith('eval 0/4 · 0.0s\n')).toBe(true);
});

test('numbers for people', () => {
  expect([2.3141, 0.03125, 0.00001204, 12, 18_234, Number.NaN].map(formatNumber)).toEqual([
    '2.314',
    '0.0313',
    '1.20e-5',
    '12',
    '18.2k',
    'NaN',
  ]);
  expect([950, 999_999, 3.4e6, 1.2e15].map(formatCount)).toEqual(['950', '1.00M', '3.40M', '1.20P']);
  expect([4.21, 59.7, 185, 7800].map(formatSeconds)).toEqual(['4.2s', '1m 00s', '3m 05s', '2h 10m']);
});
