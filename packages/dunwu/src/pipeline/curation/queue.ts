import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import type { Trace } from '../../reward/trace.js';
import type { Problem } from '../../task/problem.js';
import { errorText, UsageError } from '../../util/errors.js';
import { namesIn, writeFileAtomic } from '../../util/fs.js';
import { readJsonl } from '../../util/jsonl.js';
import { type DamagedLine, type Decision, DecisionLog, decisionFault, type Standing } from './decisions.js';
import { type Lease, Leases } from './lease.js';

/** The name under which the declared rules decide. */
export const RULES = 'rules';

/** A response that somebody is to decide about. */
export interface Candidate {
  /** Names this text and no other: a decision is never taken for one about another text. */
  readonly id: string;
  readonly problem: Problem;
  /** Index among the responses to its problem. */
  readonly sample: number;
  readonly response: string;
  readonly trace: Trace;
}

export interface CurationSettings {
  /** What candidates are judged by: a RewardProgramConfig, to be checked when it is used (its own rules may be missing). */
  readonly rewards: unknown;
  /** Decisions that are enough for the run to go on; all when null. */
  readonly enough: number | null;
}

export interface CurationProgress {
  readonly total: number;
  /** Decided without a conflict: accepted + edited + rejected. */
  readonly decided: number;
  readonly accepted: number;
  readonly edited: number;
  readonly rejected: number;
  /** Of those not decided, the ones that people disagree on. */
  readonly conflicts: number;
  /** Decisions that the run waits for. */
  readonly needed: number;
}

/** Somebody decided in the meantime: nothing was written. */
export class CurationConflict extends Error {
  override name = 'CurationConflict';
  readonly standing: Standing;
  constructor(id: string, standing: Standing) {
    const last = standing.history.at(-1);
    super(`${id}: ${last?.who ?? 'somebody'} said ${last?.decision ?? 'something'} in the meantime: look at it again`);
    this.standing = standing;
  }
}

const text = z.string();
const candidateSchema = z.looseObject({
  id: text.min(1),
  problem: z.looseObject({
    id: text,
    prompt: text,
    answer: text.optional(),
    source: text,
    language: text,
    meta: z.record(text, z.unknown()),
  }),
  sample: z.int().nonnegative(),
  response: text,
  trace: z.looseObject({ total: z.number(), parts: z.array(z.looseObject({ name: text })) }),
});
const settingsSchema = z.strictObject({ rewards: z.unknown(), enough: z.int().positive().nullable() });
const sealSchema = z.looseObject({ bytes: z.int().nonnegative(), when: text });

/** The folder of a stage's curation in a run folder. */
export function curationFolder(run: string, stage: string): string {
  return path.join(run, 'curation', stage);
}

/** The stages of a run that have candidates, by name. */
export async function curatedStages(run: string): Promise<string[]> {
  const names = (await namesIn(path.join(run, 'curation'))) ?? [];
  return names.filter((name) => existsSync(path.join(curationFolder(run, name), 'queue.jsonl'))).sort();
}

export interface QueueOptions {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/**
 * Candidates and what people decided about them, in `curation/STAGE/` of a run folder:
 *
 *     queue.jsonl      the candidates, written once
 *     settings.json    the rules that they were judged by, and how many decisions are enough
 *     decisions.jsonl  decisions, only ever appended to
 *     sealed.json      where decisions.jsonl ended when the run went on; later decisions change nothing
 *     leases/          who looks at what now
 *
 * Any number of processes may use it at once, with or without the run. Nothing that was decided is ever overwritten.
 */
export class CurationQueue {
  readonly dir: string;
  readonly settings: CurationSettings;
  /** ISO 8601: when the run took the decisions and went on; null while it has not. */
  readonly sealed: string | null;
  readonly #candidates: readonly Candidate[];
  readonly #byId: ReadonlyMap<string, Candidate>;
  readonly #log: DecisionLog;
  readonly #leases: Leases;
  readonly #now: () => number;
  readonly #file: string;
  readonly #inode: number;

