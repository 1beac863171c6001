import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { REWARDS, someCandidates } from '../testing/candidates.js';
import { compile } from '../testing/compile.js';
import { acceptedOf, curationNotes } from './curate.js';
import { CurationQueue, curatedStages, curationFolder } from './queue.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-queue-'));
let script = '';
let compiled = '';
beforeAll(() => {
  ({ script, folder: compiled } = compile('pipeline/testing/decide-cli.ts'));
}, 60_000);
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
  rmSync(compiled, { recursive: true, force: true });
});

let runs = 0;
const newRun = () => path.join(root, String(runs++));
const put = (run: string, count: number, enough: number | null = null) =>
  CurationQueue.create(run, 's', someCandidates(count), { rewards: REWARDS, enough });
const ids = (list: readonly { id: string }[]) => list.map(({ id }) => id);

describe('deciding', () => {
  test('accept, reject, edit, undo: standings, order, progress', async () => {
    const run = newRun();
    const queue = await put(run, 5, 4);
    expect(await curatedStages(run)).toEqual(['s']);
    queue.decide('c1', { decision: 'accept', who: 'Ann' });
    queue.decide('c0', { decision: 'reject', who: 'Ben', reason: '太长' });
    queue.decide('c3', { decision: 'edit', who: 'Ann', text: 'better', reason: 'clearer' });
    expect(ids(queue.pending())).toEqual(['c2', 'c4']);
    expect(queue.progress()).toEqual({
      total: 5,
      decided: 3,
      accepted: 1,
      edited: 1,
      rejected: 1,
      conflicts: 0,
      needed: 4,
    });
    expect(queue.ready()).toBe(false);
    expect(queue.lastOf('Ann')?.id).toBe('c3');
    queue.decide('c3', { decision: 'undo', who: 'Ann' });
    expect(queue.lastOf('Ann')?.id).toBe('c1');
    queue.decide('c3', { decision: 'edit', who: 'Ann', text: 'best', reason: 'clearest' });
    queue.decide('c4', { decision: 'reject', who: 'Ben', reason: '太长' });
    expect(queue.ready()).toBe(true);
    const again = CurationQueue.open(run, 's');
    expect(acceptedOf(again).map(({ candidate, text, who }) => [candidate.id, text, who])).toEqual([
      ['c1', '<think>1+1=2</think><answer>2</answer>', 'Ann'],
      ['c3', 'best', 'Ann'],
    ]);
    expect(again.standing('c3').history.map(({ decision }) => decision)).toEqual(['edit', 'undo', 'edit']);
    expect(curationNotes(again)).toEqual([
      {
        en: 'People decided: 1 of 5 candidates accepted, 1 edited, 2 rejected, 1 left out undecided (0 of them disputed); decisions by Ben 2, Ann 2.',
        zh: '人工筛选：5 个候选中接受 1 个、修改 1 个、拒绝 2 个，另有 1 个未定而不用（其中 0 个有分歧）；各人的决定数：Ben 2，Ann 2。',
      },
      { en: 'Rejected because: 太长 (2).', zh: '拒绝的原因：太长 (2)。' },
    ]);
  });

  test('what is refused changes nothing', async () => {
    const run = newRun();
    const queue = await put(run, 2);
    const file = path.join(curationFolder(run, 's'), 'decisions.jsonl');
    expect(() => queue.decide('c0', { decision: 'reject', who: 'Ann' })).toThrow('c0: reject needs a reason');
    expect(() => queue.decide('c0', { decision: 'edit', who: 'Ann', reason: 'r' })).toThrow('needs the new text');
    expect(() => queue.decide('c0', { decision: 'accept', who: 'Ann', text: 'x' })).toThrow('accept takes no text');
    expect(() => queue.decide('c0', { decision: 'accept', who: 'rules' })).toThrow('is no name of a person');
    expect(() => queue.decide('c0', { decision: 'undo', who: 'Ann' })).toThrow('nothing to take back');
    expect(() => queue.decide('c9', { decision: 'accept', who: 'Ann' })).toThrow('there is no candidate c9');
    expect(readFileSync(file, 'utf8')).toBe('');
  });

  test('somebody was quicker: refused, with what they said', async () => {
    const run = newRun();
    const ann = await put(run, 1);
    const ben = CurationQueue.open(run, 's');
    const seen = ben.standing('c0');
    ann.decide('c0', { decision: 'accept', who: 'Ann' });
    expect(() => ben.decide('c0', { decision: 'reject', who: 'Ben', reason: 'r' }, seen)).toThrow(
      'c0: Ann said accept in the meantime',
    );
    // Having seen it, Ben may overrule it.
    ben.decide('c0', { decision: 'reject', who: 'Ben', reason: 'r' });
    ann.refresh();
    expect(ann.standing('c0').current?.who).toBe('Ben');
    expect(ann.conflicts()).toEqual([]);
  });

  test('disputed candidates come first, are not decided, and are settled by who saw both', async () => {
    const run = newRun();
    const queue = await put(run, 3);
    const line = (uid: string, decision: string) =>
      `${JSON.stringify({ uid, id: 'c2', decision, ...(decision === 'reject' ? { reason: 'r' } : {}), who: uid, when: '', after: null })}\n`;
    appendFileSync(
      path.join(curationFolder(run, 's'), 'decisions.jsonl'),
      line('Ann', 'accept') + line('Ben', 'reject'),
    );
    queue.refresh();
    expect(ids(queue.pending())).toEqual(['c2', 'c0', 'c1']);
    expect(queue.progress()).toMatchObject({ decided: 0, conflicts: 1 });
    expect(acceptedOf(queue)).toEqual([]);
    queue.decide('c2', { decision: 'accept', who: 'Cem' });
    expect(queue.progress()).toMatchObject({ decided: 1, accepted: 1, conflicts: 0 });
  });
});

