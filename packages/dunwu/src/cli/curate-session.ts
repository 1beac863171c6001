import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Decision, Standing } from '../pipeline/curation/decisions.js';
import type { Lease } from '../pipeline/curation/lease.js';
import { type Candidate, CurationConflict, type CurationQueue, isDecided } from '../pipeline/curation/queue.js';
import { tracePoints } from '../pipeline/report.js';
import type { RewardProgram } from '../reward/program.js';
import type { Trace } from '../reward/trace.js';
import { visible } from '../util/visible.js';
import type { CurateStreams } from './curate.js';
import { TerminalInput } from './terminal-input.js';

export interface SessionOptions extends CurateStreams {
  readonly who: string;
  readonly leaseMilliseconds: number;
  /** What edits are checked by; null when the rules are not here. */
  readonly program: RewardProgram | null;
  /** Said at the beginning. */
  readonly note?: string;
}

/** Shows pending candidates one by one and writes down what is decided, until there are none, `q`, or no more input. */
export async function curateInTerminal(queue: CurationQueue, options: SessionOptions): Promise<void> {
  const input = new TerminalInput(options.input);
  const session = new Session(queue, options, input);
  try {
    await session.run();
  } finally {
    input.close();
  }
}

const KEYS = '[a]ccept  accept and say [w]hy  [r]eject  [e]dit  [s]kip  [u]ndo  [q]uit';

class Session {
  readonly #skipped = new Set<string>();
  #lease: Lease | null = null;

  constructor(
    private readonly queue: CurationQueue,
    private readonly options: SessionOptions,
    private readonly input: TerminalInput,
  ) {}

  async run(): Promise<void> {
    const { who, leaseMilliseconds, note } = this.options;
    this.#say(`${summaryLine(this.queue)} You are ${visible(who)}.`);
    for (const { line, why } of this.queue.damaged())
      this.#say(`decisions.jsonl:${line}: passed over: ${visible(why)}`);
    if (note !== undefined) this.#say(visible(note));
    try {
      for (;;) {
        this.queue.refresh();
        this.#lease ??= this.queue.next(who, leaseMilliseconds, this.#skipped);
        if (this.#lease === null) break;
        if (!(await this.#ask(this.queue.candidate(this.#lease.id)))) break;
      }
    } finally {
      this.#letGo();
    }
    this.#end();
  }

  /** One candidate. @returns false to quit */
  async #ask(candidate: Candidate): Promise<boolean> {
    const seen = this.queue.standing(candidate.id);
    this.#say(candidateText(this.queue, candidate, seen));
    for (;;) {
      this.#write(`${KEYS} > `);
      const key = await this.input.key();
      if (this.options.input.isTTY === true) this.#say(key ?? '');
      switch (key) {
        case null:
        case 'q':
          return false;
        case 's':
          this.#skipped.add(candidate.id);
          this.#letGo();
          return true;
        case 'u':
          this.#undo();
          return true;
        case 'a':
          this.#decide(candidate, { decision: 'accept' }, seen);
          return true;
        case 'w':
        case 'r': {
          const reason = await this.#reason();
          if (reason === null) break;
          this.#decide(candidate, { decision: key === 'w' ? 'accept' : 'reject', reason }, seen);
          return true;
        }
        case 'e': {
          const edited = await this.#edit(candidate);
          if (edited === null) break;
          this.#decide(candidate, { decision: 'edit', ...edited }, seen);
          return true;
        }
        case '':
          break;
        default:
          this.#say(`There is no key ${visible(JSON.stringify(key))}.`);
      }
    }
  }

  #decide(candidate: Candidate, made: Pick<Decision, 'decision' | 'text' | 'reason'>, seen: Standing): void {
    try {
      this.queue.decide(candidate.id, { ...made, who: this.options.who }, seen);
    } catch (error) {
      if (!(error instanceof CurationConflict)) throw error;
      this.#say(`Not written down: ${visible(error.message)}`);
      if (isDecided(error.standing)) this.#letGo();
      return; // still disputed: it is shown again
    }
    const { conflict } = this.queue.standing(candidate.id);
    this.#letGo();
    const { decided, needed, total } = this.queue.progress();
    if (conflict.length > 0) this.#say('Somebody else decided otherwise at the same moment: it will be shown again.');
    this.#say(
      `${WORDS[made.decision]}. ${decided} of ${total} decided${needed < total ? ` (${needed} are enough)` : ''}.`,
    );
  }

