export type ExplainLanguage = 'en' | 'zh';

const EN = {
  step: 'step',
  prompt: 'Prompt',
  gold: 'Gold answer',
  response: 'Response',
  empty: '(empty)',
  legend: (good: string, bad: string) => `Marks: ${good} earned points or found nothing wrong, ${bad} did not.`,
  points: 'Points',
  head: ['', 'rule', 'weight', 'points', 'weighted', 'status', 'note'],
  noParts: 'no rules',
  steps: 'Steps',
  stepHead: ['', 'rule', 'points', 'advantage', 'text'],
  exact: (sum: string) => `Sum: ${sum}. The stored reward is the same, to the last bit.`,
  fresh: (sum: string) => `Sum: ${sum}.`,
  inexact: (sum: string, total: string) =>
    `Sum: ${sum}, but the stored reward is ${total}. The trace is not the one that the program gave.`,
  group: 'Group',
  groupText: (size: number, rank: number, mean: string, std: string) =>
    `${rank} of ${size} by reward among the responses to this question; mean ${mean}, standard deviation ${std}`,
  advantage: 'Advantage',
  advantageMean: 'mean over the tokens',
  mismatch: (value: string) => `but the stored one is ${value}: these lines are not those that were learnt from`,
  same: 'as stored',
  noSpread: '0: the whole group has the same reward',
  facts: 'Also',
  pointsOf: (points: string) => `${points} points`,
  title: 'Why this reward?',
};

type Words = typeof EN;

const ZH: Words = {
  step: '第几步',
  prompt: '题目',
  gold: '标准答案',
  response: '回答',
  empty: '（空）',
  legend: (good, bad) => `标记：${good} 得了分或没有问题，${bad} 没有得分。`,
  points: '得分',
  head: ['', '规则', '权重', '分数', '加权', '状态', '说明'],
  noParts: '没有规则',
  steps: '步骤',
  stepHead: ['', '规则', '分数', '优势', '文字'],
  exact: (sum) => `合计：${sum}。与存下的奖励逐位相同。`,
  fresh: (sum) => `合计：${sum}。`,
  inexact: (sum, total) => `合计：${sum}，但存下的奖励是 ${total}。这份明细不是程序当时给出的。`,
  group: '同组',
  groupText: (size, rank, mean, std) => `同一道题的 ${size} 个回答里按奖励排第 ${rank}；均值 ${mean}，标准差 ${std}`,
  advantage: '优势',
  advantageMean: '各 token 的平均',
  mismatch: (value) => `但存下的是 ${value}：这些行不是当时用来学习的`,
  same: '与存下的相同',
  noSpread: '0：全组奖励相同',
  facts: '其他',
  pointsOf: (points) => `${points} 分`,
  title: '这个奖励从哪来？',
};

export const EXPLAIN_WORDS: Readonly<Record<ExplainLanguage, Words>> = { en: EN, zh: ZH };