test('leases: each person gets another candidate', async () => {
  const run = newRun();
  const ann = await put(run, 3);
  const ben = CurationQueue.open(run, 's');
  const first = ann.next('Ann', 60_000);
  expect([first?.id, ben.next('Ben', 60_000)?.id]).toEqual(['c0', 'c1']);
  expect(ann.next('Ann', 60_000, new Set(['c2']))).toBe(null);
  expect(ben.holder('c0')?.who).toBe('Ann');
});

describe('sealing', () => {
  test('fixes the decisions: later ones are refused, and do not count when they are there', async () => {
    const run = newRun();
    const queue = await put(run, 2);
    const late = CurationQueue.open(run, 's');
    queue.acceptByRules();
    const kept = acceptedOf(queue);
    expect(kept.map(({ who, decision }) => [who, decision])).toEqual([
      ['rules', 'accept'],
      ['rules', 'accept'],
    ]);
    await queue.seal();
    expect(() => late.decide('c0', { decision: 'reject', who: 'Ann', reason: 'r' })).toThrow('has taken the decisions');
    appendFileSync(
      path.join(curationFolder(run, 's'), 'decisions.jsonl'),
      `${JSON.stringify({ uid: 'x', id: 'c0', decision: 'reject', reason: 'r', who: 'Ann', when: '', after: kept[0]?.candidate && queue.standing('c0').current?.uid })}\n`,
    );
    const again = await put(run, 2); // the same candidates: a resumed run
    expect(again.sealed).not.toBe(null);
    expect(acceptedOf(again)).toEqual(kept);
  });

  test('other candidates open the queue again; decisions on texts that are still there stay', async () => {
    const run = newRun();
    const old = await put(run, 3);
    old.decide('c0', { decision: 'accept', who: 'Ann' });
    old.decide('c2', { decision: 'accept', who: 'Ann' });
    await old.seal();
    const fewer = await put(run, 2);
    expect(fewer.sealed).toBe(null);
    expect(fewer.progress()).toMatchObject({ total: 2, decided: 1, accepted: 1 });
    expect(ids(fewer.orphans())).toEqual(['c2']);
    expect(() => old.refresh()).toThrow('the run has put up other candidates');
  });

  test('the rules decide only where nobody has', async () => {
    const queue = await put(newRun(), 3);
    queue.decide('c1', { decision: 'reject', who: 'Ann', reason: 'r' });
    queue.acceptByRules();
    queue.acceptByRules();
    expect(queue.candidates().map(({ id }) => queue.standing(id).history.map(({ who }) => who))).toEqual([
      ['rules'],
      ['Ann'],
      ['rules'],
    ]);
  });
});

