import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { CurationQueue, curationFolder } from '../pipeline/curation/queue.js';
import { kinds, taskSchema } from '../pipeline/kinds.js';
import { REWARDS, someCandidates } from '../pipeline/testing/candidates.js';
import { tinyKind } from '../pipeline/testing/stage-run.js';
import { type CurateFlags, curateCommand } from './curate.js';
import { runCli } from './program.js';
import { cli } from './testing/capture.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-curate-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let runs = 0;
/** A run folder whose stage `s` waits. */
async function newRun(count: number, stage = 's', enough: number | null = null): Promise<string> {
  const run = path.join(root, String(runs++));
  mkdirSync(run);
  writeFileSync(path.join(run, 'recipe.yaml'), '');
  (await CurationQueue.create(run, stage, someCandidates(count), { rewards: REWARDS, enough })).close();
  return run;
}

const FLAGS: CurateFlags = { who: 'Ann', import: [], lease: 10 };

/** Gives lines to `dunwu curate` and returns what it printed. */
async function curate(run: string, lines: string, flags: Partial<CurateFlags> = {}): Promise<string> {
  const input = new PassThrough();
  input.end(lines);
  let out = '';
  await curateCommand(run, { ...FLAGS, ...flags }, { input, output: { write: (text) => (out += text) }, env: {} });
  return out;
}

function states(run: string) {
  const queue = CurationQueue.open(run, 's');
  const found = queue.candidates().map(({ id }) => queue.standing(id).current);
  queue.close();
  return found.map((made) => (made === null ? null : [made.decision, made.who, made.text ?? made.reason ?? '']));
}

describe('deciding through a pipe', () => {
  test('accept, reject, skip, edit with a second try, undo, quit', async () => {
    const run = await newRun(5);
    const out = await curate(
      run,
      [
        'a', // c0
        'r',
        '', // c1: no reason, back to the keys
        'r',
        '理由：太长',
        's', // c2
        'e', // c3
        '<think>3+1=5</think>',
        '<answer>5</answer>',
        '.',
        'e',
        '<think>3+1=4</think><answer>4</answer> 好',
        '.',
        'a',
        'clearer',
        'u', // takes c3 back, shows it again
        'a',
        'x', // no such key
        'q',
        'a', // not read any more
      ].join('\n'),
    );
    expect(states(run)).toEqual([
      ['accept', 'Ann', ''],
      ['reject', 'Ann', '理由：太长'],
      null,
      ['accept', 'Ann', ''],
      null,
    ]);
    // The edit was judged both times: wrong, then right but out of form.
    expect(out).toContain('Points: 0.5 = accuracy 0/1 (wrong) × 1 + format 1/1 (ok) × 0.5\n  accuracy: tag: 5 ≠ 4');
    expect(out).toContain(
      'Points: 1 = accuracy 1/1 (ok) × 1 + format 0/1 (wrong) × 0.5\n  format: there is text outside the tags',
    );
    expect(out).toContain('── 4 of 5 · 2 decided · zh · sums ──\n  3+1?\nGold answer: 4\nResponse\n  <think>3+1=4');
    expect(out).toContain('Not decided: a reason is needed.');
    expect(out).toContain('Taken back: Edited.');
    expect(out).toContain('There is no key "x".');
    expect(out.split('\n').at(-2)).toBe('Skipped: 1. They come again the next time.');
    const queue = CurationQueue.open(run, 's');
    expect(queue.standing('c3').history.map(({ decision, reason }) => [decision, reason])).toEqual([
      ['edit', 'clearer'],
      ['undo', undefined],
      ['accept', undefined],
    ]);
    expect(queue.holder('c4')).toBe(null); // nothing stays leased
    queue.close();

    // Accepted with a reason, which is kept; without one after all, nothing is decided.
    const reasoned = await newRun(1);
    expect(await curate(reasoned, 'w\n\nw\nshort and right\n')).toContain('Not decided: a reason is needed.');
    expect(states(reasoned)).toEqual([['accept', 'Ann', 'short and right']]);

    const rest = await curate(run, 'a\na\n', { who: '本' });
    expect(rest).toContain('3 of 5 candidates decided: 2 accepted, 0 edited, 1 rejected. You are 本.');
    expect(rest).toContain('Enough is decided: go on with the run');
  });

  test('input that breaks off decides nothing more', async () => {
    const run = await newRun(2);
    await curate(run, 'a\ne\nhalf a te');
    expect(states(run)).toEqual([['accept', 'Ann', ''], null]);
    await curate(run, 'r');
    expect(states(run)[1]).toBe(null);
  });

  test('what a model says cannot steer the terminal', async () => {
    const run = path.join(root, 'hostile');
    mkdirSync(run);
    writeFileSync(path.join(run, 'recipe.yaml'), '');
    const [one] = someCandidates(1);
    if (one === undefined) throw new Error();
    const evil = { ...one, response: '\x1b[2Jgone\u009b1m\r', problem: { ...one.problem, prompt: '\x1b]0;title\x07' } };
    (await CurationQueue.create(run, 's', [evil], { rewards: REWARDS, enough: null })).close();
    const out = (await curate(run, 'r\n\x1b[31mred\n')) + (await curate(run, '', { list: true }));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
    expect(out).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
    expect(out).toContain('\\x1b[2Jgone');
  });

  test('somebody else decides while one looks: both stay, and it is said', async () => {
    const run = await newRun(2);
    const input = new PassThrough();
    let out = '';
    const output = {
      write: (text: string) => {
        out += text;
        if (!out.endsWith('[q]uit > ') || input.writableEnded) return;
        const ben = CurationQueue.open(run, 's');
        ben.decide('c0', { decision: 'reject', who: 'Ben', reason: 'no' });
        ben.close();
        input.end('a\na\n');
      },
    };
    await curateCommand(run, FLAGS, { input, output, env: {} });
    expect(out).toContain('Not written down: c0: Ben said reject in the meantime');
    expect(states(run)).toEqual([
      ['reject', 'Ben', 'no'],
      ['accept', 'Ann', ''],
    ]);
  });

  test('a candidate in front of somebody else is not shown', async () => {
    const run = await newRun(2);
    const ben = CurationQueue.open(run, 's');
    ben.next('Ben', 60_000);
    const out = await curate(run, 'a\na\n');
    expect(out).toContain('With others now: 1 (Ben).');
    expect(states(run)).toEqual([null, ['accept', 'Ann', '']]);
  });
});

