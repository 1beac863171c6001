import { existsSync } from 'node:fs';
import { readJsonl } from '../util/jsonl.js';
import { metricNumber } from './metrics.js';
import { type Chart, heatMap, type Line, lineChart, type Panel } from './plot.js';

export type ReportLanguage = 'en' | 'zh';

/** Every number that a stage logged, by metric: [step, value]. */
export interface StageCurves {
  readonly stage: string;
  readonly series: ReadonlyMap<string, [number, number][]>;
  /** Expert load: by layer, the share of each expert at each step. */
  readonly loads: ReadonlyMap<string, [number, number[]][]>;
}

/** A metric that holds one number for each expert of a layer: `load/3`, `expert_load/3`, `load/layer3`. */
const LOAD = /^(?:expert_)?load\/(?:layer[._]?)?(\d+)$/;

/** Reads metrics.jsonl, stage by stage in the file's order. */
export function readCurves(file: string): StageCurves[] {
  const stages = new Map<
    string,
    { series: Map<string, [number, number][]>; loads: Map<string, [number, number[]][]> }
  >();
  for (const row of readRows(file)) {
    const { stage, step, ...metrics } = row;
    if (typeof stage !== 'string' || typeof step !== 'number') continue;
    let curves = stages.get(stage);
    if (curves === undefined) {
      curves = { series: new Map(), loads: new Map() };
      stages.set(stage, curves);
    }
    for (const [name, value] of Object.entries(metrics)) {
      const layer = LOAD.exec(name)?.[1];
      if (layer !== undefined && Array.isArray(value)) push(curves.loads, layer, [step, value.map(Number)]);
      const number = metricNumber(value);
      if (number !== undefined) push(curves.series, name, [step, number]);
    }
  }
  return [...stages].map(([stage, curves]) => ({ stage, ...curves }));
}