describe('damaged files are named', () => {
  test.each([
    ['queue.jsonl', '{"id":"c0"}\n', /queue\.jsonl:1: problem: /],
    ['queue.jsonl', 'x\n', /queue\.jsonl:1: not valid JSON/],
    ['settings.json', '{}', /settings\.json: rewards: /],
    ['sealed.json', '{"bytes":-1,"when":""}', /sealed\.json: bytes: /],
  ])('%s: %s', async (name, content, message) => {
    const run = newRun();
    (await put(run, 1)).close();
    writeFileSync(path.join(curationFolder(run, 's'), name), content);
    expect(() => CurationQueue.open(run, 's')).toThrow(message);
  });
  test('the same id twice', async () => {
    const run = newRun();
    await put(run, 1);
    const file = path.join(curationFolder(run, 's'), 'queue.jsonl');
    writeFileSync(file, readFileSync(file, 'utf8').repeat(2));
    expect(() => CurationQueue.open(run, 's')).toThrow('queue.jsonl:2: c0 is there twice');
  });
  test('no queue', () => {
    expect(() => CurationQueue.open(newRun(), 's')).toThrow('the stage s has no candidates to decide about');
  });
});

// Real processes.
interface Person {
  readonly kill: () => void;
  readonly said: () => string[];
  readonly end: Promise<unknown>;
}
function person(run: string, who: string, decision: string, rounds: number): Person {
  const child = spawn(process.execPath, [script, run, 's', who, decision, String(rounds)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (data) => {
    text += String(data);
  });
  return { kill: () => child.kill('SIGKILL'), said: () => text.split('\n').slice(0, -1), end: once(child, 'close') };
}
async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 2) {
    if (waited > 20_000) throw new Error('it never happened');
    await setTimeout(2);
  }
}

test('two processes decide about the same candidates at the same time: every decision is kept', async () => {
  const run = newRun();
  await put(run, 40);
  const people = [person(run, 'Ann', 'accept', 4), person(run, '本', 'reject', 4)];
  await until(() => people.every((one) => one.said().includes('ready')));
  writeFileSync(path.join(run, 'go'), '');
  await Promise.all(people.map((one) => one.end));
  const written = people.map((one) => one.said().filter((uid) => uid !== 'ready' && uid !== '-'));
  for (const one of people) expect(one.said()).toHaveLength(1 + 160); // each was written or refused
  const queue = CurationQueue.open(run, 's');
  expect(queue.damaged()).toEqual([]);
  const kept = queue.candidates().flatMap(({ id }) => queue.standing(id).history);
  expect(kept.map(({ uid }) => uid).toSorted()).toEqual(written.flat().toSorted());
  for (const [i, who] of ['Ann', '本'].entries()) {
    // In the file as each process wrote them, whole and in its order. Who sees the other's line in the writing begins
    // with a line feed: a blank line then stands between them.
    const lines = readFileSync(path.join(curationFolder(run, 's'), 'decisions.jsonl'), 'utf8')
      .split('\n')
      .filter((line) => line !== '');
    const own = lines.map((line) => JSON.parse(line)).filter((row) => row.who === who);
    expect(own.map(({ uid }) => uid)).toEqual(written[i]);
  }
  // Whoever was not told of the other's decision is in a dispute, or was overruled by one who was.
  for (const { id } of queue.candidates()) {
    const { current, conflict, history } = queue.standing(id);
    const last = history.at(-1);
    expect(current).toEqual(last);
    const knew = last?.after === (history.at(-2)?.uid ?? null);
    if (knew) expect(conflict).toEqual([]);
    else if (history.at(-2)?.decision !== last?.decision) expect(conflict).toContain(last);
  }
});

test('killed in the middle: what was said to be written is there, and others go on', async () => {
  const run = newRun();
  const queue = await put(run, 30);
  writeFileSync(path.join(run, 'go'), '');
  const ann = person(run, 'Ann', 'accept', 1000);
  await until(() => ann.said().length > 40);
  ann.kill();
  await ann.end;
  queue.refresh();
  const kept = new Set(queue.candidates().flatMap(({ id }) => queue.standing(id).history.map(({ uid }) => uid)));
  for (const uid of ann.said()) if (uid !== 'ready' && uid !== '-') expect(kept.has(uid)).toBe(true);
  queue.decide('c0', { decision: 'reject', who: 'Ben', reason: 'r' });
  expect(queue.standing('c0').current?.who).toBe('Ben');
  expect(existsSync(path.join(curationFolder(run, 's'), 'sealed.json'))).toBe(false);
});
