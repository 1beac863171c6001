import { describe, expect, it } from 'vitest';
import { formatHeader, headerLength, parseHeader, SafetensorsError } from './safetensors-header.js';

const parse = (json: string | object, dataLength = 8) =>
  parseHeader('x.safetensors', Buffer.from(typeof json === 'string' ? json : JSON.stringify(json)), dataLength);
const entry = (over: object = {}): object => ({ dtype: 'F32', shape: [2], data_offsets: [0, 8], ...over });
const lengthOf = (length: bigint, fileSize: number): number => {
  const first = Buffer.alloc(8);
  first.writeBigUInt64LE(length);
  return headerLength('x.safetensors', first, fileSize);
};

describe('a good header', () => {
  it('gives entries in the order of their bytes', () => {
    const { tensors, metadata } = parse(
      {
        later: entry({ data_offsets: [8, 16] }),
        __metadata__: { format: 'pt', 说明: '' },
        first: entry({ dtype: 'I64', shape: [] }),
        empty: entry({ shape: [0, 5], data_offsets: [8, 8] }),
      },
      16,
    );
    expect([...tensors]).toEqual([
      ['first', { dtype: 'int64', shape: [], begin: 0, end: 8 }],
      ['empty', { dtype: 'float32', shape: [0, 5], begin: 8, end: 8 }],
      ['later', { dtype: 'float32', shape: [2], begin: 8, end: 16 }],
    ]);
    expect({ ...metadata }).toEqual({ format: 'pt', 说明: '' });
  });

  it('may be empty, and may end in spaces', () => {
    expect(parse('{}   ', 0).tensors.size).toBe(0);
  });

  it('may have the same key in different objects, and odd characters in strings', () => {
    const text =
      '{"dtype":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a\\"b\\\\":{"dtype":"U8","shape":[4] ,"data_offsets" : [4,8]}}';
    expect([...parse(text).tensors.keys()]).toEqual(['dtype', 'a"b\\']);
    expect([...parse({ __metadata__: { a: '{"a":', b: '\\' }, x: entry() }).tensors.keys()]).toEqual(['x']);
  });

  it('comes back from its own text', () => {
    const tensors = new Map([['层"', { dtype: 'bfloat16', shape: [2, 2], begin: 0, end: 8 } as const]]);
    const bytes = formatHeader(tensors, { b: '2', a: '1' });
    expect(bytes.length % 8).toBe(0);
    expect(lengthOf(BigInt(bytes.length - 8), 1000)).toBe(bytes.length - 8);
    const again = parseHeader('x', bytes.subarray(8), 8);
    expect([...again.tensors]).toEqual([...tensors]);
    expect(Object.entries(again.metadata)).toEqual([
      ['a', '1'],
      ['b', '2'],
    ]);
  });
});

describe('the length', () => {
  it('must fit the file and the limit', () => {
    expect(lengthOf(10n, 18)).toBe(10);
    expect(() => lengthOf(11n, 18)).toThrow(
      'x.safetensors: the header claims 11 bytes, but the file has only 10 after the length',
    );
    expect(() => lengthOf(100_000_001n, 2 ** 40)).toThrow(
      'the header claims 100000001 bytes, more than the limit of 100000000',
    );
    expect(() => lengthOf(2n ** 64n - 1n, 2 ** 40)).toThrow('the header claims 18446744073709551615 bytes');
    expect(() => headerLength('x.safetensors', new Uint8Array(3), 3)).toThrow('3 bytes are too few');
  });
});

