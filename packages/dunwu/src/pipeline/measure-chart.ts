import type { NamedChart, ReportLanguage } from './curves.js';
import { comparable, type JudgedStage, type Measured, measured } from './measure-table.js';
import { type Line, lineChart } from './plot.js';

const WORDS = {
  en: {
    caption: 'Measures after every stage',
    greedy: 'Greedy',
    sampled: 'Samples, T = 1',
    length: 'Mean length (tokens)',
    accuracy: 'accuracy',
    instruction_following: 'instruction-following',
    refusal: 'refusal of harm',
    language_consistency: 'language consistency',
    readability: 'readability',
    lengthOf: { greedy: 'length, greedy', sampled: 'length, sampled' },
  },
  zh: {
    caption: '每个阶段之后的各项指标',
    greedy: '贪心',
    sampled: '采样，T = 1',
    length: '平均长度（token）',
    accuracy: '准确率',
    instruction_following: '指令遵循',
    refusal: '拒绝有害请求',
    language_consistency: '语言一致性',
    readability: '可读性',
    lengthOf: { greedy: '长度（贪心）', sampled: '长度（采样）' },
  },
};

const MEASURES = ['accuracy', 'instruction_following', 'refusal', 'language_consistency', 'readability'] as const;

/**
 * The measures over the evaluated stages (those on the same problems as the first), with the band of the 95 % interval of accuracy; the length beside them.
 * Undefined with fewer than two evaluations: one point is no course.
 */
export function measureChart(all: readonly JudgedStage[], language: ReportLanguage): NamedChart | undefined {
  const judged = comparable(all);
  if (judged.length < 2) return undefined;
  const words = WORDS[language];
  const line = (name: string, found: readonly (Measured | undefined)[], key: (typeof MEASURES)[number]): Line[] => {
    const points = found.flatMap((one, i) => {
      const value = one?.[key];
      return typeof value === 'number' ? [[i, value] as const] : [];
    });
    if (points.length === 0) return [];
    const band = found.flatMap((one, i) => {
      const ci95 = one?.accuracy_ci95;
      return ci95 === undefined ? [] : [[i, ci95[0], ci95[1]] as const];
    });
    return [{ name, points, ...(key === 'accuracy' && band.length === points.length ? { band } : {}) }];
  };
  const modes = ['greedy', 'sampled'] as const;
  const shares = modes.map((mode) => {
    const found = judged.map((one) => measured(one, mode));
    return { title: words[mode], lines: MEASURES.flatMap((key) => line(words[key], found, key)) };
  });
  const lengths = modes.flatMap((mode): Line[] => {
    const points = judged.flatMap((one, i) => {
      const length = measured(one, mode)?.length;
      return length === undefined ? [] : [[i, length] as const];
    });
    return points.length === 0 ? [] : [{ name: words.lengthOf[mode], points }];
  });
  const models = judged.map(({ model }) => model);
  const categories = new Set(models).size === models.length ? models : judged.map(({ name }) => name);
  const panels = [...shares, { title: words.length, lines: lengths }].filter(({ lines }) => lines.length > 0);
  return {
    file: `stages${language === 'en' ? '' : `.${language}`}`,
    caption: words.caption,
    chart: lineChart(panels, '', { shared: true, categories }),
  };
}
