import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Device } from '@dunwu/torch';
import { readConfig } from '../../model/config.js';
import { loadForDecoding } from '../../model/decoding-model.js';
import { RewardProgram } from '../../reward/program.js';
import { RolloutEngine } from '../../rollout/engine.js';
import type { Problem } from '../../task/problem.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { countFlops } from '../../train/flops.js';
import { inGroups, rollOut, rolloutMetrics, rolloutTokens, scoreRollouts } from '../../train/rollouts.js';
import { writeFileAtomic } from '../../util/fs.js';
import { readJsonl } from '../../util/jsonl.js';
import { Random } from '../../util/random.js';
import { useCompute } from '../compute.js';
import { acceptNotes, acceptTable } from '../curation/accept-table.js';
import { type Accepted, acceptedOf, curationNotes, dialogueRow } from '../curation/curate.js';
import { type Judged, type Verdict, verdicts } from '../curation/keep.js';
import { postProcess } from '../curation/post-process.js';
import { type Candidate, CurationQueue } from '../curation/queue.js';
import { Interrupted, type StageContext, type StageResult, WaitingForPeople } from '../stage.js';
import { modelOf, taskOf } from './common.js';
import { drawProblems } from './draw-problems.js';
import { judgedResponses } from './provided.js';
import type { SampleStage } from './sample.schema.js';

/**
 * Asks a model, judges what it says by rules, keeps the good: rejection sampling (DeepSeek-R1, arXiv 2501.12948,
 * sections 2.3.1 and 2.3.3). Every response drawn is in `samples/`, with the verdict on it; what is kept goes to
 * `datasets/` as dialogues. What passes the rules is put up for decision in `curation/`: the rules accept all of it, or
 * the run waits for people.
 */
