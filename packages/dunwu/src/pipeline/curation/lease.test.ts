import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type Lease, Leases } from './lease.js';

const root = mkdtempSync(path.join(os.tmpdir(), 'dunwu-lease-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('one has it, others have not, until it is let go', () => {
  const dir = path.join(root, 'one');
  const leases = new Leases(dir);
  const other = new Leases(dir);
  const lease = leases.take('甲/乙#0', '安', 60_000) as Lease;
  expect(lease).toMatchObject({ id: '甲/乙#0', who: '安' });
  expect(other.take('甲/乙#0', 'Ben', 60_000)).toBe(null);
  expect(leases.take('甲/乙#0', '安', 60_000)).toBe(null); // the same person in another terminal is another one
  expect(other.holder('甲/乙#0')?.who).toBe('安');
  expect(other.take('other', 'Ben', 60_000)).not.toBe(null);
  leases.release(lease);
  expect(other.holder('甲/乙#0')).toBe(null);
  const next = other.take('甲/乙#0', 'Ben', 60_000) as Lease;
  leases.release(lease); // no longer ours
  expect(other.holder('甲/乙#0')?.token).toBe(next.token);
});

test('it runs out with time', () => {
  let now = 1000;
  const leases = new Leases(path.join(root, 'time'), () => now);
  leases.take('a', 'Ann', 500);
  now = 1499;
  expect(leases.take('a', 'Ben', 500)).toBe(null);
  now = 1500;
  expect(leases.holder('a')).toBe(null);
  expect(leases.take('a', 'Ben', 500)?.who).toBe('Ben');
  expect(leases.holder('a')?.who).toBe('Ben');
});

test('it ends with its process; a torn one is nobody’s', () => {
  const dir = path.join(root, 'dead');
  const leases = new Leases(dir);
  leases.take('a', 'Ann', 60_000);
  const file = path.join(dir, readdirSync(dir)[0] as string);
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  const held = JSON.parse(readFileSync(file, 'utf8')) as { holder: object };
  writeFileSync(file, JSON.stringify({ ...held, holder: { ...held.holder, pid } }));
  expect(leases.take('a', 'Ben', 60_000)?.who).toBe('Ben');
  writeFileSync(file, '{"id":"a","wh');
  expect(leases.take('a', 'Cem', 60_000)?.who).toBe('Cem');
  expect(readdirSync(dir)).toHaveLength(1); // nothing lies about
});
