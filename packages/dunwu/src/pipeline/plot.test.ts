import { expect, test } from 'vitest';
import { COLOURS, heatMap, INK, lineChart, renderSvg } from './plot.js';

/** WCAG 2 contrast of two #rrggbb colours. */
function contrast(a: string, b: string): number {
  const luminance = (colour: string) => {
    const [r, g, blue] = [1, 3, 5].map((at) => {
      const c = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 0.2126 * r + 0.7152 * g + 0.0722 * blue;
  };
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p) as [number, number];
  return (x + 0.05) / (y + 0.05);
}

test('every colour can be read on white and on a dark page', () => {
  expect(contrast('#ffffff', '#000000')).toBeCloseTo(21, 5);
  for (const colour of [...COLOURS, INK]) {
    expect(contrast(colour, '#ffffff'), colour).toBeGreaterThan(3);
    expect(contrast(colour, '#0d1117'), colour).toBeGreaterThan(3);
  }
});

test('line charts: the values, each panel on its own axes, gaps for NaN', async () => {
  const chart = lineChart(
    [
      {
        title: 'Reward',
        lines: [
          {
            name: 'reward',
            points: [
              [0, 0.25],
              [1, Number.NaN],
              [2, 1.5],
            ],
          },
          { name: 'format', points: [[0, 0.5]] },
        ],
      },
      {
        title: '准确率',
        lines: [
          {
            name: 'accuracy',
            points: [
              [0, 0.07],
              [2, 0.83],
            ],
          },
        ],
      },
    ],
    'step',
  );
  expect(chart.option.series).toMatchObject([
    {
      name: 'reward',
      xAxisIndex: 0,
      yAxisIndex: 0,
      data: [
        [0, 0.25],
        [1, '-'],
        [2, 1.5],
      ],
    },
    { name: 'format', xAxisIndex: 0, showSymbol: true },
    {
      name: 'accuracy',
      xAxisIndex: 1,
      yAxisIndex: 1,
      data: [
        [0, 0.07],
        [2, 0.83],
      ],
    },
  ]);
  const svg = await renderSvg(chart);
  expect(svg).toMatch(/^<svg width="840" height="260"/);
  for (const text of ['Reward', '准确率', 'reward', 'format', 'step']) expect(svg).toContain(`>${text}</text>`);
  expect(wellFormed(svg)).toBe(true);
  expect(svg).toMatch(/<rect [^>]*fill="(none|transparent)"/); // no background of its own
  // Three points of the first line: the highest value is drawn above (smaller y than) the lowest one.
  const ys = [...svg.matchAll(/<path d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)" fill="none"[^>]*stroke="#3b82c4"/g)];
  expect(ys).toHaveLength(1); // `accuracy`, unbroken; `reward` has a gap and no two points in a row
  expect(Number(ys[0]?.[4])).toBeLessThan(Number(ys[0]?.[2]));
});

test('two lines of one name in different panels stay apart', () => {
  const line = { name: 'loss', points: [[0, 1]] as const };
  const chart = lineChart(
    [
      { title: 'A', lines: [line] },
      { title: 'B', lines: [line] },
    ],
    'step',
  );
  expect(chart.option.series).toMatchObject([{ name: 'loss' }, { name: 'loss (B)' }]);
});

test('shared: a line of one name has one colour in all panels and stands once in the legend', () => {
  const line = (name: string) => ({ name, points: [[0, 1]] as const });
  const chart = lineChart(
    [
      { title: 'A', lines: [line('k1'), line('k2')] },
      { title: 'B', lines: [line('k2'), line('k3')] },
    ],
    'step',
    { shared: true },
  );
  expect(chart.option.legend).toMatchObject([{ data: ['k1', 'k2', 'k3'] }]);
  expect(chart.option.series).toMatchObject([
    { name: 'k1', color: COLOURS[0] },
    { name: 'k2', color: COLOURS[1] },
    { name: 'k2', color: COLOURS[1], xAxisIndex: 1 },
    { name: 'k3', color: COLOURS[2] },
  ]);
});

test('a band: the area between low and high, in the colour of its line and not in the legend', async () => {
  const chart = lineChart(
    [
      {
        title: 'A',
        lines: [
          {
            name: 'a',
            points: [
              [0, 0],
              [1, 2],
            ],
            band: [
              [0, -1, 1],
              [1, 1, 4],
            ],
          },
          { name: 'b', points: [[0, 1]] },
        ],
      },
    ],
    'step',
  );
  expect(chart.option.legend).toMatchObject([{ data: ['a', 'b'] }]);
  expect(chart.option.series).toMatchObject([
    {
      data: [
        [0, -1],
        [1, 1],
      ],
      stack: 'a (0)',
      lineStyle: { opacity: 0 },
    },
    {
      data: [
        [0, 2],
        [1, 3],
      ],
      stack: 'a (0)',
      areaStyle: { color: COLOURS[0], opacity: 0.18 },
    },
    { name: 'a', color: COLOURS[0] },
    { name: 'b', color: COLOURS[1] },
  ]);
  const svg = await renderSvg(chart);
  // The area's outline: high at 0 and at 1, then low at 1 and at 0. A unit has the same height everywhere.
  const area = svg.match(
    /<path d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)Z?" fill="#3b82c4"/,
  );
  const [, high0, , high1, , low1, , low0] = (area ?? []).slice(1).map(Number) as number[];
  const line = svg.match(
    /<path d="M[\d.]+ ([\d.]+)L[\d.]+ ([\d.]+)" fill="none"[^>]*stroke="#3b82c4" stroke-width="1.6"/,
  );
  const unit = (Number(line?.[1]) - Number(line?.[2])) / 2;
  expect(unit).toBeGreaterThan(5);
  expect(((low0 as number) - (high0 as number)) / unit).toBeCloseTo(2, 1);
  expect(((low1 as number) - (high1 as number)) / unit).toBeCloseTo(3, 1);
  expect(((low0 as number) - (low1 as number)) / unit).toBeCloseTo(2, 1);
});

test('logarithmic axes: equal ratios are equally far apart; what has no logarithm leaves a gap', async () => {
  const points = [
    [0.01, 1],
    [0.1, 10],
    [1, 100],
    [10, 0],
  ] as const;
  const chart = lineChart([{ title: 'A', lines: [{ name: 'a', points }], log: 'both' }], 'x');
  expect(chart.option.xAxis).toMatchObject([{ type: 'log' }]);
  expect(chart.option.series).toMatchObject([
    {
      showSymbol: true,
      data: [
        [0.01, 1],
        [0.1, 10],
        [1, 100],
        [10, '-'],
      ],
    },
  ]);
  const path = (await renderSvg(chart)).match(
    /<path d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)" fill="none"/,
  );
  const [x1, y1, x2, y2, x3, y3] = (path ?? []).slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  expect(x2 - x1).toBeCloseTo(x3 - x2, 0);
  expect(y1 - y2).toBeCloseTo(y2 - y3, 0);
  expect(y1).toBeGreaterThan(y2);
  const half = lineChart([{ title: 'A', lines: [{ name: 'a', points }], log: 'x' }], 'x');
  expect(half.option.yAxis).toMatchObject([{ type: 'value' }]);
  expect(half.option.series).toMatchObject([{ data: points.map((point) => [...point]) }]);
});

