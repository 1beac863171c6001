import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { type ProfileReport, profileText } from './profile.js';
import { cli } from './testing/capture.js';

const golden = fileURLToPath(new URL('../model/testing/golden', import.meta.url));
const dir = mkdtempSync(path.join(tmpdir(), 'dunwu-profile-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it('a report by hand', () => {
  const report: ProfileReport = {
    model: null,
    model_type: 'deepseek_v3',
    parameters: 3_770_000,
    device: 'cpu',
    dtype: 'float32',
    threads: 1,
    float32_matmul_precision: 'medium',
    peak_flops_per_s: 200e9,
    peak_size: 2048,
    works: [
      {
        work: 'training',
        shape: 'a step on 2 × 5 tokens',
        tokens: 10,
        seconds: 0.1,
        phases: [
          {
            name: 'forward',
            seconds: 0.08,
            outside: 0.004,
            products: { flops: 4e9, seconds: 0.04 },
            operators: [
              { name: 'aten::mm', calls: 3, seconds: 0.04, flops: 4e9 },
              { name: 'aten::add', calls: 2, seconds: 0.03, flops: 0 },
              { name: 'aten::cat', calls: 1.5, seconds: 0.005, flops: 0 },
              { name: 'aten::to', calls: 1, seconds: 0.001, flops: 0 },
            ],
          },
          { name: 'optimiser', seconds: 0.02, outside: 0.02, products: { flops: 0, seconds: 0 }, operators: [] },
        ],
      },
    ],
  };
  expect(profileText(report, 2)).toBe(
    `a fresh tiny model: deepseek_v3, 3.77 M parameters, float32, 1 thread
peak: 200 GFLOP/s in a product of [2048, 2048], 'medium', measured now

training: a step on 2 × 5 tokens: 100.0 ms, 100 tokens/s

  phase         ms    share  outside  products  GFLOP  GFLOP/s  of peak  all, peak
  forward     80.0   80.0 %    5.0 %    50.0 %   4.00      100   50.0 %     25.0 %
  optimiser   20.0   20.0 %  100.0 %     0.0 %   0.00        –        –          –
  all        100.0  100.0 %   24.0 %    40.0 %   4.00      100   50.0 %     20.0 %

  forward                                   calls    ms   share  GFLOP/s
  aten::mm                                      3  40.0  50.0 %      100
  aten::add                                     2  30.0  37.5 %
  2 other operators                           2.5  6.00   7.5 %
  outside operators (JavaScript, dispatch)         4.00   5.0 %

  optimiser                                 calls    ms    share  GFLOP/s
  outside operators (JavaScript, dispatch)         20.0  100.0 %`,
  );
});

it('a folder without weights; --json holds what the phases are made of', async () => {
  cpSync(path.join(golden, 'deepseek_v3', 'config.json'), path.join(dir, 'config.json'));
  const file = path.join(dir, 'profile.json');
  const sizes = ['--batch', '2', '--time', '8', '--rows', '2', '--prompt', '4', '--new-tokens', '3', '--repeat', '1'];
  const { code, out } = await cli('profile', dir, ...sizes, '--threads', '1', '--json', file);
  expect(code).toBe(0);
  expect(out).toContain(`${dir}: deepseek_v3, 0.209 M parameters, float32, 1 thread\n`);
  expect(out).toContain('training: a step on 2 × 8 tokens: ');
  expect(out).toContain('generation: 2 prompts of 4 tokens, 3 new tokens each: ');
  const report = JSON.parse(readFileSync(file, 'utf8')) as ProfileReport;
  expect(report.works.map(({ work, tokens }) => [work, tokens])).toEqual([
    ['training', 16],
    ['generation', 6],
  ]);
  expect(report.peak_flops_per_s).toBeGreaterThan(0);
});

it('refuses what does not fit or would be ignored', async () => {
  expect(await cli('profile', '--only', 'training', '--rows', '3')).toMatchObject({
    code: 2,
    err: 'error: --rows is for generation, and --only training leaves that out\n',
  });
  expect(await cli('profile', '--only', 'generation', '--time', '3')).toMatchObject({ code: 2 });
  expect((await cli('profile', '--only', 'decode')).err).toBe(
    'error: --only decode: training or generation is needed\n',
  );
  expect((await cli('profile', '--time', '1025')).err).toBe(
    'error: --time: 1025 tokens; the model reaches to 1024 (max_position_embeddings)\n',
  );
  expect((await cli('profile', '--prompt', '1000')).err).toBe(
    'error: --prompt and --new-tokens: 1128 tokens; the model reaches to 1024 (max_position_embeddings)\n',
  );
});