  private constructor(dir: string, options: QueueOptions) {
    this.dir = dir;
    this.#now = options.now ?? Date.now;
    this.#file = path.join(dir, 'queue.jsonl');
    this.#inode = statSync(this.#file).ino;
    this.settings = readChecked(path.join(dir, 'settings.json'), settingsSchema);
    this.#candidates = readCandidates(this.#file);
    this.#byId = new Map(this.#candidates.map((candidate) => [candidate.id, candidate]));
    const seal = path.join(dir, 'sealed.json');
    const sealed = existsSync(seal) ? readChecked(seal, sealSchema) : null;
    this.sealed = sealed?.when ?? null;
    this.#log = new DecisionLog(path.join(dir, 'decisions.jsonl'), sealed?.bytes);
    this.#leases = new Leases(path.join(dir, 'leases'), this.#now);
  }

  /** @throws UsageError when the stage has no candidates (yet); Error naming file and line of a damaged queue */
  static open(run: string, stage: string, options: QueueOptions = {}): CurationQueue {
    const dir = curationFolder(run, stage);
    if (!existsSync(path.join(dir, 'queue.jsonl'))) {
      throw new UsageError(`${run}: the stage ${stage} has no candidates to decide about`);
    }
    return new CurationQueue(dir, options);
  }

  /**
   * Puts candidates up for decision. Decisions on texts that were there before stay; a queue that is another one than
   * before is open again.
   */
  static async create(
    run: string,
    stage: string,
    candidates: readonly Candidate[],
    settings: CurationSettings,
    options: QueueOptions = {},
  ): Promise<CurationQueue> {
    const dir = curationFolder(run, stage);
    mkdirSync(dir, { recursive: true });
    const files = [
      ['settings.json', `${JSON.stringify(settings, null, 1)}\n`],
      ['queue.jsonl', candidates.map((candidate) => `${JSON.stringify(candidate)}\n`).join('')],
    ] as const;
    for (const [name, content] of files) {
      const file = path.join(dir, name);
      if (existsSync(file) && readFileSync(file, 'utf8') === content) continue;
      rmSync(path.join(dir, 'sealed.json'), { force: true }); // first: it belongs to another queue
      await writeFileAtomic(file, content);
    }
    return new CurationQueue(dir, options);
  }

  /** All of them, in the order of the problems. */
  candidates(): readonly Candidate[] {
    return this.#candidates;
  }

  /** @throws Error when there is no such candidate */
  candidate(id: string): Candidate {
    const found = this.#byId.get(id);
    if (found === undefined) throw new Error(`${this.dir}: there is no candidate ${id}`);
    return found;
  }

  /** Reads what others have decided since. @throws Error when the run has put other candidates in this one's place */
  refresh(): void {
    if (statSync(this.#file, { throwIfNoEntry: false })?.ino !== this.#inode) {
      throw new Error(`${this.#file}: the run has put up other candidates: open the queue again`);
    }
    this.#log.refresh();
  }

  standing(id: string): Standing {
    return this.#log.standing(id);
  }

  /** Those without a decision, or with decisions that disagree; the latter first. */
  pending(): Candidate[] {
    const open = this.#candidates.filter(({ id }) => !isDecided(this.standing(id)));
    const disputed = ({ id }: Candidate) => this.standing(id).conflict.length > 0;
    return [...open.filter(disputed), ...open.filter((candidate) => !disputed(candidate))];
  }

  /** Those that people disagree on. */
  conflicts(): Candidate[] {
    return this.#candidates.filter(({ id }) => this.standing(id).conflict.length > 0);
  }

  progress(): CurationProgress {
    const count = { accept: 0, edit: 0, reject: 0, undo: 0 };
    let conflicts = 0;
    for (const { id } of this.#candidates) {
      const standing = this.standing(id);
      if (standing.conflict.length > 0) conflicts++;
      else if (standing.current !== null) count[standing.current.decision]++;
    }
    const total = this.#candidates.length;
    return {
      total,
      decided: count.accept + count.edit + count.reject,
      accepted: count.accept,
      edited: count.edit,
      rejected: count.reject,
      conflicts,
      needed: Math.min(total, this.settings.enough ?? total),
    };
  }

  /** Whether the run may go on. */
  ready(): boolean {
    const { decided, needed } = this.progress();
    return decided >= needed;
  }

  /**
   * The candidate to be shown next, leased: the first that is pending, not in `skip`, and not in front of anybody else.
   * @param milliseconds after which others may have it
   */
  next(who: string, milliseconds: number, skip: ReadonlySet<string> = new Set()): Lease | null {
    for (const { id } of this.pending()) {
      if (skip.has(id)) continue;
      const lease = this.#leases.take(id, who, milliseconds);
      if (lease !== null) return lease;
    }
    return null;
  }

  lease(id: string, who: string, milliseconds: number): Lease | null {
    return this.#leases.take(this.candidate(id).id, who, milliseconds);
  }

  /** Who looks at a candidate now, or null. */
  holder(id: string): Lease | null {
    return this.#leases.holder(id);
  }

  release(lease: Lease): void {
    this.#leases.release(lease);
  }

  /**
   * Writes a decision down.
   * @param seen the standing that its author was shown
   * @throws CurationConflict when somebody decided since; Error when the run has gone on, the text or reason is missing,
   *   or the file cannot be written. Nothing is written then.
   */
  decide(
    id: string,
    { decision, who, text, reason }: Pick<Decision, 'decision' | 'who' | 'text' | 'reason'>,
    seen: Standing = this.standing(id),
  ): Decision {
    this.#requireOpen();
    this.candidate(id);
    if (who === RULES || who.trim() === '') throw new UsageError(`who: ${JSON.stringify(who)} is no name of a person`);
    const fault = decisionFault({ decision, text, reason });
    if (fault !== null) throw new UsageError(`${id}: ${fault}`);
    this.refresh();
    const now = this.standing(id);
    const newest = seen.history.at(-1)?.uid ?? null;
    if (newest !== (now.history.at(-1)?.uid ?? null)) throw new CurationConflict(id, now);
    if (decision === 'undo' && now.current === null) throw new UsageError(`${id}: there is nothing to take back`);
    const [made] = this.#log.append([
      {
        id,
        decision,
        ...(text === undefined ? {} : { text }),
        ...(reason === undefined ? {} : { reason }),
        who,
        when: this.#when(),
        after: newest,
      },
    ]);
    return made as Decision;
  }