test('in a terminal: one key each, and an edit in $EDITOR', async () => {
  const run = await newRun(2);
  const editor = path.join(root, 'my editor.sh');
  writeFileSync(editor, '#!/bin/sh\nprintf "<think>x</think><answer>1</answer>\\n\\n" > "$1"\n');
  chmodSync(editor, 0o755);
  const input = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => {} });
  input.write('eashorter\ra');
  let out = '';
  await curateCommand(run, FLAGS, {
    input,
    output: { write: (text) => (out += text) },
    env: { EDITOR: `'${editor}'` },
  });
  expect(out).toContain('Edited\n  <think>x</think><answer>1</answer>\nPoints: 1.5');
  expect(states(run)).toEqual([
    ['edit', 'Ann', '<think>x</think><answer>1</answer>'],
    ['accept', 'Ann', ''],
  ]);
});

describe('--list and --export', () => {
  test('every candidate and its decision; accepted ones as dialogues', async () => {
    const run = await newRun(4);
    await curate(run, 'a\nr\ntoo long\ne\nnew\n.\na\nwhy\n');
    const list = await curate(run, '', { list: true });
    expect(list).toBe(
      '1\taccept\t0+1?\tAnn\n2\treject\t1+1?\tAnn: too long\n3\tedit\t2+1?\tAnn: why\n4\topen\t3+1?\t\n' +
        '3 of 4 candidates decided: 1 accepted, 1 edited, 1 rejected.\n',
    );
    const rows = (await curate(run, '', { export: '-' }))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(rows).toMatchObject([
      {
        id: 'c0',
        prompt: '0+1?',
        answer: '1',
        source: 'sums',
        language: 'en',
        trace: { total: 1.5 },
        curation: { who: 'Ann' },
      },
      { id: 'c2', response: 'new', trace: { total: 0 }, curation: { decision: 'edit', who: 'Ann', reason: 'why' } },
    ]);
    const file = path.join(root, 'kept.jsonl');
    expect(await curate(run, '', { export: file })).toBe(`2 rows in ${file}\n`);
    expect(
      readFileSync(file, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(rows);
  });

  test('rules of the user’s own are loaded only when the user says so', async () => {
    const run = path.join(root, 'own');
    mkdirSync(run);
    writeFileSync(path.join(run, 'recipe.yaml'), '');
    const file = path.join(root, 'own.mjs');
    const mark = path.join(root, 'loaded');
    writeFileSync(
      file,
      `import { writeFileSync } from 'node:fs'; writeFileSync(${JSON.stringify(mark)}, ''); export function brief(p, r) { return r.length < 4 ? 1 : 0; }`,
    );
    const rewards = { rules: { brief: 1 }, import: file };
    (await CurationQueue.create(run, 's', someCandidates(1), { rewards, enough: null })).close();
    const out = await curate(run, 'e\nnew\n.\nb\nq\n');
    expect(out).toContain('Edits cannot be checked by the rules (there is no rule `brief`.');
    expect(out).toContain('Not checked by the rules.');
    expect(existsSync(mark)).toBe(false);
    expect(await curate(run, 'e\nnew\n.\nb\nq\n', { import: [file] })).toContain('Points: 1 = brief 1/1 (ok) × 1');
  });
});

describe('the folder', () => {
  test('which stage is meant', async () => {
    const run = await newRun(1);
    await expect(curate(path.join(root, 'nowhere'), '')).rejects.toThrow('is no run folder');
    await expect(curate(run, '', { stage: 'x' })).rejects.toThrow('--stage x: has no candidates; stages that have: s');
    const other = await CurationQueue.create(run, 't', someCandidates(1), { rewards: REWARDS, enough: null });
    await expect(curate(run, '')).rejects.toThrow('say which with --stage (s, t)');
    await other.seal();
    other.close();
    await curate(run, 'a\n'); // the only one that waits
    expect(states(run)).toEqual([['accept', 'Ann', '']]);
    await expect(curate(run, 'a\n', { stage: 't' })).rejects.toThrow('the run took the decisions of stage t at ');
    await expect(curate(run, '', { who: 'rules' })).rejects.toThrow('--who rules: give the name of a person');
  });
});

test('dunwu run waits (exit 3), people decide, it goes on to the end with what they decided', async () => {
  const recipe = path.join(root, 'human.yaml');
  writeFileSync(
    recipe,
    `name: human
seed: 3
task: { type: word-problem, steps: [2, 2] }
stages:
  - { name: base, kind: tiny }
  - { name: 冷启动, kind: sample, model: base, problems: 24, samples: 4, chunk: 12, curate: human,
      sampling: { temperature: 1.5, max_tokens: 60 }, rewards: { rules: { length: { max: 120 } } },
      keep: { min_points: { length: 1 }, max: 4, min_rows: 3 } }
`,
  );
  const out = path.join(root, 'human');
  const parts = async () => ({ kinds: [tinyKind, ...kinds], taskSchema });
  const run = async (...more: string[]) => {
    let printed = '';
    const spies = (['stdout', 'stderr'] as const).map((name) =>
      vi.spyOn(process[name], 'write').mockImplementation((data) => {
        printed += String(data);
        return true;
      }),
    );
    const code = await runCli(['run', recipe, '--out', out, ...more], { parts });
    for (const spy of spies) spy.mockRestore();
    process.exitCode = undefined;
    return { code, printed };
  };
  const first = await run();
  expect(first.code).toBe(3);
  expect(first.printed).toContain('Waiting for people: 0 of 4 decisions on the 4 candidates of stage 冷启动 are made.');
  expect(first.printed).toMatch(/Decide with:\n {2}.* curate .*human\nThen go on with:\n {2}.*--resume/);
  expect(existsSync(path.join(out, 'run.lock'))).toBe(false);

  await curate(out, 'a\ne\n<think>会</think><answer>1</answer>\n.\na\n更清楚\n');
  const drawn = readFileSync(path.join(out, 'samples/冷启动.jsonl'), 'utf8');
  const second = await run('--resume');
  expect(second.code).toBe(3);
  expect(second.printed).toContain('2 of 4 decisions');

  // Too few accepted: an error that people can mend.
  await curate(out, 'r\nno\nr\nno\n');
  const third = await run('--resume');
  expect(third.code).toBe(1);
  expect(third.printed).toContain('people accepted 2 of 4 candidates, keep.min_rows is 3.');
  await curate(out, '', { who: 'Ben' });
  const queue = CurationQueue.open(out, '冷启动');
  const [, , c2] = queue.candidates();
  queue.decide(c2?.id ?? '', { decision: 'accept', who: 'Ben' });
  queue.close();

  const last = await run('--resume');
  expect(last.code).toBe(0);
  expect(readFileSync(path.join(out, 'samples/冷启动.jsonl'), 'utf8')).toBe(drawn); // nothing was drawn again
  const dataset = path.join(out, 'datasets/冷启动.jsonl');
  const data = readFileSync(dataset, 'utf8');
  const rows = data
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(rows.map(({ curation }) => curation)).toEqual([
    { decision: 'accept', who: 'Ann' },
    { decision: 'edit', who: 'Ann', reason: '更清楚' },
    { decision: 'accept', who: 'Ben' },
  ]);
  expect(rows[1]).toMatchObject({ response: '<think>会</think><answer>1</answer>', trace: { total: 1 } });
  expect(readFileSync(path.join(out, 'report.zh.md'), 'utf8')).toContain('4 个候选中接受 2 个、修改 1 个、拒绝 1 个');

  // Killed after the decisions were taken, and somebody changed their mind: the same bytes.
  rmSync(path.join(out, 'stages/冷启动.json'));
  rmSync(dataset);
  const late = { uid: 'x', id: rows[0].id, decision: 'reject', reason: 'late', who: 'Ann', when: '' };
  const decisions = path.join(curationFolder(out, '冷启动'), 'decisions.jsonl');
  const [line = ''] = readFileSync(decisions, 'utf8').split('\n');
  writeFileSync(decisions, `${JSON.stringify({ ...late, after: JSON.parse(line).uid })}\n`, { flag: 'a' });
  expect((await run('--resume')).code).toBe(0);
  expect(readFileSync(dataset, 'utf8')).toBe(data);
  expect((await cli('curate', out)).err).toContain('the run took the decisions of stage 冷启动');
});
