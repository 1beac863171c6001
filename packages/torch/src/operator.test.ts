import { describe, expect, it } from 'vitest';
import * as dunwu from './index.js';
import { arange, Generator, op, schemas, scope, Tensor, tensor, zeros } from './index.js';
import { decodeAll, type Encoded, expectTensor, isEncoded, readGolden } from './testing/golden.js';

interface Case {
  readonly op: string;
  readonly typed: readonly { readonly kind: 'method' | 'function'; readonly js: string }[];
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly expected: unknown;
}
const golden = readGolden<{ cases: Case[] }>('ops.json');
const byOperator = new Map<string, Case[]>();
for (const entry of golden.cases) byOperator.set(entry.op, [...(byOperator.get(entry.op) ?? []), entry]);

function compare(actual: unknown, expected: unknown): void {
  if (isEncoded(expected)) expectTensor(actual, expected as Encoded);
  else if (Array.isArray(expected)) {
    expect(actual).toHaveLength(expected.length);
    for (const [i, entry] of expected.entries()) compare((actual as unknown[])[i], entry);
  } else expect(actual).toEqual(expected);
}

const camel = (name: string): string => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const decodeNamed = (named: Case['kwargs'], rename: (name: string) => string): Record<string, unknown> =>
  Object.fromEntries(Object.entries(named).map(([name, value]) => [rename(name), decodeAll(value)]));

/** Operators without a result return what they wrote into their first argument. */
const written = (result: unknown, first: unknown): unknown =>
  result === undefined || result === null ? first : result;

describe('operators give the values that PyTorch gives', () => {
  for (const [name, cases] of byOperator) {
    it(name, () => {
      for (const { typed, args, kwargs, expected } of cases) {
        scope(() => {
          const given = decodeAll(args) as unknown[];
          const named = Object.keys(kwargs).length > 0 ? [decodeNamed(kwargs, (key) => key)] : [];
          compare(written(op(name)(...given, ...named), given[0]), expected);
        });
        for (const { kind, js } of typed) {
          scope(() => {
            const given = decodeAll(args) as unknown[];
            // Options come after all positional parameters, which the generated code has one each.
            const positional = op(name).schema.arguments.filter((argument) => !argument.kwarg).length;
            const named = Object.keys(kwargs).length > 0 ? [decodeNamed(kwargs, camel)] : [];
            while (named.length > 0 && given.length < positional) given.push(undefined);
            const [self, ...rest] = given;
            const result =
              kind === 'method'
                ? ((self as Record<string, (...a: unknown[]) => unknown>)[js] as (...a: unknown[]) => unknown).call(
                    self,
                    ...rest,
                    ...named,
                  )
                : (dunwu as unknown as Record<string, (...a: unknown[]) => unknown>)[js]?.(...given, ...named);
            compare(written(result, self), expected);
          });
        }
      }
    });
  }

  it('covers every typed method and function', () => {
    const random = ['normal_', 'uniform_', 'bernoulli_', 'exponential_', 'random_', 'multinomial', 'bernoulli'];
    const elsewhere = new Set(['constructor', ...random]); // random ones: random.test.ts
    const covered = new Set(golden.cases.flatMap(({ typed }) => typed.map(({ js }) => js)));
    const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(Tensor.prototype));
    expect(methods.length).toBeGreaterThan(150);
    expect(methods.filter((name) => !covered.has(name) && !elsewhere.has(name))).toEqual([]);
  });
});

