import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KlLabRow } from '../objective/kl-lab.js';
import { klLabText } from './lab.js';
import { cli } from './testing/capture.js';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-lab-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const SMALL = ['--kl', '0.01,0.2', '--policies', '2', '--samples', '100', '--vocabulary', '8'];

test('--json: the settings and a row for each distance, sampling policy and estimator; the same bytes again', async () => {
  const first = await cli('lab', 'kl', ...SMALL, '--stale', '0.05', '--seed', '3', '--json');
  expect(first.code).toBe(0);
  const { settings, rows } = JSON.parse(first.out) as { settings: object; rows: KlLabRow[] };
  expect(settings).toEqual({
    distances: [0.01, 0.2],
    staleness: 0.05,
    vocabulary: 8,
    policies: 2,
    samples: 100,
    seed: 3,
  });
  const names = ['k1', 'k2', 'k3', 'k3-unbiased', 'exact', 'notes-slip'];
  expect(rows.map(({ kl, samples_of, estimator }) => `${kl} ${samples_of} ${estimator}`)).toEqual(
    [0.01, 0.2].flatMap((kl) => ['policy', 'old'].flatMap((of) => names.map((name) => `${kl} ${of} ${name}`))),
  );
  expect((await cli('lab', 'kl', ...SMALL, '--stale', '0.05', '--seed', '3', '--json')).out).toBe(first.out);
});

test('the table: in units of the KL, exact zeros apart from small numbers, no direction where there is none', () => {
  const settings = { distances: [0.1], staleness: 0.01, vocabulary: 8, policies: 2, samples: 100, seed: 1 };
  const row = (samples_of: 'policy' | 'old', estimator: string, bias: number, cosine: number | null): KlLabRow => ({
    kl: 0.1,
    samples_of,
    estimator,
    value: { bias, bias_rms: 0.02, sampled_bias: -1e-6, standard_error: 0.001, standard_deviation: 0.25 },
    gradient: { cosine, norm: 1.5, error: 0.5, sampled_error: 0.5, noise: 12.3456 },
  });
  const text = klLabText(settings, [row('policy', 'k1', 1e-15, null), row('old', 'k2', -0.05, 0.875)]);
  expect(text.split('\n')).toEqual([
    '2 policies over 8 tokens at each distance, 100 samples of each, seed 1',
    '',
    'KL(π_θ ‖ π_ref) = 0.1, on-policy',
    '      bias / KL  sampled  ± error  |bias|  sd / KL    cosine  length   noise',
    '  k1          0   0.00 %    1.0 %  20.0 %    2.500         –   1.500  12.346',
    '',
    'KL(π_θ ‖ π_ref) = 0.1, samples of π_old, KL(π_old ‖ π_θ) = 0.01',
    '      bias / KL  sampled  ± error  |bias|  sd / KL    cosine  length   noise',
    '  k2    -50.0 %   0.00 %    1.0 %  20.0 %    2.500     0.875   1.500  12.346',
  ]);
});

test('--svg draws it', async () => {
  const file = path.join(dir, 'kl.svg');
  expect((await cli('lab', 'kl', ...SMALL, '--svg', file)).code).toBe(0);
  const svg = readFileSync(file, 'utf8');
  for (const text of ['k3-unbiased', 'notes-slip', 'KL(π_θ ‖ π_ref)', 'sd of one value / KL, on-policy']) {
    expect(svg).toContain(`>${text}</text>`);
  }
});

test('wrong commands: exit 2, and what to do', async () => {
  for (const [args, message] of [
    [['--kl', '0.1,x'], '--kl x: a number ≥ 0.000001 is needed'],
    [['--kl', '0.1,0.1'], '--kl 0.1,0.1: a distance stands there twice'],
    [
      ['--kl', '50'],
      'no policy at a KL of 50 nats was found over 32 tokens: a smaller distance or a larger vocabulary',
    ],
    [['--stale', '0'], '--stale 0: a number > 0'],
    [['--vocabulary', '2000'], '--vocabulary 2000: at most 1024'],
    [[...SMALL, '--svg', path.join(dir, 'no/kl.svg')], 'no/kl.svg: cannot be written'],
  ] as const) {
    const { code, err } = await cli('lab', 'kl', ...args);
    expect(err).toContain(message);
    expect(code).toBe(2);
  }
});
