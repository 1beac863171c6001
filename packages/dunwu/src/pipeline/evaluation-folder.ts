import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { type EvaluatedSample, type EvaluationRecord, judge } from '../eval/evaluate.js';
import type { Problem } from '../task/problem.js';
import { errorCode, errorText, UsageError } from '../util/errors.js';
import { makeFolder, namesIn, writeFileAtomic } from '../util/fs.js';
import { readJsonl } from '../util/jsonl.js';
import { FolderLock, LOCK_NAME } from './lock.js';
import { JsonLines } from './metrics.js';

/** All that an evaluation's numbers hang on, by name. An evaluation goes on only with the same ones. */
export type EvaluationSettings = Readonly<Record<string, string | number | null>>;

const SETTINGS = 'settings.json';
const SAMPLES = 'samples.jsonl';
const RESULT = 'evaluation.json';

/**
 * A folder that an evaluation is kept in, held by this process alone until `close`: `settings.json` (what was asked),
 * `samples.jsonl` (every response with its trace, batch by batch), `evaluation.json` (the measures, at the end).
 */
export class EvaluationFolder {
  readonly dir: string;
  readonly #lock: FolderLock;
  readonly #samples: JsonLines;

  private constructor(dir: string, lock: FolderLock) {
    this.dir = dir;
    this.#lock = lock;
    this.#samples = new JsonLines(path.join(dir, SAMPLES));
  }