describe('arguments follow the schema', () => {
  it('takes defaults for what is left out, and for undefined', () => {
    const x = tensor([1, 2]);
    expect((op('aten::add.Tensor')(x, x, undefined) as Tensor).numbers()).toEqual([2, 4]);
    expect((op('aten::add.Tensor')(x, x, 3) as Tensor).numbers()).toEqual([4, 8]);
    expect((op('aten::add.Tensor')(x, x, { alpha: 10 }) as Tensor).numbers()).toEqual([11, 22]);
  });

  it('takes arguments by name, also positional ones', () => {
    const x = tensor([[1, 2, 3]]);
    expect((op('aten::sum.dim_IntList')(x, { dim: [1], keepdim: true }) as Tensor).shape).toEqual([1, 1]);
    expect((op('aten::sum.dim_IntList')({ self: x, dim: 1, dtype: 'float64' }) as Tensor).dtype).toBe('float64');
    expect(() => op('aten::add.Tensor')(x, x, { beta: 1 })).toThrow(
      /aten::add: there is no argument 'beta'; known: self, other, alpha/,
    );
    expect(() => op('aten::add.Tensor')(x, x, { other: x })).toThrow("argument 'other' is given twice");
  });

  it('takes a number where a tensor is expected, without changing the dtype', () => {
    expect(tensor([1, 2], { dtype: 'bfloat16' }).mul(2.5).dtype).toBe('bfloat16');
    expect(tensor([1, 2], { dtype: 'int64' }).add(1).dtype).toBe('int64');
    expect(tensor([1, 2], { dtype: 'int64' }).add(1.5).numbers()).toEqual([2.5, 3.5]);
    expect(tensor([1, 2], { dtype: 'int32' }).eq(true).numbers()).toEqual([1, 0]);
  });

  it('takes one integer for a list of them', () => {
    expect(zeros(3).shape).toEqual([3]);
    expect(
      tensor([
        [1, 2],
        [3, 4],
      ])
        .sum(0)
        .numbers(),
    ).toEqual([4, 6]);
  });

  it('takes optional tensors and lists with null in them', () => {
    const x = arange(0, 6).reshape([2, 3]);
    expect(x.index([null, tensor([2, 0], { dtype: 'int64' })]).numbers()).toEqual([2, 0, 5, 3]);
    expect(
      x
        .to('float32')
        .linear(tensor([[1, 1, 1]]), null)
        .numbers(),
    ).toEqual([3, 12]);
  });

  it('takes bigints, -0 and numbers beyond 2^53 as they are', () => {
    expect(dunwu.full([1], 2n ** 62n, { dtype: 'int64' }).data()).toEqual(BigInt64Array.of(2n ** 62n));
    expect(Object.is(dunwu.full([], -0, { dtype: 'float32' }).item(), -0)).toBe(true);
    expect(dunwu.full([], 1e300, { dtype: 'float64' }).item()).toBe(1e300);
    expect(dunwu.full([], Number.NaN).item()).toBeNaN();
    expect(() => dunwu.full([1], 2n ** 64n)).toThrow('the bigint does not fit 64 bits');
  });

  it('takes dtypes, devices, layouts, strings and generators', () => {
    using generator = new Generator(7);
    const made = op('aten::randn.generator')([2], {
      generator,
      dtype: 'float64',
      layout: 'strided',
      device: 'cpu',
    }) as Tensor;
    expect([made.dtype, made.device, made.shape]).toEqual(['float64', 'cpu', [2]]);
    expect((op('aten::einsum')('i,i->', [tensor([1, 2]), tensor([3, 4])]) as Tensor).item()).toBe(11);
  });

  it('gives back numbers, booleans, lists and tuples', () => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ]);
    expect(op('aten::size.int')(x, 1)).toBe(2);
    expect(op('aten::equal')(x, x)).toBe(true);
    expect(op('aten::item')(tensor([2.5]))).toBe(2.5);
    const parts = op('aten::unbind.int')(x) as Tensor[];
    expect(parts.map((part) => part.numbers())).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  it('gives back the tensor itself from an operator in place', () => {
    const x = tensor([1, 2]);
    expect(op('aten::add_.Tensor')(x, 1)).toBe(x);
    expect(x.mul_(2)).toBe(x);
    expect(x.numbers()).toEqual([4, 6]);
  });

  it('describes schemas', () => {
    const overloads = schemas('aten::add').map(({ overload }) => overload);
    expect(overloads).toContain('Tensor');
    expect(overloads).toContain('Scalar');
    const { schema } = op('aten::add.Tensor');
    expect(schema.text).toBe('aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor');
    expect(schema.arguments.map(({ name, type, kwarg }) => [name, type, kwarg])).toEqual([
      ['self', 'Tensor', false],
      ['other', 'Tensor', false],
      ['alpha', 'Scalar', true],
    ]);
  });
});

describe('errors', () => {
  const message = (body: () => unknown): string => {
    try {
      body();
    } catch (error) {
      return (error as Error).message;
    }
    return 'nothing was thrown';
  };

  it('name the operator, what libtorch says, the shapes and the schema', () => {
    const text = message(() => zeros([2, 3]).matmul(zeros([4, 5])));
    expect(text).toMatch(/^aten::matmul: mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x5\)/);
    expect(text).toContain('\n  arguments: float32[2, 3], float32[4, 5]');
    expect(text).toContain('\n  schema: aten::matmul(Tensor self, Tensor other) -> Tensor');
    expect(text).not.toContain('Exception raised from'); // no C++ backtrace
  });

  it('show numbers, lists, nulls and defaults among the arguments', () => {
    const text = message(() => zeros([2]).sum([0, 5], true));
    expect(text).toContain('arguments: float32[2], [0, 5], true');
    expect(message(() => dunwu.cat([zeros([2]), zeros([1, 2])]))).toContain('arguments: [float32[2], float32[1, 2]]');
  });

  it('name the argument of the wrong type', () => {
    const untyped = op('aten::add.Tensor');
    expect(message(() => untyped(zeros([1]), 'one'))).toMatch(
      /^aten::add\.Tensor: argument 'other' \(Tensor\): expected a Tensor/,
    );
    expect(message(() => untyped(zeros([1])))).toContain("argument 'other' (Tensor) is missing");
    expect(message(() => untyped(zeros([1]), 1, 1, 1))).toContain('takes 3 arguments, got 4');
    expect(message(() => op('aten::sum.dim_IntList')(zeros([1]), [0.5]))).toContain('expected an integer, got 0.5');
    expect(message(() => op('aten::cat')(zeros([1])))).toContain('expected an array of Tensors');
    expect(message(() => op('aten::einsum')(1, [zeros([1])]))).toContain('expected a string');
    expect(message(() => op('aten::to.dtype')(zeros([1]), 'float23'))).toContain(
      "unknown dtype 'float23'; known: float32",
    );
    expect(message(() => zeros([1], { device: 'warp' }))).toContain("argument 'device'");
  });

  it('list the overloads when the name is incomplete, and say so when there is none', () => {
    expect(message(() => op('aten::add'))).toMatch(
      /operator 'aten::add' does not exist; overloads of aten::add: .*Tensor/,
    );
    expect(message(() => op('aten::not_there'))).toBe("operator 'aten::not_there' does not exist");
    expect(message(() => op('add'))).toContain('expected namespace::name');
  });

  it('carry a code', () => {
    expect(() => zeros([2]).add(zeros([3]))).toThrow(expect.objectContaining({ code: 'DUNWU_TORCH' }));
  });
});
