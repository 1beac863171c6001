import type { Estimate } from '../eval/statistics.js';
import { formatCount, formatSeconds } from '../util/progress.js';
import { textTable } from '../util/text-table.js';
import { type ComparedEvaluation, type Comparison, PROVIDED, type ReachedStage, type RunGroup } from './compare.js';
import type { ReportLanguage } from './curves.js';
import { type Chart, type Line, lineChart } from './plot.js';

/** A table with its heading and what is to be said of it. */
interface Section {
  readonly title: string;
  readonly notes: readonly string[];
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Columns of texts; the others are numbers and stand to the right. */
  readonly texts: readonly number[];
}

const WORDS = {
  en: {
    title: '# Comparison',
    runs: 'Runs',
    runsHead: ['Recipe', 'Runs', 'Seeds', 'Folders'],
    unfinished: (dir: string, stages: string) => `${dir}: not finished: ${stages}.`,
    differs: (label: string, list: string) => `${label} differs: ${list}.`,
    results: 'Evaluations',
    resultsNote: "Mean over the runs ± half of Student's 95 % interval; shares in %. One run has no interval.",
    costNote:
      'Time and FLOPs, and what was provided: of all the stages that the evaluated model came from, evaluations and what --given names left out.',
    solutions: 'Solutions',
    preferences: 'Preferences',
    answers: 'Answers',
    scored: 'Scored',
    providedNote:
      'Provided: worked solutions learnt from; preference or safety labels; different problems whose gold answer was looked at; responses judged by rules or reward models.',
    noResults: 'No stage of these runs has evaluated yet.',
    recipe: 'Recipe',
    stage: 'Stage',
    count: 'Runs',
    greedy: 'Greedy',
    sampled: 'Sampled',
    format: 'Format, greedy',
    formatSampled: 'sampled',
    language: 'Language, greedy',
    languageSampled: 'sampled',
    length: 'Length',
    time: 'Time',
    reach: (metric: string, threshold: number) => `Steps until ${metric} ≥ ${threshold}`,
    reachNote: 'The first measured step at which it was reached, and the samples drawn up to then.',
    censored:
      'Runs that never reached it are shown as > their last measured step and count with it: the mean is a lower bound (≥) and has no interval.',
    unmeasured: (stage: string, dirs: string) => `${stage}: not measured in ${dirs}.`,
    reached: 'Reached',
    of: (reached: number, all: number) => `${reached} of ${all}`,
    steps: 'Steps',
    samples: 'Samples',
    each: 'Each run',
    curves: 'Mean over the runs; the band is their range, from the lowest to the highest.',
    step: 'step',
    list: ', ',
  },
  zh: {
    title: '# 对比',
    runs: '运行',
    runsHead: ['配方', '运行数', '随机种子', '文件夹'],
    unfinished: (dir: string, stages: string) => `${dir}：没有完成：${stages}。`,
    differs: (label: string, list: string) => `${label} 的不同之处：${list}。`,
    results: '评测',
    resultsNote: '各次运行的平均 ± t 分布 95 % 区间的一半；比例以 % 计。只有一次运行时没有区间。',
    costNote: '时间、FLOPs 与所需数据：被评测的模型所经过的全部阶段之和，不含评测，也不含 --given 所列的阶段。',
    solutions: '解答',
    preferences: '偏好',
    answers: '答案',
    scored: '评分样本',
    providedNote:
      '所需数据：学习所用的完整解答；偏好或安全标注；查看过标准答案的不同题目；由规则或奖励模型评判的回答。',
    noResults: '这些运行还没有做过评测。',
    recipe: '配方',
    stage: '阶段',
    count: '运行数',
    greedy: '贪心',
    sampled: '采样',
    format: '格式，贪心',
    formatSampled: '采样',
    language: '语言，贪心',
    languageSampled: '采样',
    length: '长度',
    time: '时间',
    reach: (metric: string, threshold: number) => `${metric} 达到 ${threshold} 所需步数`,
    reachNote: '首次测得达到的那一步，以及到那时为止的样本数。',
    censored: '始终没有达到的运行记作 > 最后一次测量的步数，并以它计入平均：此时平均是下界（≥），没有区间。',
    unmeasured: (stage: string, dirs: string) => `${stage}：${dirs} 没有测量。`,
    reached: '达到',
    of: (reached: number, all: number) => `${reached} / ${all}`,
    steps: '步数',
    samples: '样本数',
    each: '各次运行',
    curves: '各次运行的平均；色带是它们的范围，从最低到最高。',
    step: '步',
    list: '、',
  },
};

