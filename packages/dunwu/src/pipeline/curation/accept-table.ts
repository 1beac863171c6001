import type { Note } from '../stage.js';
import type { Judged, Verdict } from './keep.js';

/** How the responses to problems of one language fared. */
export interface AcceptCounts {
  readonly language: string;
  readonly problems: number;
  readonly drawn: number;
  /** Passed the declared rules, whether chosen or not. */
  readonly passed: number;
  readonly kept: number;
  /** Problems with at least one kept response. */
  readonly covered: number;
}

export interface AcceptTable {
  readonly languages: readonly AcceptCounts[];
  /** How many each reason turned away, the most frequent first. */
  readonly reasons: readonly { readonly reason: Verdict; readonly count: number }[];
}

/** Verdicts that the declared rules have no part in. */
const PASSED = ['kept', 'duplicate', 'not-chosen', 'over-max'];

/** Counts verdicts; languages by name, reasons by frequency and then name. */
export function acceptTable(judged: readonly Judged[], verdicts: readonly Verdict[]): AcceptTable {
  const reasons = new Map<Verdict, number>();
  for (const verdict of verdicts) {
    if (verdict !== 'kept') reasons.set(verdict, (reasons.get(verdict) ?? 0) + 1);
  }
  const languages = [...new Set(judged.map(({ problem }) => problem.language))].sort();
  return {
    languages: languages.map((language) => {
      const own = judged.flatMap((row, i) =>
        row.problem.language === language ? [{ id: row.problem.id, verdict: verdicts[i] as Verdict }] : [],
      );
      const kept = own.filter(({ verdict }) => verdict === 'kept');
      return {
        language,
        problems: new Set(own.map(({ id }) => id)).size,
        drawn: own.length,
        passed: own.filter(({ verdict }) => PASSED.includes(verdict)).length,
        kept: kept.length,
        covered: new Set(kept.map(({ id }) => id)).size,
      };
    }),
    reasons: [...reasons]
      .map(([reason, count]) => ({ reason, count }))
      .sort((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1)),
  };
}

const REASONS: Readonly<Record<string, { readonly en: string; readonly zh: string }>> = {
  truncated: { en: 'cut off at max_tokens', zh: '到 max_tokens 被截断' },
  empty: { en: 'empty', zh: '空' },
  min_total: { en: 'too few points in all (min_total)', zh: '总分不够（min_total）' },
  duplicate: { en: 'the same text twice', zh: '文本重复' },
  'not-chosen': { en: 'passed, but enough of this problem (per_problem)', zh: '合格，但该题已够数（per_problem）' },
  'over-max': { en: 'passed, but enough in all (max)', zh: '合格，但总数已够（max）' },
};

/** The table for the report, in both languages. */
export function acceptNotes({ languages, reasons }: AcceptTable): Note[] {
  const drawn = languages.reduce((sum, row) => sum + row.drawn, 0);
  const share = (part: number, whole: number) => (whole === 0 ? '–' : `${((100 * part) / whole).toFixed(1)} %`);
  const rows = languages.map((row) => [
    row.language,
    String(row.problems),
    String(row.drawn),
    `${row.passed} (${share(row.passed, row.drawn)})`,
    String(row.kept),
    `${row.covered} (${share(row.covered, row.problems)})`,
  ]);
  const why = (language: 'en' | 'zh') =>
    reasons.map(({ reason, count }) => [
      REASONS[reason]?.[language] ?? `\`${reason}\``,
      String(count),
      share(count, drawn),
    ]);
  return [
    {
      en: `Drawn and kept:\n\n${table(['Language', 'Problems', 'Drawn', 'Passed the rules', 'Kept', 'Problems kept'], rows)}`,
      zh: `采样与保留：\n\n${table(['语言', '题数', '采样数', '通过规则', '保留', '保留的题'], rows)}`,
    },
    ...(reasons.length === 0
      ? []
      : [
          {
            en: `Turned away, by the first reason that applied:\n\n${table(['Reason', 'Responses', 'Share'], why('en'))}`,
            zh: `未保留的，按第一个成立的原因：\n\n${table(['原因', '回答数', '占比'], why('zh'))}`,
          },
        ]),
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)].join('\n');
}
