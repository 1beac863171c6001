import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  liveTensors,
  noGrad,
  openSafetensors,
  SafetensorsError,
  scope,
  type Tensor,
  tensor,
  writeSafetensors,
  zeros,
} from './index.js';
import { gc } from './testing/collect.js';
import { goldenPath } from './testing/golden.js';

let folder = '';
const at = (name: string): string => path.join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'dunwu-safetensors-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What scripts/golden_ops.py put into reference.safetensors with the reference library. */
const reference = (): Record<string, Tensor> => ({
  'model.norm.weight': tensor([1, -2.5, 3]),
  a: tensor([
    [1.5, -0],
    [Number.POSITIVE_INFINITY, 2 ** -126],
  ]),
  f64: tensor([1 / 3], { dtype: 'float64' }),
  bf16: tensor(1.5, { dtype: 'bfloat16' }),
  f16: tensor([0.5, -65504], { dtype: 'float16' }),
  i64: tensor(BigInt64Array.of(2n ** 62n, -(2n ** 53n) - 1n), { shape: [1, 2] }),
  i32: tensor([-(2 ** 31)], { dtype: 'int32' }),
  i16: tensor([-300], { dtype: 'int16' }),
  i8: tensor([-128, 127], { dtype: 'int8' }),
  u8: tensor(Uint8Array.of(0, 1, 2)),
  u16: tensor(Uint16Array.of(65535)),
  u32: tensor(Uint32Array.of(2 ** 32 - 1)),
  u64: tensor(BigUint64Array.of(2n ** 63n + 5n)),
  bool: tensor([[true, false]]),
  empty: zeros([0, 3]),
  '层"\\\n': tensor([7]),
});

/** A file of one header and some data, for headers nobody should write. */
function craft(name: string, header: string | object, data: Uint8Array = new Uint8Array(), claimed?: bigint): string {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimed ?? BigInt(json.length));
  writeFileSync(at(name), Buffer.concat([length, json, data]));
  return at(name);
}

describe('the reference library', () => {
  it('is read: names, shapes, dtypes, values, metadata', () => {
    using file = openSafetensors(goldenPath('reference.safetensors'));
    const expected = reference();
    expect([...file.names].sort()).toEqual(Object.keys(expected).sort());
    expect({ ...file.metadata }).toEqual({ format: 'pt' });
    for (const [name, wanted] of Object.entries(expected)) {
      expect(file.info(name)).toEqual({ dtype: wanted.dtype, shape: wanted.shape, bytes: wanted.bytes().length });
      const got = file.tensor(name);
      expect([name, got.dtype, got.shape, [...got.bytes()]]).toEqual([
        name,
        wanted.dtype,
        wanted.shape,
        [...wanted.bytes()],
      ]);
    }
  });

  it('would have written the same bytes', () => {
    writeSafetensors(at('same'), reference(), { format: 'pt' });
    expect(readFileSync(at('same')).equals(readFileSync(goldenPath('reference.safetensors')))).toBe(true);
    writeSafetensors(at('same'), new Map(Object.entries(reference()).reverse()), { format: 'pt' });
    expect(readFileSync(at('same')).equals(readFileSync(goldenPath('reference.safetensors')))).toBe(true);
  });
});

