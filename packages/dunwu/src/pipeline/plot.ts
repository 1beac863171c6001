import type { EChartsOption } from 'echarts';

/** One line: points of [step, value]; values that are not finite leave a gap. */
export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [step: number, value: number])[];
  /** An area behind the line, on linear axes: the range over several runs, say. */
  readonly band?: readonly (readonly [step: number, low: number, high: number])[];
}

/** Lines that share a vertical axis. */
export interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
  /** Logarithmic axes; values that are not positive leave a gap. */
  readonly log?: 'x' | 'y' | 'both';
}

export interface HeatMap {
  readonly title: string;
  /** Label of the horizontal axis. */
  readonly x: string;
  readonly columns: readonly string[];
  /** From the bottom up. */
  readonly rows: readonly string[];
  /** values[row][column]; 1 is drawn as the middle of the scale. */
  readonly values: readonly (readonly number[])[];
}

export interface Chart {
  readonly option: EChartsOption;
  readonly width: number;
  readonly height: number;
}

/** Mid-tones: each has a contrast of at least 3 against white and against GitHub's dark background. */
export const COLOURS: readonly string[] = [
  '#3b82c4',
  '#d1642a',
  '#2f9360',
  '#b0569f',
  '#a07d1c',
  '#7a6bd1',
  '#c9525c',
  '#2b8f96',
];
export const INK = '#767676';
const GRID = '#88888844';
// Single quotes only: echarts puts this into an attribute as it is.
const FONT = "system-ui, 'Noto Sans', 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif";
const PANEL_WIDTH = 420;
const PANEL_HEIGHT = 260;

export interface LineChartOptions {
  /** Lines of one name are the same thing in every panel: one colour, and one legend above all panels. */
  readonly shared?: boolean;
  /** Names that stand on the horizontal axis instead of numbers: a point's step is the place of its name. */
  readonly categories?: readonly string[];
}

/** Panels side by side, each with its own vertical axis. */
export function lineChart(
  panels: readonly Panel[],
  xName: string,
  { shared = false, categories }: LineChartOptions = {},
): Chart {
  // Names are written aslant below the axis: room for them.
  const slant =
    categories === undefined ? 0 : Math.min(110, Math.max(0, 3.4 * Math.max(...categories.map(columns)) - 20));
  const width = PANEL_WIDTH * panels.length;
  const names = [...new Set(panels.flatMap((panel) => panel.lines.map(({ name }) => name)))];
  const nameOf = (panel: number, name: string): string => (shared ? name : seriesName(panels, panel, name));
  const grids = panels.map((_, i) => ({
    left: i * PANEL_WIDTH + 60,
    width: PANEL_WIDTH - 80,
    top: 62,
    height: PANEL_HEIGHT - 108,
  }));
  const option: EChartsOption = {
    animation: false,
    backgroundColor: 'transparent',
    color: [...COLOURS],
    textStyle: { fontFamily: FONT, color: INK },
    title: panels.map((panel, i) => ({
      text: panel.title,
      left: i * PANEL_WIDTH + 12,
      top: 6,
      textStyle: { fontSize: 14, color: INK, fontFamily: FONT },
    })),
    // A panel with one line is named by its title.
    legend: shared
      ? [legend(names, 12, width - 24)]
      : panels.flatMap((panel, i) =>
          panel.lines.length < 2
            ? []
            : [
                legend(
                  panel.lines.map((line) => nameOf(i, line.name)),
                  i * PANEL_WIDTH + 12,
                  PANEL_WIDTH - 24,
                ),
              ],
        ),
    grid: grids,
    xAxis: panels.map((_, i) => ({
      gridIndex: i,
      ...(categories === undefined
        ? {
            type: isLog(panels[i], 'x') ? ('log' as const) : ('value' as const),
            min: 'dataMin' as const,
            max: 'dataMax' as const,
            axisLabel: { color: INK, hideOverlap: true },
          }
        : {
            type: 'category' as const,
            data: [...categories],
            boundaryGap: true,
            axisLabel: { color: INK, rotate: 35, interval: 0, fontSize: 10 },
          }),
      name: xName,
      nameLocation: 'middle',
      nameGap: 26 + slant,
      nameTextStyle: { color: INK },
      axisLine: { lineStyle: { color: INK } },
      axisTick: { lineStyle: { color: INK } },
      splitLine: { show: false },
    })),
    yAxis: panels.map((_, i) => ({
      gridIndex: i,
      type: isLog(panels[i], 'y') ? 'log' : 'value',
      scale: true,
      axisLabel: { color: INK },
      axisLine: { show: false },
      axisTick: { show: false },
      splitLine: { lineStyle: { color: GRID } },
    })),
    series: panels.flatMap((panel, i) =>
      panel.lines.flatMap((line, j) => {
        const name = nameOf(i, line.name);
        const color = COLOURS[(shared ? names.indexOf(line.name) : j) % COLOURS.length] as string;
        const axes = { xAxisIndex: i, yAxisIndex: i };
        return [
          ...bandSeries(line, `${name} (${i})`, color, axes),
          {
            type: 'line' as const,
            name,
            ...axes,
            showSymbol: line.points.length === 1 || panel.log !== undefined || categories !== undefined,
            symbolSize: 5,
            lineStyle: { width: 1.6 },
            color,
            sampling: 'lttb' as const,
            data: line.points.map(([step, value]) => [
              step,
              Number.isFinite(value) && (value > 0 || !isLog(panel, 'y')) ? value : '-',
            ]),
          },
        ];
      }),
    ),
  };
  return { option, width, height: PANEL_HEIGHT + slant };
}

