import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type Decision, DecisionLog, follow, UNDECIDED } from './decisions.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-decisions-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let files = 0;
const newFile = () => path.join(root, `${files++}.jsonl`);

const made = (
  uid: string,
  after: string | null,
  decision: Decision['decision'],
  more: Partial<Decision> = {},
): Decision => ({
  uid,
  id: 'c',
  decision,
  ...(decision === 'reject' ? { reason: 'long' } : {}),
  who: uid[0] as string,
  when: '2026-01-01T00:00:00.000Z',
  after,
  ...more,
});
const stand = (...decisions: Decision[]) => decisions.reduce(follow, UNDECIDED);
const uids = (list: readonly Decision[]) => list.map(({ uid }) => uid);

describe('follow', () => {
  const a1 = made('a1', null, 'accept');
  test('one after the other: the newest holds, nothing is disputed', () => {
    const b = made('b1', 'a1', 'reject');
    expect(stand(a1, b)).toEqual({ current: b, conflict: [], history: [a1, b] });
  });
  test('at the same time, and different: disputed until somebody who saw both decides', () => {
    const b1 = made('b1', null, 'reject');
    const disputed = stand(a1, b1);
    expect([disputed.current?.uid, uids(disputed.conflict)]).toEqual(['b1', ['a1', 'b1']]);
    const c1 = made('c1', null, 'accept');
    expect(uids(follow(disputed, c1).conflict)).toEqual(['a1', 'b1', 'c1']);
    const settled = follow(disputed, made('a2', 'b1', 'accept'));
    expect([settled.current?.uid, settled.conflict]).toEqual(['a2', []]);
  });
  test('at the same time, and the same: agreed', () => {
    expect(stand(a1, made('b1', null, 'accept')).conflict).toEqual([]);
    const edit = (uid: string, text: string) => made(uid, null, 'edit', { text, reason: 'r' });
    expect(stand(edit('a', 'x'), edit('b', 'x')).conflict).toEqual([]);
    expect(uids(stand(edit('a', 'x'), edit('b', 'y')).conflict)).toEqual(['a', 'b']);
  });
  test('undo takes back what its author saw, and nothing else', () => {
    const undo = made('a2', 'a1', 'undo');
    expect(stand(a1, undo).current).toBe(null);
    // Ben had overruled it already: his decision stays.
    const b = made('b1', 'a1', 'reject');
    expect(stand(a1, b, undo)).toMatchObject({ current: b, conflict: [] });
    // The other way round: nothing stands that Ben's decision could contradict.
    expect(stand(a1, undo, b)).toMatchObject({ current: b, conflict: [] });
  });
});

describe('the file', () => {
  const plain = (id: string, more: Partial<Decision> = {}) => {
    const { uid: _, ...rest } = made('a', null, 'accept', { id, ...more });
    return rest;
  };
  test('what is appended is read by others, and again from the file', () => {
    const file = newFile();
    const ours = new DecisionLog(file);
    const theirs = new DecisionLog(file);
    const [one] = ours.append([plain('一'), plain('二')]);
    expect(theirs.standing('一').current).toBe(null);
    theirs.refresh();
    expect(theirs.standing('一').current).toEqual(one);
    theirs.append([plain('三')]);
    ours.refresh();
    expect(ours.all.map(({ id }) => id)).toEqual(['一', '二', '三']);
    expect(new DecisionLog(file).all).toEqual(ours.all);
    expect(ours.bytes).toBe(readFileSync(file).length);
  });

  test('a torn last line spoils itself alone, wherever it was cut', () => {
    const whole = newFile();
    new DecisionLog(whole).append([plain('一'), plain('二', { who: '安' })]);
    const bytes = readFileSync(whole);
    const first = bytes.indexOf(0x0a) + 1;
    for (let cut = first + 1; cut < bytes.length; cut++) {
      const file = newFile();
      writeFileSync(file, bytes.subarray(0, cut));
      const log = new DecisionLog(file);
      expect(log.all.map(({ id }) => id)).toEqual(['一']);
      expect(log.bytes).toBe(first);
      log.append([plain('三')]);
      // Only its newline was missing: then nothing is lost.
      const complete = cut === bytes.length - 1;
      expect(log.all.map(({ id }) => id)).toEqual(complete ? ['一', '二', '三'] : ['一', '三']);
      expect(log.damaged.map(({ line }) => line)).toEqual(complete ? [] : [2]);
      log.close();
    }
  });

  test('lines that are no decisions are passed over and told', () => {
    const file = newFile();
    const good = { ...plain('一'), uid: 'u' };
    const lines = [
      'null',
      '{"uid":"x"}',
      JSON.stringify({ ...good, uid: 'v', decision: 'maybe' }),
      JSON.stringify({ ...good, uid: 'w', decision: 'reject' }),
      JSON.stringify({ ...good, uid: 'x', decision: 'edit', reason: 'r', text: ' ' }),
      JSON.stringify({ ...good, uid: 'y', extra: 1 }),
      JSON.stringify(good),
      '',
      JSON.stringify(good), // the same one again
    ];
    writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
    const log = new DecisionLog(file);
    expect(log.all).toEqual([good]);
    expect(log.damaged.map(({ line }) => line)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(log.damaged[3]?.why).toBe('reject needs a reason');
  });

  test('a limit leaves later decisions out; a file put back is read anew', () => {
    const file = newFile();
    const log = new DecisionLog(file);
    log.append([plain('一')]);
    const { bytes } = log;
    log.append([plain('二')]);
    expect(new DecisionLog(file, bytes).all.map(({ id }) => id)).toEqual(['一']);
    truncateSync(file, bytes);
    appendFileSync(file, '\n');
    truncateSync(file, bytes);
    log.refresh();
    expect(log.all.map(({ id }) => id)).toEqual(['一']);
    expect(log.standing('二').current).toBe(null);
  });
});