describe('reading', () => {
  it('loads nothing until asked, and shares the mapping where it is aligned', async () => {
    await gc();
    writeSafetensors(at('big'), { w: zeros([1 << 20]), v: tensor([1, 2, 3]) });
    const before = liveTensors();
    const file = openSafetensors(at('big'));
    expect(liveTensors() - before).toBe(1); // the mapping
    const [first, second] = [file.tensor('w'), file.tensor('w')];
    expect(first.sharesMemoryWith(second)).toBe(true);
    expect(first.sharesMemoryWith(file.tensor('v'))).toBe(true);
    expect(first.isContiguous).toBe(true);
    file.close();
    file.close();
    expect(() => file.tensor('w')).toThrow('tensor "w": the file was closed');
    expect(first.sum().item()).toBe(0); // outlives the file
  });

  it('copies what is not aligned', () => {
    const data = Buffer.alloc(13);
    data.writeFloatLE(1.5, 1);
    data.writeDoubleLE(-2.5, 5);
    const header = {
      one: { dtype: 'U8', shape: [1], data_offsets: [0, 1] },
      f: { dtype: 'F32', shape: [1], data_offsets: [1, 5] },
      d: { dtype: 'F64', shape: [1], data_offsets: [5, 13] },
    };
    for (let pad = 0; pad < 8; pad++) {
      using file = openSafetensors(craft('odd', JSON.stringify(header) + ' '.repeat(pad), data));
      expect([file.tensor('f').item(), file.tensor('d').item()]).toEqual([1.5, -2.5]);
      expect(file.tensor('f').add(1).item()).toBe(2.5);
    }
  });

  it('never changes the file, whatever is done to its tensors', () => {
    writeSafetensors(at('safe'), { w: tensor([1, 2]) });
    const bytes = readFileSync(at('safe'));
    using file = openSafetensors(at('safe'));
    file.tensor('w').fill_(9);
    expect(readFileSync(at('safe')).equals(bytes)).toBe(true);
  });

  it('makes true bools of any bytes', () => {
    using file = openSafetensors(
      craft('bool', { b: { dtype: 'BOOL', shape: [3], data_offsets: [0, 3] } }, Buffer.from([0, 1, 255])),
    );
    expect(file.tensor('b').numbers()).toEqual([0, 1, 1]);
    expect([...file.tensor('b').bytes()]).toEqual([0, 1, 1]);
  });

  it('leaves the scope that opened it', () => {
    writeSafetensors(at('scoped'), { w: tensor([4]) });
    const file = scope(() => openSafetensors(at('scoped')));
    expect(scope(() => file.tensor('w').item())).toBe(4);
    file.close();
  });

  it('knows what is not there', () => {
    writeSafetensors(at('few'), { alpha: tensor([1]), beta: tensor([1]) });
    using file = openSafetensors(at('few'));
    expect([file.has('alpha'), file.has('gamma'), file.has('toString'), file.has('__proto__')]).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(() => file.tensor('gamma')).toThrow(
      `${at('few')}: tensor "gamma": there is no such tensor; the file has 2: "alpha", "beta"`,
    );
    expect(() => file.info('gamma')).toThrow(SafetensorsError);
  });

  it('keeps the old values for those who have the file open while it is replaced', () => {
    writeSafetensors(at('swap'), { w: tensor([1]) });
    using file = openSafetensors(at('swap'));
    writeSafetensors(at('swap'), { w: tensor([2]) });
    expect(file.tensor('w').item()).toBe(1);
    using again = openSafetensors(at('swap'));
    expect(again.tensor('w').item()).toBe(2);
  });
});

