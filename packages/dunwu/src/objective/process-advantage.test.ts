import { describe, expect, it } from 'vitest';
import {
  grpoAdvantageSchema,
  type ProcessAdvantageConfig,
  processAdvantages,
  type SteppedOutput,
} from './process-advantage.js';

const config = (overrides: Record<string, unknown> = {}): ProcessAdvantageConfig =>
  grpoAdvantageSchema.parse({
    kind: 'process',
    ...(overrides.scale === 'none' ? {} : { epsilon: 0 }),
    outcome: { join: 'none' },
    ...overrides,
  }) as ProcessAdvantageConfig;

const output = (tokens: number, steps: readonly (readonly [number, number])[], outcome = 0): SteppedOutput => ({
  tokens,
  steps: steps.map(([end, reward]) => ({ end, reward })),
  outcome,
});

const plain = (list: readonly Float64Array[] | undefined): number[][] => (list ?? []).map((one) => Array.from(one));

function expectClose(actual: readonly number[][], expected: readonly (readonly number[])[]): void {
  expect(actual.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
  for (const [i, list] of expected.entries()) {
    for (const [t, value] of list.entries()) expect(actual[i]?.[t], `output ${i} token ${t}`).toBeCloseTo(value, 12);
  }
}

// Step rewards 1, 0 | 1 | 1, 1, 0: six of them, mean 4/6, variance (4·(1/3)² + 2·(2/3)²)/6 = 2/9.
const GROUP = [
  output(6, [
    [1, 1],
    [4, 0],
  ]),
  output(3, [[2, 1]]),
  output(5, [
    [0, 1],
    [2, 1],
    [3, 0],
  ]),
  output(2, []),
];
const UP = 1 / 3 / Math.sqrt(2 / 9); // r̃ of a 1: 1/√2
const DOWN = -2 / 3 / Math.sqrt(2 / 9); // r̃ of a 0: −√2

describe('by hand', () => {
  it('each token: the sum over the steps that end at or after it', () => {
    const { advantages, stepAdvantages, zeroSpread } = processAdvantages([GROUP], config());
    expect(UP).toBeCloseTo(Math.SQRT1_2, 12);
    expectClose(plain(advantages[0]), [
      [UP + DOWN, UP + DOWN, DOWN, DOWN, DOWN, 0],
      [UP, UP, UP],
      [UP + UP + DOWN, UP + DOWN, UP + DOWN, DOWN, 0],
      [0, 0],
    ]);
    expectClose(plain(stepAdvantages[0]), [[UP, DOWN], [UP], [UP, UP, DOWN], []]);
    expect(zeroSpread).toBe(0);
  });

  it('the mean and the spread are those of all steps of the group, not of each output', () => {
    // 0 | 1 | 1 1: mean ¾, deviations −¾, ¼, ¼, ¼
    const group = [
      output(1, [[0, 0]]),
      output(1, [[0, 1]]),
      output(2, [
        [0, 1],
        [1, 1],
      ]),
    ];
    expectClose(plain(processAdvantages([group], config({ scale: 'none' })).advantages[0]), [
      [-0.75],
      [0.25],
      [0.5, 0.25],
    ]);
    const sample = Math.sqrt((0.75 ** 2 + 3 * 0.25 ** 2) / 3); // ÷ (4 − 1)
    expectClose(plain(processAdvantages([group], config({ std: 'sample', epsilon: 0.5 })).advantages[0]), [
      [-0.75 / (sample + 0.5)],
      [0.25 / (sample + 0.5)],
      [0.5 / (sample + 0.5), 0.25 / (sample + 0.5)],
    ]);
  });

  it('steps that end with the same token add up; their order does not matter', () => {
    const one = processAdvantages(
      [
        [
          output(2, [
            [1, 1],
            [1, 0],
            [0, 4],
          ]),
        ],
      ],
      config({ scale: 'none' }),
    );
    // mean 5/3: −2/3, −5/3, 7/3; token 1: −7/3, token 0: 0
    expectClose(plain(one.advantages[0]), [[0, -7 / 3]]);
    const other = processAdvantages(
      [
        [
          output(2, [
            [0, 4],
            [1, 0],
            [1, 1],
          ]),
        ],
      ],
      config({ scale: 'none' }),
    );
    expectClose(plain(other.advantages[0]), plain(one.advantages[0]));
  });

  it('groups do not see each other', () => {
    const both = processAdvantages([GROUP, [output(1, [[0, 5]]), output(1, [[0, 7]])]], config());
    expectClose(plain(both.advantages[0]), plain(processAdvantages([GROUP], config()).advantages[0]));
    expectClose(plain(both.advantages[1]), [[-1], [1]]);
  });
});

describe('how the outcome joins', () => {
  const group = [
    output(
      3,
      [
        [0, 1],
        [1, 0],
      ],
      2,
    ),
    output(2, [], 0),
  ];
  // Steps 1, 0: ±1. Outcomes 2, 0: ±1.
  const raw = { scale: 'none' };

  it('none: the outcome moves nothing', () => {
    const { advantages } = processAdvantages([group], config());
    expectClose(plain(advantages[0]), [
      [0, -1, 0],
      [0, 0],
    ]);
  });

  it('add: each normalised by itself, the steps with their weight', () => {
    const { advantages } = processAdvantages([group], config({ outcome: { join: 'add', step_weight: 0.25 } }));
    expectClose(plain(advantages[0]), [
      [1, 1 - 0.25, 1],
      [-1, -1],
    ]);
    // Without scale: outcomes ±1, steps ±½.
    expectClose(plain(processAdvantages([group], config({ ...raw, outcome: { join: 'add' } })).advantages[0]), [
      [1, 0.5, 1],
      [-1, -1],
    ]);
  });

  it('final-step: one step more at the last token, normalised with the others', () => {
    // 1, 0, 2 | 0: mean ¾
    expectClose(plain(processAdvantages([group], config({ ...raw, outcome: { join: 'final-step' } })).advantages[0]), [
      [0.25 - 0.75 + 1.25, -0.75 + 1.25, 1.25],
      [-0.75, -0.75],
    ]);
  });

  it('final-step without any steps is outcome supervision', () => {
    const bare = [output(2, [], 1), output(3, [], 0)];
    expectClose(plain(processAdvantages([bare], config({ outcome: { join: 'final-step' } })).advantages[0]), [
      [1, 1],
      [-1, -1, -1],
    ]);
  });
});

describe('where there is nothing to compare', () => {
  const same = [output(2, [[0, 1]], 1), output(1, [[0, 1]], 1)];
  const bare = [output(2, [], 1), output(1, [], 1)];

  it('equal step rewards, one step in all, or none: zeros, and counted', () => {
    const single = [output(2, [[1, 1]]), output(1, [])];
    const { advantages, zeroSpread } = processAdvantages([same, bare, single, GROUP], config());
    for (const group of advantages.slice(0, 3)) {
      expect(group.every((one) => one.every((value) => value === 0))).toBe(true);
    }
    expect(zeroSpread).toBe(3);
  });

  it('is not counted where the outcome still has spread', () => {
    const outcomes = [output(2, [[0, 1]], 1), output(1, [[0, 1]], 0)];
    expect(processAdvantages([outcomes], config({ outcome: { join: 'add' } })).zeroSpread).toBe(0);
    expect(processAdvantages([same], config({ outcome: { join: 'add' } })).zeroSpread).toBe(1);
  });
});

it('refuses what cannot be, naming it', () => {
  expect(() => processAdvantages([GROUP, []], config())).toThrow('group 1 is empty');
  expect(() => processAdvantages([[output(2, [[2, 1]])]], config())).toThrow(
    'step 0 of output 0 of group 0 ends at token 2; it has 2 tokens',
  );
  expect(() => processAdvantages([[output(2, [[0, Number.NaN]])]], config())).toThrow(
    'the reward of step 0 of output 0 of group 0 is NaN',
  );
  expect(() => processAdvantages([[output(2, [], Number.POSITIVE_INFINITY)]], config())).toThrow(
    'the reward of output 0 of group 0 is Infinity',
  );
});

describe('the schema', () => {
  it('what recipes said so far is outcome supervision', () => {
    const std = { kind: 'outcome', scale: 'std', std: 'population', epsilon: 1e-4 };
    expect(grpoAdvantageSchema.parse({ scale: 'std' })).toEqual(std);
    expect(grpoAdvantageSchema.parse({})).toEqual(std);
    expect(grpoAdvantageSchema.parse({ scale: 'none' })).toEqual({ kind: 'outcome', scale: 'none' });
  });

  it('process supervision adds the outcome unless told otherwise', () => {
    expect(grpoAdvantageSchema.parse({ kind: 'process' })).toEqual({
      kind: 'process',
      scale: 'std',
      std: 'population',
      epsilon: 1e-4,
      outcome: { join: 'add', step_weight: 1 },
    });
  });

  it.each([
    { scale: 'none', epsilon: 1e-6 },
    { scale: 'std', outcome: { join: 'none' } },
    { kind: 'process', scale: 'none', std: 'sample' },
    { kind: 'process', outcome: { join: 'none', step_weight: 2 } },
    { kind: 'steps' },
  ])('refuses %j', (wrong) => {
    expect(grpoAdvantageSchema.safeParse(wrong).success).toBe(false);
  });
});