/** Width of a text in half-width columns. */
const columns = (text: string): number => text.length + (text.match(/[\u2e80-\uffef]/g)?.length ?? 0);

/** Two lines that cannot be seen, stacked, with the area between them filled. */
function bandSeries(line: Line, name: string, color: string, axes: { xAxisIndex: number; yAxisIndex: number }) {
  if (line.band === undefined) return [];
  const side = (suffix: string, data: (readonly [number, number])[], filled: boolean) => ({
    type: 'line' as const,
    name: `${name} ${suffix}`,
    ...axes,
    stack: name,
    stackStrategy: 'all' as const,
    showSymbol: false,
    silent: true,
    color,
    lineStyle: { opacity: 0 },
    ...(filled ? { areaStyle: { color, opacity: 0.18 } } : {}),
    data: data.map(([step, value]) => [step, value]),
  });
  return [
    side(
      'low',
      line.band.map(([step, low]) => [step, low]),
      false,
    ),
    side(
      'high',
      line.band.map(([step, low, high]) => [step, high - low]),
      true,
    ),
  ];
}

function legend(data: string[], left: number, width: number) {
  return {
    data,
    left,
    top: 30,
    width,
    itemWidth: 14,
    itemHeight: 8,
    icon: 'roundRect',
    textStyle: { color: INK, fontFamily: FONT, fontSize: 11 },
  };
}

function isLog(panel: Panel | undefined, axis: 'x' | 'y'): boolean {
  return panel?.log === axis || panel?.log === 'both';
}

/** Legends find series by name, so a name that stands in two panels must differ: by the title of the later one. */
function seriesName(panels: readonly Panel[], panel: number, name: string): string {
  const before = panels.slice(0, panel).some((other) => other.lines.some((line) => line.name === name));
  return before ? `${name} (${panels[panel]?.title ?? ''})` : name;
}

export function heatMap(map: HeatMap): Chart {
  const cells = map.values.flatMap((row, y) =>
    row.map((value, x) => [x, y, Number.isFinite(value) ? value : '-'] as const),
  );
  const rowHeight = Math.max(5, Math.min(16, 480 / Math.max(1, map.rows.length)));
  const height = 110 + rowHeight * map.rows.length;
  const option: EChartsOption = {
    animation: false,
    backgroundColor: 'transparent',
    textStyle: { fontFamily: FONT, color: INK },
    title: { text: map.title, left: 12, top: 6, textStyle: { fontSize: 14, color: INK, fontFamily: FONT } },
    grid: { left: 80, right: 110, top: 40, bottom: 56 },
    xAxis: {
      type: 'category',
      data: [...map.columns],
      name: map.x,
      nameLocation: 'middle',
      nameGap: 28,
      nameTextStyle: { color: INK },
      axisLabel: { color: INK },
      axisLine: { show: false },
      axisTick: { show: false },
    },
    yAxis: {
      type: 'category',
      data: [...map.rows],
      axisLabel: { color: INK, fontSize: 10 },
      axisLine: { show: false },
      axisTick: { show: false },
    },
    visualMap: {
      type: 'continuous',
      min: 0,
      max: 2,
      calculable: false,
      orient: 'vertical',
      right: 12,
      top: 'middle',
      text: ['2×', '0'],
      textStyle: { color: INK },
      inRange: { color: ['#3b82c4', '#9a9a9a', '#d1642a'] },
    },
    series: [{ type: 'heatmap', data: cells.map((cell) => [...cell]), label: { show: false } }],
  };
  return { option, width: 840, height: Math.round(height) };
}

/** Draws a chart as a self-contained SVG with a transparent background. */
export async function renderSvg(chart: Chart): Promise<string> {
  const { init } = await import('echarts'); // 0.3 s and some 50 MB: only when there is something to draw
  const instance = init(null, null, { renderer: 'svg', ssr: true, width: chart.width, height: chart.height });
  try {
    instance.setOption(chart.option);
    return instance.renderToSVGString();
  } finally {
    instance.dispose();
  }
}