/** For a terminal. */
export function compareText(comparison: Comparison, language: ReportLanguage = 'en'): string {
  return sections(comparison, language)
    .map(({ title, notes, head, rows, texts }) => {
      const lines = rows.length === 0 ? [] : textTable([head, ...rows], (column) => texts.includes(column));
      const table = lines.map((line) => `  ${line}`);
      return [title, ...table, ...notes].join('\n');
    })
    .join('\n\n');
}

/** For a file. */
export function compareMarkdown(comparison: Comparison, language: ReportLanguage, image?: string): string {
  const blocks = [WORDS[language].title];
  for (const { title, notes, head, rows, texts } of sections(comparison, language)) {
    const line = (cells: readonly string[]): string =>
      `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
    blocks.push(`## ${title}`);
    if (rows.length > 0) {
      blocks.push(
        [line(head), `|${head.map((_, i) => (texts.includes(i) ? '---|' : '---:|')).join('')}`, ...rows.map(line)].join(
          '\n',
        ),
      );
    }
    if (notes.length > 0) blocks.push(notes.join('\n\n'));
  }
  if (image !== undefined) blocks.push(`![${WORDS[language].curves}](${encodeURI(image)})`, WORDS[language].curves);
  return `${blocks.join('\n\n')}\n`;
}

function sections(comparison: Comparison, language: ReportLanguage): Section[] {
  const words = WORDS[language];
  const { recipes, evaluations, reach } = comparison;
  const several = recipes.length > 1;
  const runs: Section = {
    title: words.runs,
    head: words.runsHead,
    texts: [0, 2, 3],
    rows: recipes.map(({ label, runs: members }) => [
      label,
      String(members.length),
      members.map(({ seed }) => seed).join(words.list),
      members.map(({ dir }) => dir).join(words.list),
    ]),
    notes: [
      ...recipes.flatMap(({ label, differences }) =>
        differences.length === 0 ? [] : [words.differs(label, shortList(differences))],
      ),
      ...recipes.flatMap(({ runs: members }) =>
        members.flatMap(({ dir, unfinished }) =>
          unfinished.length === 0 ? [] : [words.unfinished(dir, unfinished.join(words.list))],
        ),
      ),
    ],
  };
  const list = [runs, evaluationSection(evaluations, several, language)];
  if (reach !== null) {
    const { metric, threshold, stages } = reach;
    const measured = stages.some(({ samples }) => samples !== null);
    const head = [
      ...(several ? [words.recipe] : []),
      words.stage,
      words.reached,
      words.steps,
      ...(measured ? [words.samples] : []),
      words.each,
    ];
    list.push({
      title: words.reach(metric, threshold),
      head,
      texts: [...(several ? [0, 1] : [0]), head.length - 1],
      rows: stages.map((stage) => [
        ...(several ? [stage.recipe] : []),
        stage.stage,
        words.of(stage.reached, stage.runs.length),
        bounded(stage, stage.steps, (value) => String(Number(value.toFixed(1)))),
        ...(measured ? [stage.samples === null ? '–' : bounded(stage, stage.samples, formatCount)] : []),
        stage.runs.map(({ reached, step }) => `${reached ? '' : '> '}${step}`).join(words.list),
      ]),
      notes: [
        words.reachNote,
        ...(stages.some(({ censored }) => censored) ? [words.censored] : []),
        ...stages.flatMap(({ stage, unmeasured }) =>
          unmeasured.length === 0 ? [] : [words.unmeasured(stage, unmeasured.join(words.list))],
        ),
      ],
    });
  }
  return list;
}

