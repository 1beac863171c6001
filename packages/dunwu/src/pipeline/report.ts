import os from 'node:os';
import path from 'node:path';
import type { Trace } from '../reward/trace.js';
import { writeFileAtomic } from '../util/fs.js';
import { formatCount, formatSeconds } from '../util/progress.js';
import { type NamedChart, type ReportLanguage, readCurves, stageCharts } from './curves.js';
import { fenced, table } from './markdown.js';
import { measureChart } from './measure-chart.js';
import { judgedStages, measureSentences, measureTables } from './measure-table.js';
import { renderSvg } from './plot.js';
import type { Recipe } from './recipe.js';
import type { StageRecord } from './stage.js';
import { readTranscripts, type Transcript } from './transcripts.js';

export interface ReportFiles {
  readonly json: string;
  readonly markdown: string;
  readonly chinese: string;
}

/** Writes report.json, report.md (English), report.zh.md (Chinese, the same content) and the curves as SVG files. */
export async function writeReport(dir: string, recipe: Recipe, stages: readonly StageRecord[]): Promise<ReportFiles> {
  const files = {
    json: path.join(dir, 'report.json'),
    markdown: path.join(dir, 'report.md'),
    chinese: path.join(dir, 'report.zh.md'),
  };
  await writeFileAtomic(files.json, `${JSON.stringify(reportJson(dir, recipe, stages), null, 2)}\n`);
  const curves = readCurves(path.join(dir, 'metrics.jsonl'));
  const transcripts = readTranscripts(dir, stages);
  for (const language of ['en', 'zh'] as const) {
    const draw = async ({ file, caption, chart }: NamedChart): Promise<Image> => {
      await writeFileAtomic(path.join(dir, `${file}.svg`), await renderSvg(chart));
      return { file: `${file}.svg`, caption };
    };
    const images: Image[] = [];
    for (const chart of curves.flatMap((stage) => stageCharts(stage, language))) images.push(await draw(chart));
    const measures = measureChart(judgedStages(recipe, stages), language);
    const text = reportMarkdown(
      {
        recipe,
        stages,
        images,
        transcripts,
        machine: machineLine(language),
        ...(measures === undefined ? {} : { measures: await draw(measures) }),
      },
      language,
    );
    await writeFileAtomic(language === 'en' ? files.markdown : files.chinese, text);
  }
  return files;
}

/** The machine-readable report. Model paths inside the run folder are relative to it. */
export function reportJson(dir: string, recipe: Recipe, stages: readonly StageRecord[]): object {
  const relative = (file: string) => {
    const inside = path.relative(dir, file);
    return inside.startsWith('..') || path.isAbsolute(inside) ? file : inside.split(path.sep).join('/');
  };
  return {
    recipe: recipe.name,
    seed: recipe.seed,
    seconds: total(stages, 'seconds'),
    stages: stages.map((stage) => ({
      name: stage.name,
      kind: stage.kind,
      seconds: stage.seconds,
      tokens: stage.tokens,
      flops: stage.flops,
      model: stage.model === undefined ? null : relative(stage.model),
      eval: stage.eval ?? null,
    })),
  };
}

interface Image {
  readonly file: string;
  readonly caption: string;
}

const image = ({ file, caption }: Image): string => `![${caption}](${encodeURI(file)})`;

export interface ReportParts {
  readonly recipe: Recipe;
  readonly stages: readonly StageRecord[];
  /** The measures after every stage, where at least two were evaluated. */
  readonly measures?: Image;
  readonly images: readonly Image[];
  readonly transcripts: readonly Transcript[];
  readonly machine: string;
}

const WORDS = {
  en: {
    title: (name: string) => `# ${name}: report`,
    other: '[中文](report.zh.md)',
    machine: 'Machine',
    seed: 'Seed',
    results: 'After every stage',
    noResults: 'No stage of this recipe evaluates.',
    cost: 'Cost',
    costHead: ['Stage', 'Kind', 'Time', 'Tokens', 'FLOPs', 'Tokens/s'],
    total: 'Total',
    curves: 'Curves',
    samples: 'Samples',
    samplesNote:
      'The first problems of each language that were answered both times: chosen by their order, not by how the answers turned out.',
    gold: 'Gold answer',
    points: 'Points',
    notes: 'Notes',
    modes: { greedy: 'greedy', sampled: 'sampled, T = 1' },
    step: 'step',
    models: 'Models',
  },
  zh: {
    title: (name: string) => `# ${name}：报告`,
    other: '[English](report.md)',
    machine: '机器',
    seed: '随机种子',
    results: '每个阶段之后',
    noResults: '这份配方没有评测阶段。',
    cost: '花费',
    costHead: ['阶段', '种类', '时间', 'token 数', 'FLOPs', 'token/秒'],
    total: '合计',
    curves: '曲线',
    samples: '样例',
    samplesNote: '每种语言里前后两次都作答的头几道题：按顺序取，不看答得如何。',
    gold: '标准答案',
    points: '得分',
    notes: '备注',
    modes: { greedy: '贪心', sampled: '采样，T = 1' },
    step: '第几步',
    models: '模型',
  },
};