function push<V>(map: Map<string, V[]>, key: string, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

/** The objects of a JSONL file; nothing when there is no such file. */
export function* readRows(file: string): Generator<Record<string, unknown>> {
  if (!existsSync(file)) return;
  for (const { value } of readJsonl(file)) {
    if (typeof value === 'object' && value !== null) yield value as Record<string, unknown>;
  }
}

/** A chart with the name of its file (without ending) and its caption. */
export interface NamedChart {
  readonly file: string;
  readonly caption: string;
  readonly chart: Chart;
}

const WORDS = {
  en: {
    loss: 'Loss',
    reward: 'Reward and its parts',
    accuracy: 'Accuracy',
    language: 'Language consistency',
    margin: 'Margin: chosen over rejected',
    value: 'Value function',
    clip: 'Share of ratios clipped',
    ratio: 'Ratio of new to old policy',
    other: 'Logged values',
    entropy: 'Entropy',
    length: 'Response length (tokens)',
    kl: 'KL to the reference',
    experts: 'Expert load (1 = even)',
    step: 'step',
    row: (layer: string, expert: number) => `L${layer} E${expert}`,
  },
  zh: {
    loss: '损失',
    reward: '奖励及其各部分',
    accuracy: '准确率',
    language: '语言一致性',
    margin: '较好与较差回答的分差',
    value: '价值函数',
    clip: '被裁剪的比率占比',
    ratio: '新旧策略的比率',
    other: '记录的数值',
    entropy: '熵',
    length: '回答长度（token）',
    kl: '与参考策略的 KL',
    experts: '专家负载（1 = 均匀）',
    step: '步',
    row: (layer: string, expert: number) => `层${layer} 专家${expert}`,
  },
};

/** The charts that a stage's metrics give: what it did not log is not drawn. */
export function stageCharts(curves: StageCurves, language: ReportLanguage): NamedChart[] {
  const words = WORDS[language];
  const suffix = language === 'en' ? '' : `.${language}`;
  const charts: NamedChart[] = [];
  // One point is no curve: a stage of a single step, such as an evaluation, has its numbers in the table.
  if ([...curves.series.values()].every((points) => points.length < 2)) return charts;
  const add = (name: string, panels: readonly (Panel | undefined)[]) => {
    const drawn = panels.filter((panel) => panel !== undefined);
    if (drawn.length === 0) return;
    charts.push({
      file: `${curves.stage}-${name}${suffix}`,
      caption: `${curves.stage}: ${drawn.map((panel) => panel.title).join(language === 'en' ? ', ' : '、')}`,
      chart: lineChart(drawn, words.step),
    });
  };
  const panel = (title: string, pattern: RegExp): Panel | undefined => {
    const lines: Line[] = [...curves.series]
      .filter(([name]) => pattern.test(name))
      .map(([name, points]) => ({ name, points }));
    return lines.length === 0 ? undefined : { title, lines };
  };
  // The loss of a policy says nothing of how good it is: its reward does.
  const reinforced = curves.series.has('reward');
  if (!reinforced) add('loss', [panel(words.loss, /(^|\/|_)loss$/), panel(words.margin, /(^|\/)margin(\/mean)?$/)]);
  add('reward', [
    panel(words.reward, /^(score|rewards?(\/(?!std|min|max)[^/]+)?)$/),
    panel(words.accuracy, /^(?!rewards?\/)(.*[/_])?accuracy(\/|$)/),
    panel(words.language, /^(?!rewards?\/)(.*\/)?language_consistency$/),
  ]);
  add('policy', [
    panel(words.entropy, /(^|\/)entropy$/),
    panel(words.length, /(^|\/)(mean_|response_)?length(\/mean|_mean)?$/),
    panel(words.kl, /(^|\/)kl(\/mean|_mean)?$/),
  ]);
  add('clip', [panel(words.clip, /^clip\/(low|high)$/), panel(words.ratio, /^ratio\/(mean|max)$/)]);
  add('value', [panel(words.value, /^(loss\/value|(value|critic)[/_][^/]+|explained_variance)$/)]);
  // A kind of stage that logs under other names still has curves.
  if (charts.length === 0) add('values', [panel(words.other, /^(?!time\/)(?!(tokens|samples|flops|learning_rate)$)/)]);
  if (curves.loads.size > 0) {
    charts.push({
      file: `${curves.stage}-experts${suffix}`,
      caption: `${curves.stage}: ${words.experts}`,
      chart: loadMap(curves, words),
    });
  }
  return charts;
}

const COLUMNS = 40;

/** Load of each expert over the steps, relative to an even share, averaged over bins of steps. */
function loadMap(curves: StageCurves, words: (typeof WORDS)['en']): Chart {
  const layers = [...curves.loads].sort(([a], [b]) => Number(a) - Number(b));
  const steps = [...new Set(layers.flatMap(([, rows]) => rows.map(([step]) => step)))].sort((a, b) => a - b);
  const bins = Math.min(COLUMNS, steps.length);
  const bin = new Map(steps.map((step, i) => [step, Math.floor((i * bins) / steps.length)]));
  const rows: string[] = [];
  const values: number[][] = [];
  for (const [layer, entries] of layers) {
    const experts = Math.max(...entries.map(([, loads]) => loads.length));
    for (let expert = 0; expert < experts; expert++) {
      const sums = new Array<number>(bins).fill(0);
      const counts = new Array<number>(bins).fill(0);
      for (const [step, loads] of entries) {
        const at = bin.get(step) ?? 0;
        const mean = loads.reduce((sum, load) => sum + load, 0) / loads.length;
        if (!(mean > 0)) continue;
        sums[at] = (sums[at] ?? 0) + (loads[expert] ?? 0) / mean;
        counts[at] = (counts[at] ?? 0) + 1;
      }
      rows.push(words.row(layer, expert));
      values.push(sums.map((sum, i) => sum / (counts[i] ?? 0)));
    }
  }
  const columns = Array.from({ length: bins }, (_, i) => String(steps[Math.ceil((i * steps.length) / bins)] ?? ''));
  return heatMap({ title: `${curves.stage}: ${words.experts}`, x: words.step, columns, rows, values });
}
