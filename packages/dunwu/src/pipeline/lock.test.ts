import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UsageError } from '../util/errors.js';
import { FolderLock, LOCK_NAME } from './lock.js';

let dir = '';
let file = '';
beforeEach(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-lock-'));
  file = path.join(dir, LOCK_NAME);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const write = (holder: object) => writeFileSync(file, JSON.stringify(holder));

test('one holder at a time; released, the folder is free and clean', () => {
  const lock = FolderLock.acquire(dir);
  expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ pid: process.pid, host: os.hostname() });
  expect(() => FolderLock.acquire(dir)).toThrow(UsageError);
  expect(() => FolderLock.acquire(dir)).toThrow(`process ${process.pid} is working in ${dir}`);
  lock.release();
  expect(readdirSync(dir)).toEqual([]);
  FolderLock.acquire(dir).release();
});

test('a lock of a dead process, of a process number used again, or torn, is stale', async () => {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  write({ pid: child.pid, host: os.hostname(), started: '' });
  FolderLock.acquire(dir).release();
  if (process.platform === 'linux') {
    write({ pid: process.pid, host: os.hostname(), started: 'another-boot/1' });
    FolderLock.acquire(dir).release();
  }
  writeFileSync(file, '{"pi');
  FolderLock.acquire(dir).release();
  expect(existsSync(file)).toBe(false);
});

test('a process on another machine cannot be asked: its lock holds, and the error says what to remove', () => {
  write({ pid: 1, host: 'elsewhere', started: '' });
  expect(() => FolderLock.acquire(dir)).toThrow(
    `process 1 on elsewhere is working in ${dir}. If it is gone, remove ${file}`,
  );
});

test('release leaves a lock that has become another holder’s', () => {
  const lock = FolderLock.acquire(dir);
  write({ pid: 1, host: 'elsewhere', started: '' });
  lock.release();
  expect(existsSync(file)).toBe(true);
});