/** The report for people. */
export function reportMarkdown(parts: ReportParts, language: ReportLanguage): string {
  const words = WORDS[language];
  const { recipe, stages } = parts;
  const colon = language === 'en' ? ': ' : '：';
  const blocks: string[] = [words.title(recipe.name), words.other];
  if (recipe.description !== undefined) blocks.push(recipe.description.trim());
  blocks.push(`${words.machine}${colon}${parts.machine}  \n${words.seed}${colon}${recipe.seed}`);
  const judged = judgedStages(recipe, stages);

  blocks.push(`## ${words.results}`, ...(judged.length === 0 ? [words.noResults] : measureTables(judged, language)));
  blocks.push(...measureSentences(judged, recipe, language));
  if (parts.measures !== undefined) blocks.push(image(parts.measures));

  blocks.push(`## ${words.cost}`, table(words.costHead, costRows(stages, words.total)));

  if (parts.images.length > 0) {
    blocks.push(`## ${words.curves}`, ...parts.images.map(image));
  }

  if (parts.transcripts.length > 0) {
    blocks.push(`## ${words.samples}`, words.samplesNote);
    for (const transcript of parts.transcripts) {
      const mode = transcript.mode === undefined ? '' : ` (${words.modes[transcript.mode]})`;
      const [problem, ...more] = transcript.prompt.trim().split('\n');
      blocks.push(`### ${problem}${mode}`, ...(more.length > 0 ? [fenced(more.join('\n'))] : []));
      if (transcript.answer !== undefined) blocks.push(`${words.gold}${colon}${transcript.answer}`);
      for (const { stage, step, response, trace } of transcript.responses) {
        const when = step === undefined ? '' : `, ${words.step} ${step}`;
        const points = trace === undefined ? '' : `\n\n${words.points}${colon}${tracePoints(trace)}`;
        blocks.push(`**${stage}${when}**\n\n${fenced(response)}${points}`);
      }
    }
  }

  const models = stages.flatMap((stage) =>
    stage.model === undefined ? [] : [`- ${stage.name}${colon}\`${stage.model}\``],
  );
  if (models.length > 0) blocks.push(`## ${words.models}`, models.join('\n'));
  const notes = stages.flatMap((stage) =>
    (stage.notes ?? []).map((note) => {
      const text = typeof note === 'string' ? note : note[language];
      return `- ${stage.name}${colon}${text.replaceAll('\n', '\n  ')}`; // indented: part of the list's entry
    }),
  );
  if (notes.length > 0) blocks.push(`## ${words.notes}`, notes.join('\n'));
  return `${blocks.join('\n\n')}\n`;
}

function costRows(stages: readonly StageRecord[], totalWord: string): string[][] {
  const row = (name: string, kind: string, cost: { seconds: number; tokens: number; flops: number }) => [
    name,
    kind,
    formatSeconds(cost.seconds),
    formatCount(cost.tokens),
    cost.flops === 0 ? '0' : cost.flops.toExponential(2),
    cost.seconds > 0 && cost.tokens > 0 ? formatCount(cost.tokens / cost.seconds) : '–',
  ];
  const sum = { seconds: total(stages, 'seconds'), tokens: total(stages, 'tokens'), flops: total(stages, 'flops') };
  return [...stages.map((stage) => row(stage.name, stage.kind, stage)), row(`**${totalWord}**`, '', sum)];
}

function total(stages: readonly StageRecord[], key: 'seconds' | 'tokens' | 'flops'): number {
  return stages.reduce((sum, stage) => sum + stage[key], 0);
}

/** `total 1.5 = accuracy 1/1 (ok) × 1 + format 1/1 (ok) × 0.5` */
export function tracePoints(trace: Trace): string {
  const short = (value: number) => String(Number(value.toFixed(4)));
  const parts = trace.parts.map(
    (part) => `${part.name} ${short(part.points)}/${short(part.max)} (${part.status}) × ${short(part.weight)}`,
  );
  return `${short(trace.total)}${parts.length === 0 ? '' : ` = ${parts.join(' + ')}`}`;
}

/** Processor, cores, memory and system: what a time means nothing without. */
export function machineLine(language: ReportLanguage): string {
  const model = os.cpus()[0]?.model.trim() ?? 'unknown processor';
  const memory = `${(os.totalmem() / 2 ** 30).toFixed(0)} GiB`;
  const cores = language === 'en' ? `${os.availableParallelism()} cores` : `${os.availableParallelism()} 核`;
  return `${model}, ${cores}, ${memory}, ${os.type()} ${os.arch()}, Node ${process.versions.node}`;
}