describe('a bad header is an error that names the file and the tensor', () => {
  const cases: Record<string, [string | object, number, string | null, RegExp]> = {
    'not an object': ['[1]', 8, null, /does not begin with '\{'/],
    'leading space': [' {}', 0, null, /does not begin with '\{'/],
    'broken JSON': ['{"a":', 8, null, /is not valid JSON \(/],
    'not UTF-8': [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]) as unknown as string, 8, null, /not valid JSON/],
    'the same tensor twice': [
      '{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}',
      8,
      'w',
      /has this key twice/,
    ],
    'the same tensor twice, once escaped': [
      '{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"\\u0077" :{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}',
      8,
      'w',
      /has this key twice/,
    ],
    'the same field twice': [
      '{"w":{"dtype":"U8","dtype":"I8","shape":[8],"data_offsets":[0,8]}}',
      8,
      'dtype',
      /has this key twice/,
    ],
    'metadata twice': ['{"__metadata__":{},"__metadata__":{}}', 0, '__metadata__', /has this key twice/],
    'metadata not an object': [{ __metadata__: ['a'] }, 0, null, /__metadata__ is not an object of strings/],
    'metadata null': [{ __metadata__: null }, 0, null, /__metadata__ is not an object of strings/],
    'metadata not strings': [
      { __metadata__: { step: 3 } },
      0,
      null,
      /__metadata__ key "step": the value is not a string/,
    ],
    'metadata __proto__': [
      '{"__metadata__":{"__proto__":"x"}}',
      0,
      null,
      /__metadata__ key "__proto__": this name is reserved/,
    ],
    'a tensor __proto__': [
      '{"__proto__":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}',
      8,
      '__proto__',
      /reserved by JavaScript/,
    ],
    'a tensor constructor': [{ constructor: entry() }, 8, 'constructor', /reserved by JavaScript/],
    'an entry that is no object': [{ w: 5 }, 8, 'w', /not an object with dtype, shape and data_offsets/],
    'an entry that is null': [{ w: null }, 8, 'w', /not an object/],
    'an unknown dtype': [
      { w: entry({ dtype: 'F8_E4M3' }) },
      8,
      'w',
      /dtype "\\"F8_E4M3\\"" is not supported; supported: BOOL, U8/,
    ],
    'a dtype by an inherited name': [{ w: entry({ dtype: 'toString' }) }, 8, 'w', /is not supported/],
    'no dtype': [{ w: entry({ dtype: undefined }) }, 8, 'w', /is not supported/],
    'a negative size': [{ w: entry({ shape: [-2] }) }, 8, 'w', /shape must be an array of integers/],
    'a fractional size': [{ w: entry({ shape: [1.5] }) }, 8, 'w', /shape must be/],
    'a size as text': [{ w: entry({ shape: ['2'] }) }, 8, 'w', /shape must be/],
    'a size beyond 2^53': [
      '{"w":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,8]}}',
      8,
      'w',
      /shape must be/,
    ],
    'no shape': [{ w: entry({ shape: undefined }) }, 8, 'w', /shape must be/],
    'a product that overflows': [{ w: entry({ shape: [2 ** 40, 2 ** 40] }) }, 8, 'w', /is too large/],
    // 2^64 · 2 would be 0 in 64 bits, and match an empty range.
    'a product that wraps to 0': [
      { w: entry({ shape: [2 ** 32, 2 ** 32], data_offsets: [0, 0] }) },
      0,
      'w',
      /is too large/,
    ],
    'strides that overflow behind a 0': [
      { w: entry({ shape: [0, 2 ** 40, 2 ** 40], data_offsets: [0, 0] }) },
      0,
      'w',
      /is too large/,
    ],
    'too many dimensions': [
      { w: entry({ shape: Array(65).fill(1), data_offsets: [0, 4] }) },
      4,
      'w',
      /65 dimensions are more than the limit of 64/,
    ],
    'too few bytes': [
      { w: entry({ shape: [3] }) },
      8,
      'w',
      /shape \[3\] of float32 needs 12 bytes, data_offsets \[0, 8\] give 8/,
    ],
    'too many bytes': [{ w: entry({ shape: [] }) }, 8, 'w', /needs 4 bytes/],
    'offsets backwards': [{ w: entry({ data_offsets: [8, 0] }) }, 8, 'w', /end before they begin/],
    'negative offsets': [{ w: entry({ data_offsets: [-8, 0] }) }, 8, 'w', /data_offsets must be two integers/],
    'three offsets': [{ w: entry({ data_offsets: [0, 8, 8] }) }, 8, 'w', /data_offsets must be/],
    'fractional offsets': [{ w: entry({ data_offsets: [0, 8.5] }) }, 8, 'w', /data_offsets must be/],
    'no offsets': [{ w: entry({ data_offsets: undefined }) }, 8, 'w', /data_offsets must be/],
    'out of the file': [
      { w: entry({ shape: [4], data_offsets: [0, 16] }) },
      8,
      'w',
      /reach beyond the file's data, 8 bytes/,
    ],
    overlap: [
      { a: entry(), b: entry({ data_offsets: [4, 12] }) },
      12,
      'b',
      /bytes \[4, 12\) overlap the end of tensor "a" at 8/,
    ],
    'the same bytes twice': [{ a: entry(), b: entry() }, 8, 'b', /overlap the end of tensor "a" at 8/],
    'a gap before': [
      { a: entry({ data_offsets: [8, 16] }) },
      16,
      'a',
      /begin at 8, which leaves a gap after the start of the data at 0/,
    ],
    'a gap between': [
      { a: entry(), b: entry({ data_offsets: [12, 20] }) },
      20,
      'b',
      /gap after the end of tensor "a" at 8/,
    ],
    'bytes after the last': [{ a: entry() }, 9, 'a', /after the last tensor's end at 8 the file has 1 more bytes/],
    'bytes but no tensors': ['{}', 3, null, /the file has 3 more bytes/],
  };
  for (const [name, [json, dataLength, tensor, pattern]] of Object.entries(cases)) {
    it(name, () => {
      try {
        if (Buffer.isBuffer(json)) parseHeader('x.safetensors', json, dataLength);
        else parse(json, dataLength);
      } catch (error) {
        expect(error).toBeInstanceOf(SafetensorsError);
        const { file, tensor: named, message } = error as SafetensorsError;
        expect({ file, tensor: named }).toEqual({ file: 'x.safetensors', tensor });
        expect(message).toMatch(pattern);
        expect(message.startsWith('x.safetensors: ')).toBe(true);
        if (tensor !== null) expect(message).toContain(JSON.stringify(tensor));
        return;
      }
      expect.unreachable('nothing was thrown');
    });
  }

  it('does not pollute prototypes', () => {
    try {
      parse('{"__proto__":{"polluted":1,"dtype":"U8","shape":[8],"data_offsets":[0,8]}}');
    } catch {}
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it('shows long names in short, without control characters', () => {
    const name = `\u001b[31m${'x'.repeat(100_000)}`;
    expect(() => parse({ [name]: 5 })).toThrow(/tensor "\\u001b\[31mx{195}…": its entry/);
  });

  it('reads ten thousand nested arrays and deep objects without falling over', () => {
    expect(() => parse(`{"w":${'['.repeat(50_000)}${']'.repeat(50_000)}}`)).toThrow('not an object with dtype');
    expect(() => parse(`{"w":${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}}`)).toThrow('is not supported');
  });
});
