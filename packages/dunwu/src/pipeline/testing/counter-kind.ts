import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { z } from 'zod';
import { Random, type RandomState } from '../../util/random.js';
import { defineKind, Interrupted, type StageContext, type StageResult, type StageSpec } from '../stage.js';

const schema = z.strictObject({
  steps: z.int().min(1),
  every: z.int().min(1).default(5),
  model: z.string().optional(),
  /** Milliseconds a step takes. */
  pause: z.number().min(0).default(0),
});
type CounterConfig = z.output<typeof schema>;

interface State {
  readonly sum: number;
  readonly random: RandomState;
}

/**
 * Adds random numbers: a stage with state, for tests of the run machinery. DUNWU_TEST_KILL=stage:point:step kills the
 * process (SIGKILL) at a point: `step` (metrics written, checkpoint not), `write` (in the middle of a checkpoint),
 * `saved` (right after it) or `end` (all done but the stage's result). DUNWU_TEST_FAIL=stage:step throws there.
 */
async function run(ctx: StageContext, config: CounterConfig): Promise<StageResult> {
  const killAt = (point: string, step: number) => {
    if (process.env.DUNWU_TEST_KILL === `${ctx.name}:${point}:${step}`) process.kill(process.pid, 'SIGKILL');
  };
  const from = ctx.resumeFrom();
  const previous = config.model === undefined ? undefined : ctx.artefact(config.model).model;
  let state: State =
    from !== null
      ? await load(from.dir)
      : { sum: previous === undefined ? 0 : (await load(previous)).sum, random: new Random(ctx.seed).state };
  const save = (step: number) =>
    ctx.checkpoints.save(step, async (dir) => {
      await writeFile(path.join(dir, 'state.json'), JSON.stringify(state));
      killAt('write', step);
      await writeFile(path.join(dir, 'weights.bin'), Buffer.alloc(100_000, step));
    });
  ctx.progress.start(ctx.name, config.steps, { done: from?.step ?? 0 });
  for (let step = (from?.step ?? 0) + 1; step <= config.steps; step++) {
    if (process.env.DUNWU_TEST_FAIL === `${ctx.name}:${step}`) throw new Error('the counter broke');
    const rng = new Random(state.random);
    const drawn = rng.next();
    state = { sum: state.sum + drawn, random: rng.state };
    if (config.pause > 0) await setTimeout(config.pause);
    ctx.metrics(step, { drawn, sum: state.sum, odd: step % 2 === 1 ? Number.NaN : 0 });
    ctx.samples(step, [{ id: `p${step}`, prompt: `${step}?`, response: `答 ${drawn}` }]);
    ctx.progress.update(step, { sum: state.sum });
    killAt('step', step);
    if (step % config.every === 0) await save(step);
    killAt('saved', step);
    if (step < config.steps && (await ctx.interrupted())) {
      await save(step);
      throw new Interrupted();
    }
  }
  await writeFile(path.join(ctx.modelDir, 'state.json'), JSON.stringify(state));
  killAt('end', config.steps);
  return { model: ctx.modelDir, tokens: config.steps, flops: 2 * config.steps };
}

async function load(dir: string): Promise<State> {
  return JSON.parse(await readFile(path.join(dir, 'state.json'), 'utf8')) as State;
}

const spec: StageSpec<CounterConfig> = {
  schema,
  references: (config) => (config.model === undefined ? [] : [config.model]),
};

export const counterKind = defineKind<CounterConfig>({
  kind: 'counter',
  summary: 'adds random numbers',
  spec: async () => spec,
  work: async () => ({ run }),
});