  /** Takes back this person's newest decision and shows its candidate again. */
  #undo(): void {
    const { who, leaseMilliseconds } = this.options;
    const last = this.queue.lastOf(who);
    if (last === null) {
      this.#say(`There is nothing of ${visible(who)} to take back.`);
      return;
    }
    try {
      this.queue.decide(last.id, { decision: 'undo', who });
    } catch (error) {
      if (!(error instanceof CurationConflict)) throw error;
      this.#say(`Not taken back: ${visible(error.message)}`);
      return;
    }
    this.#say(`Taken back: ${WORDS[last.decision]}.`);
    this.#skipped.delete(last.id);
    const lease = this.queue.lease(last.id, who, leaseMilliseconds);
    if (lease === null) return;
    this.#letGo();
    this.#lease = lease;
  }

  /** Null when none is given: back to the keys. */
  async #reason(): Promise<string | null> {
    this.#write('Reason (empty: back) > ');
    const reason = (await this.input.line())?.trim() ?? '';
    if (reason !== '') return reason;
    this.#say('Not decided: a reason is needed.');
    return null;
  }

  async #edit(candidate: Candidate): Promise<{ text: string; reason: string } | null> {
    let text = candidate.response;
    for (;;) {
      const edited = await this.#newText(text);
      if (edited === null || edited.trim() === '') {
        this.#say('Not edited: there is no text.');
        return null;
      }
      text = edited;
      const { program } = this.options;
      this.#say(`Edited\n${indented(text)}`);
      this.#say(program === null ? 'Not checked by the rules.' : pointsText(program.score(candidate.problem, text)));
      this.#write('[a]ccept it  [e]dit again  [b]ack > ');
      const key = await this.input.key();
      if (this.options.input.isTTY === true) this.#say(key ?? '');
      if (key === 'e') continue;
      if (key !== 'a') return null;
      const reason = await this.#reason();
      return reason === null ? null : { text, reason };
    }
  }

  /** From $VISUAL or $EDITOR in a terminal, else from lines up to one that holds a full stop alone. */
  async #newText(text: string): Promise<string | null> {
    const { env, input } = this.options;
    const editor = env.VISUAL ?? env.EDITOR ?? '';
    if (input.isTTY === true && editor.trim() !== '') return this.#inEditor(editor, text);
    this.#say('The new text; a line that holds "." alone ends it:');
    const lines: string[] = [];
    for (;;) {
      const line = await this.input.line();
      if (line === null) return null; // the input broke off: what came is not a whole text
      if (line === '.') return lines.join('\n');
      lines.push(line);
    }
  }

  #inEditor(editor: string, text: string): string | null {
    const folder = mkdtempSync(path.join(tmpdir(), 'dunwu-edit-'));
    const file = path.join(folder, 'response.txt');
    this.input.pause();
    try {
      writeFileSync(file, `${text}\n`);
      // Through the shell, as git does: $EDITOR may hold options.
      const { status, error } = spawnSync(`${editor} "${file}"`, { shell: true, stdio: 'inherit' });
      if (error !== undefined || status !== 0) {
        this.#say(`The editor (${visible(editor)}) failed.`);
        return null;
      }
      return readFileSync(file, 'utf8').replace(/\r\n/g, '\n').replace(/\n+$/, '');
    } finally {
      this.input.resume();
      rmSync(folder, { recursive: true, force: true });
    }
  }

  #end(): void {
    const pending = this.queue.pending();
    const skipped = pending.filter(({ id }) => this.#skipped.has(id)).length;
    const holders = pending.flatMap(({ id }) => this.queue.holder(id)?.who ?? []);
    this.#say(summaryLine(this.queue));
    if (skipped > 0) this.#say(`Skipped: ${skipped}. They come again the next time.`);
    if (holders.length > 0)
      this.#say(`With others now: ${holders.length} (${visible([...new Set(holders)].join(', '))}).`);
    if (this.queue.ready()) this.#say('Enough is decided: go on with the run (dunwu run … --resume --out …).');
  }

  #letGo(): void {
    if (this.#lease !== null) this.queue.release(this.#lease);
    this.#lease = null;
  }

  #write(text: string): void {
    this.options.output.write(text);
  }

  #say(text: string): void {
    this.#write(`${text}\n`);
  }
}

