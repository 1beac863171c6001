/** The part of a stage's context that the loop needs; the pipeline's StageContext is one. */
export interface LoopHost {
  interrupted(): Promise<boolean>;
  readonly checkpoints: { save(step: number, write: (dir: string) => Promise<void>): Promise<string> };
  resumeFrom(): { readonly step: number; readonly dir: string } | null;
  metrics(step: number, values: Readonly<Record<string, number | readonly number[]>>): void;
  readonly progress: {
    start(label: string, total: number, options?: { done?: number; unit?: string; amount?: number }): void;
    update(done: number, show?: Readonly<Record<string, number | string>>, amount?: number): void;
    end(): void;
  };
  log(line: string): void;
}

/** What one training stage does; the loop decides when. */
export interface LoopPlan {
  readonly label: string;
  readonly steps: number;
  /** A checkpoint every so many steps, and at the end. */
  readonly saveEvery: number;
  /** What `amount` counts in the progress line. */
  readonly unit: string;
  /** Does step n (1 is the first). Returns metrics, what to show, and the cumulative amount. */
  step(n: number): Promise<{
    readonly metrics: Readonly<Record<string, number | readonly number[]>>;
    readonly show: Readonly<Record<string, number | string>>;
    readonly amount: number;
  }>;
  save(dir: string): Promise<void>;
  /** Puts back the state of a checkpoint; returns the amount it had. */
  load(dir: string): number;
}

/**
 * The one training loop: resume, step, log, checkpoint, stop when asked. Every trainer runs on it, so that killing and
 * resuming any of them gives the numbers of an unbroken run.
 */
export async function trainingLoop(host: LoopHost, plan: LoopPlan): Promise<'done' | 'interrupted'> {
  const checkpoint = host.resumeFrom();
  let amount = 0;
  let done = 0;
  if (checkpoint !== null) {
    amount = plan.load(checkpoint.dir);
    done = checkpoint.step;
  }
  host.progress.start(plan.label, plan.steps, { done, unit: plan.unit, amount });
  try {
    for (let n = done + 1; n <= plan.steps; n++) {
      const { metrics, show, amount: total } = await plan.step(n);
      host.metrics(n, metrics);
      host.progress.update(n, show, total);
      const stop = await host.interrupted();
      if (stop || n === plan.steps || n % plan.saveEvery === 0) {
        await host.checkpoints.save(n, (dir) => plan.save(dir));
      }
      if (stop && n < plan.steps) return 'interrupted';
    }
    return 'done';
  } finally {
    host.progress.end();
  }
}
