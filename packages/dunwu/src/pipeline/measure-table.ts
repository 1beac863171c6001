import path from 'node:path';
import type { ReportLanguage } from './curves.js';
import { percent, table } from './markdown.js';
import type { Recipe } from './recipe.js';
import type { EvalResult, GeneralShares, StageRecord } from './stage.js';

/** An evaluation, and the stage whose model it measured. */
export interface JudgedStage {
  /** The evaluation's own name. */
  readonly name: string;
  /** Name of the stage that made the model; of a model from elsewhere its folder's. */
  readonly model: string;
  /** Which problems, as far as the recipe says: only evaluations on the same ones are compared with each other. */
  readonly problems: string;
  readonly result: EvalResult;
}

/** The evaluations of a run, in its order. */
export function judgedStages(recipe: Recipe, stages: readonly StageRecord[]): JudgedStage[] {
  return stages.flatMap(({ name, eval: result }) => {
    if (result === undefined) return [];
    const { model, task, split } = (recipe.stages.find((stage) => stage.name === name)?.config ?? {}) as {
      readonly model?: unknown;
      readonly task?: unknown;
      readonly split?: unknown;
    };
    const made = typeof model === 'string' ? model : path.basename(result.model);
    return [{ name, model: made, problems: JSON.stringify([result.task, task, split]), result }];
  });
}

/** Those on the same problems as the first one. */
export function comparable(judged: readonly JudgedStage[]): JudgedStage[] {
  return judged.filter(({ problems }) => problems === judged[0]?.problems);
}

type Interval = readonly [low: number, high: number];

/** What is measured of one way of decoding: of greedy responses, or of samples. */
export interface Measured {
  readonly accuracy: number;
  readonly accuracy_ci95?: Interval | undefined;
  readonly instruction_following?: number | null | undefined;
  readonly instruction_following_ci95?: Interval | null | undefined;
  readonly refusal?: number | null | undefined;
  readonly refusal_ci95?: Interval | null | undefined;
  readonly over_refusal?: number | null | undefined;
  readonly format: number;
  readonly language_consistency: number;
  readonly language_consistency_ci95?: Interval | undefined;
  readonly readability?: number | undefined;
  readonly readability_ci95?: Interval | undefined;
  readonly length?: number | undefined;
}

/** The measures of one way of decoding, in one shape. */
export function measured({ result }: JudgedStage, mode: 'greedy' | 'sampled'): Measured | undefined {
  const own = mode === 'greedy' ? result : result.sampled;
  if (own === undefined) return undefined;
  const general: GeneralShares | undefined = mode === 'greedy' ? result.general : result.general?.sampled;
  const { accuracy, ci95, format, language_consistency, language_consistency_ci95, readability, readability_ci95 } =
    own;
  return {
    accuracy,
    accuracy_ci95: ci95,
    instruction_following: general?.instruction_following,
    instruction_following_ci95: general?.instruction_following_ci95,
    refusal: general?.refusal,
    refusal_ci95: general?.refusal_ci95,
    over_refusal: general?.over_refusal,
    format,
    language_consistency,
    language_consistency_ci95,
    readability,
    readability_ci95,
    length: own.mean_length,
  };
}

