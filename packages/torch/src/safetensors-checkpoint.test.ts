import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openCheckpoint, SafetensorsError, tensor, writeCheckpoint, writeSafetensors } from './index.js';

let root = '';
let folder = '';
const at = (name: string): string => path.join(folder, name);
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'dunwu-checkpoint-'));
  folder = path.join(root, 'model');
  mkdirSync(folder);
});
afterEach(() => rmSync(root, { recursive: true }));

const five = { e: tensor([5, 5]), a: tensor([1, 1]), b: tensor([2, 2]), d: tensor([4]), c: tensor([3, 3, 3, 3, 3]) };
const index = (weight_map: unknown): void =>
  writeFileSync(at('model.safetensors.index.json'), JSON.stringify({ weight_map }));
const open = (): void => openCheckpoint(folder).close();

describe('writing and reading back', () => {
  it('one file when it fits', () => {
    expect(writeCheckpoint(folder, five)).toEqual(['model.safetensors']);
    using checkpoint = openCheckpoint(folder);
    expect([...checkpoint.names].sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect({ ...checkpoint.metadata }).toEqual({ format: 'pt' });
    expect(checkpoint.tensor('c').numbers()).toEqual([3, 3, 3, 3, 3]);
  });

  it('shards in the order given, a large tensor alone', () => {
    const files = writeCheckpoint(folder, new Map(Object.entries(five)), { maxShardSize: 16 });
    expect(files).toEqual([
      'model-00001-of-00003.safetensors', // e a: 8 + 8
      'model-00002-of-00003.safetensors', // b d: 8 + 4
      'model-00003-of-00003.safetensors', // c: 20
      'model.safetensors.index.json',
    ]);
    expect(readdirSync(folder)).toEqual(files);
    expect(JSON.parse(readFileSync(at('model.safetensors.index.json'), 'utf8'))).toEqual({
      metadata: { total_size: 48 },
      weight_map: {
        a: 'model-00001-of-00003.safetensors',
        b: 'model-00002-of-00003.safetensors',
        c: 'model-00003-of-00003.safetensors',
        d: 'model-00002-of-00003.safetensors',
        e: 'model-00001-of-00003.safetensors',
      },
    });
    using checkpoint = openCheckpoint(folder);
    for (const [name, wanted] of Object.entries(five)) {
      expect(checkpoint.has(name)).toBe(true);
      expect(checkpoint.info(name)).toEqual({ dtype: 'float32', shape: wanted.shape, bytes: 4 * wanted.numel });
      expect(checkpoint.tensor(name).numbers()).toEqual(wanted.numbers());
    }
    expect(() => checkpoint.tensor('z')).toThrow(
      `${folder}: tensor "z": there is no such tensor; the checkpoint has 5: "a"`,
    );
  });

  it('an older checkpoint of another form does not survive, other files do', () => {
    writeFileSync(at('config.json'), '{}');
    writeCheckpoint(folder, five, { maxShardSize: 8 });
    writeCheckpoint(folder, { a: tensor([7]) });
    expect(readdirSync(folder)).toEqual(['config.json', 'model.safetensors']);
    writeCheckpoint(folder, five, { maxShardSize: 24 });
    expect(readdirSync(folder)).toEqual([
      'config.json',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
    ]);
  });

  it('refuses what cannot be stored before it touches the old one', () => {
    writeCheckpoint(folder, five, { maxShardSize: 16 });
    const before = readdirSync(folder);
    const freed = tensor([1]);
    freed.dispose();
    expect(() => writeCheckpoint(folder, { a: tensor([1]), freed })).toThrow('tensor "freed": the tensor was freed');
    expect(() => writeCheckpoint(folder, five, { maxShardSize: 0 })).toThrow(
      'maxShardSize must be at least 1 byte, got 0',
    );
    expect(readdirSync(folder)).toEqual(before);
    open();
  });

  it('half-written shards are never taken for a checkpoint', () => {
    writeCheckpoint(folder, five, { maxShardSize: 16 });
    rmSync(at('model.safetensors.index.json'));
    expect(open).toThrow(`${folder}: there is neither model.safetensors nor model.safetensors.index.json`);
  });
});

describe('an index that cannot be trusted', () => {
  for (const name of [
    '../x.safetensors',
    '/etc/x.safetensors',
    'a/b.safetensors',
    'a\\b.safetensors',
    'C:x.safetensors',
    '..',
    '',
    '.',
    'x.bin',
    'a\0.safetensors',
  ]) {
    it(`shard ${JSON.stringify(name)} is refused`, () => {
      writeSafetensors(path.join(root, 'x.safetensors'), { w: tensor([1]) });
      index({ w: name });
      expect(open).toThrow(SafetensorsError);
      expect(open).toThrow(
        `index.json: tensor "w": its shard ${JSON.stringify(name)} is not the plain name of a .safetensors file`,
      );
    });
  }

  it('links may not leave the folder', () => {
    writeSafetensors(path.join(root, 'secret.safetensors'), { w: tensor([1]) });
    symlinkSync('../secret.safetensors', at('shard.safetensors'));
    index({ w: 'shard.safetensors' });
    expect(open).toThrow('"shard.safetensors" is a link that leaves the folder');
    symlinkSync('../secret.safetensors', at('model.safetensors'));
    expect(open).toThrow('"model.safetensors" is a link that leaves the folder');
  });

  it('links within the folder may be followed, and into the blobs of a Hugging Face cache', () => {
    writeSafetensors(at('real.safetensors'), { w: tensor([1]) });
    symlinkSync('real.safetensors', at('shard.safetensors'));
    index({ w: 'shard.safetensors' });
    open();
    const snapshot = path.join(root, 'models--x', 'snapshots', 'abc');
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(path.join(root, 'models--x', 'blobs'));
    renameSync(at('real.safetensors'), path.join(root, 'models--x', 'blobs', 'hash'));
    symlinkSync('../../blobs/hash', path.join(snapshot, 'model.safetensors'));
    using cached = openCheckpoint(snapshot);
    expect(cached.tensor('w').item()).toBe(1);
  });

  it('must agree with the shards', () => {
    writeSafetensors(at('s1.safetensors'), { a: tensor([1]), b: tensor([2]) });
    writeSafetensors(at('s2.safetensors'), { c: tensor([3]) });
    index({ a: 's1.safetensors', b: 's1.safetensors', c: 's2.safetensors' });
    open();
    index({ a: 's1.safetensors', b: 's1.safetensors', c: 's2.safetensors', d: 's2.safetensors' });
    expect(open).toThrow('index.json: tensor "d": the index places it in "s2.safetensors", which does not have it');
    index({ a: 's1.safetensors', c: 's2.safetensors' });
    expect(open).toThrow(`${at('s1.safetensors')}: tensor "b": the index does not list it`);
    writeSafetensors(at('s2.safetensors'), { c: tensor([3]), a: tensor([9]) });
    index({ a: 's1.safetensors', b: 's1.safetensors', c: 's2.safetensors' });
    expect(open).toThrow(`${at('s2.safetensors')}: tensor "a": the index places it in "s1.safetensors"`);
  });

  it('names a shard that is missing or broken', () => {
    index({ w: 'gone.safetensors' });
    expect(open).toThrow('index.json: "gone.safetensors" cannot be opened');
    writeFileSync(at('gone.safetensors'), 'nonsense');
    expect(open).toThrow(`${at('gone.safetensors')}: the header claims`);
  });

  it('must be JSON of the right shape', () => {
    const write = (text: string): void => writeFileSync(at('model.safetensors.index.json'), text);
    write('{');
    expect(open).toThrow('the index is not valid JSON');
    write('[]');
    expect(open).toThrow('the index is not a JSON object');
    write('{}');
    expect(open).toThrow('weight_map is not an object');
    write('{"weight_map":{}}');
    expect(open).toThrow('weight_map is empty');
    write('{"weight_map":{"a":3}}');
    expect(open).toThrow('tensor "a": its shard is not a string');
    write('{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}');
    expect(open).toThrow('tensor "a": the index has this key twice');
  });

  it('a folder without a checkpoint says so', () => {
    expect(open).toThrow('there is neither model.safetensors nor model.safetensors.index.json in this folder');
  });
});