  /** Accepts in the rules' name all that nobody has decided about. */
  acceptByRules(): void {
    if (this.sealed !== null) return;
    const open = this.#candidates.filter(({ id }) => this.standing(id).history.length === 0);
    const when = this.#when();
    this.#log.append(open.map(({ id }) => ({ id, decision: 'accept', who: RULES, when, after: null })));
  }

  /** The newest decision of a person that still holds, or null. */
  lastOf(who: string): Decision | null {
    return (
      this.#log.all.findLast((made) => made.who === who && this.standing(made.id).current?.uid === made.uid) ?? null
    );
  }

  /** Decisions on texts that are not among the candidates: from an earlier drawing. */
  orphans(): Decision[] {
    return this.#log.all.filter(({ id }) => !this.#byId.has(id));
  }

  /** Lines of decisions.jsonl that are no decisions. */
  damaged(): readonly DamagedLine[] {
    return this.#log.damaged;
  }

  /** Fixes the decisions that the run takes: those up to now. Later ones change nothing any more. */
  async seal(): Promise<void> {
    if (this.sealed !== null) return;
    const content = { bytes: this.#log.bytes, when: this.#when() };
    await writeFileAtomic(path.join(this.dir, 'sealed.json'), `${JSON.stringify(content)}\n`);
  }

  close(): void {
    this.#log.close();
  }

  #when(): string {
    return new Date(this.#now()).toISOString();
  }

  #requireOpen(): void {
    // Asked of the disk: the run may have gone on since this queue was opened.
    if (this.sealed === null && !existsSync(path.join(this.dir, 'sealed.json'))) return;
    throw new UsageError(
      `${this.dir}: the run has taken the decisions and gone on. To decide anew, remove sealed.json there and ` +
        `stages/${path.basename(this.dir)}.json in the run folder; --resume then waits again`,
    );
  }
}

export function isDecided({ current, conflict }: Standing): boolean {
  return current !== null && conflict.length === 0;
}

function readChecked<Schema extends z.ZodType>(file: string, schema: Schema): z.output<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`${file}: cannot be read: ${errorText(error)}`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new Error(`${file}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
}

function readCandidates(file: string): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const { value, number } of readJsonl(file)) {
    const parsed = candidateSchema.safeParse(value);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw new Error(
        `${file}:${number}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}; resume the run to write it anew`,
      );
    }
    const candidate = parsed.data as unknown as Candidate;
    if (found.has(candidate.id)) throw new Error(`${file}:${number}: ${candidate.id} is there twice`);
    found.set(candidate.id, candidate);
  }
  return [...found.values()];
}
