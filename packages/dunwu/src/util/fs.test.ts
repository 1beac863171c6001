import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { listFiles, makeFolder, namesIn, writeFileAtomic } from './fs.js';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'dunwu-fs-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test('replaces the content and leaves no temporary file', async () => {
  const file = path.join(dir, 'a.txt');
  await writeFileAtomic(file, 'one');
  await writeFileAtomic(file, '二');
  expect(await readFile(file, 'utf8')).toBe('二');
  expect(await readdir(dir)).toEqual(['a.txt']);
});

test('a failed write keeps nothing and says why', async () => {
  await mkdir(path.join(dir, 'taken'));
  await writeFile(path.join(dir, 'taken', 'x'), '');
  await expect(writeFileAtomic(path.join(dir, 'taken'), 'x')).rejects.toThrow(/EISDIR|ENOTEMPTY|EEXIST/);
  expect(await readdir(dir)).toEqual(['taken']);
});

test('lists files below a folder, sorted', async () => {
  await mkdir(path.join(dir, 'b'));
  await writeFile(path.join(dir, 'b', 'y'), '');
  await writeFile(path.join(dir, 'a'), '');
  expect(await listFiles(dir)).toEqual(['a', 'b/y']);
  expect(await namesIn(path.join(dir, 'nowhere'))).toBeNull();
});

test('makes a folder with those above it; says no where there can be none, and comes back', async () => {
  makeFolder(path.join(dir, 'a', 'b', 'c'));
  makeFolder(path.join(dir, 'a', 'b', 'c'));
  expect(await listFiles(dir)).toEqual([]);
  expect(await readdir(path.join(dir, 'a', 'b'))).toEqual(['c']);
  await writeFile(path.join(dir, 'file'), '');
  expect(() => makeFolder(path.join(dir, 'file'))).toThrow('EEXIST');
  expect(() => makeFolder(path.join(dir, 'file', 'x'))).toThrow('ENOTDIR');
  expect(() => makeFolder('/proc/nowhere')).toThrow(/ENOENT|EACCES|EROFS/);
  expect(() => makeFolder('/proc/nowhere/deep/er')).toThrow(/ENOENT|EACCES|EROFS/);
});