const WORDS = { accept: 'Accepted', edit: 'Edited', reject: 'Rejected', undo: 'Taken back' } as const;

function summaryLine(queue: CurationQueue): string {
  const { total, decided, accepted, edited, rejected, conflicts, needed } = queue.progress();
  const enough = needed < total ? `, ${needed} are enough` : '';
  const disputed = conflicts > 0 ? `, ${conflicts} disputed` : '';
  return `${decided} of ${total} candidates decided${enough}: ${accepted} accepted, ${edited} edited, ${rejected} rejected${disputed}.`;
}

function candidateText(queue: CurationQueue, candidate: Candidate, standing: Standing): string {
  const { problem, response, trace } = candidate;
  const place = queue.candidates().indexOf(candidate) + 1;
  const { total, decided } = queue.progress();
  const lines = [
    '',
    `── ${place} of ${total} · ${decided} decided · ${visible(problem.language)} · ${visible(problem.source)} ──`,
    indented(problem.prompt),
    ...(problem.answer === undefined ? [] : [`Gold answer: ${visible(problem.answer)}`]),
    'Response',
    indented(response),
    pointsText(trace),
  ];
  for (const made of standing.conflict) lines.push(`Disputed: ${decisionText(made)}`);
  return lines.join('\n');
}

function indented(text: string): string {
  return visible(text)
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n');
}

/** The points, and what the rules that are not content have to say. */
function pointsText(trace: Trace): string {
  const notes = trace.parts.flatMap(({ name, status, note }) =>
    status === 'ok' || note === undefined ? [] : [`  ${name}: ${note}`],
  );
  return visible([`Points: ${tracePoints(trace)}`, ...notes].join('\n'));
}

function decisionText({ who, when, decision, reason, text }: Decision): string {
  const why = reason === undefined ? '' : `: ${reason}`;
  const now = text === undefined ? '' : `\n${indented(text)}`;
  return `${visible(`${who} (${when}) ${decision}${why}`)}${now}`;
}

/** What `--list` prints. */
export function listCandidates(queue: CurationQueue): string {
  const lines = queue.candidates().map((candidate, i) => {
    const standing = queue.standing(candidate.id);
    const { current, conflict } = standing;
    const state = conflict.length > 0 ? 'disputed' : (current?.decision ?? 'open');
    const by =
      conflict.length > 0
        ? conflict.map((made) => decisionText(made).split('\n')[0]).join(' | ')
        : current === null
          ? ''
          : `${current.who}${current.reason === undefined ? '' : `: ${current.reason}`}`;
    const question = candidate.problem.prompt.replace(/\s+/g, ' ').slice(0, 50);
    return visible(`${i + 1}\t${state}\t${question}\t${by}`.replaceAll('\n', ' '));
  });
  const more = [
    ...queue.damaged().map(({ line, why }) => `decisions.jsonl:${line}: passed over: ${visible(why)}`),
    ...(queue.orphans().length === 0
      ? []
      : [`${queue.orphans().length} decisions are about texts of an earlier drawing and do not count.`]),
    ...(queue.sealed === null ? [] : [`The run took the decisions at ${visible(queue.sealed)} and went on.`]),
  ];
  return [...lines, summaryLine(queue), ...more].map((line) => `${line}\n`).join('');
}