const WORDS = {
  en: {
    greedy: 'Greedy decoding; 95 % intervals in parentheses.',
    sampled: 'Samples at temperature 1; the intervals count problems, not samples.',
    head: ['Stage', 'Model', 'Task', 'Problems'],
    accuracy: 'Accuracy',
    instruction_following: 'Instruction-following',
    refusal: 'Refusal of harm',
    over_refusal: 'Refused without need',
    format: 'Format',
    language_consistency: 'Language consistency',
    readability: 'Readability',
    length: 'Mean length (tokens)',
    vote: 'Majority vote',
    change: (what: string, before: string, after: string, points: string) =>
      `- ${what}: ${before} → ${after} (${points} points)`,
    change_greedy: 'Greedy accuracy',
    change_sampled: 'Sampled accuracy',
    tuned: (sft: string, rl: string, parts: string) =>
      `- Fine-tuning \`${sft}\` after reinforcement learning \`${rl}\`: ${parts}.`,
    dip: (what: string, before: string, after: string, points: string, overlap: boolean | undefined) =>
      `${what} ${before} → ${after}, a dip of ${points} points${
        overlap === undefined ? '' : overlap ? ' (the 95 % intervals overlap)' : ' (the 95 % intervals do not overlap)'
      }`,
    noDip: (what: string, before: string, after: string, points: string) =>
      `${what} ${before} → ${after}, no dip (${points} points)`,
    follows: (before: string, after: string, points: string) =>
      `instruction-following ${before} → ${after} (${points} points)`,
    tunedGreedy: 'greedy accuracy',
    tunedSampled: 'sampled accuracy',
    and: '; ',
  },
  zh: {
    greedy: '贪心解码；括号内为 95 % 置信区间。',
    sampled: '温度 1 下的样本；区间以题为单位，不以样本为单位。',
    head: ['阶段', '模型', '任务', '题数'],
    accuracy: '准确率',
    instruction_following: '指令遵循',
    refusal: '拒绝有害请求',
    over_refusal: '不必要的拒绝',
    format: '格式',
    language_consistency: '语言一致性',
    readability: '可读性',
    length: '平均长度（token）',
    vote: '多数表决',
    change: (what: string, before: string, after: string, points: string) =>
      `- ${what}：${before} → ${after}（${points} 个百分点）`,
    change_greedy: '贪心准确率',
    change_sampled: '采样准确率',
    tuned: (sft: string, rl: string, parts: string) => `- 强化学习 \`${rl}\` 之后的微调 \`${sft}\`：${parts}。`,
    dip: (what: string, before: string, after: string, points: string, overlap: boolean | undefined) =>
      `${what} ${before} → ${after}，下降 ${points} 个百分点${
        overlap === undefined ? '' : overlap ? '（95 % 区间有重叠）' : '（95 % 区间不重叠）'
      }`,
    noDip: (what: string, before: string, after: string, points: string) =>
      `${what} ${before} → ${after}，没有下降（${points} 个百分点）`,
    follows: (before: string, after: string, points: string) => `指令遵循 ${before} → ${after}（${points} 个百分点）`,
    tunedGreedy: '贪心准确率',
    tunedSampled: '采样准确率',
    and: '；',
  },
};

const withInterval = (share: number | null | undefined, ci95: Interval | null | undefined): string | null =>
  share === undefined || share === null
    ? null
    : `${percent(share)}${ci95 ? ` (${percent(ci95[0])} – ${percent(ci95[1])})` : ''}`;

type Column = readonly [head: string, cell: (judged: JudgedStage, found: Measured) => string | null];

/**
 * One row for each evaluation, one table for each way of decoding: the shape of DeepSeek-R1's table of stages
 * (arXiv 2501.12948, table 3). A column that no row has anything for is left out.
 */
export function measureTables(judged: readonly JudgedStage[], language: ReportLanguage): string[] {
  const words = WORDS[language];
  const several = new Set(judged.map(({ result }) => result.task)).size > 1;
  const share = (
    key: 'accuracy' | 'instruction_following' | 'refusal' | 'language_consistency' | 'readability',
  ): Column => [words[key], (_, found) => withInterval(found[key], found[`${key}_ci95`])];
  const named: Column[] = [
    [words.head[0] as string, ({ name }) => name],
    [words.head[1] as string, ({ model }) => model],
    [words.head[2] as string, ({ result }) => (several ? result.task : null)],
    [words.head[3] as string, ({ result }) => String(result.n)],
  ];
  const shared: Column[] = [
    share('instruction_following'),
    share('refusal'),
    [words.over_refusal, (_, found) => withInterval(found.over_refusal, undefined)],
    [words.format, (_, found) => percent(found.format)],
    share('language_consistency'),
    share('readability'),
    [words.length, (_, found) => found.length?.toFixed(1) ?? null],
  ];
  const vote: Column = [words.vote, ({ result }) => withInterval(result.sampled?.cons_at_k, undefined)];
  const blocks = [words.greedy, rows(judged, 'greedy', [...named, share('accuracy'), ...shared])];
  const sampled = judged.filter(({ result }) => result.sampled !== undefined);
  if (sampled.length > 0) {
    const pass: Column = ['pass@k', ({ result }) => passAtK(result.sampled)];
    blocks.push(words.sampled, rows(sampled, 'sampled', [...named, share('accuracy'), pass, vote, ...shared]));
  }
  return blocks;
}

function rows(judged: readonly JudgedStage[], mode: 'greedy' | 'sampled', columns: readonly Column[]): string {
  const cells = judged.flatMap((one) => {
    const found = measured(one, mode);
    return found === undefined ? [] : [columns.map(([, cell]) => cell(one, found))];
  });
  const used = columns.map((_, i) => cells.some((row) => row[i] !== null));
  const kept = <T>(list: readonly T[]): T[] => list.filter((_, i) => used[i]);
  return table(
    kept(columns.map(([head]) => head)),
    cells.map((row) => kept(row).map((cell) => cell ?? '–')),
  );
}

