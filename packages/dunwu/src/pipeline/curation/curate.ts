import type { RewardProgram } from '../../reward/program.js';
import type { Note } from '../stage.js';
import { type Candidate, type CurationQueue, isDecided, RULES } from './queue.js';

/** A candidate that is kept, with the text that people left it with. */
export interface Accepted {
  readonly candidate: Candidate;
  readonly text: string;
  readonly decision: 'accept' | 'edit';
  readonly who: string;
  readonly reason?: string;
}

/** What the decisions made of the candidates, in their order. Undecided and disputed ones are left out. */
export function acceptedOf(queue: CurationQueue): Accepted[] {
  return queue.candidates().flatMap((candidate): Accepted[] => {
    const standing = queue.standing(candidate.id);
    const { current } = standing;
    if (current === null || !isDecided(standing)) return [];
    const { decision, who, reason } = current;
    if (decision !== 'accept' && decision !== 'edit') return [];
    const text = current.text ?? candidate.response;
    return [{ candidate, text, decision, who, ...(reason === undefined ? {} : { reason }) }];
  });
}

/** A row of the data that later stages learn from. What people edited is judged again, or has no trace without the rules. */
export function dialogueRow(
  { candidate, text, decision, who, reason }: Accepted,
  rewards: RewardProgram | null,
): object {
  const { id, problem, response, trace } = candidate;
  return {
    id,
    prompt: problem.prompt,
    response: text,
    ...(problem.answer === undefined ? {} : { answer: problem.answer }),
    source: problem.source,
    language: problem.language,
    meta: problem.meta,
    ...(text === response ? { trace } : rewards === null ? {} : { trace: rewards.score(problem, text) }),
    curation: { decision, who, ...(reason === undefined ? {} : { reason }) },
  };
}

/** What people did, for the report. Empty when the rules decided alone. */
export function curationNotes(queue: CurationQueue): Note[] {
  const { total, accepted, edited, rejected, decided, conflicts } = queue.progress();
  const standing = queue.candidates().flatMap(({ id }) => queue.standing(id).current ?? []);
  const people = new Map<string, number>();
  for (const { who } of standing) if (who !== RULES) people.set(who, (people.get(who) ?? 0) + 1);
  const notes: Note[] = [];
  if (people.size > 0) {
    const names = [...people].map(([who, count]) => `${who.replaceAll('\n', ' ')} ${count}`);
    const open = total - decided;
    notes.push({
      en: `People decided: ${accepted} of ${total} candidates accepted, ${edited} edited, ${rejected} rejected${open > 0 ? `, ${open} left out undecided (${conflicts} of them disputed)` : ''}; decisions by ${names.join(', ')}.`,
      zh: `人工筛选：${total} 个候选中接受 ${accepted} 个、修改 ${edited} 个、拒绝 ${rejected} 个${open > 0 ? `，另有 ${open} 个未定而不用（其中 ${conflicts} 个有分歧）` : ''}；各人的决定数：${names.join('，')}。`,
    });
    const reasons = new Map<string, number>();
    for (const { decision, reason = '' } of standing) {
      if (decision === 'reject') reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
    if (reasons.size > 0) {
      const list = [...reasons]
        .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
        .slice(0, 10)
        .map(([reason, count]) => `${reason.replaceAll(/\s+/g, ' ').slice(0, 80)} (${count})`);
      notes.push({ en: `Rejected because: ${list.join('; ')}.`, zh: `拒绝的原因：${list.join('；')}。` });
    }
  }
  const damaged = queue.damaged();
  if (damaged.length > 0) {
    const lines = damaged.map(({ line }) => line).join(', ');
    notes.push({
      en: `Lines of decisions.jsonl that are no decisions and were passed over: ${lines}.`,
      zh: `decisions.jsonl 中不是决定、因而跳过的行：${lines}。`,
    });
  }
  return notes;
}