describe('hostile and broken files', () => {
  const good = (): Buffer => readFileSync(goldenPath('reference.safetensors'));

  it('truncated anywhere: an error with the name of the file, and no mapping left behind', async () => {
    await gc();
    const before = liveTensors();
    const whole = good();
    copyFileSync(goldenPath('reference.safetensors'), at('cut'));
    for (let size = whole.length - 1; size >= 0; size -= size > 900 ? 1 : 37) {
      truncateSync(at('cut'), size);
      expect(() => openSafetensors(at('cut'))).toThrow(SafetensorsError);
      expect(() => openSafetensors(at('cut'))).toThrow(at('cut'));
    }
    await gc();
    expect(liveTensors()).toBe(before);
  });

  it('too long by a byte', () => {
    writeFileSync(at('long'), Buffer.concat([good(), Buffer.alloc(1)]));
    expect(() => openSafetensors(at('long'))).toThrow('the file has 1 more bytes');
  });

  it('a header length beyond the file or the limit', () => {
    expect(() => openSafetensors(craft('l1', '{}', undefined, 50n))).toThrow('the header claims 50 bytes');
    expect(() => openSafetensors(craft('l2', '{}', undefined, 2n ** 63n))).toThrow('more than the limit');
  });

  it('an entry that lies', () => {
    const lie = { w: { dtype: 'F32', shape: [1 << 20], data_offsets: [0, 4 << 20] } };
    expect(() => openSafetensors(craft('lie', lie, new Uint8Array(4)))).toThrow(
      `${at('lie')}: tensor "w": its bytes [0, 4194304) reach beyond`,
    );
  });

  it('random damage to the header never gives more than an error', () => {
    const whole = good();
    let state = 12345;
    const next = (n: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % n;
    };
    let refused = 0;
    for (let trial = 0; trial < 300; trial++) {
      const bytes = Buffer.from(whole);
      for (let k = 0; k <= next(3); k++) bytes[next(900)] = next(256);
      writeFileSync(at('fuzz'), bytes);
      try {
        using file = openSafetensors(at('fuzz'));
        scope(() => {
          for (const name of file.names) file.tensor(name).numbers();
        });
      } catch (error) {
        expect(error).toBeInstanceOf(SafetensorsError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(200);
  });

  it('not there, a folder, an empty file', () => {
    expect(() => openSafetensors(at('missing'))).toThrow(/missing: cannot be opened: ENOENT/);
    expect(() => openSafetensors(folder)).toThrow('is not a regular file');
    writeFileSync(at('none'), '');
    expect(() => openSafetensors(at('none'))).toThrow('0 bytes are too few');
  });
});

describe('writing', () => {
  it('takes views, gradients, scalars and anything of zero size', () => {
    const x = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { requiresGrad: true },
    );
    writeSafetensors(at('views'), { t: x.t(), column: x.select(1, 1), scalar: tensor(5), none: zeros([2, 0]) });
    using file = openSafetensors(at('views'));
    expect(file.tensor('t').numbers()).toEqual([1, 3, 2, 4]);
    expect(file.tensor('column').numbers()).toEqual([2, 4]);
    expect([file.tensor('scalar').shape, file.tensor('scalar').item()]).toEqual([[], 5]);
    expect(file.tensor('none').shape).toEqual([2, 0]);
    expect(file.tensor('t').requiresGrad).toBe(false);
    noGrad(() => x.zero_());
    expect(file.tensor('t').numbers()).toEqual([1, 3, 2, 4]);
  });

  it('writes tensors larger than one chunk', () => {
    const n = (65 << 20) / 2;
    writeSafetensors(at('large'), { w: zeros([n], { dtype: 'int16' }).fill_(3) });
    using file = openSafetensors(at('large'));
    expect(file.tensor('w').eq(3).all().item()).toBe(1);
    rmSync(at('large'));
  });

  it('frees what it makes', async () => {
    await gc();
    const w = tensor([
      [1, 2],
      [3, 4],
    ]);
    const before = liveTensors();
    writeSafetensors(at('leak'), { w });
    expect(liveTensors()).toBe(before);
  });

  it('an empty set is a file too', () => {
    writeSafetensors(at('empty'), {});
    using file = openSafetensors(at('empty'));
    expect(file.names).toEqual([]);
  });

  it('refuses what it could not read again, before it touches the old file', () => {
    writeSafetensors(at('old'), { w: tensor([1]) });
    const freed = tensor([1]);
    freed.dispose();
    const refuse = (tensors: Record<string, Tensor>, metadata: Record<string, string>, text: string): void =>
      expect(() => writeSafetensors(at('old'), tensors, metadata)).toThrow(text);
    refuse({ ok: tensor([1]), freed }, {}, `${at('old')}: tensor "freed": the tensor was freed`);
    refuse({ __metadata__: tensor([1]) }, {}, 'reserved for the metadata');
    refuse({ constructor: tensor([1]) } as unknown as Record<string, Tensor>, {}, 'reserved by JavaScript');
    refuse({}, { n: 5 as unknown as string }, 'metadata key "n": not a string');
    using file = openSafetensors(at('old'));
    expect(file.names).toEqual(['w']);
  });

  it('leaves no temporary file behind when it fails, and none when it succeeds', () => {
    const place = at('place');
    mkdirSync(place);
    mkdirSync(path.join(place, 'taken'));
    expect(() => writeSafetensors(path.join(place, 'taken'), { w: tensor([1]) })).toThrow(/EISDIR|ENOTEMPTY|EEXIST/);
    expect(readdirSync(place)).toEqual(['taken']);
    writeSafetensors(path.join(place, 'fine'), { w: tensor([1]) });
    expect(readdirSync(place)).toEqual(['fine', 'taken']);
    expect(() => writeSafetensors(path.join(place, 'no', 'folder'), {})).toThrow('ENOENT');
  });

  it('replaces a link instead of writing through it', () => {
    writeSafetensors(at('target'), { w: tensor([1]) });
    symlinkSync(at('target'), at('link'));
    writeSafetensors(at('link'), { w: tensor([2]) });
    using target = openSafetensors(at('target'));
    expect(target.tensor('w').item()).toBe(1);
  });
});

describe.runIf(process.platform === 'linux')('forget', () => {
  const resident = (): number =>
    Number(readFileSync('/proc/self/status', 'utf8').match(/^RssFile:\s+(\d+) kB/m)?.[1]) * 1024;

  it('takes what was read of the file out of memory, and it can be read again', () => {
    const size = 16 << 20;
    writeSafetensors(at('large'), { a: zeros([3]), w: zeros([size / 4]).add(2) });
    using file = openSafetensors(at('large'));
    const before = resident();
    expect(scope(() => file.tensor('w').sum().item())).toBe(size / 2);
    expect(resident() - before).toBeGreaterThan(0.9 * size);
    file.forget('w');
    expect(resident() - before).toBeLessThan(0.1 * size);
    expect(scope(() => file.tensor('w').sum().item())).toBe(size / 2);
    file.forget('a'); // less than a page: nothing to take
    expect(scope(() => file.tensor('a').numbers())).toEqual([0, 0, 0]);
    expect(() => file.forget('none')).toThrow('there is no such tensor');
  });
});
