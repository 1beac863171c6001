import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GrpoHost, GrpoSampleRow } from '../grpo.js';

export type MetricRow = Readonly<Record<string, number | readonly number[]>>;

/** A trainer's host in memory: keeps what it is told; checkpoints go to a temporary folder. */
export class TestHost implements GrpoHost {
  readonly seed: number;
  readonly rows: MetricRow[] = [];
  readonly sampled: GrpoSampleRow[][] = [];
  readonly lines: string[] = [];
  readonly saved: number[] = [];
  readonly dir = mkdtempSync(join(tmpdir(), 'dunwu-train-'));
  /** Says stop after this step. */
  stopAfter = Number.POSITIVE_INFINITY;
  #from: { step: number; dir: string } | null = null;
  #step = 0;

  constructor(seed = 1) {
    this.seed = seed;
  }

  /** A host that goes on from another one's checkpoint. */
  static resuming(other: TestHost, step: number): TestHost {
    const host = new TestHost(other.seed);
    host.#from = { step, dir: join(other.dir, String(step)) };
    return host;
  }

  readonly checkpoints = {
    save: async (step: number, write: (dir: string) => Promise<void>): Promise<string> => {
      const dir = join(this.dir, String(step));
      await mkdir(dir, { recursive: true });
      await write(dir);
      this.saved.push(step);
      return dir;
    },
  };

  readonly progress = { start: (): void => {}, update: (): void => {}, end: (): void => {} };

  async interrupted(): Promise<boolean> {
    return this.#step >= this.stopAfter;
  }

  resumeFrom(): { step: number; dir: string } | null {
    return this.#from;
  }

  metrics(step: number, values: MetricRow): void {
    this.#step = step;
    this.rows.push({ step, ...values });
  }

  samples(_step: number, rows: readonly GrpoSampleRow[]): void {
    this.sampled.push([...rows]);
  }

  log(line: string): void {
    this.lines.push(line);
  }

  /** A metric of every step. */
  series(name: string): number[] {
    return this.rows.map((row) => row[name] as number);
  }

  /** All metrics that do not depend on the clock. */
  timeless(): MetricRow[] {
    return this.rows.map((row) =>
      Object.fromEntries(Object.entries(row).filter(([name]) => !name.startsWith('time/'))),
    );
  }

  dispose(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A host whose checkpoints outlive the training that disposes it. */
export class KeptHost extends TestHost {
  override dispose(): void {}

  remove(): void {
    super.dispose();
  }
}