function evaluationSection(
  evaluations: readonly ComparedEvaluation[],
  several: boolean,
  language: ReportLanguage,
): Section {
  const words = WORDS[language];
  if (evaluations.length === 0)
    return { title: words.results, notes: [words.noResults], head: [], rows: [], texts: [] };
  const columns: { head: string; cell: (row: ComparedEvaluation) => string | null }[] = [];
  const add = (head: string, cell: (row: ComparedEvaluation) => string | null): void => {
    // A column that no stage has anything for is left out.
    if (evaluations.some((row) => cell(row) !== null)) columns.push({ head, cell });
  };
  const ks = [...new Set(evaluations.flatMap(({ sampled }) => (sampled === null ? [] : [sampled.k])))];
  const k = ks.length === 1 && ks[0] !== null ? String(ks[0]) : 'k';
  if (several) add(words.recipe, ({ recipe }) => recipe);
  add(words.stage, ({ stage }) => stage);
  add(words.count, ({ runs }) => String(runs));
  add(words.greedy, ({ accuracy }) => percent(accuracy));
  add(words.sampled, ({ sampled }) => percent(sampled?.accuracy));
  add(`pass@${k}`, ({ sampled }) => percent(sampled?.pass_at_k));
  add(`cons@${k}`, ({ sampled }) => percent(sampled?.cons_at_k));
  add(words.format, ({ format }) => percent(format));
  add(words.formatSampled, ({ sampled }) => percent(sampled?.format));
  add(words.language, ({ language_consistency }) => percent(language_consistency));
  add(words.languageSampled, ({ sampled }) => percent(sampled?.language_consistency));
  add(words.length, ({ mean_length }) => withHalf(mean_length, (value) => value.toFixed(1)));
  add(words.time, ({ cost }) => (cost === null ? null : withHalf(cost.seconds, formatSeconds)));
  add('FLOPs', ({ cost }) => (cost === null ? null : withHalf(cost.flops, formatCount)));
  const provided = PROVIDED.filter((key) => evaluations.some(({ cost }) => (cost?.[key]?.mean ?? 0) > 0));
  for (const key of provided) {
    add(words[key], ({ cost }) => (cost?.[key] == null ? null : withHalf(cost[key], formatCount)));
  }
  const priced = evaluations.some(({ cost }) => cost !== null);
  return {
    title: words.results,
    notes: [
      words.resultsNote,
      ...(priced ? [words.costNote] : []),
      ...(provided.length > 0 ? [words.providedNote] : []),
    ],
    head: columns.map(({ head }) => head),
    texts: several ? [0, 1] : [0],
    rows: evaluations.map((row) => columns.map(({ cell }) => cell(row) ?? '–')),
  };
}

function percent(estimate: Estimate | null | undefined): string | null {
  return estimate == null ? null : withHalf(estimate, (share) => (100 * share).toFixed(1));
}

function withHalf({ mean, ci95 }: Estimate, show: (value: number) => string): string {
  return ci95 === null ? show(mean) : `${show(mean)} ± ${show(ci95[1] - mean)}`;
}

function bounded({ censored }: ReachedStage, estimate: Estimate, show: (value: number) => string): string {
  return censored ? `≥ ${show(estimate.mean)}` : withHalf(estimate, show);
}

const MAX_DIFFERENCES = 8;

function shortList(list: readonly string[]): string {
  const rest = list.length - MAX_DIFFERENCES;
  return `${list.slice(0, MAX_DIFFERENCES).join('; ')}${rest > 0 ? `; … (+${rest})` : ''}`;
}

/**
 * Metrics over the steps, a line for each recipe's stage: the mean over its runs with the range (lowest to highest)
 * behind it, at the steps that all its runs have. Metrics that no stage logged are left out.
 * @param stages names of the stages to draw; by default all that logged the first metric more than once
 * @returns null when there is nothing to draw
 */
export function compareChart(
  groups: readonly RunGroup[],
  metrics: readonly string[],
  language: ReportLanguage = 'en',
  stages?: readonly string[],
): Chart | null {
  const panels = metrics.flatMap((metric) => {
    const lines = groups.flatMap(({ label, members }) =>
      (members[0]?.stages ?? []).flatMap(({ name }) => {
        if (stages !== undefined ? !stages.includes(name) : !drawn(members, name, metrics[0] as string)) return [];
        const line = meanLine(members, name, metric);
        return line === null ? [] : [{ ...line, name: groups.length > 1 ? `${label}: ${name}` : name }];
      }),
    );
    return lines.length === 0 ? [] : [{ title: metric, lines }];
  });
  return panels.length === 0 ? null : lineChart(panels, WORDS[language].step, { shared: true });
}

type Members = RunGroup['members'];

function seriesOf(members: Members, stage: string, metric: string): ReadonlyMap<number, number>[] {
  return members.flatMap(({ curves }) => {
    const points = curves.find((one) => one.stage === stage)?.series.get(metric);
    return points === undefined ? [] : [new Map(points.filter(([, value]) => Number.isFinite(value)))];
  });
}

function drawn(members: Members, stage: string, metric: string): boolean {
  return seriesOf(members, stage, metric).some(({ size }) => size > 1);
}

function meanLine(members: Members, stage: string, metric: string): Omit<Line, 'name'> | null {
  const series = seriesOf(members, stage, metric);
  const [first, ...others] = series;
  if (first === undefined) return null;
  const steps = [...first.keys()].filter((step) => others.every((other) => other.has(step))).sort((a, b) => a - b);
  if (steps.length === 0) return null;
  const values = steps.map((step) => series.map((one) => one.get(step) as number));
  return {
    points: steps.map((step, i) => [step, mean(values[i] ?? [])] as const),
    ...(series.length > 1
      ? {
          band: steps.map((step, i) => [step, Math.min(...(values[i] ?? [])), Math.max(...(values[i] ?? []))] as const),
        }
      : {}),
  };
}

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