test('heat map: one cell a value, even load in the middle of the scale', async () => {
  const map = heatMap({
    title: 'Load',
    x: 'step',
    columns: ['0', '5'],
    rows: ['L1 E0', 'L1 E1'],
    values: [
      [1, 0],
      [1, 2],
    ],
  });
  expect(map.option.series).toMatchObject([
    {
      data: [
        [0, 0, 1],
        [1, 0, 0],
        [0, 1, 1],
        [1, 1, 2],
      ],
    },
  ]);
  const svg = await renderSvg(map);
  for (const colour of ['#9a9a9a', '#3b82c4', '#d1642a']) {
    expect(svg.includes(colour) || svg.includes(rgb(colour)), colour).toBe(true);
  }
  expect(svg).toContain('L1 E1');
  expect(wellFormed(svg)).toBe(true);
});

test('names may hold any characters', async () => {
  const svg = await renderSvg(lineChart([{ title: '<a> & "b"', lines: [{ name: 'x', points: [[0, 1]] }] }], 'a<b'));
  expect(svg).toContain('>&lt;a&gt; &amp; &quot;b&quot;</text>');
  expect(wellFormed(svg)).toBe(true);
});

/** Whether tags are properly quoted and nested: what a browser demands of an image/svg+xml file. */
function wellFormed(svg: string): boolean {
  const open: string[] = [];
  const text = svg.replace(/<!\[CDATA\[[\s\S]*?\]\]>/g, '');
  const rest = text.replace(
    /<(\/?)([\w:]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/g,
    (_, close, name, _attributes, empty) => {
      if (close === '') {
        if (empty === '') open.push(name);
      } else if (open.pop() !== name) open.push('mismatch');
      return '';
    },
  );
  return open.length === 0 && !/[<>]/.test(rest);
}

function rgb(colour: string): string {
  return `rgb(${[1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16)).join(',')})`;
}