  /**
   * Begins an evaluation in a new or empty folder, or with `resume` goes on with the one in it; where there is nothing
   * yet, it begins.
   * @throws UsageError when the folder holds something else, holds an evaluation and `resume` is false, is in use, or
   *   when the settings are not those of the evaluation (the ones that differ are named)
   */
  static async open(dir: string, settings: EvaluationSettings, resume: boolean): Promise<EvaluationFolder> {
    try {
      makeFolder(dir);
    } catch (error) {
      throw new UsageError(`--out ${dir}: ${errorCode(error) === 'EEXIST' ? 'is a file' : errorText(error)}`);
    }
    await check(dir, settings, resume); // before the lock, so that nothing is written into a folder that is not ours
    const lock = FolderLock.acquire(dir);
    try {
      if (!(await check(dir, settings, resume))) {
        await writeFileAtomic(path.join(dir, SETTINGS), `${JSON.stringify(settings, null, 1)}\n`);
      }
      return new EvaluationFolder(dir, lock);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * What whole batches gave, as `evaluate` takes it in `finished`. Responses of a batch that was cut short are removed
   * from the file: the batch is done again. Responses are judged anew.
   * @param samples a problem, beside the greedy one
   * @throws Error naming file and line of a row that is not what this evaluation wrote there
   */
  finished(problems: readonly Problem[], samples: number, batch: number): EvaluatedSample[] {
    const expected = expectedOrder(problems, samples, batch);
    const found: EvaluatedSample[] = [];
    for (const { value, number } of readJsonl(this.#samples.path)) {
      const next = expected[found.length];
      const row = next === undefined ? null : restore(value, next);
      if (row === null) {
        throw new Error(
          `${this.#samples.path}:${number}: is not response ${found.length + 1} of this evaluation: the file was changed. ` +
            `Remove the lines from ${number} on, or begin in another folder`,
        );
      }
      found.push(row);
    }
    const rows = batch * (1 + samples);
    const whole = found.length === expected.length ? found.length : Math.floor(found.length / rows) * rows;
    let kept = 0;
    this.#samples.truncateWhere(() => kept++ < whole);
    return found.slice(0, whole);
  }

  /** Adds what a batch gave. Whole lines are in the system's hands when this returns: a killed process loses nothing. */
  append(samples: readonly EvaluatedSample[]): void {
    this.#samples.append(...samples.map(sampleRow));
  }

  async finish(record: EvaluationRecord): Promise<void> {
    this.#samples.sync();
    await writeFileAtomic(path.join(this.dir, RESULT), `${JSON.stringify(record, null, 1)}\n`);
  }

  close(): void {
    this.#samples.close();
    this.#lock.release();
  }
}

/** One line of `samples.jsonl`, and of the file that `dunwu eval --out FILE.jsonl` writes. */
export function sampleRow(sample: EvaluatedSample): object {
  const { problem, response, mode, correct, trace, length, reason } = sample;
  return {
    id: problem.id,
    language: problem.language,
    mode,
    sample: sample.sample,
    question: problem.prompt,
    ...(problem.answer === undefined ? {} : { answer: problem.answer }),
    response,
    correct,
    length,
    reason,
    trace,
  };
}

/** Hash of a model's folder, or an adapter's: its configuration, tokenizer and weights. */
export async function modelDigest(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter(
    (name) => ['config.json', 'adapter_config.json', 'tokenizer.json'].includes(name) || name.endsWith('.safetensors'),
  );
  const hash = createHash('sha256');
  for (const name of names.sort()) {
    hash.update(`${name}\0`);
    for await (const chunk of createReadStream(path.join(folder, name))) hash.update(chunk as Buffer);
  }
  return hash.digest('hex');
}

/** Hash of what is asked: each problem's id, gold answer and language, and the tokens of its prompt. */
export function problemsDigest(problems: readonly Problem[], prompts: readonly (readonly number[])[]): string {
  const hash = createHash('sha256');
  problems.forEach(({ id, answer, language }, i) => {
    hash.update(`${JSON.stringify([id, answer ?? null, language, prompts[i]])}\n`);
  });
  return hash.digest('hex');
}

/** Whether the folder holds this evaluation already. */
async function check(dir: string, settings: EvaluationSettings, resume: boolean): Promise<boolean> {
  const names = ((await namesIn(dir)) ?? []).filter((name) => !name.startsWith(LOCK_NAME));
  const file = path.join(dir, SETTINGS);
  if (!existsSync(file)) {
    if (names.every((name) => name.startsWith(`.${SETTINGS}.tmp-`))) return false;
    throw new UsageError(`--out ${dir}: is not empty and holds no evaluation: choose another folder`);
  }
  if (!resume) {
    throw new UsageError(`--out ${dir}: holds an evaluation already: go on with --resume, or choose another folder`);
  }
  let saved: Record<string, unknown>;
  try {
    saved = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  } catch (error) {
    throw new UsageError(`${file}: cannot be read: ${errorText(error)}`);
  }
  const differences = [...new Set([...Object.keys(saved), ...Object.keys(settings)])].filter(
    (key) => JSON.stringify(saved[key]) !== JSON.stringify(settings[key]),
  );
  if (differences.length > 0) {
    const lines = differences.map(
      (key) => `  ${key}: ${JSON.stringify(saved[key])} there, ${JSON.stringify(settings[key])} now`,
    );
    throw new UsageError(
      `--resume: ${dir} holds another evaluation.\n${lines.join('\n')}\n` +
        'Go on with the same model, problems and options, or begin in another folder',
    );
  }
  return true;
}

interface Place {
  readonly problem: Problem;
  readonly mode: EvaluatedSample['mode'];
  readonly sample: number;
}

/** The order that `evaluate` finishes responses in. */
function expectedOrder(problems: readonly Problem[], samples: number, batch: number): Place[] {
  const places: Place[] = [];
  for (let start = 0; start < problems.length; start += batch) {
    const part = problems.slice(start, start + batch);
    for (const problem of part) places.push({ problem, mode: 'greedy', sample: 0 });
    for (const problem of part) {
      for (let sample = 0; sample < samples; sample++) places.push({ problem, mode: 'sampled', sample });
    }
  }
  return places;
}

function restore(value: unknown, { problem, mode, sample }: Place): EvaluatedSample | null {
  if (typeof value !== 'object' || value === null) return null;
  const row = value as Record<string, unknown>;
  const { response, length, reason } = row;
  if (row.id !== problem.id || row.mode !== mode || row.sample !== sample) return null;
  if (typeof response !== 'string' || !Number.isSafeInteger(length) || (length as number) < 0) return null;
  if (reason !== 'stop' && reason !== 'length') return null;
  return { ...judge(problem, response, mode), sample, length: length as number, reason };
}