export async function run(ctx: StageContext, config: SampleStage): Promise<StageResult> {
  const device = useCompute(ctx.recipe.compute);
  const problems = drawProblems(taskOf(ctx, config), config.problems, ctx.seed);
  const { judged, tokens, flops } = await draw(ctx, config, problems, device);
  const found = inGroups(judged, config.samples).flatMap((group) => verdictsOf(ctx, config, group));
  const kept: Judged[] = [];
  judged.forEach((row, i) => {
    if (found[i] !== 'kept') return;
    if (config.keep.max !== undefined && kept.length >= config.keep.max) found[i] = 'over-max';
    else kept.push(row);
  });
  const table = acceptTable(judged, found);
  requireRows(kept.length, config, table.reasons[0]?.reason);

  const queue = await CurationQueue.create(ctx.dir, ctx.name, kept.map(candidateOf), {
    rewards: config.rewards,
    enough: config.enough ?? null,
  });
  try {
    const accepted = await decided(ctx, config, queue);
    const rewards = new RewardProgram(config.rewards);
    const rows = accepted.map((one) => dialogueRow(one, rewards));
    await writeFileAtomic(ctx.datasetFile, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return {
      dataset: ctx.datasetFile,
      provided: judgedResponses(ctx, { answers: true }),
      tokens,
      flops,
      notes: [...acceptNotes(table), ...curationNotes(queue)],
      extra: {
        drawn: judged.length,
        passed: kept.length,
        kept: rows.length,
        reasons: table.reasons,
        languages: table.languages,
      },
    };
  } finally {
    queue.close();
  }
}

/** What the rules or people decided; fixed from now on. @throws WaitingForPeople while they have not */
async function decided(ctx: StageContext, config: SampleStage, queue: CurationQueue): Promise<Accepted[]> {
  if (config.curate === 'auto') queue.acceptByRules();
  else if (queue.sealed === null && !queue.ready()) {
    const { decided: done, needed, total, conflicts } = queue.progress();
    const disputed = conflicts === 0 ? '' : ` ${conflicts} are disputed.`;
    throw new WaitingForPeople(
      `${done} of ${needed} decisions on the ${total} candidates of stage ${ctx.name} are made.${disputed}`,
    );
  }
  const accepted = acceptedOf(queue);
  if (accepted.length < config.keep.min_rows) {
    throw new Error(
      `people accepted ${accepted.length} of ${queue.candidates().length} candidates, keep.min_rows is ` +
        `${config.keep.min_rows}. Decide otherwise about some with dunwu curate (edit what is nearly good), or begin a ` +
        'new run with more problems or samples',
    );
  }
  await queue.seal();
  return accepted;
}

interface DrawState {
  readonly tokens: number;
  readonly flops: number;
}

/** Draws chunk after chunk; those of an earlier session are read back and not drawn again. */
async function draw(
  ctx: StageContext,
  config: SampleStage,
  problems: readonly Problem[],
  device: Device,
): Promise<DrawState & { judged: Judged[] }> {
  const rewards = new RewardProgram(config.rewards);
  const chunks = inGroups(problems, config.chunk);
  const from = ctx.resumeFrom();
  const judged: Judged[] = [];
  let state: DrawState = { tokens: 0, flops: 0 };
  if (from !== null) {
    state = JSON.parse(await readFile(path.join(from.dir, 'state.json'), 'utf8')) as DrawState;
    judged.push(...readBack(ctx, config, rewards, chunks.slice(0, from.step).flat()));
  }
  const first = from?.step ?? 0;
  if (first === chunks.length) return { judged, ...state };
  const folder = modelOf(ctx, config.model);
  const tokenizer = Tokenizer.load(folder);
  const flops = countFlops(readConfig(folder));
  const model = loadForDecoding(folder, device);
  const engine = new RolloutEngine(model);
  let kept = inGroups(judged, config.samples)
    .flatMap((group) => verdictsOf(ctx, config, group))
    .filter((verdict) => verdict === 'kept').length;
  ctx.progress.start(`sample ${config.model}`, problems.length, {
    done: judged.length / config.samples,
    unit: 'problems',
  });
  try {
    for (const [index, chunk] of chunks.entries()) {
      if (index < first) continue;
      const began = performance.now();
      const rollouts = await rollOut(engine, tokenizer, chunk, {
        samples: config.samples,
        sampling: config.sampling,
        seed: ctx.seed,
        key: (i) => chunk[i]?.id ?? String(i),
      });
      const seconds = (performance.now() - began) / 1000;
      const made = rolloutTokens(rollouts, config.samples);
      const context = made.prompt / chunk.length + made.new / rollouts.length;
      const all = made.prompt + made.new;
      state = { tokens: state.tokens + all, flops: state.flops + all * flops.forward(context) };
      const scored = scoreRollouts(rollouts, rewards);
      const rows = rollouts.map(({ problem, sample, response }) =>
        judge(config, rewards, problem, sample.sample, response, sample),
      );
      const found = inGroups(rows, config.samples).flatMap((group) => verdictsOf(ctx, config, group));
      judged.push(...rows);
      kept += found.filter((verdict) => verdict === 'kept').length;
      const step = index + 1;
      ctx.metrics(step, {
        ...rolloutMetrics(scored, config.samples),
        drawn: judged.length,
        kept,
        kept_share: found.filter((verdict) => verdict === 'kept').length / rows.length,
        ...state,
        'time/rollout_s': seconds,
        'time/rollout_tokens_per_s': made.new / seconds,
      });
      ctx.samples(
        step,
        rows.map((row, i) => sampleRow(row, found[i] as Verdict)),
      );
      await ctx.checkpoints.save(step, (dir) => writeFile(path.join(dir, 'state.json'), JSON.stringify(state)));
      ctx.progress.update(judged.length / config.samples, { kept });
      if (step < chunks.length && (await ctx.interrupted())) throw new Interrupted();
    }
  } finally {
    ctx.progress.end();
    model.dispose();
  }
  return { judged, ...state };
}

function judge(
  { post_process }: SampleStage,
  rewards: RewardProgram,
  problem: Problem,
  sample: number,
  raw: string,
  { reason, tokens }: { readonly reason: Judged['reason']; readonly tokens: { readonly length: number } },
): Judged {
  const response = postProcess(raw, problem, post_process);
  return { problem, sample, raw, response, trace: rewards.score(problem, response), reason, length: tokens.length };
}

function verdictsOf(ctx: StageContext, { keep }: SampleStage, group: readonly Judged[]): Verdict[] {
  return verdicts(group, keep, new Random(`${ctx.seed}/choose/${group[0]?.problem.id ?? ''}`));
}

/** A line of samples/: the response as it is judged, and `raw` as the model gave it where that differs. */
function sampleRow(row: Judged, verdict: Verdict) {
  const { problem, sample, raw, response, trace, reason, length } = row;
  return {
    id: problem.id,
    source: problem.source,
    language: problem.language,
    ...(problem.meta.harmful === true ? { harmful: true } : {}),
    mode: 'sampled' as const,
    sample,
    prompt: problem.prompt,
    ...(problem.answer === undefined ? {} : { answer: problem.answer }),
    response,
    ...(response === raw ? {} : { raw }),
    trace,
    reason,
    length,
    verdict,
  };
}

/** What earlier sessions drew: read from samples/, judged anew. @throws Error naming the line that is another's */
function readBack(
  ctx: StageContext,
  config: SampleStage,
  rewards: RewardProgram,
  problems: readonly Problem[],
): Judged[] {
  const file = path.join(ctx.dir, 'samples', `${ctx.name}.jsonl`);
  const expected = problems.flatMap((problem) =>
    Array.from({ length: config.samples }, (_, sample) => ({ problem, sample })),
  );
  const found: Judged[] = [];
  const damaged = (line: number): Error =>
    new Error(
      `${file}:${line}: is not response ${found.length + 1} of this stage: the file was changed. Remove the folder ` +
        `${path.join(ctx.dir, 'checkpoints', ctx.name)} to draw again`,
    );
  let line = 0;
  for (const { value, number } of readJsonl(file)) {
    line = number;
    const next = expected[found.length];
    const { id, sample, response, raw = response, reason, length } = (value ?? {}) as Record<string, unknown>;
    if (next === undefined || id !== next.problem.id || sample !== next.sample || typeof raw !== 'string') {
      throw damaged(number);
    }
    if ((reason !== 'stop' && reason !== 'length') || !Number.isSafeInteger(length)) throw damaged(number);
    found.push(judge(config, rewards, next.problem, next.sample, raw, { reason, tokens: { length: Number(length) } }));
  }
  if (found.length < expected.length) throw damaged(line + 1);
  return found;
}

/** Its id names this text and no other: what was decided about one is never taken for another. */
function candidateOf({ problem, sample, response, trace }: Judged): Candidate {
  const hash = createHash('sha256').update(`${problem.prompt}\0${response}`).digest('hex').slice(0, 12);
  return { id: `${problem.id}#${sample}-${hash}`, problem, sample, response, trace };
}

function requireRows(count: number, { keep, problems, samples }: SampleStage, reason: string | undefined): void {
  if (count >= keep.min_rows) return;
  const most =
    reason === undefined
      ? ''
      : ` Most were turned away by \`${reason}\` (samples/ has every response with its verdict).`;
  throw new Error(
    `${count} of ${problems * samples} responses were kept, min_rows is ${keep.min_rows}.${most} Draw more (problems, ` +
      'samples), ask less (keep), let the model learn longer before, or lower keep.min_rows; a new recipe needs a new run',
  );
}