function passAtK(sampled: EvalResult['sampled']): string | null {
  const passed = sampled?.pass_at_k;
  if (passed === undefined) return null;
  if (typeof passed === 'number') return `${percent(passed)}${sampled?.k === undefined ? '' : ` (k = ${sampled.k})`}`;
  return Object.entries(passed)
    .map(([k, share]) => `${percent(share)} (k = ${k})`)
    .join(', ');
}

/** "+7.7" or "−18.9": a difference of shares in points. */
function points(from: number, to: number): string {
  const text = (Math.abs(to - from) * 100).toFixed(1);
  return text === '0.0' ? '±0.0' : `${to > from ? '+' : '−'}${text}`;
}

/**
 * What the numbers say, in sentences: from the first to the last evaluation; and for each fine-tuning whose data or model
 * comes from reinforcement learning, whether accuracy dips (as after DeepSeek-R1's cold start) and what
 * instruction-following does.
 */
export function measureSentences(
  judged: readonly JudgedStage[],
  recipe: Pick<Recipe, 'stages'>,
  language: ReportLanguage,
): string[] {
  const words = WORDS[language];
  const lines: string[] = [];
  const alike = comparable(judged);
  const [first, last] = [alike[0], alike.at(-1)];
  if (alike.length > 1 && first !== undefined && last !== undefined) {
    for (const mode of ['greedy', 'sampled'] as const) {
      const [a, b] = [measured(first, mode), measured(last, mode)];
      if (a === undefined || b === undefined) continue;
      const change = [percent(a.accuracy), percent(b.accuracy), points(a.accuracy, b.accuracy)] as const;
      lines.push(words.change(words[`change_${mode}`], ...change));
    }
  }
  for (const [index, after] of judged.entries()) {
    if (recipe.stages.find(({ name }) => name === after.model)?.kind !== 'sft') continue;
    const earlier = judged.slice(0, index).filter(({ problems }) => problems === after.problems);
    if (earlier.some(({ model }) => model === after.model)) continue;
    const before = reinforcedBefore(after.model, earlier, recipe);
    if (before !== undefined) lines.push(words.tuned(after.model, before.model, comparison(before, after, language)));
  }
  return lines.length === 0 ? [] : [lines.join('\n')];
}

/** The latest evaluation of a reinforced model that a stage was made from, directly or through its data. */
function reinforcedBefore(
  stage: string,
  earlier: readonly JudgedStage[],
  { stages }: Pick<Recipe, 'stages'>,
): JudgedStage | undefined {
  const origins = new Set<string>();
  const visit = (name: string): void => {
    for (const reference of stages.find((one) => one.name === name)?.references ?? []) {
      if (origins.has(reference)) continue;
      origins.add(reference);
      visit(reference);
    }
  };
  visit(stage);
  const reinforced = (name: string): boolean =>
    origins.has(name) && ['grpo', 'ppo'].includes(stages.find((one) => one.name === name)?.kind ?? '');
  return earlier.findLast(({ model }) => reinforced(model));
}

function comparison(before: JudgedStage, after: JudgedStage, language: ReportLanguage): string {
  const words = WORDS[language];
  const parts: string[] = [];
  for (const [mode, what] of [
    ['greedy', words.tunedGreedy],
    ['sampled', words.tunedSampled],
  ] as const) {
    const [a, b] = [measured(before, mode), measured(after, mode)];
    if (a === undefined || b === undefined) continue;
    const [from, to] = [percent(a.accuracy), percent(b.accuracy)];
    const down = b.accuracy < a.accuracy;
    const overlap = a.accuracy_ci95 && b.accuracy_ci95 ? a.accuracy_ci95[0] <= b.accuracy_ci95[1] : undefined;
    parts.push(
      down
        ? words.dip(what, from, to, ((a.accuracy - b.accuracy) * 100).toFixed(1), overlap)
        : words.noDip(what, from, to, points(a.accuracy, b.accuracy)),
    );
  }
  const [a, b] = [measured(before, 'greedy'), measured(after, 'greedy')];
  const [followed, follows] = [a?.instruction_following, b?.instruction_following];
  if (typeof followed === 'number' && typeof follows === 'number') {
    parts.push(words.follows(percent(followed), percent(follows), points(followed, follows)));
  }
  return parts.join(words.and);
}
